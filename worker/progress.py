"""How far a run is: stages weighed by what they cost, measured in forward-and-backward passes of one example."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from models_store.specs import PhaseName, PhaseSpec
from worker.training.events import EpochFinished, Event, PhaseFinished, Resumed, StageStarted, Step, Working

_FORWARD = 0.35  # a forward pass, against forward and backward
_HEAD_STEP = 0.03  # the head alone, on remembered features
_START = 0.02
_END = 0.06  # share of the whole for export and evaluation


@dataclass
class ProgressMeter:
    """Turns events into ``GET /jobs/{id}``'s ``progress``."""

    phases: list[PhaseSpec]
    train_rows: int
    validation_rows: int
    members: int = 1
    started: float = field(default_factory=time.monotonic)
    _preparing: str | None = field(default=None, init=False)  # the stage that has not finished its epoch 0
    _finished: int = field(default=0, init=False)  # members of an ensemble
    _inherited: float = field(default=0.0, init=False)  # of the fraction, done by earlier attempts
    _current: dict[str, Any] = field(default_factory=lambda: {"fraction": 0.0})

    def update(self, event: Event) -> dict[str, Any]:
        """The progress after an event; ``step`` and ``steps`` are optimizer steps of the current epoch."""
        if isinstance(event, StageStarted):
            self._preparing = event.stage
        elif isinstance(event, Working):
            self._note_work(event)
        elif isinstance(event, Step):
            done = event.epoch - 1 + event.step / event.steps
            self._set(
                event.phase, self._cost_of_epochs(event.phase, done),
                epoch=event.epoch, epochs=event.epochs, step=event.step, steps=event.steps,
                examples_per_second=round(event.examples_per_second, 1),
            )  # fmt: skip
        elif isinstance(event, EpochFinished):
            self._preparing = None
            step = event.steps if event.epoch else 0  # epoch 0 is the state before the first step
            self._set(
                event.phase, self._cost_of_epochs(event.phase, event.epoch),
                epoch=event.epoch, epochs=event.epochs, step=step, steps=event.steps,
            )  # fmt: skip
        elif isinstance(event, PhaseFinished):
            self._set(event.phase, self._cost(self._phase(event.phase)))
            self._finished += event.phase == self.phases[-1].name
        elif isinstance(event, Resumed):
            for past in event.history:
                self.update(past)
            self._inherited = self._current["fraction"]
        return self._current

    def finish(self) -> dict[str, Any]:
        """The progress of a run that is over."""
        self._current = {**self._current, "fraction": 1.0, "eta_seconds": 0}
        return self._current

    def _note_work(self, event: Working) -> None:
        """Before its first epoch, a phase runs over the data without a step: only the fraction tells of it."""
        if event.stage == self._preparing and any(phase.name == event.stage for phase in self.phases):
            self._set(event.stage, event.done / event.total * self._setup_cost(self._phase(event.stage)))

    def _set(self, phase: str, done_in_phase: float, **values: Any) -> None:
        before = sum(self._cost(p) for p in self.phases[: self.phases.index(self._phase(phase))])
        total = sum(self._cost(p) for p in self.phases)
        share = _START + (1 - _START - _END) * (self._finished + (before + done_in_phase) / total) / self.members
        fraction = max(self._current["fraction"], min(share, 0.99))
        elapsed = time.monotonic() - self.started
        own = fraction - self._inherited
        eta = round(elapsed * (1 - fraction) / own) if own > _START else None
        self._current = {**self._current, **values, "fraction": round(fraction, 4), "eta_seconds": eta}

    def _phase(self, name: str) -> PhaseSpec:
        return next(phase for phase in self.phases if phase.name == PhaseName(name))

    def _cost(self, phase: PhaseSpec) -> float:
        return self._setup_cost(phase) + phase.epochs * self._epoch_cost(phase)

    def _cost_of_epochs(self, name: str, epochs: float) -> float:
        phase = self._phase(name)
        return self._setup_cost(phase) + epochs * self._epoch_cost(phase)

    def _setup_cost(self, phase: PhaseSpec) -> float:
        rows = self.validation_rows if phase.trains_encoder else self.train_rows + self.validation_rows
        return _FORWARD * rows

    def _epoch_cost(self, phase: PhaseSpec) -> float:
        if phase.trains_encoder:
            return self.train_rows + _FORWARD * self.validation_rows
        return _HEAD_STEP * (self.train_rows + self.validation_rows)
