"""What travels over HTTP. Never the tables themselves: a column that is added does not leak."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

from api.alias_schemas import AliasDetail
from api.examples import shown_as
from models_store.aliases import AliasState
from models_store.jobs import Estimate, Step
from models_store.placement import PRIORITIES, Priority, QueueName
from models_store.specs import TrainingSpec
from models_store.tables import (
    AttemptOutcome,
    JobAttempt,
    JobEvent,
    JobStatus,
    Model,
    ModelVersion,
    TrainingJob,
)
from models_store.tasks import TaskName

T = TypeVar("T")


def _page_of_an_example(schema: dict[str, Any], page: type[BaseModel]) -> None:
    """Show a list as a page with the example of its items, where they have one."""
    (item,) = get_args(page.model_fields["data"].annotation)
    if isinstance(item, type) and issubclass(item, BaseModel):
        examples = item.model_json_schema().get("examples", [])
        schema["examples"] = [{"object": "list", "data": examples[:1], "has_more": False}]


class ListOut(BaseModel, Generic[T]):
    """A page of a list; ask for what follows with ``after=<id of the last>``."""

    model_config = ConfigDict(json_schema_extra=_page_of_an_example)

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool

    @classmethod
    def page(cls, items: list[T], limit: int) -> Self:
        """A page out of ``limit + 1`` items, the surplus one telling that there are more."""
        return cls(data=items[:limit], has_more=len(items) > limit)


class ProblemItem(BaseModel):
    """One thing that is wrong."""

    model_config = shown_as("problem_item")

    file: str | None = None
    line: int | None = Field(None, description="1-based physical line")
    column: str | None = None
    code: str
    message: str
    value: str | None = Field(None, description="What stands there, cut short")
    row: str | None = Field(None, description="The whole row that it is said of, as the file has it, cut short")


class ProblemOut(BaseModel):
    """An error (RFC 9457)."""

    model_config = shown_as("problem")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str | None
    errors: list[ProblemItem] = []
    error_count: int | None = None


class ProgressOut(BaseModel):
    """How far a job is."""

    fraction: float = 0.0
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    examples_per_second: float | None = None
    eta_seconds: int | None = None


class JobModel(BaseModel):
    """The model a job trains; the version is known once it is published."""

    name: str
    version: int | None


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    message: str


class AttemptOut(BaseModel):
    """Somebody's work on a job."""

    attempt: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Annotated[AttemptOutcome | None, Field(description="None while it goes on")]
    reason: str | None

    @classmethod
    def of(cls, row: JobAttempt) -> AttemptOut:
        """The attempt of a table row."""
        return cls.model_validate(row, from_attributes=True)


class JobOut(BaseModel):
    """A job."""

    model_config = shown_as("job")

    id: str
    object: Literal["job"] = "job"
    status: JobStatus
    phase: Literal["prepare", "head", "full", "evaluate", "export"] | None
    progress: ProgressOut
    dataset_id: str
    task: TaskName
    model: JobModel
    spec: TrainingSpec
    result: dict[str, Any] | None
    error: JobError | None
    attempt: int
    attempts: Annotated[list[AttemptOut] | None, Field(description="Each of them; left out of lists")] = None
    cancel_requested: bool
    priority: Priority
    queue: QueueName | None
    queue_position: Annotated[
        int | None, Field(description="While it is queued: 1 is next, of those that want the same workers")
    ] = None
    waiting_reason: Annotated[
        str | None, Field(description="While it is queued: why it would not begin even if it were next")
    ] = None
    retry_of: Annotated[str | None, Field(description="The job that this one does again")]
    webhook_url: str | None
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(
        cls,
        row: TrainingJob,
        place: int | None = None,
        attempts: Sequence[JobAttempt] | None = None,
        waiting_reason: str | None = None,
    ) -> JobOut:
        """The job of a table row, with its place in the queue and its attempts where they are known."""
        error = JobError(code=row.error_code, message=row.error_message or "") if row.error_code else None
        return cls.model_validate(
            {
                **row.model_dump(),
                "model": JobModel(name=row.model, version=row.version),
                "metadata": row.metadata_,
                "error": error,
                "priority": next(name for name, value in PRIORITIES.items() if value == row.priority),
                "queue_position": place,
                "waiting_reason": waiting_reason,
                "attempts": None if attempts is None else [AttemptOut.of(attempt) for attempt in attempts],
            }
        )


class StepOut(BaseModel):
    """A step of a job."""

    phase: Literal["prepare", "head", "full", "evaluate", "export"]
    description: str


class EstimateOut(BaseModel):
    """About how long a job takes."""

    low_seconds: float
    high_seconds: float
    basis: Annotated[str, Field(description="What it is judged by")]


