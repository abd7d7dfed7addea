"""The SQL tables. An ORM class is a *table*; the trained thing is a *model* with *versions*."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Index, Integer, text
from sqlmodel import Field, SQLModel, UniqueConstraint
from ulid import ULID

from models_store.database import UtcDateTime


def utc_now() -> datetime:
    """The present moment, aware and in UTC."""
    return datetime.now(UTC)


def new_id(prefix: str) -> str:
    """An id such as ``job_01j…``: the prefix and a ULID, so that ids sort by the time they were made."""
    return f"{prefix}_{str(ULID()).lower()}"


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"  # its worker was asked to stop
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL_STATUSES = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
HELD_STATUSES = (JobStatus.RUNNING, JobStatus.PAUSING)  # a worker has it


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HANDED_BACK = "handed back"  # a deploy or a pause
    INTERRUPTED = "interrupted"  # something went wrong that another attempt may be spared
    LOST = "lost"  # nobody heard of its worker any more


class DatasetStatus(StrEnum):
    """How far a data set has got."""

    VALIDATING = "validating"
    READY = "ready"
    INVALID = "invalid"


class PredictionStatus(StrEnum):
    """How far a file of predictions has got."""

    RUNNING = "running"  # or about to: somebody has claimed it, or will
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DeliveryStatus(StrEnum):
    """Whether a webhook has reached its receiver."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


_NOT_INVALID = text("status != 'invalid'")


class Dataset(SQLModel, table=True):
    """An uploaded, validated, immutable data set; its rows lie in the artifact store."""

    __tablename__: ClassVar[str] = "datasets"
    __table_args__ = (
        Index(
            "ix_datasets_fingerprint",
            "fingerprint",
            unique=True,
            sqlite_where=_NOT_INVALID,
            postgresql_where=_NOT_INVALID,
        ),
    )

    id: str = Field(primary_key=True, default_factory=lambda: new_id("ds"))
    name: str
    task: str
    format: str
    size_bytes: int = Field(sa_type=BigInteger)
    sha256: str
    columns: dict[str, str] = Field(sa_type=JSON)
    schema_: dict[str, Any] = Field(sa_type=JSON, sa_column_kwargs={"name": "schema"})
    labels: list[dict[str, Any]] = Field(sa_type=JSON)
    splits: dict[str, Any] = Field(sa_type=JSON)
    warnings: list[dict[str, Any]] = Field(sa_type=JSON)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    fingerprint: str | None = None  # the same for the same upload
    skipped_rows: int = 0
    statistics: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    status: str = DatasetStatus.READY
    wishes: dict[str, Any] | None = Field(default=None, sa_type=JSON)  # how a file that waits is to be understood
    rows_read: int = 0
    errors: list[dict[str, Any]] | None = Field(default=None, sa_type=JSON)
    error_count: int = 0
    attempt: int = 0
    deaths: int = 0  # of processes that read it
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels."""
        return bool(self.schema_.get("multi_label", False))


class TrainingJob(SQLModel, table=True):
    """A request to train a model, and everything that happened to it."""

    __tablename__: ClassVar[str] = "training_jobs"
    __table_args__ = (
        Index("ix_training_jobs_status_id", "status", "id"),
        Index("ix_training_jobs_status_priority_id", "status", "priority", "id"),
        Index("ix_training_jobs_model_id", "model", "id"),
        Index("ix_training_jobs_model_status_id", "model", "status", "id"),
    )

    id: str = Field(primary_key=True, default_factory=lambda: new_id("job"))
    status: str = JobStatus.QUEUED
    dataset_id: str = Field(index=True)  # no foreign key: the history of a job outlives its data
    model: str
    task: str
    spec: dict[str, Any] = Field(sa_type=JSON)
    metadata_: dict[str, str] = Field(default_factory=dict, sa_type=JSON, sa_column_kwargs={"name": "metadata"})
    priority: int = 0  # the higher, the sooner
    queue: str | None = None  # of the workers that may have it; None: any
    retry_of: str | None = None  # the job that this one does again
    webhook_url: str | None = None  # told of what becomes of the job
    idempotency_key: str | None = Field(default=None, unique=True)
    request_sha256: str

    phase: str | None = None
    progress: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    result: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    error_code: str | None = None
    error_message: str | None = None
    version: int | None = None

    # `attempt` is the fencing token: it only ever rises, and every write of an attempt is guarded by it.
    # Handing a job back without blame (a deploy) raises `max_attempts` instead of lowering `attempt`.
    attempt: int = 0
    max_attempts: int = 3
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    worker: str | None = None
    cancel_requested: bool = False

    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    enqueued_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class JobAttempt(SQLModel, table=True):
    """Somebody's work on a job."""

    __tablename__: ClassVar[str] = "job_attempts"

    job_id: str = Field(primary_key=True, foreign_key="training_jobs.id")
    attempt: int = Field(primary_key=True)
    worker: str
    started_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    outcome: str | None = None
    reason: str | None = None


