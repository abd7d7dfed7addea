"""JSON Lines, objects one after the other, or one array of them, read piece by piece."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from models_store.characters import is_text
from models_store.datasets.columns import SPLIT
from models_store.datasets.readers.sheet import Cell
from models_store.datasets.report import Report, excerpt
from models_store.datasets.source import SourceFile
from models_store.errors import Problem, UnreadableFileError
from models_store.spellings import column_key

MAX_ROW_CHARACTERS = 16 * 1024 * 1024
_FIRST_RECORDS, _FIRST_CHARACTERS = 200, 1024 * 1024
_SHOWN = 200
_OBJECTS = 'every row is an object in braces, such as {"text": "…", "label": "…"}'
_BLANKS = re.compile(r"[ \t\r\n]*")
_LISTS = re.compile(r"\[\s*\"")  # a list for each row, one behind the other, and not an array of rows


class JsonSheet:
    """The rows of a JSON file, of which the first objects say what columns there are.

    Raises:
        UnreadableFileError: The file cannot be decoded or parsed; on opening it, or while its rows are read.
    """

    format = "json"

    def __init__(self, source: SourceFile, report: Report) -> None:
        self._source = source
        self._report = report
        self._records = json_records(source, report)
        self._first = list(_beginning(self._records, source))
        objects = [record for _, record in self._first if isinstance(record, dict)]
        if self._first and not objects:
            raise _no_object(source, *self._first[0])
        keys = dict.fromkeys(key for record in objects for key in record)
        self.header: Sequence[str] = [key for key in keys if is_text(key)]
        self.header_line = self._first[0][0] if self._first else 1

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[Cell]]]:
        """See `Sheet`; a field that is not there is None."""
        for line, record in self.records():
            yield line, [record.get(column) for column in columns]

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each object and its line; whatever is none is wrong."""
        late = [key for key in self.header if column_key(key) == SPLIT] or None
        for line, record in chain(self._first, self._records):
            if isinstance(record, dict):
                if late is None and (late := [key for key in record if column_key(key) == SPLIT] or None):
                    message = "no row before this one says which split it is for; name one in the first rows, too"
                    self._report.wrong(Problem("unknown_split", message, self._source.name, line, late[0]))
                yield line, record
            else:
                problem = Problem("not_an_object", _OBJECTS, self._source.name, line, value=excerpt(record))
                self._report.wrong_row(problem)


def _beginning(records: Iterator[tuple[int, Any]], source: SourceFile) -> Iterator[tuple[int, Any]]:
    """The first records, of a bounded size."""
    size = 0
    for line, record in islice(records, _FIRST_RECORDS):
        if not size and not isinstance(record, dict | list):
            raise _no_object(source, line, record)
        yield line, record
        size += len(repr(record))
        if size > _FIRST_CHARACTERS:
            return


def _no_object(source: SourceFile, line: int, record: Any) -> UnreadableFileError:
    problem = Problem("not_an_object", _OBJECTS, source.name, line, value=excerpt(record))
    return UnreadableFileError(f"{source.name}, line {line}: {_OBJECTS}", [problem])


class _Window:
    """A part of the text, which moves on as it is used up; knows the line that it is at."""

    def __init__(self, source: SourceFile) -> None:
        self._chunks = source.chunks()
        self._counted = 0
        self._line = 1
        self.text = ""
        self.position = 0
        self.ended = False

    def more(self, characters: int = 1) -> None:
        """Read on until there are so many characters more, or no more at all."""
        self._line, self._counted = self.line, 0
        parts, size = [self.text[self.position :]], 0
        while size < characters:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.ended = True
                break
            parts.append(chunk)
            size += len(chunk)
        self.text, self.position = "".join(parts), 0

    @property
    def line(self) -> int:
        """Of the position."""
        self._line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    def skip_line(self) -> str:
        """Move on to the end of the line, and give the beginning of what stood there."""
        shown = self.text[self.position : self.position + _SHOWN]
        while (end := self.text.find("\n", self.position)) < 0 and not self.ended:
            self.position = len(self.text)
            self.more()
        self.position = len(self.text) if end < 0 else end
        return shown.partition("\n")[0]

    def skip(self) -> str:
        """Move on to what is not blank, and give it; an empty text at the end."""
        while True:
            match = _BLANKS.match(self.text, self.position)
            self.position = match.end() if match else self.position
            if self.position < len(self.text):
                return self.text[self.position]
            if self.ended:
                return ""
            self.more()


def json_records(source: SourceFile, report: Report) -> Iterator[tuple[int, Any]]:
    """Each value of the file, and its line; those of an array one by one, by their numbers where all are on one line.

    Where every value so far was a line of its own, one that is no JSON is a wrong row; the next line may be right.

    Raises:
        UnreadableFileError: The file cannot be decoded or is not JSON; the message says where.
    """
    window = _Window(source)
    listed = window.skip() == "[" and not _LISTS.match(window.text, window.position)
    window.position += listed
    by_line = False
    on_one_line = listed and "\n" not in window.text.strip()  # then the number of a value says more than its line
    number = 0
    while (character := window.skip()) and not (listed and character == "]"):
        number += 1
        line = number if on_one_line else window.line
        try:
            value = _value(window, source)
        except UnreadableFileError as error:
            if not by_line:
                raise
            problem = error.problems[0]
            report.wrong_row(replace(problem, line=line, value=excerpt(window.skip_line())))
            continue
        yield line, value
        by_line = not listed and window.line == line
        if listed and (character := window.skip()) == ",":
            window.position += 1
        elif listed and character != "]":
            message = "the array goes on without a comma, or never ends"
            raise source.unreadable("malformed_json", message, window.line)
    window.position += listed
    if listed and (not character or window.skip()):
        raise source.unreadable("malformed_json", "the file does not end where its array does", window.line)


_DECODER = json.JSONDecoder()


def _value(window: _Window, source: SourceFile) -> Any:
    """The value at the window's position, which then stands behind it."""
    while True:
        try:
            value, window.position = _DECODER.raw_decode(window.text, window.position)
        except json.JSONDecodeError as error:
            left = len(window.text) - window.position
            if not window.ended and left < MAX_ROW_CHARACTERS:  # perhaps it is only cut off here
                window.more(left)
                continue
            line = window.line + window.text.count("\n", window.position, error.pos)
            column = error.pos - window.text.rfind("\n", 0, error.pos)
            raise source.unreadable("malformed_json", f"{error.msg} at column {column}", line) from error
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
            raise source.unreadable("malformed_json", "no row looks like this", window.line) from error
        return value
