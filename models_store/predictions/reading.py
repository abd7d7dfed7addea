"""The rows of an uploaded file with all of their columns, as they stand there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models_store.datasets.columns import MAX_COLUMNS
from models_store.datasets.readers.columnar import ColumnarSheet
from models_store.datasets.readers.json_rows import JsonSheet
from models_store.datasets.readers.sheet import Sheet
from models_store.datasets.report import Report
from models_store.datasets.source import SourceFile
from models_store.errors import InvalidDatasetError, Problem, ProblemList
from models_store.predictions.columns import taken_columns
from models_store.predictions.pulse import Pulse
from models_store.tasks import TaskName

Record = dict[str, Any]


def records(sheet: Sheet) -> Iterator[tuple[int, Record]]:
    """Each row's line, or its number, and its values by their columns; those that have no name are left out."""
    if isinstance(sheet, JsonSheet | ColumnarSheet):
        yield from sheet.records()
        return
    header = _named(sheet)
    for line, cells in sheet.rows(header):
        yield line, dict(zip(header, cells, strict=True))


def column_names(sheet: Sheet) -> list[str]:
    """All columns; of JSON, where every row may have more, the file is read for them."""
    if isinstance(sheet, JsonSheet):
        return list(dict.fromkeys(name for _, record in sheet.records() for name in record))
    return list(sheet.header) if isinstance(sheet, ColumnarSheet) else _named(sheet)


def _named(sheet: Sheet) -> list[str]:
    return [name for name in sheet.header if name.strip()]


def count(source: SourceFile, sheet: Sheet, report: Report, task: TaskName, pulse: Pulse) -> int:
    """The rows of the file, every one of which can be told from the others and keeps what it has.

    Raises:
        InvalidDatasetError: Some cannot, or have a column that is to be added, or all together have too many.
    """
    number = 0
    names: set[str] = set()
    for line, record in pulse.over(records(sheet)):
        number += 1
        for problem in taken_columns(source, record, task, line):
            report.wrong_row(problem)
        names.update(record)
        if len(names) > MAX_COLUMNS:
            problems = ProblemList()
            message = f"up to here the rows have more than {MAX_COLUMNS} different columns"
            problems.add(Problem("too_many_columns", message, source.name, line))
            raise InvalidDatasetError(problems)
    if report.errors.count:
        raise InvalidDatasetError(report.errors)
    return number
