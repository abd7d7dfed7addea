"""What travels over HTTP about data sets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.examples import shown_as
from api.schemas import ProblemItem
from models_store.datasets import Outcome, marked
from models_store.errors import InvalidInputError
from models_store.tables import Dataset, DatasetStatus
from models_store.tasks import TaskName
from models_store.tasks.bio import Scheme


class LabelCount(BaseModel):
    """A label and how often it stands in the training file."""

    label: str
    count: int


class SplitOut(BaseModel):
    """Rows of a split, and whether it was uploaded or cut off the training file."""

    rows: int
    source: Literal["uploaded", "auto"]
    seed: Annotated[int | None, Field(description="By which its rows were drawn, if they were")] = None


class WarningOut(BaseModel):
    """Something about the data that is no error and yet worth knowing."""

    code: str
    message: str
    file: str | None = None
    lines: list[int]


class DatasetOut(BaseModel):
    """A data set."""

    model_config = shown_as("dataset")

    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    task: TaskName
    status: Annotated[DatasetStatus, Field(description="`validating` while a large upload is being read")]
    format: str
    size_bytes: int
    sha256: str
    columns: dict[str, str]
    scheme: Annotated[Scheme | None, Field(description="Tagging: how the training file's tags mark entities")] = None
    multi_label: bool = Field(description="Classification: whether a text may have several labels, or none")
    labels: list[LabelCount]
    splits: dict[str, SplitOut]
    skipped_rows: int = Field(description="Rows that are wrong and were left out (`on_error=skip`)")
    warnings: list[WarningOut]
    rows_read: Annotated[int, Field(description="So far, while it is validating; in the end all")]
    errors: Annotated[list[ProblemItem] | None, Field(description="Why it is invalid: the first hundred")]
    error_count: int
    created_at: datetime

    @classmethod
    def of(cls, row: Dataset) -> DatasetOut:
        """The data set of a table row."""
        found = cls.model_validate(row, from_attributes=True)
        found.scheme = Scheme(row.schema_["scheme"]) if row.schema_.get("scheme") else None
        return found


class LabelRows(BaseModel):
    """In how many rows a label stands."""

    label: str
    rows: int


class BinOut(BaseModel):
    """Rows whose length is at most this, and more than half of it."""

    up_to: int
    rows: int


class SpreadOut(BaseModel):
    """How long the rows of a split are."""

    min: int
    median: int
    p95: int
    p99: int
    max: int
    mean: float
    histogram: list[BinOut]


class LongerOut(BaseModel):
    """Rows of which the encoder cannot read all at once."""

    max_length: Annotated[int, Field(description="Word pieces that it reads at once")]
    rows: int
    examples: Annotated[list[int], Field(description="Places of the first of them within the split, from 0")]


class PiecesOut(SpreadOut):
    """How long they are in word pieces of an encoder."""

    counted_rows: Annotated[int, Field(description="Of a large split some rows are counted, evenly drawn")]
    longer_than_encoder: LongerOut


class ScoreBinOut(BaseModel):
    """Rows whose scores are in a range."""

    lower: float
    upper: float
    rows: int


class ScoresOut(BaseModel):
    """How the scores of graded pairs are spread."""

    min: float
    mean: float
    max: float
    histogram: list[ScoreBinOut]


class SplitStatistics(BaseModel):
    """What the rows of a split are like."""

    rows: int
    labels: list[LabelRows]
    characters: SpreadOut
    scores: Annotated[ScoresOut | None, Field(description="Of graded pairs")] = None
    word_pieces: PiecesOut | None = None


class StatisticsOut(BaseModel):
    """What the rows of a data set are like."""

    model_config = shown_as("statistics")

    object: Literal["dataset.statistics"] = "dataset.statistics"
    dataset_id: str
    encoder: str | None
    splits: dict[str, SplitStatistics]


class ValidationOut(BaseModel):
    """What an upload would come to."""

    model_config = shown_as("validation")

    object: Literal["dataset.validation"] = "dataset.validation"
    valid: Annotated[bool, Field(description="Whether it would be taken")]
    format: str | None = None
    columns: dict[str, str] = {}
    scheme: Annotated[Scheme | None, Field(description="Tagging: how the training file's tags mark entities")] = None
    labels: list[LabelCount] = []
    splits: dict[str, SplitOut] = {}
    statistics: dict[str, SplitStatistics] = {}
    errors: Annotated[list[ProblemItem], Field(description="The first hundred")] = []
    error_count: int = 0
    skipped: Annotated[list[ProblemItem], Field(description="The first hundred things wrong with skipped rows")] = []
    skipped_rows: int = 0
    warnings: list[WarningOut] = []

    @classmethod
    def of(cls, outcome: Outcome, splits: dict[str, Any], statistics: dict[str, Any]) -> ValidationOut:
        """The answer to what came of reading the files."""
        train = outcome.splits.get("train")
        report, findings = outcome.report, outcome.findings
        return cls.model_validate(
            {
                "valid": report.errors.count == 0,
                "format": train.table.format if train else None,
                "columns": train.table.columns if train else {},
                "scheme": train.table.scheme if train else None,
                "labels": findings.labels if findings else [],
                "splits": splits,
                "statistics": statistics,
                "errors": [problem.to_json() for problem in report.errors.kept],
                "error_count": report.errors.count,
                "skipped": [problem.to_json() for problem in report.skipped.kept],
                "skipped_rows": report.skipped_rows,
                "warnings": outcome.warnings,
            }
        )

    @classmethod
    def unreadable(cls, error: InvalidInputError) -> ValidationOut:
        """The answer for files that cannot be read to their end."""
        errors = [ProblemItem.model_validate(problem.to_json()) for problem in error.problems]
        return cls(valid=False, errors=errors, error_count=error.error_count)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a preview shows it: tagged text with its text and its entities, besides."""
    if "tags" not in row:
        return row
    text, entities = marked(row)
    return {"tokens": row["tokens"], "tags": row["tags"], "text": text, "entities": entities}
