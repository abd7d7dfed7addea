"""The training loop: phases in order, each a generator of events. Logging, saving and cancelling are the caller's."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models_store.specs import PhaseSpec, ResolvedHyperparameters
from models_store.tasks import Task
from worker.training.averaging import RunningAverage
from worker.training.data import Batch, Inputs, TokenInputs, TrainingData, epoch_batches
from worker.training.errors import DivergedError
from worker.training.evaluation import Evaluation, evaluate
from worker.training.events import EpochFinished, Event, PhaseFinished, StageStarted, Step, Working
from worker.training.features import FeatureInputs, FeatureStore, autocast
from worker.training.model import TaskModel
from worker.training.objectives import Objective, goal_of
from worker.training.optimizer import Optimizer
from worker.training.pacing import REPORT_SECONDS, paced
from worker.training.vocabulary import compact_vocabulary

_EVALUATION_SHARE = 0.25  # of the time of training, at most about
_FORWARD_AND_BACKWARD = 3.0  # a step's cost, in forward passes
_EXPLODED = 10.0  # times the loss of the untrained model


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How to train, beside the phases themselves."""

    values: ResolvedHyperparameters
    seed: int
    device: torch.device
    scratch: Path


def train(
    model: TaskModel,
    phases: Sequence[PhaseSpec],
    data: TrainingData,
    options: TrainingOptions,
    features: FeatureStore | None = None,
) -> Iterator[Event]:
    """Train the model in place, one phase after the other; each ends with the weights of its best epoch.

    Args:
        model: What to train.
        phases: What to train of it, how long and how fast.
        data: Both splits.
        options: Everything else.
        features: Outputs of the frozen encoder that are known already.

    Raises:
        DivergedError: The loss is no longer finite.
    """
    torch.manual_seed(options.seed)
    model.to(options.device)
    features = features or FeatureStore(data.pad_id, options.device, options.scratch)
    with compact_vocabulary(model.encoder, [data.train, data.validation], data.pad_id):
        for number, phase in enumerate(phases):
            yield StageStarted(stage=phase.name.value)
            rng = np.random.default_rng([options.seed, number])
            if phase.trains_encoder:
                features.clear()
                train, validation = (TokenInputs(split, data.pad_id) for split in (data.train, data.validation))
                yield from fit(model, phase, train, validation, data.task, options, rng)
            else:
                yield from _fit_head(model, phase, data, options, features, rng)


def fit(
    module: nn.Module,
    phase: PhaseSpec,
    train_inputs: Inputs,
    validation_inputs: Inputs,
    task: Task[Any],
    options: TrainingOptions,
    rng: np.random.Generator,
) -> Iterator[Event]:
    """Run one phase over one module, which is left with the weights of the epoch that was kept.

    Where the metric is watched that is the latest epoch whose validation score is not clearly worse than the best: on
    few rows the best one is best by chance, and the end of a schedule is worth more than its middle (decision 0010).
    """
    started = time.monotonic()
    goal = goal_of(module, task, options.values, train_inputs.split.targets, options.device)

    def validate() -> Generator[Event, None, Evaluation]:
        return paced(
            evaluate(module, validation_inputs, task, goal, options.device),
            lambda done: Working(stage=phase.name.value, done=done, total=len(validation_inputs.lengths)),
        )

    kept = best = initial = yield from validate()
    kept_epoch, weights = 0, _copy(module)
    average = RunningAverage()
    stepper = _Stepper(module, phase, goal.objective, train_inputs, options)
    yield _epoch_event(phase, 0, stepper.steps, None, initial, 0.0, time.monotonic() - started, best=True)

    every = _epochs_between_evaluations(train_inputs, validation_inputs)
    epoch = 0
    for epoch in range(1, phase.epochs + 1):
        epoch_started = time.monotonic()
        train_loss = yield from stepper.run_epoch(epoch, rng)
        _check_exploded(train_loss, initial.loss)
        if epoch % every and epoch < phase.epochs:
            continue
        now = yield from validate()
        improved = now.beats(best, phase.watch)
        best = now if improved else best
        if now.is_level_with(best, phase.watch):
            kept, kept_epoch, weights = now, epoch, _copy(module)
        if epoch > phase.epochs * (1 - phase.averaging):
            average.add(module)
        seconds = time.monotonic() - epoch_started
        yield _epoch_event(phase, epoch, stepper.steps, train_loss, now, stepper.learning_rate, seconds, best=improved)
        if epoch - kept_epoch >= phase.patience:
            break
    if average.count > 1:
        module.load_state_dict(average.weights)
        now = yield from validate()
        if now.beats(kept, phase.watch):
            kept, weights = now, average.weights

    module.load_state_dict(weights)
    yield PhaseFinished(
        phase=phase.name.value,
        epochs=epoch,
        best_epoch=kept_epoch,
        seconds=time.monotonic() - started,
        metrics=kept.metrics,
    )


