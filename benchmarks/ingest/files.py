"""The same rows in each format, written a piece at a time."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

Row = tuple[str, str]

_SYLLABLES = (
    "re",
    "un",
    "con",
    "de",
    "ex",
    "in",
    "pro",
    "sub",
    "tain",
    "form",
    "press",
    "duct",
    "cept",
    "ject",
    "vert",
)
_WORDS = 4_000
_LABELS = 20
_PIECE = 10_000
_SCHEMA = pa.schema([("text", pa.string()), ("label", pa.string())])


def rows(number: int) -> Iterator[Row]:
    """So many texts of 5 to 25 words with their labels, the same every time."""
    draw = random.Random(7)
    words = ["".join(draw.choices(_SYLLABLES, k=draw.randint(1, 4))) for _ in range(_WORDS)]
    for _ in range(number):
        yield " ".join(draw.choices(words, k=draw.randint(5, 25))), f"label-{draw.randrange(_LABELS)}"


def _pieces(number: int) -> Iterator[list[Row]]:
    source = rows(number)
    while piece := list(islice(source, _PIECE)):
        yield piece


def _csv(path: Path, number: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        _write_csv(file, number)


def _csv_gz(path: Path, number: int) -> None:
    with gzip.open(path, "wt", newline="", encoding="utf-8", compresslevel=1) as file:
        _write_csv(file, number)


def _write_csv(file: IO[str], number: int) -> None:
    writer = csv.writer(file)
    writer.writerow(("text", "label"))
    writer.writerows(rows(number))


def _json_lines(path: Path, number: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for text, label in rows(number):
            print(json.dumps({"text": text, "label": label}), file=file)


def _json_array(path: Path, number: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for index, (text, label) in enumerate(rows(number)):
            file.write(("[" if index == 0 else ",") + json.dumps({"text": text, "label": label}))
        file.write("]")


def _tables(number: int) -> Iterator[pa.Table]:
    for piece in _pieces(number):
        yield pa.table([[text for text, _ in piece], [label for _, label in piece]], schema=_SCHEMA)


def _parquet(path: Path, number: int) -> None:
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        for table in _tables(number):
            writer.write_table(table)


def _arrow(path: Path, number: int) -> None:
    with pa.ipc.new_file(path, _SCHEMA) as writer:
        for table in _tables(number):
            writer.write_table(table)


def _workbook(path: Path, number: int) -> None:
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("train")
    sheet.append(("text", "label"))
    for row in rows(number):
        sheet.append(row)
    book.save(path)


def _conll(path: Path, number: int) -> None:
    """Every word whose first letter is a vowel is a name."""
    with path.open("w", encoding="utf-8") as file:
        for text, _ in rows(number):
            lines = io.StringIO()
            for word in text.split():
                lines.write(f"{word} {'B-NAME' if word[0] in 'aeiou' else 'O'}\n")
            file.write(lines.getvalue() + "\n")


FORMATS: dict[str, Callable[[Path, int], None]] = {
    "csv": _csv,
    "csv.gz": _csv_gz,
    "jsonl": _json_lines,
    "json": _json_array,
    "parquet": _parquet,
    "arrow": _arrow,
    "xlsx": _workbook,
    "conll": _conll,
}
