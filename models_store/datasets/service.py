"""Data sets: create from uploads, list, preview, delete, and read a split for training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from sqlmodel import col, select

from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets.columns import check_mapping
from models_store.datasets.labels import check_separator
from models_store.datasets.readers import Table, read_table
from models_store.datasets.rows import ArrowRows
from models_store.datasets.source import SourceFile, display_name
from models_store.datasets.splits import split_off_validation
from models_store.datasets.validation import Findings, examine, warnings
from models_store.errors import ConflictError, InvalidDatasetError, NotFoundError, Problem, ProblemList
from models_store.tables import TERMINAL_STATUSES, Dataset, TrainingJob
from models_store.tasks import Row, TaskName

SPLITS = ("train", "validation", "test")
_MIN_TRAIN_ROWS = 4
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a request: its split, the name the user gave it, its bytes."""

    split: str
    filename: str | None
    stream: BinaryIO


def create(
    db: Database,
    store: ArtifactStore,
    uploads: Sequence[Upload],
    *,
    task: TaskName,
    name: str | None = None,
    columns: Mapping[str, object] | None = None,
    label_separator: str | None = None,
) -> Dataset:
    """Validate the files and store them as a data set; on any error nothing is stored.

    Raises:
        UnreadableFileError: A file cannot be decoded or parsed.
        InvalidDatasetError: Rows are wrong; carries each with file, line and reason.
        InvalidInputError: The column mapping or the label separator does not fit the task.
    """
    mapping = check_mapping(columns or {}, task)
    check_separator(label_separator, task)
    with store.staging() as folder:
        sources, sha256, size = _save(uploads, folder)
        problems = ProblemList()
        tables = {
            split: read_table(source, task, mapping, problems, label_separator) for split, source in sources.items()
        }
        if problems.count:  # what refused rows would have said about the others is unknown
            raise InvalidDatasetError(problems)
        findings = examine(task, tables, problems)
        _check_size(tables["train"], problems)
        if problems.count:
            raise InvalidDatasetError(problems)
        notes = warnings(tables)
        dataset = Dataset(
            name=(name or Path(sources["train"].name).stem)[:200],
            task=task,
            format=tables["train"].format,
            size_bytes=size,
            sha256=sha256,
            columns=tables["train"].columns,
            schema_=findings.schema,
            labels=findings.labels,
            splits=_write_splits(tables, folder),
            warnings=notes,
        )
        store.publish(folder, dataset_key(dataset.id), _manifest(dataset, findings))
    with db.transaction() as session:
        session.add(dataset)
    return dataset


def _save(uploads: Sequence[Upload], folder: Path) -> tuple[dict[str, SourceFile], str, int]:
    """Stream the uploads to disk; SHA-256 is that of the training file, the size that of all."""
    sources: dict[str, SourceFile] = {}
    digest, size = "", 0
    for upload in uploads:
        path = folder / f"source-{upload.split}"
        sha256 = hashlib.sha256()
        with path.open("wb") as target:
            while chunk := upload.stream.read(_CHUNK):
                sha256.update(chunk)
                size += target.write(chunk)
        sources[upload.split] = SourceFile(display_name(upload.filename, upload.split), path)
        digest = digest or sha256.hexdigest()
    return sources, digest, size


def _check_size(train: Table, problems: ProblemList) -> None:
    if not problems.count and len(train.rows) < _MIN_TRAIN_ROWS:
        message = f"{len(train.rows)} rows are too few to train on; give at least {_MIN_TRAIN_ROWS}"
        problems.add(Problem("too_few_rows", message, train.source.name))


def _write_splits(tables: Mapping[str, Table], folder: Path) -> dict[str, Any]:
    rows: dict[str, list[dict[str, Any]]] = {split: [r.values for r in t.rows] for split, t in tables.items()}
    origin = dict.fromkeys(rows, "uploaded")
    if "validation" not in rows:
        train, validation = split_off_validation(rows["train"])
        if not validation:
            raise InvalidDatasetError(_nothing_to_validate_with(tables["train"]))
        rows["validation"] = [rows["train"][i] for i in validation]
        rows["train"] = [rows["train"][i] for i in train]
        origin["validation"] = "auto"
    for split, members in rows.items():
        table = pa.Table.from_pylist(members)
        with (
            pa.OSFile(str(_split_path(folder, split)), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table, max_chunksize=10_000)
    return {split: {"rows": len(rows[split]), "source": origin[split]} for split in SPLITS if split in rows}


def _nothing_to_validate_with(train: Table) -> ProblemList:
    problems = ProblemList()
    message = "no row can be spared for validation: give the labels more different texts, or send a validation file"
    problems.add(Problem("too_few_rows", message, train.source.name))
    return problems


def _manifest(dataset: Dataset, findings: Findings) -> dict[str, Any]:
    return {"kind": "dataset", "id": dataset.id, "schema": findings.schema, "splits": dataset.splits}


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


def list_datasets(db: Database, *, limit: int, after: str | None = None, task: str | None = None) -> list[Dataset]:
    """Data sets, the newest first, from the one after ``after`` on."""
    query = select(Dataset).order_by(col(Dataset.id).desc()).limit(limit)
    if after:
        query = query.where(col(Dataset.id) < after)
    if task:
        query = query.where(Dataset.task == task)
    with db.reading() as session:
        return list(session.exec(query))


def preview(store: ArtifactStore, dataset: Dataset, *, split: str, limit: int) -> list[Row]:
    """The first rows of a split.

    Raises:
        NotFoundError: The data set has no such split.
    """
    if split not in dataset.splits:
        raise NotFoundError(f"dataset {dataset.id!r} has no {split} split; it has {', '.join(dataset.splits)}")
    with pa.memory_map(str(_split_path(store.path(dataset_key(dataset.id)), split))) as source:
        return list(pa.ipc.open_file(source).read_all().slice(0, limit).to_pylist())


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


def read_split(folder: Path, split: str) -> Sequence[Row]:
    """The rows of a split from the data set's folder; none if the split does not exist."""
    path = _split_path(folder, split)
    return ArrowRows(path) if path.is_file() else []


def dataset_key(dataset_id: str) -> str:
    """Where the data set's files lie in the artifact store."""
    return f"datasets/{dataset_id}"


def _split_path(folder: Path, split: str) -> Path:
    return folder / f"{split}.arrow"