def _fit_head(
    model: TaskModel,
    phase: PhaseSpec,
    data: TrainingData,
    options: TrainingOptions,
    features: FeatureStore,
    rng: np.random.Generator,
) -> Iterator[Event]:
    """A phase of the head alone, on the frozen encoder's outputs."""
    known, held_out = yield from _features(model, data, phase, features)
    yield from fit(model.head, phase, known, held_out, data.task, options, rng)


def _features(
    model: TaskModel, data: TrainingData, phase: PhaseSpec, features: FeatureStore
) -> Generator[Event, None, tuple[FeatureInputs, FeatureInputs]]:
    """The encoder's outputs for both splits, telling how far it is with them (``yield from``)."""
    n_train, total = len(data.train.windows), len(data.train.windows) + len(data.validation.windows)

    def working(done: int) -> Working:
        return Working(stage=phase.name.value, done=done, total=total)

    known = yield from paced(features.of(model, data.train, model.needs), working)
    held_out = yield from paced(features.of(model, data.validation, model.needs), lambda done: working(n_train + done))
    return known, held_out


class _Stepper:
    """Optimizer and schedule of one phase; runs its epochs."""

    def __init__(
        self,
        module: nn.Module,
        phase: PhaseSpec,
        objective: Objective,
        inputs: Inputs,
        options: TrainingOptions,
    ) -> None:
        self._module = module
        self._phase = phase
        self._inputs = inputs
        self._values = options.values
        self._device = options.device
        self._objective = objective
        self.steps = math.ceil(inputs.split.epoch_size / self._values.batch_size)
        self._optimizer = Optimizer(module, phase, self._values.weight_decay, self.steps * phase.epochs)

    @property
    def learning_rate(self) -> float:
        """The learning rate that the next step will use."""
        return self._optimizer.learning_rate

    def run_epoch(self, epoch: int, rng: np.random.Generator) -> Generator[Step, None, float]:
        """One pass over the training split; returns its mean loss (``yield from``)."""
        self._module.train()
        losses = torch.zeros((), device=self._device)  # summed there: asking for each value would stall a GPU
        started = time.monotonic()
        report_at, seen = started + REPORT_SECONDS, 0
        batches = epoch_batches(self._inputs, self._values.batch_size, rng)
        for step, indices in enumerate(batches, start=1):
            losses += self._step(self._inputs.collate(indices).to(self._device))
            seen += len(indices)
            if (now := time.monotonic()) >= report_at:
                report_at = now + REPORT_SECONDS
                _check_finite(float(losses))
                yield Step(
                    phase=self._phase.name.value,
                    epoch=epoch,
                    epochs=self._phase.epochs,
                    step=step,
                    steps=self.steps,
                    examples_per_second=seen / (now - started),
                )
        mean = float(losses) / len(batches)
        _check_finite(mean)
        return mean

    def _step(self, batch: Batch) -> Tensor:
        with autocast(self._device):
            logits = self._module(**batch.inputs)
        loss = self._objective(logits, batch.targets)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._module.parameters(), self._values.max_grad_norm)
        self._optimizer.step()
        return loss.detach()


def _epochs_between_evaluations(train: Inputs, validation: Inputs) -> int:
    """So many that evaluation takes a bounded share of the time, however few the training rows beside the others."""
    cost = sum(validation.lengths) / (_FORWARD_AND_BACKWARD * max(1, sum(train.lengths)))
    return max(1, round(cost / _EVALUATION_SHARE))


def _check_finite(loss: float) -> None:
    if not math.isfinite(loss):
        raise DivergedError(f"the training loss became {loss}; try a smaller learning rate")


def _check_exploded(train_loss: float, initial: float) -> None:
    """Clipping keeps a run that goes astray finite; its loss tells all the same."""
    if train_loss > _EXPLODED * max(1.0, initial):
        raise DivergedError(
            f"the training loss rose to {train_loss:.3g} (before training it was {initial:.3g}); "
            "try a smaller learning rate"
        )


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in module.state_dict().items()}


def _epoch_event(
    phase: PhaseSpec,
    epoch: int,
    steps: int,
    train_loss: float | None,
    evaluation: Evaluation,
    learning_rate: float,
    seconds: float,
    *,
    best: bool,
) -> EpochFinished:
    return EpochFinished(
        phase=phase.name.value,
        epoch=epoch,
        epochs=phase.epochs,
        steps=steps,
        train_loss=train_loss,
        validation_loss=evaluation.loss,
        metrics=evaluation.metrics,
        learning_rate=learning_rate,
        seconds=seconds,
        best=best,
    )
