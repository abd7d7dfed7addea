"""Data sets: create from uploads, list, preview, delete, and read a split for training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from sqlmodel import col, select
from tokenizers import Tokenizer

from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets.columns import check_mapping
from models_store.datasets.formats import Opened, open_upload
from models_store.datasets.ingest import Collector, SplitData, Tell
from models_store.datasets.labels import check_separator
from models_store.datasets.report import OnError, Report
from models_store.datasets.rows import ArrowRows
from models_store.datasets.skipped import Skipped, listed
from models_store.datasets.source import SourceFile, check_encoding, display_name
from models_store.datasets.splits import split_off_validation
from models_store.datasets.statistics import of_pieces, of_split
from models_store.datasets.tables import Reading
from models_store.datasets.validation import MAX_LINES, Findings, examine, warnings
from models_store.datasets.writing import part_rows
from models_store.errors import ConflictError, InvalidDatasetError, InvalidInputError, NotFoundError, Problem
from models_store.tables import TERMINAL_STATUSES, Dataset, DatasetStatus, TrainingJob
from models_store.tasks import Row, TaskName

SPLITS = ("train", "validation", "test")
SKIPPED = "skipped.jsonl"
_MIN_TRAIN_ROWS = 4
_CHUNK = 1024 * 1024
_PACKED_WEIGHT = 8
_NOTHING: dict[str, Any] = {"format": "", "columns": {}, "schema_": {}, "labels": [], "splits": {}, "warnings": []}


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a request: its split, the name the user gave it, its bytes."""

    split: str
    filename: str | None
    stream: BinaryIO


