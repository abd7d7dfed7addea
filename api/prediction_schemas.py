"""What travels over HTTP about files that are answered whole."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.examples import shown_as
from api.schemas import JobError, ProblemItem
from models_store.predictions import OutputFormat
from models_store.tables import FilePrediction, PredictionStatus
from models_store.tasks import TaskName


class PredictionProgress(BaseModel):
    """How far it is."""

    fraction: float
    rows: Annotated[int | None, Field(description="Of the file; None until they are counted")]
    rows_done: int
    rows_per_second: float | None
    eta_seconds: int | None


class FilePredictionOut(BaseModel):
    """A file that a version of a model answers."""

    model_config = shown_as("file_prediction")

    id: str
    object: Literal["prediction"] = "prediction"
    status: PredictionStatus
    model: str
    version: int
    task: TaskName
    file_name: str
    format: Annotated[OutputFormat, Field(description="Of the file of answers")]
    columns: Annotated[
        dict[str, str], Field(description="Our field → the file's column; of a workbook complete once it is read")
    ]
    progress: PredictionProgress
    failed_rows: Annotated[int, Field(description="Rows without an answer; their `prediction_error` says why")]
    error: JobError | None
    errors: Annotated[list[ProblemItem] | None, Field(description="Rows that cannot be read: the first hundred")]
    attempt: int
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: FilePrediction) -> FilePredictionOut:
        """The prediction of a table row."""
        error = JobError(code=row.error_code, message=row.error_message or "") if row.error_code else None
        return cls.model_validate({**row.model_dump(), "progress": _progress(row), "error": error})


def _progress(row: FilePrediction) -> PredictionProgress:
    speed = row.rows_per_second
    left = None if row.rows is None else row.rows - row.rows_done
    runs = row.status == PredictionStatus.RUNNING
    return PredictionProgress(
        fraction=round(row.rows_done / row.rows, 4) if row.rows else 0.0,
        rows=row.rows,
        rows_done=row.rows_done,
        rows_per_second=speed,
        eta_seconds=round(left / speed) if runs and speed and left is not None else None,
    )
