"""Both phases of a training as bars, drawn by whoever can draw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thawline.records import Event

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 16  # epochs that a curve shows
_PHASES_OF_STRATEGY = {"frozen": ("head",), "finetune": ("full",)}
_ORDER = ("prepare", "head", "full", "export", "evaluate")
_LABELS = {"head": "  1 head", "full": "  2 head and encoder"}


@dataclass(frozen=True)
class Bar:
    """A bar: its name, how full it is (0 to 1), and what stands beside it."""

    name: str
    fraction: float
    note: str


@dataclass
class _Curve:
    """The metric of a phase, epoch by epoch."""

    metric: str = ""
    values: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.metric} {self.values[-1]:.3f} {sparkline(self.values)}" if self.values else ""


class PhaseBars:
    """Turns what a job tells into bars."""

    def __init__(self) -> None:
        self._curves: defaultdict[str, _Curve] = defaultdict(_Curve)

    def update(self, job: Any, news: Sequence[Event]) -> list[Bar]:
        """The bars of a job, when these events have happened since the last time."""
        for event in news:
            if event.type == "phase":
                self._curves.pop(str(event.data.get("phase")), None)  # of the member of an ensemble before
            elif event.type == "metrics":
                self._note(event)
        return list(self._bars(job))

    def _note(self, event: Event) -> None:
        curve = self._curves[str(event.data.get("phase"))]
        for metric, value in list(dict(event.data.get("metrics") or {}).items())[:1]:
            curve.metric = metric
            curve.values.append(float(value))

    def _bars(self, job: Any) -> Iterator[Bar]:
        yield Bar(job.model.name, job.progress.fraction, " · ".join(_state(job)))
        for phase in _phases(job):
            yield self._phase(job, phase)

    def _phase(self, job: Any, phase: str) -> Bar:
        curve, progress = self._curves.get(phase), job.progress
        if job.status == "succeeded" or _is_behind(job.phase, phase):
            return Bar(_LABELS[phase], 1.0, str(curve or ""))
        is_told = curve is not None or phase == _phases(job)[0]  # else the epochs are still those of the one before
        if job.phase != phase or not is_told or not progress.epochs or progress.epoch is None:
            return Bar(_LABELS[phase], 0.0, str(curve or ""))
        within = progress.step / progress.steps if progress.step and progress.steps else 0.0
        done = (max(progress.epoch - 1, 0) + within) / progress.epochs
        note = " · ".join(filter(None, (str(curve or ""), f"epoch {progress.epoch} of at most {progress.epochs}")))
        return Bar(_LABELS[phase], min(done, 1.0), note)


def _phases(job: Any) -> tuple[str, ...]:
    return _PHASES_OF_STRATEGY.get(job.spec.get("strategy", ""), ("head", "full"))


def sparkline(values: Sequence[float]) -> str:
    """The latest values as a line of blocks, the least the lowest."""
    shown = values[-_WIDTH:]
    low, high = min(shown), max(shown)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in shown)


def _state(job: Any) -> Iterator[str]:
    """Where the job stands, in words."""
    yield job.phase if job.status == "running" and job.phase else job.status
    if job.waiting_reason:
        yield job.waiting_reason
    elif job.queue_position and job.queue_position > 1:
        yield f"number {job.queue_position} in the queue"
    if job.status == "running" and job.progress.eta_seconds:
        yield f"about {job.progress.eta_seconds} s left"
    if job.status == "paused":
        yield "it goes on when it is resumed"


def _is_behind(present: str | None, phase: str) -> bool:
    """Whether a job in the present phase has left this one behind."""
    return present in _ORDER and _ORDER.index(present) > _ORDER.index(phase)
