"""Rows of a pipe: read as CSV, JSON Lines or plain lines, and written back with the answers beside them."""

from __future__ import annotations

import csv
import io
import json
import queue
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import chain, dropwhile
from typing import IO, Any

import typer

from models_store.characters import escaped, is_text
from models_store.spellings import PAIR_SPELLINGS, TEXT_SPELLINGS, column_key


class Answers(StrEnum):
    """How answers are written."""

    CSV = "csv"
    JSONL = "jsonl"


class Form(StrEnum):
    """How rows are written: with a header, as JSON objects, or a text on each line."""

    CSV = "csv"
    JSONL = "jsonl"
    LINES = "lines"


class UnreadableRowsError(Exception):
    """From here on the rows cannot be read."""


class UnusableRowError(Exception):
    """A row that the model cannot be asked for."""


class NoTextError(UnusableRowError):
    """A row without the column that holds the texts."""


Row = dict[str, Any]
ERROR = "prediction_error"
TOO_WIDE = ""  # the column of what goes beyond the header's
csv.field_size_limit(16 * 1024 * 1024)


def decoded(stream: IO[bytes], encoding: str) -> Iterator[str]:
    """The lines of a pipe.

    Raises:
        typer.BadParameter: There is no such encoding.
        UnreadableRowsError: The bytes mean nothing in it.
    """
    try:
        text = io.TextIOWrapper(stream, encoding, newline="")
    except LookupError as error:
        raise typer.BadParameter(f"{encoding!r} is no encoding of text", param_hint="--encoding") from error
    number = 0
    try:
        for line in text:
            yield line
            number += 1
    except UnicodeError as error:
        place = f"behind line {number} something" if number else "the beginning"
        message = f"{place} is not {encoding}; name the rows' encoding, as in --encoding cp1252"
        raise UnreadableRowsError(message) from error


def read(
    stream: Iterable[str], form: Form | None, columns: Mapping[str, str] | None = None
) -> tuple[Form, Iterator[Row]]:
    """The form of the rows, and the rows. Blank lines at the beginning are none.

    Args:
        stream: The lines.
        form: If it is known. By default JSON Lines where the first line begins as JSON does, CSV where its columns say
            so, or ``columns`` do, and else lines.
        columns: Our field to the rows' column, where they differ.

    Raises:
        typer.BadParameter: The first line may be a header or a text.
        UnreadableRowsError: While rows are read: one is no JSON, or no CSV.
    """
    lines = dropwhile(lambda line: not line.strip("\ufeff\r\n\t "), stream)
    first = next(lines, "").removeprefix("\ufeff")
    found = form or _form_of(first, columns or {})
    return found, _READERS[found](chain([first], lines))


def input_of(row: Row, columns: Mapping[str, str]) -> Any:
    """What the model is asked for a row.

    Args:
        row: The row.
        columns: Our field to the row's column, where they differ.

    Raises:
        UnusableRowError: It has no text, or none that can be sent.
    """
    if TOO_WIDE in row:
        raise UnusableRowError("the row has more fields than the header")
    text, pair = _fields(row, columns)
    if any(isinstance(value, str) and not is_text(value) for value in row.values()):
        raise UnusableRowError("the row holds half of a surrogate pair, which is no character")
    if pair is not None and row.get(pair) is not None:
        return {"text": row.get(text or "text"), "text_pair": row[pair]}
    if (tokens := row.get("tokens")) is not None:
        return tokens
    if text is None or text not in row:
        named = columns.get("text", "text")
        raise NoTextError(f"there is no column {named!r}, only {', '.join(map(str, row)) or 'an empty row'}")
    return row[text]


