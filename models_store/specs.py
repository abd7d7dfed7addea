"""What can be asked for: tasks, strategies, heads, hyperparameters, and their defaults.

The API validates with these models and the worker obeys them, so the two cannot disagree.
"""

from __future__ import annotations

import math
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, StringConstraints, UrlConstraints
from pydantic_core import PydanticCustomError

from models_store.encoders import DEFAULT_ENCODER
from models_store.errors import InvalidInputError, Problem
from models_store.placement import Priority, QueueName
from models_store.tasks import Task, TaskName
from models_store.tasks.base import ObjectiveName

_number = partial(Field, strict=True)

ClassWeights = Literal["balanced", "none"]
PrecisionName = Literal["auto", "fp32", "int8", "fp16"]
LossName = Literal["cross_entropy", "focal"]

MODEL_NAME = r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$"
ModelName = Annotated[str, StringConstraints(pattern=MODEL_NAME)]


def _without_credentials(url: HttpUrl) -> HttpUrl:
    # Jobs show their URL to whoever may see jobs, and so would they the password.
    if url.username or url.password:
        raise PydanticCustomError(
            "url_credentials", "a webhook's URL carries no user and password; its signature tells who calls"
        )
    return url


WebhookUrl = Annotated[HttpUrl, UrlConstraints(max_length=2048), AfterValidator(_without_credentials)]


class HeadName(StrEnum):
    """The networks between the encoder's hidden states and the logits; ``auto`` leaves the choice to us."""

    AUTO = "auto"
    LINEAR = "linear"
    DENSE_CNN = "dense_cnn"
    HIGHWAY_LSTM = "highway_lstm"
    BILSTM = "bilstm"
    CRF = "crf"
    BILSTM_CRF = "bilstm_crf"
    SIAMESE = "siamese"
    BIMPM = "bimpm"
    BIMPM_LITE = "bimpm_lite"
    SIM_TRANSFORMER = "sim_transformer"


# The heads of each task; of two that are as good as each other, `auto` takes the one that stands first (decision 0009).
HEADS_OF_TASK: dict[TaskName, tuple[HeadName, ...]] = {
    TaskName.CLASSIFICATION: (HeadName.LINEAR, HeadName.HIGHWAY_LSTM, HeadName.DENSE_CNN),
    TaskName.TAGGING: (HeadName.LINEAR, HeadName.CRF, HeadName.BILSTM, HeadName.BILSTM_CRF),
    TaskName.SIMILARITY: (
        HeadName.SIAMESE,
        HeadName.LINEAR,
        HeadName.BIMPM_LITE,
        HeadName.SIM_TRANSFORMER,
        HeadName.BIMPM,
    ),
}

# Of which `auto` chooses where a second phase follows. The others do well on a frozen encoder because they make up for
# what it lacks; once it learns, too, that lead is gone (decision 0009).
HYBRID_HEADS: dict[TaskName, tuple[HeadName, ...]] = {
    TaskName.CLASSIFICATION: (HeadName.LINEAR,),
    TaskName.TAGGING: (HeadName.LINEAR, HeadName.CRF),
    TaskName.SIMILARITY: (HeadName.SIAMESE, HeadName.LINEAR),
}

_OF_PHASE_TWO = frozenset({"layer_decay", "head_factor", "gradual_unfreezing", "averaging"})
CRF_HEADS = frozenset({HeadName.CRF, HeadName.BILSTM_CRF})


class PhaseName(StrEnum):
    """A stretch of training: the head on a frozen encoder, or everything."""

    HEAD = "head"
    FULL = "full"


class Strategy(StrEnum):
    """Which phases a job runs."""

    HYBRID = "hybrid"
    FINETUNE = "finetune"
    FROZEN = "frozen"


PHASES_OF_STRATEGY: dict[Strategy, tuple[PhaseName, ...]] = {
    Strategy.HYBRID: (PhaseName.HEAD, PhaseName.FULL),
    Strategy.FINETUNE: (PhaseName.FULL,),
    Strategy.FROZEN: (PhaseName.HEAD,),
}


Watch = Literal["metric", "loss"]


