"""Files read whole, for tests that look at their rows."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from models_store.datasets.census import Census, Vocabulary
from models_store.datasets.formats import Opened, open_upload
from models_store.datasets.ingest import Collector, SplitData
from models_store.datasets.report import Report
from models_store.datasets.source import SourceFile
from models_store.datasets.splits import split_off_validation
from models_store.datasets.tables import LocatedRow, Reading, Table, open_table
from models_store.errors import ProblemList
from models_store.tasks import TaskName


class Whole:
    """A table of which all rows have been read."""

    def __init__(self, table: Table) -> None:
        self.rows: list[LocatedRow] = list(table.rows)
        self.source, self.columns, self.format = table.source, table.columns, table.format
        self.scheme, self.multi_label = table.scheme, table.multi_label


def read_whole(
    source: SourceFile, task: TaskName = TaskName.CLASSIFICATION, **reading: object
) -> tuple[Whole, ProblemList]:
    """The rows of a file and what is wrong with the others."""
    report = Report()
    how = replace(Reading(task), **reading)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        opened = open_upload(source, Path(folder))["train"]
        return Whole(open_table(opened, how, report)), report.errors


def census_of(rows: list[dict[str, Any]]) -> Census:
    """What is remembered of rows that stand on the lines from 1 on."""
    census = Census(Vocabulary(), tagged=bool(rows) and "tags" in rows[0])
    for line, row in enumerate(rows, start=1):
        census.add(LocatedRow(line, row))
    return census


def cut(rows: list[dict[str, Any]]) -> tuple[list[int], list[int]]:
    """Training and validation rows, by their indices."""
    validation = split_off_validation(census_of(rows))
    return [index for index in range(len(rows)) if index not in set(validation)], validation


def collected(
    folder: Path, task: TaskName, files: dict[str, str], report: Report, **reading: object
) -> dict[str, SplitData]:
    """The rows of files by their split."""
    opened = {}
    for split, content in files.items():
        path = folder / split
        path.write_text(content, encoding="utf-8")
        opened[split] = Opened(SourceFile(f"{split}.csv", path))
    how = replace(Reading(task, parts=len(files) == 1), **reading)  # type: ignore[arg-type]
    return Collector(how, report, folder).read(opened)
