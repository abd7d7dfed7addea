"""The training loop: phases in order, each a generator of events. Logging, saving and cancelling are the caller's."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from models_store.specs import PhaseSpec
from models_store.tasks import Task
from worker.training.checkpoints import Checkpoints
from worker.training.data import Inputs, TokenInputs, TrainingData
from worker.training.errors import DivergedError
from worker.training.evaluation import Evaluation, evaluate
from worker.training.events import EpochFinished, Event, PhaseFinished, StageStarted, Working
from worker.training.features import FeatureInputs, FeatureStore
from worker.training.model import TaskModel
from worker.training.objectives import goal_of
from worker.training.options import TrainingOptions
from worker.training.pacing import paced
from worker.training.resuming import Journal, PhaseState, weights_of
from worker.training.stepper import Stepper
from worker.training.team import Team
from worker.training.vocabulary import compact_vocabulary

_EVALUATION_SHARE = 0.25  # of the time of training, at most about
_FORWARD_AND_BACKWARD = 3.0  # a step's cost, in forward passes
_EXPLODED = 10.0  # times the loss of the untrained model


def train(
    model: TaskModel,
    phases: Sequence[PhaseSpec],
    data: TrainingData,
    options: TrainingOptions,
    features: FeatureStore | None = None,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Event]:
    """Train the model in place, one phase after the other; each ends with the weights that `fit` keeps.

    Args:
        model: What to train.
        phases: What to train of it, how long and how fast.
        data: Both splits.
        options: Everything else.
        features: Outputs of the frozen encoder that are known already.
        checkpoints: Where to go on from, and where to keep some on the way; each call needs its own.

    Raises:
        DivergedError: The loss is no longer finite.
    """
    torch.manual_seed(options.seed)
    options.team.part_ways()
    model.to(options.device)
    features = features or FeatureStore(data.pad_id, options.hardware, options.scratch)
    journal = Journal(checkpoints, options.team)
    with compact_vocabulary(model.encoder, [data.train, data.validation], data.pad_id):
        yield from journal.open()
        for number in range(journal.phase, len(phases)):
            yield StageStarted(stage=phases[number].name.value)
            rng = np.random.default_rng([options.seed, number])
            yield from _run_phase(model, phases[number], data, options, features, rng, journal)
            journal.phase += 1
        yield from journal.finish(model)


def _run_phase(
    model: TaskModel,
    phase: PhaseSpec,
    data: TrainingData,
    options: TrainingOptions,
    features: FeatureStore,
    rng: np.random.Generator,
    journal: Journal,
) -> Iterator[Event]:
    """A phase of everything, or of the head alone on the frozen encoder's outputs, which is not worth sharing out."""
    if phase.trains_encoder:
        features.clear()
        options.team.share_weights(model)
        train, validation = (TokenInputs(split, data.pad_id) for split in (data.train, data.validation))
        yield from fit(model, phase, train, validation, data.task, options, rng, journal)
    elif options.team.is_main:
        known, held_out = yield from _features(model, data, phase, features)
        yield from fit(model.head, phase, known, held_out, data.task, replace(options, team=Team()), rng, journal)