class PhaseSpec(BaseModel):
    """One phase, as data.

    Attributes:
        name: ``head`` trains the head alone, ``full`` head and encoder.
        trains_encoder: Whether the encoder learns too; a frozen one is run only once.
        epochs: Most passes over the training split; early stopping may end it before.
        learning_rate: Peak of the schedule (linear warm-up, then linear decay to zero).
        watch: What decides which epoch's weights are kept: the loss on the validation rows, the lowest as long as it
            stays close to that on the training rows; or the metric, of which the latest epoch is kept that is not
            clearly worse than the best one.
        patience: Epochs without one to keep before the phase stops.
        warmup_fraction: Share of the steps in which the learning rate rises to its peak.
        layer_decay: The learning rate of each layer as a multiple of that of the layer above it.
        head_factor: The learning rate of the head as a multiple of that of the phase.
        gradual_unfreezing: Whether the layers begin to learn one after the other, from the top down.
        averaging: Share of the epochs, the last ones, whose weights are averaged to one more candidate for the best.
    """

    model_config = ConfigDict(frozen=True)

    name: PhaseName
    trains_encoder: bool
    epochs: int
    learning_rate: float
    watch: Watch
    patience: int
    warmup_fraction: float = 0.1
    layer_decay: float = 1.0
    head_factor: float = 1.0
    gradual_unfreezing: bool = False
    averaging: float = 0.0


class Promotion(StrEnum):
    """Whether a new version becomes ``production``; `if_better` than the one that is, on the new test rows."""

    ALWAYS = "always"
    IF_BETTER = "if_better"
    NEVER = "never"


class Hyperparameters(BaseModel):
    """Knobs that nobody has to turn: each has a default that fits the data.

    Numbers are strict: JSON's ``true`` and ``"7"`` are mistakes, not numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    head_epochs: Annotated[
        int | None, _number(ge=0, le=1000, description="Most epochs of the head on the frozen encoder; 0: no phase 1")
    ] = None
    head_learning_rate: Annotated[float | None, _number(gt=0, le=1)] = None
    full_epochs: Annotated[int | None, _number(ge=1, le=200, description="Epochs of head and encoder together")] = None
    full_learning_rate: Annotated[float | None, _number(gt=0, le=1)] = None
    batch_size: (
        Annotated[int, _number(ge=1, le=1024, description="Texts of one step; auto: by the number of rows")]
        | Literal["auto"]
        | None
    ) = None
    max_length: (
        Annotated[int, _number(ge=8, le=8192, description="Longest input in word pieces")] | Literal["auto"] | None
    ) = None
    weight_decay: Annotated[float | None, _number(ge=0, le=1)] = None
    warmup_fraction: Annotated[float | None, _number(ge=0, le=1)] = None
    dropout: Annotated[float | None, _number(ge=0, lt=1)] = None
    max_grad_norm: Annotated[float | None, _number(gt=0)] = None
    patience: Annotated[
        int | None, _number(ge=1, le=1000, description="Epochs without a better one before training stops early")
    ] = None
    layer_decay: (
        Annotated[float, _number(gt=0, le=1, description="Learning rate of a layer, against that of the one above")]
        | None
    ) = None
    head_factor: (
        Annotated[float, _number(gt=0, le=100, description="Learning rate of the head in phase 2, against the rest")]
        | None
    ) = None
    gradual_unfreezing: (
        Annotated[bool, Field(strict=True, description="Let the layers begin to learn one after the other, top first")]
        | None
    ) = None
    averaging: Annotated[
        float | None, _number(ge=0, le=1, description="Share of the epochs, the last ones, whose weights are averaged")
    ] = None
    class_weights: Annotated[
        ClassWeights | None, Field(description="`balanced`: rare classes count as much as frequent ones in the loss")
    ] = None
    loss: Annotated[
        LossName | None, Field(description="`focal`: what is learnt already counts less (arXiv 1708.02002)")
    ] = None
    focal_gamma: Annotated[float | None, _number(ge=0, le=10, description="Focusing parameter of the focal loss")] = (
        None
    )


class ExportOptions(BaseModel):
    """How the finished model is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Annotated[
        PrecisionName,
        Field(description="Of the served model; `auto`: int8 where it is faster and as good on the validation rows"),
    ] = "auto"


class JobRequest(BaseModel):
    """The body of ``POST /jobs``."""

    model_config = ConfigDict(extra="forbid")

    dataset_id: Annotated[str, StringConstraints(max_length=64)]
    model: ModelName
    base_model: Annotated[str, StringConstraints(max_length=63)] = DEFAULT_ENCODER
    strategy: Strategy = Strategy.HYBRID
    head: HeadName = HeadName.AUTO
    ensemble: Annotated[
        int, _number(ge=1, le=8, description="Models trained with seeds of their own, whose answers are averaged")
    ] = 1
    gpus: Annotated[
        int, _number(ge=1, le=8, description="GPUs that share the work; with 1, a worker without a GPU will do, too")
    ] = 1
    seed: Annotated[int, _number(ge=0, lt=2**32)] = 7
    hyperparameters: Hyperparameters = Hyperparameters()
    export: ExportOptions = ExportOptions()
    promote: Annotated[
        Promotion, Field(description="Whether the new version becomes `production`, which a bare model name means")
    ] = Promotion.ALWAYS
    priority: Annotated[Priority, Field(description="Of the jobs that wait: the more urgent first, then the older")] = (
        Priority.NORMAL
    )
    queue: Annotated[
        QueueName | None, Field(description="Train on a worker with a GPU, or on one for CPUs; by default on either")
    ] = None
    webhook_url: Annotated[
        WebhookUrl | None, Field(description="Called when the job begins, is paused and ends: docs/webhooks.md")
    ] = None
    metadata: Annotated[
        dict[
            Annotated[str, StringConstraints(min_length=1, max_length=64)],
            Annotated[str, StringConstraints(max_length=512)],
        ],
        Field(max_length=16),
    ] = {}