class FilePrediction(SQLModel, table=True):
    """A whole file to be answered by a version of a model; the answers lie in the artifact store."""

    __tablename__: ClassVar[str] = "file_predictions"

    id: str = Field(primary_key=True, default_factory=lambda: new_id("pred"))
    status: str = PredictionStatus.RUNNING
    model: str
    version: int
    artifact: str
    task: str
    file_name: str
    format: str
    columns: dict[str, str] = Field(sa_type=JSON)
    encoding: str | None = None
    rows: int | None = None
    rows_done: int = 0
    failed_rows: int = 0
    rows_per_second: float | None = None
    cancel_requested: bool = False
    errors: list[dict[str, Any]] | None = Field(default=None, sa_type=JSON)
    error_code: str | None = None
    error_message: str | None = None
    attempt: int = 0
    deaths: int = 0  # of processes that answered it, since one of them got on
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Worker(SQLModel, table=True):
    """A worker that has said that it is there."""

    __tablename__: ClassVar[str] = "workers"

    name: str = Field(primary_key=True)
    queues: list[str] = Field(sa_type=JSON)
    seen_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class JobEvent(SQLModel, table=True):
    """Something worth telling about a job, in order."""

    __tablename__: ClassVar[str] = "job_events"
    __table_args__ = (Index("ix_job_events_job_id_id", "job_id", "id"),)

    id: int | None = Field(
        default=None,
        primary_key=True,
        sa_type=BigInteger().with_variant(Integer, "sqlite"),
    )
    job_id: str = Field(foreign_key="training_jobs.id")
    attempt: int
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    level: str
    type: str
    message: str
    data: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)


class WebhookDelivery(SQLModel, table=True):
    """Something that a job's receiver is to be told, and how far that has got."""

    __tablename__: ClassVar[str] = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_job_id_id", "job_id", "id"),
        Index("ix_webhook_deliveries_status_next_attempt_at", "status", "next_attempt_at"),
    )

    id: str = Field(primary_key=True, default_factory=lambda: new_id("msg"))
    job_id: str = Field(foreign_key="training_jobs.id")
    type: str
    url: str
    payload: str  # the text that is signed and sent, to the letter
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    status: str = DeliveryStatus.PENDING
    attempts: int = 0
    next_attempt_at: datetime = Field(sa_type=UtcDateTime)  # while one is under way, the end of its lease
    last_status: int | None = None
    last_error: str | None = None
    delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Model(SQLModel, table=True):
    """A name that holds the versions trained for it."""

    __tablename__: ClassVar[str] = "models"

    name: str = Field(primary_key=True)
    task: str
    # Numbers are never given twice, so a version that is deleted cannot come back as another model.
    last_version: int = 0
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ModelVersion(SQLModel, table=True):
    """A finished model. Its files lie in the artifact store under ``artifact``."""

    __tablename__: ClassVar[str] = "model_versions"
    # One job publishes at most one version: the database itself refuses a second.
    __table_args__ = (UniqueConstraint("job_id", name="uq_model_versions_job_id"),)

    model: str = Field(primary_key=True, foreign_key="models.name")
    version: int = Field(primary_key=True)
    job_id: str = Field(foreign_key="training_jobs.id")
    dataset_id: str
    task: str
    artifact: str
    base_model: str
    strategy: str
    head: str
    metrics: dict[str, Any] = Field(sa_type=JSON)
    size_bytes: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class TrafficColumns(SQLModel):
    """Where calls go: columns that an alias and each of its changes have.

    Attributes:
        version: Answers all calls but the canary's.
        canary_version: Answers a share of the calls, if there is one.
        canary_weight: That share, between 0 and 1.
        shadow_version: Is asked as well, and compared; nobody gets its answers.
    """

    version: int
    canary_version: int | None = None
    canary_weight: float | None = None
    shadow_version: int | None = None


class ModelAlias(TrafficColumns, table=True):
    """A movable name for a version; a bare model name means the alias ``production``."""

    __tablename__: ClassVar[str] = "model_aliases"

    model: str = Field(primary_key=True, foreign_key="models.name")
    alias: str = Field(primary_key=True)
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class AliasChange(TrafficColumns, table=True):
    """What an alias was set to; the newest row says what it is now. Rows are only ever added.

    Attributes:
        changed_by: ``api``, ``rollback``, ``job job_…``, or ``migration`` for what was there before there were changes.
        back_to: The change before, to which a roll-back returns; a roll-back itself takes over that of its target.
    """

    __tablename__: ClassVar[str] = "alias_changes"
    __table_args__ = (Index("ix_alias_changes_model_alias_id", "model", "alias", "id"),)

    id: int | None = Field(
        default=None,
        primary_key=True,
        sa_type=BigInteger().with_variant(Integer, "sqlite"),
    )
    model: str = Field(foreign_key="models.name")
    alias: str
    changed_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    changed_by: str
    back_to: int | None = Field(default=None, sa_type=BigInteger)


class ShadowFigures(SQLModel, table=True):
    """How often a shadow agreed with the version that answered, since the alias was set to have it.

    Attributes:
        compared: Inputs that both have answered.
        disagreed: Of these, those answered differently.
        dropped: Inputs that were not compared because there was too much else to do.
        failed: Inputs that the shadow could not answer; ``last_error`` is the code of the latest such error.
        examples: Of the latest disagreements, where the operator lets texts be stored.
    """

    __tablename__: ClassVar[str] = "shadow_figures"

    change_id: int = Field(
        primary_key=True,
        foreign_key="alias_changes.id",
        sa_type=BigInteger().with_variant(Integer, "sqlite"),
    )
    compared: int = Field(default=0, sa_type=BigInteger)
    disagreed: int = Field(default=0, sa_type=BigInteger)
    dropped: int = Field(default=0, sa_type=BigInteger)
    failed: int = Field(default=0, sa_type=BigInteger)
    last_error: str | None = None
    examples: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
