"""Remembers of a run's events what its result and its report tell."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from models_store.reports import CurvePoint, PhaseReport
from worker.training.events import (
    Calibrated,
    EpochFinished,
    Event,
    HeadTried,
    MemberStarted,
    PhaseFinished,
    Resumed,
    StageStarted,
)


class History:
    """What happened in a run so far. It begins with the stage `prepare`."""

    def __init__(self) -> None:
        self.phases: list[PhaseReport] = []
        self.heads: list[HeadTried] = []  # the ranking: events alone come in the order of the trials
        self.calibration: Calibrated | None = None
        self._curve: list[CurvePoint] = []
        self._member = 1
        self._seconds: dict[str, float] = {}
        self._stage, self._since = "prepare", time.monotonic()

    def recording(self, events: Iterable[Event]) -> Iterator[Event]:
        """Pass the events on, each taken note of first."""
        for event in events:
            self._note(event)
            yield event

    def durations(self) -> dict[str, float]:
        """Seconds of each stage, of the present one so far."""
        now = self._seconds.get(self._stage, 0.0) + time.monotonic() - self._since
        return {stage: round(value, 3) for stage, value in {**self._seconds, self._stage: now}.items()}

    def _note(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._seconds = self.durations()
            self._stage, self._since = event.stage, time.monotonic()
        elif isinstance(event, EpochFinished):
            self._curve.append(CurvePoint(**event.model_dump(include=set(CurvePoint.model_fields))))
        elif isinstance(event, PhaseFinished):
            figures = event.model_dump(exclude={"kind", "phase"})
            self.phases.append(PhaseReport(name=event.phase, member=self._member, curve=self._curve, **figures))
            self._curve = []
        elif isinstance(event, MemberStarted):
            self._member = event.member
        elif isinstance(event, Resumed):
            for past in event.history:
                self._note(past)
        elif isinstance(event, Calibrated):
            self.calibration = event