class ResolvedHyperparameters(BaseModel):
    """The hyperparameters with every default filled in."""

    model_config = ConfigDict(frozen=True)

    head_epochs: int
    head_learning_rate: float
    full_epochs: int
    full_learning_rate: float
    batch_size: int
    max_length: int | Literal["auto"]
    weight_decay: float
    warmup_fraction: float
    dropout: float
    max_grad_norm: float
    patience: int
    layer_decay: float = 1.0
    head_factor: float = 1.0
    gradual_unfreezing: bool = False
    averaging: float = 0.0
    class_weights: ClassWeights = "none"
    loss: LossName = "cross_entropy"
    focal_gamma: float = 2.0

    def shapes_loss(self) -> bool:
        """Whether the examples count differently in the loss."""
        return self.class_weights != "none" or self.loss != "cross_entropy"


class TrainingSpec(BaseModel):
    """The request with every default filled in; what the worker obeys and the job shows."""

    dataset_id: str
    model: str
    task: TaskName
    base_model: str
    strategy: Strategy
    head: HeadName
    ensemble: int = 1
    gpus: int = 1
    seed: int
    hyperparameters: ResolvedHyperparameters
    export: ExportOptions
    promote: Promotion = Promotion.ALWAYS

    def heads(self) -> tuple[HeadName, ...]:
        """The heads to try, in the order of preference: one, unless the job leaves the choice to the training."""
        if self.head is not HeadName.AUTO:
            return (self.head,)
        plain = not self.hyperparameters.shapes_loss()
        return tuple(head for head in _candidates(self.task, self.strategy) if plain or head not in CRF_HEADS)

    def phases(self) -> list[PhaseSpec]:
        """The phases of the strategy, in order."""
        values = self.hyperparameters
        prepares = self.strategy is Strategy.HYBRID
        specs = {
            PhaseName.HEAD: PhaseSpec(
                name=PhaseName.HEAD,
                trains_encoder=False,
                epochs=values.head_epochs,
                learning_rate=values.head_learning_rate,
                # Before a second phase the head must not learn the training rows by heart (decision 0013).
                watch="loss" if prepares else "metric",
                patience=1 if prepares else values.patience,
                warmup_fraction=values.warmup_fraction,
            ),
            PhaseName.FULL: PhaseSpec(
                name=PhaseName.FULL,
                trains_encoder=True,
                epochs=values.full_epochs,
                learning_rate=values.full_learning_rate,
                watch="metric",
                patience=values.patience,
                warmup_fraction=values.warmup_fraction,
                layer_decay=values.layer_decay,
                head_factor=values.head_factor,
                gradual_unfreezing=values.gradual_unfreezing,
                averaging=values.averaging,
            ),
        }
        return [specs[name] for name in PHASES_OF_STRATEGY[self.strategy] if specs[name].epochs]


def default_hyperparameters(strategy: Strategy, train_rows: int) -> ResolvedHyperparameters:
    """Defaults that depend on the strategy and the amount of data; docs/benchmarks.md says what was measured.

    Small data gets more epochs: fine-tuning needs a number of *steps*, not of passes, to settle
    (Mosbach et al. 2021, arXiv 2006.04884). Beyond 12 passes more steps gained nothing, unless they were fewer than
    some 180 altogether. The last steps, at a small learning rate, are worth as much as the first: patience therefore
    never ends a phase before half of its schedule.
    """
    batch_size = 16 if train_rows < 5_000 else 32
    steps_per_epoch = max(1, math.ceil(train_rows / batch_size))
    most = min(60, max(12, math.ceil(180 / steps_per_epoch)))
    full_epochs = min(most, max(3, math.ceil(1000 / steps_per_epoch)))
    return ResolvedHyperparameters(
        head_epochs=min(60, max(10, math.ceil(600 / steps_per_epoch))),
        # A head that only prepares a second phase learns gently (decision 0005); one that is all there is, at 1e-3.
        head_learning_rate=2e-4 if strategy is Strategy.HYBRID else 1e-3,
        full_epochs=full_epochs,
        full_learning_rate=1e-4,
        batch_size=batch_size,
        max_length="auto",
        weight_decay=0.01,
        warmup_fraction=0.1,
        dropout=0.1,
        max_grad_norm=1.0,
        patience=max(4, math.ceil(full_epochs / 2)),
    )