def fit(
    module: nn.Module,
    phase: PhaseSpec,
    train_inputs: Inputs,
    validation_inputs: Inputs,
    task: Task[Any],
    options: TrainingOptions,
    rng: np.random.Generator,
    journal: Journal | None = None,
) -> Iterator[Event]:
    """Run one phase over one module, which is left with the weights of the epoch that was kept.

    Where the metric is watched that is the latest epoch whose validation score is not clearly worse than the best: on
    few rows the best one is best by chance, and the end of a schedule is worth more than its middle (decision 0010).
    Where the loss is watched it is the last epoch before the validation loss leaves the training loss (decision 0013).

    Args:
        module: What learns.
        phase: How long and how fast.
        train_inputs: What it learns from.
        validation_inputs: What tells its best epoch.
        task: Gives the loss and the metrics.
        options: Everything else.
        rng: Shuffles the examples.
        journal: Where to go on from, and where to keep checkpoints.
    """
    journal = journal or Journal()
    goal = goal_of(module, task, options.values, train_inputs.split.targets, options.device)
    stepper = Stepper(module, phase, goal.objective, train_inputs, options, rng)

    def validate() -> Generator[Event, None, Evaluation]:
        found: dict[str, Any] | None = None
        if options.team.is_main:
            evaluation = yield from paced(
                evaluate(module, validation_inputs, task, goal, options.hardware),
                lambda done: Working(stage=phase.name.value, done=done, total=len(validation_inputs.lengths)),
            )
            found = asdict(evaluation)
        return Evaluation(**options.team.share(found))  # so that all take the same decisions

    state = yield from journal.restore(phase, stepper.learner)
    if state is None:
        started = time.monotonic()
        initial = yield from validate()
        losses = torch.zeros((), device=options.device)
        state = PhaseState(
            rng.bit_generator.state, initial, initial, initial, weights_of(module), losses, started=started
        )
        yield journal.note(_epoch_event(phase, state, stepper, None, initial, time.monotonic() - started, best=True))
        if phase.trains_encoder and options.device.type != "cpu":  # where memory is refused, not overdrawn
            yield from stepper.probe()

    # Where the loss is watched, that of each epoch tells whether to stop; the features are known, so it costs little.
    every = 1 if phase.watch == "loss" else _epochs_between_evaluations(train_inputs, validation_inputs)
    while state.epochs < phase.epochs and state.epochs - state.kept_epoch < max(phase.patience, every):
        train_loss = yield from stepper.run_epoch(state, journal)
        _check_exploded(train_loss, state.initial.loss)
        if (state.epochs + 1) % every and state.epochs + 1 < phase.epochs:
            state.finish_epoch(rng)
            yield from journal.checkpoint(state, stepper.learner, at_rest=True)
            continue
        now = yield from validate()
        seconds = time.monotonic() - state.epoch_started
        state.finish_epoch(rng)
        improved = state.judge(now, train_loss, module, phase)
        told = journal.note(_epoch_event(phase, state, stepper, train_loss, now, seconds, best=improved))
        yield from journal.checkpoint(state, stepper.learner, at_rest=True)
        yield told
    averaged = False
    if state.average.count > 1:
        module.load_state_dict(state.average.weights)
        now = yield from validate()
        if averaged := now.beats(state.kept, phase.watch):
            state.kept, state.weights = now, state.average.weights

    module.load_state_dict(state.weights)
    yield journal.note(
        PhaseFinished(
            phase=phase.name.value,
            epochs=state.epochs,
            best_epoch=state.best_epoch,
            kept_epoch=state.kept_epoch,
            averaged=averaged,
            seconds=time.monotonic() - state.started,
            metrics=state.kept.metrics,
        )
    )


def _features(
    model: TaskModel, data: TrainingData, phase: PhaseSpec, features: FeatureStore
) -> Generator[Event, None, tuple[FeatureInputs, FeatureInputs]]:
    """The encoder's outputs for both splits, telling how far it is with them (``yield from``)."""
    n_train = len(data.train.windows)
    total = n_train + len(data.validation.windows)

    def working(done: int) -> Working:
        return Working(stage=phase.name.value, done=done, total=total)

    known = yield from paced(features.of(model, data.train, model.needs), working)
    held_out = yield from paced(features.of(model, data.validation, model.needs), lambda done: working(n_train + done))
    return known, held_out


def _check_exploded(train_loss: float, initial: float) -> None:
    """Clipping keeps a run that goes astray finite; its loss tells all the same."""
    if train_loss > _EXPLODED * max(1.0, initial):
        raise DivergedError(
            f"the training loss rose to {train_loss:.3g} (before training it was {initial:.3g}); "
            "try a smaller learning rate"
        )


def _epochs_between_evaluations(train: Inputs, validation: Inputs) -> int:
    """So many that evaluation takes a bounded share of the time, however few the training rows beside the others."""
    cost = sum(validation.lengths) / (_FORWARD_AND_BACKWARD * max(1, sum(train.lengths)))
    return max(1, round(cost / _EVALUATION_SHARE))


def _epoch_event(
    phase: PhaseSpec,
    state: PhaseState,
    stepper: Stepper,
    train_loss: float | None,
    evaluation: Evaluation,
    seconds: float,
    *,
    best: bool,
) -> EpochFinished:
    return EpochFinished(
        phase=phase.name.value,
        epoch=state.epochs,
        epochs=phase.epochs,
        steps=stepper.steps,
        train_loss=train_loss,
        validation_loss=evaluation.loss,
        metrics=evaluation.metrics,
        learning_rate=stepper.learning_rate if state.epochs else 0.0,
        seconds=seconds,
        best=best,
    )
