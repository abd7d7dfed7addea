"""What a run must remember to go on as if it had never been interrupted: the state of its phase, and what came before.

Everything that decides the next step is here: weights, both moments, schedule, generators of random numbers, position
in the data. What is computed from it again, such as the features of phase 1 or the batches of an epoch, is not.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models_store.specs import PhaseSpec
from worker.training.averaging import RunningAverage
from worker.training.checkpoints import Checkpoint, Checkpoints
from worker.training.evaluation import Evaluation
from worker.training.events import EVENTS, EpochFinished, Event, PhaseFinished, Resumed
from worker.training.hardware import Hardware
from worker.training.memory import MemoryBudget
from worker.training.optimizer import Optimizer
from worker.training.team import Team

Weights = dict[str, Tensor]


@dataclass
class PhaseState:
    """Where a phase stands.

    Attributes:
        shuffle: The state of the generator of shuffles when the epoch began.
        initial: How good the module was before the phase.
        best: How good it was at its best.
        kept: How good it was at the epoch whose weights are kept.
        weights: Those.
        losses: The sum over the steps of the epoch, on the device: asking for each value would stall a GPU.
        average: The mean of the weights at the ends of the last epochs.
        epochs: Epochs that are over.
        step: Optimizer steps done in the one after them.
        started, epoch_started: Readings of the monotonic clock, moved back by the time that earlier attempts spent.
    """

    shuffle: Mapping[str, Any]
    initial: Evaluation
    best: Evaluation
    kept: Evaluation
    weights: Weights
    losses: Tensor
    best_epoch: int = 0
    kept_epoch: int = 0
    average: RunningAverage = field(default_factory=RunningAverage)
    epochs: int = 0
    step: int = 0
    started: float = field(default_factory=time.monotonic)
    epoch_started: float = field(default_factory=time.monotonic)

    def judge(self, now: Evaluation, train_loss: float, module: nn.Module, phase: PhaseSpec) -> bool:
        """Take in how good the module is after the epoch; returns whether it was never better."""
        improved = now.beats(self.best, phase.watch)
        if improved:
            self.best, self.best_epoch = now, self.epochs
        sound = phase.watch == "metric" or self.kept_epoch == 0 or now.generalises(train_loss)
        if sound and now.is_level_with(self.best, phase.watch):
            self.kept, self.kept_epoch, self.weights = now, self.epochs, weights_of(module)
        if self.epochs > phase.epochs * (1 - phase.averaging):
            self.average.add(module)
        return improved

    def finish_epoch(self, rng: np.random.Generator) -> None:
        """Get ready for the next one."""
        self.epochs += 1
        self.step = 0
        self.losses = torch.zeros_like(self.losses)
        self.shuffle = rng.bit_generator.state
        self.epoch_started = time.monotonic()


@dataclass(frozen=True, slots=True)
class Learner:
    """What changes with every step.

    Attributes:
        module: Its weights.
        optimizer: Moments and schedule.
        budget: What is known of the memory.
        rng: Shuffles the examples. (Dropout draws from torch's own generators.)
        hardware: Where the module is.
        team: The processes that take the same steps.
    """

    module: nn.Module
    optimizer: Optimizer
    budget: MemoryBudget
    rng: np.random.Generator
    hardware: Hardware
    team: Team


class Journal:
    """Keeps the checkpoints of one call of `train`: which phase it is in, and what it has told so far."""

    def __init__(self, checkpoints: Checkpoints | None = None, team: Team | None = None) -> None:
        self.phase = 0
        self._team = team or Team()
        self._checkpoints = checkpoints or Checkpoints()
        self._history: list[EpochFinished | PhaseFinished] = []
        self._found: Checkpoint | None = None

    def open(self) -> Generator[Event, None, None]:
        """Look for a checkpoint; if there is one, `phase` is the phase it was taken in."""
        self._found = yield from self._checkpoints.newest()
        if self._found is not None:
            self.phase = self._found.state["phase"]
            past = (EVENTS.validate_python(event) for event in self._found.state["history"])
            self._history = [event for event in past if isinstance(event, EpochFinished | PhaseFinished)]
        self.phase = self._team.share(self.phase)

    def note(self, event: EpochFinished | PhaseFinished) -> Event:
        """Take note of an event that is about to be told, so that a checkpoint in between has it, too."""
        self._history.append(event)
        return event

    def restore(self, phase: PhaseSpec, learner: Learner) -> Generator[Event, None, PhaseState | None]:
        """Put the learner into the state of the checkpoint, if there is one of this phase."""
        if (found := _shared(self._take(), learner.team)) is None:
            return None
        state = _restore(found, learner)
        learner.team.part_ways()
        yield Resumed(stage=phase.name.value, epoch=state.epochs + 1, step=state.step, history=list(self._history))
        return state

    def checkpoint(self, state: PhaseState, learner: Learner, *, at_rest: bool = False) -> Iterator[Event]:
        """Write one if it is time."""
        if self._checkpoints.due(at_rest=at_rest):
            yield from self._save(_snapshot(state, learner))

    def finish(self, model: nn.Module) -> Iterator[Event]:
        """Keep the trained model if it is worth it; or have it from the checkpoint, if that was taken at this point."""
        if (found := self._take()) is not None:
            model.load_state_dict(found.tensors["module"])
            yield Resumed(stage="export", history=list(self._history))
        elif self._checkpoints.due_at_end():
            yield from self._save(Checkpoint({}, {"module": _on_cpu(model.state_dict())}))

    def _save(self, checkpoint: Checkpoint) -> Iterator[Event]:
        history = [event.model_dump(mode="json") for event in self._history]
        state = {**checkpoint.state, "phase": self.phase, "history": history}
        yield from self._checkpoints.save(Checkpoint(state, checkpoint.tensors))

    def _take(self) -> Checkpoint | None:
        found, self._found = self._found, None
        return found


def _shared(found: Checkpoint | None, team: Team) -> Checkpoint | None:
    """The checkpoint that the main process has found, in every process."""
    state = team.share(None if found is None else found.state)
    if state is None:
        return None
    groups = {} if found is None else found.tensors
    shared = {group: team.share_tensors(groups.get(group, {})) for group in team.share(list(groups))}
    return Checkpoint(state, shared)


def weights_of(module: nn.Module) -> Weights:
    """A copy of the weights, on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in module.state_dict().items()}


