"""Files to be answered: what is asked for, where it stands, and where its parts lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from sqlmodel import Session, col, select

from models_store.artifacts import ArtifactStore
from models_store.database import Database, db_now
from models_store.datasets.formats import needs_workbook, open_sheet, open_single
from models_store.datasets.report import Report
from models_store.datasets.source import SourceFile, check_encoding, display_name
from models_store.errors import ConflictError, NotFoundError
from models_store.leases import MAX_DEATHS, Turns
from models_store.predictions.columns import check_mapping, input_columns
from models_store.tables import FilePrediction, ModelVersion, PredictionStatus
from models_store.tasks import task_from_config

UPLOADED = "source-train"  # what an uploaded file is called on the disk
OUTPUT = "answers"
_CHUNK = 1024 * 1024
TURNS = Turns(
    FilePrediction,
    PredictionStatus.RUNNING,
    given_up={
        "status": PredictionStatus.FAILED,
        "error_code": "attempts_exhausted",
        "error_message": f"given up: {MAX_DEATHS} processes have died at the same rows",
    },
)


class OutputFormat(StrEnum):
    """How the answers are written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a file.

    Attributes:
        columns: Our field → the file's column, as far as the caller told.
        format: Of the answers; by default like that of the file.
        encoding: Of the file's text.
    """

    columns: Mapping[str, object] = field(default_factory=dict)
    format: OutputFormat | None = None
    encoding: str | None = None


def submit(
    db: Database,
    store: ArtifactStore,
    version: ModelVersion,
    task_config: Mapping[str, Any],
    stream: BinaryIO,
    filename: str | None,
    question: Question,
    *,
    most_unpacked: int | None,
) -> FilePrediction:
    """Store a file, to be answered by a version of a model.

    A workbook, which cannot be read in part, is looked into by the process that answers it.

    Raises:
        UnreadableFileError: Its beginning cannot be read.
        InvalidDatasetError: It lacks a column that the model reads.
        InvalidInputError: The mapping or the encoding makes no sense.
        TooLargeError: It unpacks to more than it may.
    """
    task = task_from_config(dict(task_config))
    with store.staging() as folder:
        path = folder / UPLOADED
        with path.open("wb") as target:
            while chunk := stream.read(_CHUNK):
                target.write(chunk)
        source = SourceFile(display_name(filename, "file"), path, most_unpacked, check_encoding(question.encoding))
        columns = check_mapping(question.columns, task.name)
        form = OutputFormat.CSV
        if not needs_workbook(source):
            sheet = open_sheet(open_single(source, folder), Report())
            columns = input_columns(source, sheet, task.name, columns)
            form = _LIKE.get(sheet.format, form)
        row = FilePrediction(
            model=version.model,
            version=version.version,
            artifact=version.artifact,
            task=task.name.value,
            file_name=source.name,
            format=(question.format or form).value,
            columns=columns,
            encoding=question.encoding,
        )
        for other in folder.iterdir():
            if other != path:  # it is unpacked once more by whoever answers it
                other.unlink()
        store.keep(folder, row.id)
    with db.transaction() as session:
        session.add(row)
    return row


_LIKE = {"json": OutputFormat.JSONL, "parquet": OutputFormat.PARQUET, "arrow": OutputFormat.PARQUET}


def get(db: Database, prediction_id: str) -> FilePrediction:
    """One by its id.

    Raises:
        NotFoundError: There is none.
    """
    with db.reading() as session:
        return _find(session, prediction_id)


def _find(session: Session, prediction_id: str, *, lock: bool = False) -> FilePrediction:
    found = session.get(FilePrediction, prediction_id, with_for_update=lock)
    if found is None:
        raise NotFoundError(f"prediction {prediction_id!r} does not exist", code="prediction_not_found")
    return found


def list_predictions(
    db: Database, *, limit: int, after: str | None = None, model: str | None = None
) -> list[FilePrediction]:
    """All of them, the newest first, from the one after ``after`` on."""
    query = select(FilePrediction).order_by(col(FilePrediction.id).desc()).limit(limit)
    if after:
        query = query.where(col(FilePrediction.id) < after)
    if model:
        query = query.where(FilePrediction.model == model)
    with db.reading() as session:
        return list(session.exec(query))


def cancel(db: Database, prediction_id: str) -> FilePrediction:
    """Ask for the end of one that has not ended.

    Raises:
        NotFoundError: There is none.
        ConflictError: It has ended.
    """
    with db.transaction() as session:
        found = _find(session, prediction_id, lock=True)
        if found.status != PredictionStatus.RUNNING:
            raise ConflictError(f"prediction {prediction_id!r} has ended: it is {found.status}")
        found.cancel_requested = True
        if found.lease_until is None:  # nobody is at it
            found.status = PredictionStatus.CANCELLED
            ended: Any = db_now()
            found.finished_at = ended
        session.add(found)
    return get(db, prediction_id)


def delete(db: Database, store: ArtifactStore, prediction_id: str) -> None:
    """Remove one that has ended, with its files.

    Raises:
        NotFoundError: There is none.
        ConflictError: It has not ended.
    """
    with db.transaction() as session:
        found = _find(session, prediction_id, lock=True)
        if found.status == PredictionStatus.RUNNING:
            raise ConflictError(f"prediction {prediction_id!r} has not ended; cancel it first")
        session.delete(found)
    store.drop_kept(prediction_id)


def output_path(store: ArtifactStore, row: FilePrediction) -> Path:
    """The file with the answers.

    Raises:
        ConflictError: There is none yet, or there never will be.
    """
    if row.status != PredictionStatus.SUCCEEDED:
        raise ConflictError(f"prediction {row.id!r} is {row.status}: there is no file of answers", code="no_answers")
    return store.kept(row.id) / f"{OUTPUT}.{row.format}"
