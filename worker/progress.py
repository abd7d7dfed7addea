"""How far a run is: stages weighed by what they cost, measured in forward-and-backward passes of one example.

What is left is estimated from the steps of the present phase, as fast as this attempt takes them, and for everything
after it from the weights. What earlier attempts did counts as done, and says nothing of the speed.
"""

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
_TRAINING = 1 - _START - _END
_ENOUGH = 0.02  # of the whole, before an estimate comes from the weights alone
_ALMOST = 0.99  # until the run is over


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place on the way, and when this attempt was there (by the monotonic clock).

    Attributes:
        at: The share of the whole, or the epochs of a phase, that were done.
    """

    at: float
    time: float


@dataclass
class ProgressMeter:
    """Turns events into ``GET /jobs/{id}``'s ``progress``.

    Attributes:
        phases: What each member is trained in.
        train_rows, validation_rows: How many there are.
        members: Of an ensemble.
        told: The fraction that earlier attempts told; it stands still until the run has got so far again.
    """

    phases: list[PhaseSpec]
    train_rows: int
    validation_rows: int
    members: int = 1
    told: float = 0.0
    _preparing: str | None = field(default=None, init=False)  # the stage that has not finished its epoch 0
    _finished: int = field(default=0, init=False)  # members of an ensemble
    _phase: PhaseSpec | None = field(default=None, init=False)  # the present one,
    _epochs: float = field(default=0.0, init=False)  # those of it that are done,
    _share: float = field(default=_START, init=False)  # and how much of the whole
    _began: _Mark = field(init=False)  # where this attempt's work did
    _steps_began: _Mark | None = field(default=None, init=False)  # and that of the present phase, in epochs
    _current: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self._began = _Mark(self._share, time.monotonic())
        self._current = {"fraction": min(self.told, _ALMOST)}

    def update(self, event: Event) -> dict[str, Any]:
        """The progress after an event; ``step`` and ``steps`` are optimizer steps of the current epoch."""
        before = self._share
        self._note(event)
        self._mark(event, before)
        if self._share != before:
            fraction = max(self._current["fraction"], min(self._share, _ALMOST))
            self._current = {**self._current, "fraction": round(fraction, 4), "eta_seconds": self._seconds_left()}
        return self._current

    def finish(self) -> dict[str, Any]:
        """The progress of a run that is over."""
        self._current = {**self._current, "fraction": 1.0, "eta_seconds": 0}
        return self._current

    def _note(self, event: Event) -> None:
        """Where the run is."""
        if isinstance(event, StageStarted):
            self._preparing = event.stage
        elif isinstance(event, Working):
            self._note_work(event)
        elif isinstance(event, Step):
            self._place(
                event.phase, event.epoch - 1 + event.step / event.steps,
                epoch=event.epoch, epochs=event.epochs, step=event.step, steps=event.steps,
                examples_per_second=round(event.examples_per_second, 1),
            )  # fmt: skip
        elif isinstance(event, EpochFinished):
            self._preparing = None
            step = event.steps if event.epoch else 0  # epoch 0 is the state before the first step
            self._place(
                event.phase, event.epoch,
                epoch=event.epoch, epochs=event.epochs, step=step, steps=event.steps,
            )  # fmt: skip
        elif isinstance(event, PhaseFinished):
            self._place(event.phase, self._phase_of(event.phase).epochs)
            self._finished += event.phase == self.phases[-1].name
        elif isinstance(event, Resumed):
            for past in event.history:
                self._note(past)
            if event.epoch is not None:  # the history has told of its phase
                self._place(event.stage, event.epoch - 1 + (event.step or 0) / self._current["steps"])

    def _note_work(self, event: Working) -> None:
        """Before its first epoch, a phase runs over the data without a step: only the fraction tells of it."""
        if event.stage == self._preparing and any(phase.name == event.stage for phase in self.phases):
            phase = self._phase_of(event.stage)
            self._set(phase, event.done / event.total * self._setup_cost(phase))

    def _place(self, name: str, done: float, **values: Any) -> None:
        self._phase, self._epochs = self._phase_of(name), done
        self._current = {**self._current, **values}
        self._set(self._phase, self._setup_cost(self._phase) + done * self._epoch_cost(self._phase))

    def _set(self, phase: PhaseSpec, done_in_phase: float) -> None:
        before = sum(self._cost(p) for p in self.phases[: self.phases.index(phase)])
        self._share = _START + self._share_of(before + done_in_phase) + self._finished * _TRAINING / self.members

    def _mark(self, event: Event, before: float) -> None:
        """Remember where this attempt's work begins, and its steps of each phase.

        Args:
            event: What is new.
            before: The share of the whole that was done before it.
        """
        now = time.monotonic()
        if isinstance(event, StageStarted):
            self._steps_began = None
        elif isinstance(event, Step | EpochFinished | Resumed) and self._steps_began is None:
            self._steps_began = _Mark(self._epochs, now)
        if self._share != before and not _took_no_work(event):
            return
        if before <= self._began.at:  # nothing was done yet, however long it took to get ready
            self._began = _Mark(self._share, now)
        else:
            self._began = _Mark(self._began.at + self._share - before, self._began.time)

    def _seconds_left(self) -> int | None:
        """None while too little was done to tell."""
        if (own := self._share - self._began.at) <= 0:
            return None
        now = time.monotonic()
        seconds_per_share = (now - self._began.time) / own
        if self._phase is None or self._steps_began is None or self._epochs <= self._steps_began.at:
            return round((1 - self._share) * seconds_per_share) if own > _ENOUGH else None
        seconds_per_epoch = (now - self._steps_began.time) / (self._epochs - self._steps_began.at)
        epochs = self._phase.epochs - self._epochs
        after = 1 - self._share - self._share_of(epochs * self._epoch_cost(self._phase))
        return round(epochs * seconds_per_epoch + after * seconds_per_share)

    def _phase_of(self, name: str) -> PhaseSpec:
        return next(phase for phase in self.phases if phase.name == PhaseName(name))

    def _share_of(self, cost: float) -> float:
        """Of the whole, what is the share of so much training of one member."""
        return _TRAINING * cost / sum(self._cost(phase) for phase in self.phases) / self.members

    def _cost(self, phase: PhaseSpec) -> float:
        return self._setup_cost(phase) + phase.epochs * self._epoch_cost(phase)

    def _setup_cost(self, phase: PhaseSpec) -> float:
        rows = self.validation_rows if phase.trains_encoder else self.train_rows + self.validation_rows
        return _FORWARD * rows

    def _epoch_cost(self, phase: PhaseSpec) -> float:
        if phase.trains_encoder:
            return self.train_rows + _FORWARD * self.validation_rows
        return _HEAD_STEP * (self.train_rows + self.validation_rows)


def _took_no_work(event: Event) -> bool:
    """Whether what it adds was done by earlier attempts, left out, or done at once: what takes time tells of itself."""
    return isinstance(event, Resumed | PhaseFinished) or (isinstance(event, EpochFinished) and event.epoch == 0)