def _snapshot(state: PhaseState, learner: Learner) -> Checkpoint:
    now = time.monotonic()
    return Checkpoint(
        {
            "shuffle": state.shuffle,
            "initial": asdict(state.initial),
            "best": asdict(state.best),
            "kept": asdict(state.kept),
            "best_epoch": state.best_epoch,
            "kept_epoch": state.kept_epoch,
            "averaged": state.average.count,
            "epochs": state.epochs,
            "step": state.step,
            "seconds": now - state.started,
            "epoch_seconds": now - state.epoch_started,
            "schedule": learner.optimizer.schedule(),
            "budget_tokens": learner.budget.tokens,
            "scaling": learner.hardware.scaling(),
        },
        {
            "module": _on_cpu(learner.module.state_dict()),
            "optimizer": _on_cpu(learner.optimizer.moments()),
            "kept": state.weights,
            "average": state.average.weights,
            "run": _on_cpu({"losses": state.losses, **_random_states(learner.hardware.device)}),
        },
    )


def _restore(found: Checkpoint, learner: Learner) -> PhaseState:
    state, tensors, now = found.state, found.tensors, time.monotonic()
    learner.module.load_state_dict(tensors["module"])
    learner.optimizer.restore(tensors["optimizer"], state["schedule"])
    learner.budget.tokens = state["budget_tokens"]
    learner.hardware.restore_scaling(state["scaling"])
    learner.rng.bit_generator.state = state["shuffle"]
    torch.set_rng_state(tensors["run"]["cpu"])
    if "cuda" in tensors["run"]:
        torch.cuda.set_rng_state(tensors["run"]["cuda"], learner.hardware.device)
    return PhaseState(
        shuffle=state["shuffle"],
        initial=Evaluation(**state["initial"]),
        best=Evaluation(**state["best"]),
        kept=Evaluation(**state["kept"]),
        weights=tensors["kept"],
        losses=tensors["run"]["losses"].to(learner.hardware.device),
        best_epoch=state["best_epoch"],
        kept_epoch=state["kept_epoch"],
        average=RunningAverage(state["averaged"], tensors["average"]),
        epochs=state["epochs"],
        step=state["step"],
        started=now - state["seconds"],
        epoch_started=now - state["epoch_seconds"],
    )


def _random_states(device: torch.device) -> Weights:
    states = {"cpu": torch.get_rng_state()}
    return {**states, "cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def _on_cpu(tensors: Weights) -> Weights:
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}