def _candidates(task: TaskName, strategy: Strategy) -> tuple[HeadName, ...]:
    """What ``auto`` chooses from. Without a frozen phase there is nothing to compare heads by."""
    if strategy is Strategy.FINETUNE:
        return HEADS_OF_TASK[task][:1]
    return HYBRID_HEADS[task] if strategy is Strategy.HYBRID else HEADS_OF_TASK[task]


def resolve_head(requested: HeadName, task: TaskName, strategy: Strategy) -> HeadName:
    """The head to train; ``auto`` where the training itself is to choose among several.

    Raises:
        InvalidInputError: The head does not fit the task.
    """
    if requested is HeadName.AUTO:
        candidates = _candidates(task, strategy)
        return candidates[0] if len(candidates) == 1 else HeadName.AUTO
    fitting = HEADS_OF_TASK[task]
    if requested not in fitting:
        message = f"head {requested.value!r} does not fit {task.value}; choose one of: auto, {', '.join(fitting)}"
        raise InvalidInputError(message, [Problem("head_does_not_fit_task", message, column="head")])
    return requested


def _idle(name: str) -> Any:
    """The value of a hyperparameter that changes nothing: a job that is asked for again names all of its values."""
    return ResolvedHyperparameters.model_fields[name].default


def _check_phases(request: JobRequest, asked: dict[str, Any]) -> None:
    """Refuse options of a phase that the strategy has not got, and a training without any."""
    if request.strategy is not Strategy.FROZEN:
        return
    if asked.get("head_epochs") == 0:
        message = "strategy frozen trains the head alone; without head_epochs nothing is left to train"
        raise InvalidInputError(message, [Problem("nothing_to_train", message, column="hyperparameters.head_epochs")])
    for name in sorted(_OF_PHASE_TWO & asked.keys()):
        if asked[name] == _idle(name):
            continue
        message = f"{name} is about the second phase, which strategy frozen has not got; leave it out"
        raise InvalidInputError(message, [Problem("unused_option", message, column=f"hyperparameters.{name}")])


def _check_loss(asked: Hyperparameters, values: ResolvedHyperparameters, head: HeadName, task: Task[Any]) -> None:
    """Refuse options of the loss that would be passed over in silence."""
    if asked.focal_gamma not in (None, _idle("focal_gamma")) and values.loss != "focal":
        message = 'focal_gamma is a number of the focal loss; ask for it with "loss": "focal"'
        raise InvalidInputError(message, [Problem("unused_option", message, column="hyperparameters.focal_gamma")])
    if not values.shapes_loss():
        return
    column = f"hyperparameters.{'class_weights' if values.class_weights != 'none' else 'loss'}"
    if task.objective is ObjectiveName.GRADED:
        message = "the scores of graded similarity have no classes: class_weights and the focal loss are for labels"
    elif head in CRF_HEADS:
        message = (
            f"head {head.value!r} has a loss over whole sentences, which knows neither class_weights nor the focal "
            "loss; choose linear or bilstm"
        )
    else:
        return
    raise InvalidInputError(message, [Problem("loss_does_not_fit", message, column=column)])


def resolve_spec(request: JobRequest, task: Task[Any], train_rows: int, base_models: list[str]) -> TrainingSpec:
    """Check a request against its data set and fill in every default.

    Args:
        request: What was asked for.
        task: That of the data set.
        train_rows: Size of its training split.
        base_models: The encoders there are.

    Raises:
        InvalidInputError: Head, encoder, precision or loss cannot be had.
    """
    if request.base_model not in base_models:
        message = f"base_model {request.base_model!r} is not in the catalogue; choose one of: {', '.join(base_models)}"
        raise InvalidInputError(message, [Problem("unknown_base_model", message, column="base_model")])
    defaults = default_hyperparameters(request.strategy, train_rows)
    asked = request.hyperparameters.model_dump(exclude_none=True)
    if asked.get("batch_size") == "auto":
        del asked["batch_size"]
    values = defaults.model_copy(update=asked)
    _check_phases(request, asked)
    if request.queue is QueueName.CPU and request.gpus > 1:
        message = "the workers of queue cpu have no GPUs to share the work; leave out queue or gpus"
        raise InvalidInputError(message, [Problem("invalid_input", message, column="queue")])
    head = resolve_head(request.head, task.name, request.strategy)
    _check_loss(request.hyperparameters, values, head, task)
    return TrainingSpec(
        dataset_id=request.dataset_id,
        model=request.model,
        task=task.name,
        base_model=request.base_model,
        strategy=request.strategy,
        head=head,
        ensemble=request.ensemble,
        gpus=request.gpus,
        seed=request.seed,
        hyperparameters=values,
        export=request.export,
        promote=request.promote,
    )
