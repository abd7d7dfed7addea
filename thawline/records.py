"""What the service answers, as frozen dataclasses. `raw` is the whole JSON object, later servers' fields included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from thawline.frames import pandas_module

if TYPE_CHECKING:
    import pandas

TERMINAL_STATUSES = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, kw_only=True)
class Record:
    """Something that the service told."""

    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Problem(Record):
    """One thing that is wrong.

    Attributes:
        code: Stable name, such as ``missing_label``.
        message: What is wrong and what to do.
        file: The file it stands in.
        line: Physical line in that file, from 1.
        column: Column or request field.
        value: What stands there, cut short.
        row: The whole row, as the file has it, cut short.
    """

    code: str
    message: str
    file: str | None = None
    line: int | None = None
    column: str | None = None
    value: str | None = None
    row: str | None = None

    def __str__(self) -> str:
        places = [self.file, f"line {self.line}" if self.line else None, self.column]
        place = ", ".join(part for part in places if part)
        return f"{place}: {self.message}" if place else self.message


@dataclass(frozen=True, kw_only=True)
class DataWarning(Record):
    """Something about the data that is no error and yet worth knowing; `lines` are the first of them."""

    code: str
    message: str
    file: str | None = None
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LabelCount(Record):
    """A label and how often it stands in the training rows."""

    label: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Split(Record):
    """Rows of a split, and whether they were ``uploaded`` or cut off the training rows (``auto``)."""

    rows: int
    source: str = "uploaded"
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset(Record):
    """A data set; `status` is ``validating`` while a large upload is being read, then ``ready`` or ``invalid``."""

    id: str
    name: str
    task: str
    status: str = "ready"
    format: str = ""
    size_bytes: int = 0
    sha256: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    multi_label: bool = False
    labels: tuple[LabelCount, ...] = ()
    splits: dict[str, Split] = field(default_factory=dict)
    skipped_rows: int = 0
    warnings: tuple[DataWarning, ...] = ()
    rows_read: int = 0
    errors: tuple[Problem, ...] | None = None
    error_count: int = 0
    created_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Validation(Record):
    """What an upload would come to; `valid` tells whether it would be taken."""

    valid: bool
    format: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    labels: tuple[LabelCount, ...] = ()
    splits: dict[str, Split] = field(default_factory=dict)
    statistics: dict[str, Any] = field(default_factory=dict)
    errors: tuple[Problem, ...] = ()
    error_count: int = 0
    skipped: tuple[Problem, ...] = ()
    skipped_rows: int = 0
    warnings: tuple[DataWarning, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Progress(Record):
    """How far a job is: of all (`fraction`, 0 to 1) and of its present phase."""

    fraction: float = 0.0
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    examples_per_second: float | None = None
    eta_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelOfJob(Record):
    """The model that a job trains; the version is known once it is published."""

    name: str
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Failure(Record):
    """Why something failed or has no answer."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Event(Record):
    """Something that happened to a job: `type` is ``phase``, ``metrics``, ``message`` or ``status``."""

    id: int
    created_at: datetime
    level: str = "info"
    type: str = "message"
    message: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class Metrics(dict[str, dict[str, float]]):
    """Metrics by split: ``{"validation": {"accuracy": 0.93}}``; a split without rows has none."""

    @classmethod
    def of(cls, told: Mapping[str, Any] | None) -> Metrics:
        """Of what the service tells."""
        return cls({split: dict(values) for split, values in (told or {}).items() if values})

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each split, a column for each metric."""
        frame: pandas.DataFrame = pandas_module().DataFrame.from_dict(dict(self), orient="index")
        return frame


@dataclass(frozen=True, kw_only=True)
class Version(Record):
    """A version of a model."""

    model: str
    version: int
    task: str
    job_id: str | None = None
    dataset_id: str | None = None
    base_model: str | None = None
    strategy: str | None = None
    head: str | None = None
    size_bytes: int = 0
    created_at: datetime | None = None

    @property
    def metrics(self) -> Metrics:
        """The metrics of each split."""
        return Metrics.of(self.raw.get("metrics"))


@dataclass(frozen=True, kw_only=True)
class Canary(Record):
    """A version that answers a share (`weight`, 0 to 1) of the calls."""

    version: int
    weight: float


@dataclass(frozen=True, kw_only=True)
class Alias(Record):
    """Where the calls of an alias go; `previous` is what a roll-back returns to."""

    version: int
    canary: Canary | None = None
    shadow: int | None = None
    previous: int | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ModelInfo(Record):
    """A model with its versions, the newest first."""

    name: str
    task: str
    aliases: dict[str, int] = field(default_factory=dict)
    alias_details: dict[str, Alias] = field(default_factory=dict)
    versions: tuple[Version, ...] = ()
    created_at: datetime | None = None