class Writer:
    """Writes rows as CSV or JSON Lines; the columns of a CSV file are those of the first row that has an answer."""

    def __init__(self, stream: IO[str], form: Answers) -> None:
        self._stream = stream
        self._form = form
        self._csv: csv.DictWriter[str] | None = None
        self._held: list[Row] = []  # without an answer, and before any that has one

    def write(self, row: Row, *, answered: bool = True) -> None:
        """Write a row."""
        if self._form is Answers.JSONL:
            self._stream.write(escaped(json.dumps(row, ensure_ascii=False)) + "\n")
        elif self._csv is None and not answered:
            self._held.append(row)
        else:
            self._columns(row).writerow(row)

    def close(self) -> None:
        """Write what waits for an answer that tells the columns."""
        if self._held:
            self._columns(self._held[0])

    def _columns(self, row: Row) -> csv.DictWriter[str]:
        if self._csv is None:
            columns = [*row, *({ERROR} - set(row))]  # a later row may have no answer
            self._csv = csv.DictWriter(self._stream, columns, extrasaction="ignore", lineterminator="\n")
            self._csv.writeheader()
            self._csv.writerows(self._held)
            self._held = []
        return self._csv


def gathered(rows: Iterator[Row], most: int) -> Iterator[list[Row]]:
    """The rows in lists of so many at most: of those that have come, so that none waits until others do."""
    waiting: queue.Queue[Row | Exception | None] = queue.Queue(2 * most)

    def fetch() -> None:
        end: Exception | None = None
        try:
            for row in rows:
                waiting.put(row)
        except Exception as error:  # noqa: BLE001 (raised where the rows are wanted, behind those before it)
            end = error
        waiting.put(end)

    threading.Thread(target=fetch, daemon=True).start()  # a pipe that says nothing does not keep the process alive
    while True:
        some: list[Row] = []
        next_one = waiting.get()
        while isinstance(next_one, dict):
            some.append(next_one)
            if len(some) == most or waiting.empty():
                break
            next_one = waiting.get()
        if some:
            yield some
        if isinstance(next_one, Exception):
            raise next_one
        if next_one is None:
            return


def _fields(names: Iterable[str], columns: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The columns of the text and, where there is one, of the other text of a pair."""
    by_key = {column_key(str(name)): str(name) for name in names}
    text, pair = columns.get("text"), columns.get("text_pair")
    for first, second in PAIR_SPELLINGS:
        if first in by_key and second in by_key:
            return text or by_key[first], pair or by_key[second]
    return text or by_key.get("text"), pair


def _form_of(first: str, columns: Mapping[str, str]) -> Form:
    if first.lstrip().startswith(("{", "[")):
        return Form.JSONL
    names = [part.strip().strip('"') for part in first.split(_delimiter(first))]
    if columns or any(_fields(names, {})):
        return Form.CSV
    if {column_key(part) for part in re.split(r"[,;\t|]", first)} & {"text", *TEXT_SPELLINGS}:
        raise typer.BadParameter(
            "the first line looks like a header: say --column text=<its column>, send the rows with --file, "
            "or say --from lines if it is a text"
        )
    return Form.LINES


def _delimiter(header: str) -> str:
    """What parts the columns."""
    return max(",;\t|", key=header.count)


def _csv(lines: Iterable[str]) -> Iterator[Row]:
    lines = iter(lines)
    first = next(lines, "")
    reader = csv.DictReader(chain([first], lines), restkey=TOO_WIDE, delimiter=_delimiter(first), strict=True)
    begun = 1
    try:
        for row in reader:
            yield {str(name).strip(): value for name, value in row.items() if name or isinstance(value, list)}
            begun = reader.line_num + 1
    except csv.Error as error:
        raise UnreadableRowsError(f"the row of line {begun} is no CSV: {error}; rows before it are answered") from error


def _jsonl(lines: Iterable[str]) -> Iterator[Row]:
    lines = iter(lines)
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = _loaded(line if number > 1 or line.strip() != "[" else "".join([line, *lines]))
            except (ValueError, RecursionError) as error:
                message = f"line {number} is no JSON by itself: {error}; rows before it are answered"
                raise UnreadableRowsError(message) from error
            for item in row if isinstance(row, list) else [row]:
                yield item if isinstance(item, dict) else {"text": item}


def _loaded(text: str) -> Any:
    """A JSON value; a number that is none, as pandas writes what is missing, is nothing."""
    return json.loads(text, parse_constant=lambda _: None)


def _lines(lines: Iterable[str]) -> Iterator[Row]:
    return ({"text": line.rstrip("\r\n")} for line in lines if line.strip())


_READERS = {Form.CSV: _csv, Form.JSONL: _jsonl, Form.LINES: _lines}
