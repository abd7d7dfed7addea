"""What a training run tells while it goes on. Plain data, so that it travels between processes as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

StageName = Literal["prepare", "head", "full", "export", "evaluate"]


class StageStarted(BaseModel):
    """The run entered another stage; `head` and `full` are the training phases."""

    kind: Literal["stage_started"] = "stage_started"
    stage: StageName


class Step(BaseModel):
    """Where an epoch stands, in optimizer steps; sent a few times a second at most."""

    kind: Literal["step"] = "step"
    phase: StageName
    epoch: int
    epochs: int
    step: int
    steps: int
    examples_per_second: float


class Working(BaseModel):
    """Work without optimizer steps goes on: without it, a long evaluation would look like a hung process."""

    kind: Literal["working"] = "working"
    stage: StageName
    done: int
    total: int


class HeadTried(BaseModel):
    """How good a head is on the frozen encoder: the mean over the folds of its best score."""

    kind: Literal["head_tried"] = "head_tried"
    head: str
    metric: str
    score: float
    seconds: float


class MemberStarted(BaseModel):
    """The next member of an ensemble is trained; they are counted from 1."""

    kind: Literal["member_started"] = "member_started"
    member: int
    members: int


class EpochFinished(BaseModel):
    """An epoch's losses and validation metrics. Epoch 0 is the state in which the phase began."""

    kind: Literal["epoch_finished"] = "epoch_finished"
    phase: StageName
    epoch: int
    epochs: int
    steps: int  # optimizer steps of an epoch
    train_loss: float | None
    validation_loss: float
    metrics: dict[str, float]
    learning_rate: float
    seconds: float
    best: bool


class PhaseFinished(BaseModel):
    """A phase ended; the weights are those of the epoch that was kept.

    Attributes:
        best_epoch: The epoch with the best score, or lowest loss where that is watched; 0 if none beat the start.
        kept_epoch: The latest that is not clearly worse.
        averaged: Whether the mean over the last epochs' weights was better still and is kept instead.
        metrics: Of what is kept.
    """

    kind: Literal["phase_finished"] = "phase_finished"
    phase: StageName
    epochs: int
    best_epoch: int
    kept_epoch: int
    averaged: bool = False
    seconds: float
    metrics: dict[str, float]


class Resumed(BaseModel):
    """The run goes on from a checkpoint of an earlier attempt.

    Attributes:
        stage: The phase that goes on; ``export`` where the training was over.
        epoch: The epoch that goes on, and the steps of it that are done; none where the training was over.
        history: What the earlier attempts told of the training so far.
    """

    kind: Literal["resumed"] = "resumed"
    stage: StageName
    epoch: int | None = None
    step: int | None = None
    history: list[EpochFinished | PhaseFinished]


class Calibrated(BaseModel):
    """The temperature that the validation rows gave, and the expected calibration error without and with it."""

    kind: Literal["calibrated"] = "calibrated"
    temperature: float
    ece_before: float
    ece_after: float
    examples: int


class Message(BaseModel):
    """Something a person should know."""

    kind: Literal["message"] = "message"
    level: Literal["info", "warning"] = "info"
    message: str
    data: dict[str, Any] = {}


class Finished(BaseModel):
    """The run is over and its files are complete."""

    kind: Literal["finished"] = "finished"
    result: dict[str, Any]
    manifest: dict[str, Any]


class Failed(BaseModel):
    """The run is over without a model."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str


Event = Annotated[
    StageStarted
    | Step
    | Working
    | HeadTried
    | MemberStarted
    | EpochFinished
    | PhaseFinished
    | Resumed
    | Calibrated
    | Message
    | Finished
    | Failed,
    Field(discriminator="kind"),
]
EVENTS: TypeAdapter[Event] = TypeAdapter(Event)
