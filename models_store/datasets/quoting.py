"""The rows that a report names, as they stand in their files: read once more when it is known which ones they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import replace

from models_store.characters import escaped
from models_store.datasets.formats import Opened, open_sheet
from models_store.datasets.readers.columnar import ColumnarSheet
from models_store.datasets.readers.json_rows import JsonSheet
from models_store.datasets.readers.workbook import WorkbookSheet, plain
from models_store.datasets.report import Report, excerpt
from models_store.errors import InvalidInputError, Problem, TooLargeError, UnreadableFileError

_CHARACTERS = 300
_UNREADABLE = (UnreadableFileError, TooLargeError, KeyError)  # KeyError: an Arrow column that stands twice


@contextmanager
def quoting(files: Collection[Opened]) -> Iterator[None]:
    """Give the problems that an error carries their rows."""
    try:
        yield
    except InvalidInputError as error:
        error.problems = with_rows(error.problems, files)
        raise


def with_rows(problems: Iterable[Problem], files: Collection[Opened]) -> list[Problem]:
    """The same problems, each with the row that it is said of, where this can be found.

    Args:
        problems: As they were reported.
        files: Those that were read; of two with one name none is quoted.
    """
    problems = list(problems)
    names = Counter(opened.source.name for opened in files)
    rows: dict[str, dict[int, str]] = {}
    for opened in files:
        name = opened.source.name
        lines = {problem.line for problem in problems if problem.file == name and problem.line}
        if lines and names[name] == 1:
            rows[name] = _rows(opened, lines)
    return [replace(problem, row=rows.get(problem.file or "", {}).get(problem.line or 0)) for problem in problems]


def _rows(opened: Opened, lines: Set[int]) -> dict[int, str]:
    """Those of these lines, or numbers, that can be read."""
    found: dict[int, str] = {}
    last = max(lines)
    for numbered in _ways(opened):
        try:
            for line, row in numbered:
                if line in lines:
                    found.setdefault(line, escaped(excerpt(row, _CHARACTERS)))
                if line >= last:
                    break
        except _UNREADABLE:
            continue  # which is told already
        if len(found) == len(lines):
            break
    return found


def _ways(opened: Opened) -> Iterator[Iterator[tuple[int, str]]]:
    """The rows with their places, in one way after the other, until all that are wanted are found."""
    try:
        sheet = open_sheet(opened, Report())
    except _UNREADABLE:
        sheet = None
    if isinstance(sheet, JsonSheet):  # of which a row may have many lines
        yield ((line, _cell(record)) for line, record in sheet.records())
    elif isinstance(sheet, ColumnarSheet):
        yield ((number, _cell(record)) for number, record in sheet.records())
        return
    elif isinstance(sheet, WorkbookSheet):
        yield ((number, "\t".join(map(_cell, cells))) for number, cells in sheet.rows(sheet.header))
        return
    yield ((line, text.rstrip("\r\n")) for line, text in enumerate(opened.source.lines(), start=1))


def _cell(value: object) -> str:
    value = plain(value)
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)
