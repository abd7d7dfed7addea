"""Rows of a pipe: read as CSV, JSON Lines or plain lines, and written back with the answers beside them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain, islice
from typing import IO, Any

import typer


class Answers(StrEnum):
    """How answers are written."""

    CSV = "csv"
    JSONL = "jsonl"


class Form(StrEnum):
    """How rows are written: with a header, as JSON objects, or a text on each line."""

    CSV = "csv"
    JSONL = "jsonl"
    LINES = "lines"


csv.field_size_limit(16 * 1024 * 1024)
_TEXTS = frozenset(
    {"text", "sentence", "sentence1", "content", "message", "body", "question", "question1", "review", "comment"}
)


def read(
    stream: Iterable[str], form: Form | None, columns: Mapping[str, str] | None = None
) -> tuple[Form, Iterator[dict[str, Any]]]:
    """The form of the rows, and the rows.

    Args:
        stream: The lines.
        form: If it is known. By default JSON Lines where the first line begins as JSON does, CSV where one of its
            columns is called ``text`` or as ``columns`` say, and else lines.
        columns: Our field to the rows' column, where they differ.

    Raises:
        typer.BadParameter: The first line may be a header or a text.
    """
    lines = iter(stream)
    first = next(lines, "")
    found = form or _form_of(first, columns or {})
    return found, _READERS[found](chain([first], lines))


def inputs_of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> list[Any]:
    """What the model is asked for these rows.

    Args:
        rows: The rows.
        columns: Our field to the rows' column, where they differ.

    Raises:
        typer.BadParameter: A row has no text.
    """
    text, pair = columns.get("text", "text"), columns.get("text_pair", "text_pair")
    asked: list[Any] = []
    for row in rows:
        if row.get(pair) is not None:
            asked.append({"text": row.get(text), "text_pair": row[pair]})
        elif (tokens := row.get("tokens")) is not None:
            asked.append(tokens)
        elif text in row:
            asked.append(row[text])
        else:
            hint = f"a row has no column {text!r}, only {', '.join(map(str, row))}; name it with --column text=…"
            raise typer.BadParameter(hint)
    return asked


class Writer:
    """Writes rows as CSV or JSON Lines; the columns of a CSV file are those of its first row."""

    def __init__(self, stream: IO[str], form: Answers) -> None:
        self._stream = stream
        self._form = form
        self._csv: csv.DictWriter[str] | None = None

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        if self._form is Answers.JSONL:
            self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            return
        if self._csv is None:
            columns = [*row, *({"prediction_error"} - set(row))]  # a later row may have no answer
            self._csv = csv.DictWriter(self._stream, columns, extrasaction="ignore", lineterminator="\n")
            self._csv.writeheader()
        self._csv.writerow(row)


def batches(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """The rows in lists of so many at most."""
    while batch := list(islice(rows, size)):
        yield batch


def _form_of(first: str, columns: Mapping[str, str]) -> Form:
    if first.lstrip("\ufeff ").startswith(("{", "[")):
        return Form.JSONL
    header = [name.strip("\ufeff ") for name in next(csv.reader([first]), [])]
    if columns or "text" in header:
        return Form.CSV
    if {part.strip("\ufeff \r\n").casefold() for part in re.split(r"[,;\t|]", first)} & _TEXTS:
        raise typer.BadParameter(
            "the first line looks like a header: say --column text=<its column>, send the rows with --file, "
            "or say --from lines if it is a text"
        )
    return Form.LINES


def _csv(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    return ({str(name).strip("\ufeff "): value for name, value in row.items()} for row in csv.DictReader(lines))


def _jsonl(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise typer.BadParameter(f"line {number} is no JSON by itself: {error}") from error
            for item in row if isinstance(row, list) else [row]:
                yield item if isinstance(item, dict) else {"text": item}


def _lines(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    return ({"text": line.rstrip("\r\n")} for line in lines if line.strip())


_READERS = {Form.CSV: _csv, Form.JSONL: _jsonl, Form.LINES: _lines}