@dataclass(frozen=True, slots=True)
class Wishes:
    """How an upload is to be understood.

    Attributes:
        task: What its rows are for.
        name: Of the data set; by default the training file's.
        columns: Our field → the file's column.
        label_separator: Stands between the labels of a row that may have several.
        encoding: Of the text; by default UTF-8, or what a byte order mark says.
        on_error: What is done with rows that are wrong.
    """

    task: TaskName
    name: str | None = None
    columns: Mapping[str, object] = field(default_factory=dict)
    label_separator: str | None = None
    encoding: str | None = None
    on_error: OnError = OnError.REFUSE

    def to_json(self) -> dict[str, Any]:
        """All of it, in a form that is the same for the same wishes."""
        return {
            "task": self.task.value,
            "name": self.name,
            "columns": dict(sorted(self.columns.items())),
            "label_separator": self.label_separator,
            "encoding": check_encoding(self.encoding),
            "on_error": self.on_error.value,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of reading the files.

    Attributes:
        report: What is wrong.
        splits: The rows of each split, unless none could be read.
        findings: What follows from all of them, unless the files are refused.
        warnings: Worth knowing.
    """

    report: Report
    splits: Mapping[str, SplitData]
    findings: Findings | None
    warnings: list[dict[str, Any]]

    def accepted(self) -> Findings:
        """The findings of files that are not refused.

        Raises:
            InvalidDatasetError: They are.
        """
        if self.findings is None:
            raise InvalidDatasetError(self.report.errors)
        return self.findings


def create(
    db: Database,
    store: ArtifactStore,
    uploads: Sequence[Upload],
    wishes: Wishes,
    *,
    most_unpacked: int | None = None,
    at_once: int | None = None,
) -> Dataset:
    """Validate the files and store them as a data set; if it is refused nothing is stored.

    The same files, to be understood alike, are not stored again: the data set that they have made is handed back.

    Args:
        db: The database.
        store: Where the files go.
        uploads: The files.
        wishes: How they are to be understood.
        most_unpacked: Bytes that each may unpack to.
        at_once: Bytes up to which files are read now; larger ones are only stored, to be read by somebody who has
            claimed them (`pending`). None: any.

    Raises:
        UnreadableFileError: A file cannot be decoded or parsed.
        InvalidDatasetError: Rows are wrong; carries each with file, line and reason.
        InvalidInputError: The column mapping, the label separator or the encoding makes no sense.
        TooLargeError: A file unpacks to more than it may.
    """
    reading = check(wishes)
    with store.staging() as folder:
        saved = _save(uploads, folder, wishes, most_unpacked)
        if (known := _known(db, saved.fingerprint)) is not None:
            return known
        dataset = Dataset(
            name=saved.name,
            task=wishes.task,
            size_bytes=saved.size,
            sha256=saved.sha256,
            fingerprint=saved.fingerprint,
            **_NOTHING,
        )
        if at_once is not None and saved.weight > at_once:
            dataset.status = DatasetStatus.VALIDATING
            dataset.wishes = {**wishes.to_json(), "files": {split: s.name for split, s in saved.sources.items()}}
            store.keep(folder, dataset.id)
        else:
            outcome = read(saved.sources, reading, wishes.on_error, folder)
            for name, value in stored(outcome, folder).items():
                setattr(dataset, name, value)
            store.publish(folder, dataset_key(dataset.id), manifest_of(dataset.id, dataset.schema_, dataset.splits))
    with db.transaction() as session:
        session.add(dataset)
    return dataset


def stored(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Give the rows their places in the folder; what the data set then tells of itself, by its columns.

    Raises:
        InvalidDatasetError: The files are refused.
        InvalidInputError: No row can be spared for validation.
    """
    findings = outcome.accepted()
    train = outcome.splits["train"].table
    splits, statistics = _write_splits(outcome, folder)
    return {
        "format": train.format,
        "columns": train.columns,
        "schema_": findings.schema,
        "labels": findings.labels,
        "splits": splits,
        "statistics": statistics,
        "skipped_rows": outcome.report.skipped_rows,
        "warnings": outcome.warnings,
    }


def dry_run(
    store: ArtifactStore, uploads: Sequence[Upload], wishes: Wishes, *, most_unpacked: int | None = None
) -> tuple[Outcome, dict[str, Any], dict[str, Any]]:
    """Validate the files as `create` would, and store nothing.

    Returns:
        What came of it, and the splits with their statistics as they would be; both empty where the files are refused.

    Raises:
        UnreadableFileError: A file cannot be decoded or parsed.
        InvalidInputError: The column mapping, the label separator or the encoding makes no sense.
        TooLargeError: A file unpacks to more than it may.
    """
    reading = check(wishes)
    with store.staging() as folder:
        saved = _save(uploads, folder, wishes, most_unpacked)
        outcome = read(saved.sources, reading, wishes.on_error, folder)
        if outcome.findings is None:
            return outcome, {}, {}
        try:
            return outcome, *_write_splits(outcome, folder)
        except InvalidInputError as error:
            for problem in error.problems:
                outcome.report.wrong(problem)
            return outcome, {}, {}


def _known(db: Database, fingerprint: str) -> Dataset | None:
    """The data set that the very same upload has made before, if it is still there."""
    same = select(Dataset).where(Dataset.fingerprint == fingerprint, Dataset.status != DatasetStatus.INVALID)
    with db.reading() as session:
        return session.exec(same.limit(1)).first()


def check(wishes: Wishes) -> Reading:
    """How to read the files.

    Raises:
        InvalidInputError: The column mapping, the label separator or the encoding makes no sense.
    """
    mapping = check_mapping(wishes.columns, wishes.task)
    check_separator(wishes.label_separator, wishes.task)
    check_encoding(wishes.encoding)
    return Reading(wishes.task, mapping, wishes.label_separator)


def read(
    sources: Mapping[str, SourceFile], reading: Reading, on_error: OnError, folder: Path, tell: Tell = lambda _: None
) -> Outcome:
    """Read files that lie on the disk.

    Args:
        sources: By the split for which each was uploaded.
        reading: How.
        on_error: What is done with rows that are wrong.
        folder: For the rows, and for what has to be unpacked.
        tell: Is told now and then how many rows have been read.

    Raises:
        UnreadableFileError: A file cannot be decoded or parsed.
        TooLargeError: A file unpacks to more than it may.
    """
    with Skipped(folder / SKIPPED) as skipped:
        return _read(sources, reading, Report(on_error, skipped.add), folder, tell)


def _read(sources: Mapping[str, SourceFile], reading: Reading, report: Report, folder: Path, tell: Tell) -> Outcome:
    opened = _opened(sources, folder)
    parts = Reading(reading.task, reading.mapping, reading.label_separator, parts=len(opened) == 1)
    splits = Collector(parts, report, folder, tell).read(opened)
    # What refused rows would have said about the others is unknown.
    findings = None if report.errors.count else examine(reading.task, splits, report)
    if findings is not None:
        _check_size(splits["train"], report)
    if report.errors.count or findings is None:
        return Outcome(report, splits, None, [])
    return Outcome(report, splits, findings, [*_left_out(report), *warnings(splits)])


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
    opened = {}
    for split, source in sources.items():
        found = open_upload(source, folder)
        if len(found) > 1:
            message = "it holds several splits; send it alone"
            raise source.unreadable("unclear_splits", message)
        opened[split] = found["train"]
    return opened


@dataclass(frozen=True, slots=True)
class _Saved:
    """An upload on the disk.

    Attributes:
        sources: Its files by their splits.
        name: Of the data set.
        sha256: Of the training file.
        size: Of all files, in bytes.
        weight: The same, packed ones counting for what they may unpack to.
        fingerprint: The same for the same files that are to be understood alike.
    """

    sources: dict[str, SourceFile]
    name: str
    sha256: str
    size: int
    weight: int
    fingerprint: str


def _save(uploads: Sequence[Upload], folder: Path, wishes: Wishes, most: int | None) -> _Saved:
    """Stream the uploads to disk."""
    sources: dict[str, SourceFile] = {}
    digests: dict[str, str] = {}
    size = weight = 0
    for upload in uploads:
        path = folder / f"source-{upload.split}"
        sha256 = hashlib.sha256()
        with path.open("wb") as target:
            while chunk := upload.stream.read(_CHUNK):
                sha256.update(chunk)
                size += target.write(chunk)
        name = display_name(upload.filename, upload.split)
        sources[upload.split] = SourceFile(name, path, most, check_encoding(wishes.encoding))
        digests[upload.split] = sha256.hexdigest()
        weight += path.stat().st_size * (_PACKED_WEIGHT if sources[upload.split].is_dense else 1)
    name = (wishes.name or Path(sources["train"].name).stem)[:200]
    identity = json.dumps({**wishes.to_json(), "name": name, "files": digests}, sort_keys=True)
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()
    return _Saved(sources, name, digests["train"], size, weight, fingerprint)


def _check_size(train: SplitData, report: Report) -> None:
    rows = len(train.census)
    if not report.errors.count and rows < _MIN_TRAIN_ROWS:
        message = f"{rows} rows are too few to train on; give at least {_MIN_TRAIN_ROWS}"
        report.wrong(Problem("too_few_rows", message, train.name))


def _write_splits(outcome: Outcome, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
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
            parts = _cut(data)
        for part, rows in parts.items():
            source = "auto" if part != split else "uploaded"
            written[part] = {"rows": int(rows.sum()), "source": source}
            statistics[part] = of_split(data.census, rows)
        part_rows(data.path, {_split_path(folder, part): rows for part, rows in parts.items()})
        data.path.unlink()
    for path in folder.glob("source-*-*"):  # what archives were unpacked to
        path.unlink()
    return tuple({split: found[split] for split in SPLITS if split in found} for found in (written, statistics))  # type: ignore[return-value]


def _cut(train: SplitData) -> dict[str, NDArray[np.bool_]]:
    validation = split_off_validation(train.census)
    if not validation:
        message = "no row can be spared for validation: give the labels more different texts, or send a validation file"
        raise InvalidInputError(message, [Problem("too_few_rows", message, train.name)], code="invalid_dataset")
    chosen = np.zeros(len(train.census), bool)
    chosen[validation] = True
    return {"train": ~chosen, "validation": chosen}


def manifest_of(dataset_id: str, schema: dict[str, Any], splits: dict[str, Any]) -> dict[str, Any]:
    """What the manifest of a data set's files says beside their hashes."""
    return {"kind": "dataset", "id": dataset_id, "schema": schema, "splits": splits}


def get(db: Database, dataset_id: str) -> Dataset:
    """A data set by its id.

    Raises:
        NotFoundError: No such data set.
    """
    with db.reading() as session:
        dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise NotFoundError(f"dataset {dataset_id!r} does not exist", code="dataset_not_found")
    return dataset


def get_ready(db: Database, dataset_id: str) -> Dataset:
    """A data set whose rows can be had.

    Raises:
        NotFoundError: No such data set.
        ConflictError: Its files have not been read yet, or were found wrong.
    """
    dataset = get(db, dataset_id)
    if dataset.status == DatasetStatus.VALIDATING:
        message = f"dataset {dataset_id!r} is still being validated; ask for it until its status is ready"
        raise ConflictError(message, code="dataset_not_ready")
    if dataset.status == DatasetStatus.INVALID:
        message = f"dataset {dataset_id!r} is invalid: its `errors` say why; upload it mended"
        raise ConflictError(message, code="dataset_invalid")
    return dataset


def list_datasets(db: Database, *, limit: int, after: str | None = None, task: str | None = None) -> list[Dataset]:
    """Data sets, the newest first, from the one after ``after`` on."""
    query = select(Dataset).order_by(col(Dataset.id).desc()).limit(limit)
    if after:
        query = query.where(col(Dataset.id) < after)
    if task:
        query = query.where(Dataset.task == task)
    with db.reading() as session:
        return list(session.exec(query))


def preview(store: ArtifactStore, dataset: Dataset, *, split: str, limit: int, after: int = 0) -> list[Row]:
    """Some rows of a split, from the one after so many on.

    Raises:
        NotFoundError: The data set has no such split.
    """
    rows = rows_of(store, dataset, split)
    return list(rows[after : after + limit])


def rows_of(store: ArtifactStore, dataset: Dataset, split: str) -> Sequence[Row]:
    """All rows of a split, read as they are needed.

    Raises:
        NotFoundError: The data set has no such split.
    """
    if split not in dataset.splits:
        raise NotFoundError(f"dataset {dataset.id!r} has no {split} split; it has {', '.join(dataset.splits)}")
    return read_split(store.path(dataset_key(dataset.id)), split)


def skipped(store: ArtifactStore, dataset: Dataset, *, limit: int, after: int = 0) -> list[dict[str, Any]]:
    """What was wrong with rows that were left out, in order, from the one after so many on."""
    return list(listed(store.path(dataset_key(dataset.id)) / SKIPPED, limit=limit, after=after))


def piece_lengths(store: ArtifactStore, dataset: Dataset, tokenizer: Tokenizer, most: int) -> dict[str, Any]:
    """Lengths of each split in word pieces of an encoder, which reads ``most`` at once."""
    folder = store.path(dataset_key(dataset.id))
    return {split: of_pieces(read_split(folder, split), tokenizer, most) for split in dataset.splits}


def delete(db: Database, store: ArtifactStore, dataset_id: str) -> None:
    """Delete a data set and its files.

    Raises:
        NotFoundError: No such data set.
        ConflictError: A job that has not ended uses it.
    """
    with db.transaction() as session:
        dataset = session.get(Dataset, dataset_id, with_for_update=True)
        if dataset is None:
            raise NotFoundError(f"dataset {dataset_id!r} does not exist", code="dataset_not_found")
        busy = session.exec(
            select(TrainingJob.id).where(
                TrainingJob.dataset_id == dataset_id, col(TrainingJob.status).not_in(TERMINAL_STATUSES)
            )
        ).first()
        if busy:
            raise ConflictError(f"dataset {dataset_id!r} is used by job {busy}", code="dataset_in_use")
        session.delete(dataset)
    store.delete(dataset_key(dataset_id))
    store.drop_kept(dataset_id)


def read_split(folder: Path, split: str) -> Sequence[Row]:
    """The rows of a split from the data set's folder; none if the split does not exist."""
    path = _split_path(folder, split)
    return ArrowRows(path) if path.is_file() else []


def dataset_key(dataset_id: str) -> str:
    """Where the data set's files lie in the artifact store."""
    return f"datasets/{dataset_id}"


def _split_path(folder: Path, split: str) -> Path:
    return folder / f"{split}.arrow"