class PlanOut(BaseModel):
    """What a job would do."""

    model_config = shown_as("plan")

    object: Literal["job.plan"] = "job.plan"
    task: TaskName
    rows: Annotated[int, Field(description="To train on")]
    spec: TrainingSpec
    steps: list[StepOut]
    estimate: Annotated[
        EstimateOut | None,
        Field(description="null: no job with that encoder has succeeded here"),
    ]
    queue_length: Annotated[int, Field(description="Jobs that wait now")]
    version: Annotated[int, Field(description="Of the model, which the job would make, if no other is quicker")]

    @classmethod
    def of(
        cls,
        spec: TrainingSpec,
        rows: dict[str, int],
        steps: list[Step],
        estimate: Estimate | None,
        waiting: int,
        version: int,
    ) -> PlanOut:
        """The plan of a request."""
        return cls(
            task=spec.task,
            rows=rows["train"],
            spec=spec,
            steps=[StepOut.model_validate(step, from_attributes=True) for step in steps],
            estimate=EstimateOut.model_validate(estimate, from_attributes=True) if estimate else None,
            queue_length=waiting,
            version=version,
        )


class EventOut(BaseModel):
    """Something that happened to a job."""

    model_config = shown_as("event")

    id: int
    object: Literal["job.event"] = "job.event"
    created_at: datetime
    level: Literal["info", "warning", "error"]
    type: Literal["phase", "metrics", "message", "status"]
    message: str
    data: dict[str, Any]

    @classmethod
    def of(cls, row: JobEvent) -> EventOut:
        """The event of a table row."""
        return cls.model_validate(row, from_attributes=True)


class VersionOut(BaseModel):
    """A version of a model."""

    model_config = shown_as("version")

    object: Literal["model.version"] = "model.version"
    model: str
    version: int
    task: TaskName
    job_id: str
    dataset_id: str
    base_model: str
    strategy: str
    head: str
    metrics: dict[str, Any]
    size_bytes: int
    created_at: datetime

    @classmethod
    def of(cls, row: ModelVersion) -> VersionOut:
        """The version of a table row."""
        return cls.model_validate(row, from_attributes=True)


class ModelOut(BaseModel):
    """A model with its versions, the newest first."""

    model_config = shown_as("model")

    object: Literal["model"] = "model"
    name: str
    task: TaskName
    aliases: dict[str, int]
    alias_details: dict[str, AliasDetail]
    versions: list[VersionOut]
    created_at: datetime

    @classmethod
    def of(cls, row: Model, aliases: list[AliasState], versions: list[ModelVersion]) -> ModelOut:
        """The model of table rows."""
        return cls(
            name=row.name,
            task=TaskName(row.task),
            aliases={state.row.alias: state.row.version for state in aliases},
            alias_details={state.row.alias: AliasDetail.of(state) for state in aliases},
            versions=[VersionOut.of(version) for version in versions],
            created_at=row.created_at,
        )


_TOP_K = "Labels to list with their scores; more than one only for a model that chooses among labels"


class PredictIn(BaseModel):
    """The body of ``POST /predict/{model}``: one input or a list of them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"inputs": ["Where is my parcel?"], "top_k": 3},
                {"inputs": ["Ada met Bob on Monday."]},
                {"inputs": [{"text": "Where is my parcel?", "text_pair": "When will my order arrive?"}]},
            ]
        },
    )

    inputs: Any = Field(
        description="classification: texts; tagging: texts or lists of tokens; similarity: objects with text, text_pair"
    )
    top_k: Annotated[int, Field(strict=True, ge=1, le=1000, description=_TOP_K)] = 1


class LabelScore(BaseModel):
    """A label with its probability."""

    label: str
    score: float


class EntityOut(BaseModel):
    """An entity; ``text[start:end]`` of the input, in characters."""

    label: str
    text: str
    start: int
    end: int
    score: float


class TokenOut(BaseModel):
    """A word and its tag."""

    text: str
    start: int
    end: int
    tag: str
    score: float


class PredictionError(BaseModel):
    """Why one of several inputs has no answer."""

    code: str
    message: str


class PredictionOut(BaseModel):
    """One answer; which members it has depends on the task."""

    error: PredictionError | None = Field(
        None, description="Present, and alone, where the model gave no answer to this input but did to others"
    )

    label: str | None = None
    score: float | None = None
    labels: list[LabelScore] | None = Field(
        None, description="Where a text may have several labels: those likelier than not, the likeliest first"
    )
    scores: list[LabelScore] | None = None
    entities: list[EntityOut] | None = None
    tokens: list[TokenOut] | None = None
    truncated: bool | None = Field(
        None, description="Present and true where a pair was too long and was cut; other long texts are read in windows"
    )


class PredictOut(BaseModel):
    """Answers in the order of the inputs."""

    model_config = shown_as("prediction_classification", "prediction_tagging", "prediction_similarity")

    model: str
    version: int
    task: TaskName
    predictions: list[PredictionOut]
