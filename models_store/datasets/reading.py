"""Files on the disk → rows in their places, and what is to be said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.formats import Opened, open_single, open_upload
from models_store.datasets.ingest import Collector, SplitData, Tell
from models_store.datasets.pieces import EncoderLimit
from models_store.datasets.quoting import quoting, with_rows
from models_store.datasets.report import MAX_LINES, OnError, Report
from models_store.datasets.rows import SPLITS, split_path
from models_store.datasets.skipped import Skipped
from models_store.datasets.source import SourceFile
from models_store.datasets.splits import split_off_validation
from models_store.datasets.statistics import of_split
from models_store.datasets.tables import Reading
from models_store.datasets.validation import Findings, examine, longer_than, warnings
from models_store.datasets.writing import part_rows
from models_store.errors import InvalidDatasetError, InvalidInputError, Problem
from models_store.tasks import TaskName, task_from_config

SKIPPED = "skipped.jsonl"
_MIN_TRAIN_ROWS = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of reading the files.

    Attributes:
        report: What is wrong.
        splits: The rows of each split, unless none could be read.
        findings: What follows from all of them, unless the files are refused.
        warnings: Worth knowing.
        split_seed: By which validation rows are drawn where there are none.
    """

    report: Report
    splits: Mapping[str, SplitData]
    findings: Findings | None
    warnings: list[dict[str, Any]]
    split_seed: int

    def accepted(self) -> Findings:
        """The findings of files that are not refused.

        Raises:
            InvalidDatasetError: They are.
        """
        if self.findings is None:
            raise InvalidDatasetError(self.report.errors)
        return self.findings


def read(
    sources: Mapping[str, SourceFile],
    reading: Reading,
    on_error: OnError,
    folder: Path,
    tell: Tell = lambda _: None,
    *,
    limit: EncoderLimit | None = None,
) -> Outcome:
    """Read files that lie on the disk.

    Args:
        sources: By the split for which each was uploaded.
        reading: How.
        on_error: What is done with rows that are wrong.
        folder: For the rows, and for what has to be unpacked.
        tell: Is told now and then how many rows have been read.
        limit: Of the encoder that the rows are for, if it is known.

    Raises:
        UnreadableFileError: A file cannot be decoded or parsed.
        TooLargeError: A file unpacks to more than it may.
    """
    opened = _opened(sources, folder)
    files = list(opened.values())
    with Skipped(folder / SKIPPED) as skipped, quoting(files):
        report = Report(on_error, skipped.add)
        splits = Collector(replace(reading, parts=len(opened) == 1), report, folder, tell).read(opened)
        outcome = _outcome(reading, splits, report, limit)
    report.errors.kept = with_rows(report.errors.kept, files)
    report.skipped.kept = skipped.quote(files)[: len(report.skipped.kept)]
    return outcome


def _outcome(reading: Reading, splits: Mapping[str, SplitData], report: Report, limit: EncoderLimit | None) -> Outcome:
    # What refused rows would have said about the others is unknown.
    findings = None if report.errors.count else _examined(reading.task, splits, report)
    if findings is None:
        return Outcome(report, splits, None, report.warnings(), reading.split_seed)
    longer = longer_than(limit, splits, windowed=task_from_config(findings.schema).windowed) if limit else []
    return Outcome(
        report,
        splits,
        findings,
        [*_left_out(report), *report.warnings(), *warnings(splits), *longer],
        reading.split_seed,
    )


def _examined(task: TaskName, splits: Mapping[str, SplitData], report: Report) -> Findings | None:
    """What follows from all rows; None where they are refused for it."""
    findings = examine(task, splits, report)
    _check_size(splits["train"], report)
    return None if report.errors.count else findings


def _left_out(report: Report) -> list[dict[str, Any]]:
    """A warning for each file of which rows were left out; the file of all of them is told of elsewhere."""
    lines: dict[str, list[int]] = {}
    for problem in report.skipped.kept:
        lines.setdefault(problem.file or "", []).append(problem.line or 0)
    message = f"{report.skipped_rows} row(s) are wrong and were left out; GET /datasets/{{id}}/skipped lists them"
    return [
        {"code": "rows_skipped", "message": message, "file": name, "lines": sorted(set(found))[:MAX_LINES]}
        for name, found in lines.items()
    ]


def _opened(sources: Mapping[str, SourceFile], folder: Path) -> dict[str, Opened]:
    """What is to be read for each split; an archive may hold all of them, and then comes alone."""
    if len(sources) == 1:
        return open_upload(sources["train"], folder)
    return {split: open_single(source, folder) for split, source in sources.items()}


def stored(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Give the rows their places in the folder; what the data set then tells of itself, by its columns.

    Raises:
        InvalidDatasetError: The files are refused.
        InvalidInputError: No row can be spared for validation.
    """
    findings = outcome.accepted()
    train = outcome.splits["train"].table
    splits, statistics = write_splits(outcome, folder)
    return {
        "format": train.format,
        "columns": train.columns,
        "schema_": findings.schema,
        "labels": findings.labels,
        "splits": splits,
        "statistics": statistics,
        "skipped_rows": outcome.report.skipped_rows,
        "rows_read": outcome.report.skipped_rows + sum(split["rows"] for split in splits.values()),
        "warnings": outcome.warnings,
    }


def _check_size(train: SplitData, report: Report) -> None:
    rows = len(train.census)
    if not report.errors.count and rows < _MIN_TRAIN_ROWS:
        message = f"{rows} rows are too few to train on; give at least {_MIN_TRAIN_ROWS}"
        report.wrong(Problem("too_few_rows", message, train.name))


def write_splits(outcome: Outcome, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the rows of each split their place; cut a validation split off where there is none.

    Returns:
        What the data set tells of its splits, and their statistics.
    """
    dropped = outcome.accepted().dropped
    written: dict[str, Any] = {}
    statistics: dict[str, Any] = {}
    for split, data in outcome.splits.items():
        kept = np.ones(len(data.census), bool)
        kept[dropped.get(split, [])] = False
        parts = {split: kept}
        if split == "train" and "validation" not in outcome.splits:
            parts = _cut(data, outcome.split_seed)
        for part, rows in parts.items():
            source = "auto" if part != split else "uploaded"
            written[part] = {"rows": int(rows.sum()), "source": source}
            if part != split:
                written[part]["seed"] = outcome.split_seed
            statistics[part] = of_split(data.census, rows, data.scores)
        part_rows(data.path, {split_path(folder, part): rows for part, rows in parts.items()})
        data.path.unlink()
    for path in folder.glob("source-*-*"):  # what archives were unpacked to
        path.unlink()
    return _in_order(written), _in_order(statistics)


def _in_order(splits: Mapping[str, Any]) -> dict[str, Any]:
    return {split: splits[split] for split in SPLITS if split in splits}


def _cut(train: SplitData, seed: int) -> dict[str, NDArray[np.bool_]]:
    validation = split_off_validation(train.census, seed)
    if not validation:
        message = "no row can be spared for validation: give the labels more different texts, or send a validation file"
        raise InvalidInputError(message, [Problem("too_few_rows", message, train.name)], code="invalid_dataset")
    chosen = np.zeros(len(train.census), bool)
    chosen[validation] = True
    return {"train": ~chosen, "validation": chosen}
