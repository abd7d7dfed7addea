"""The Markdown table of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median

from benchmarks.training_speed.exchange import Times
from benchmarks.training_speed.measure import Outcome

_TEXTS = ("data set", "side", "metric", "epochs", "clock")
_COLUMNS = (
    *("data set", "side", "runs", "metric", "epochs", "peak MiB", "÷ ours"),
    *("clock", "seconds", "÷ ours", "phase 1", "phase 2", "rest", "phase 1 of all"),
)
HEADER = f"| {' | '.join(_COLUMNS)} |\n|{'|'.join('---' if name in _TEXTS else '---:' for name in _COLUMNS)}|"
_NONE = Times(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class _Clock:
    """Seconds of one side on one clock: medians over its runs."""

    total: float
    head: float
    full: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], name: str) -> _Clock:
        head, full = (
            median(getattr(outcome.report.times.get(phase, _NONE), name) for outcome in outcomes)
            for phase in ("head", "full")
        )
        return cls(median(getattr(outcome.times, name) for outcome in outcomes), head, full)

    def cells(self, ours: _Clock) -> list[str]:
        rest = self.total - self.head - self.full
        seconds = [f"{value:.1f}" for value in (self.head, self.full, rest)]
        return [f"{self.total:.1f}", f"{self.total / ours.total:.2f}", *seconds, f"{self.head / self.total:.1%}"]


def rows(dataset: str, metric: str, outcomes: dict[str, list[Outcome]], ours: str) -> list[str]:
    """The lines of one data set, two a side: wall clock and CPU time. Ratios are to the side named ``ours``.

    Seconds and memory are medians over a side's runs, the metric is their mean.
    """
    lines = []
    for side, runs in outcomes.items():
        peak, our_peak = (median(outcome.peak_mib for outcome in some) for some in (runs, outcomes[ours]))
        score = mean(outcome.report.metrics[metric] for outcome in runs)
        epochs = (median(o.report.epochs.get(phase, 0) for o in runs) for phase in ("head", "full"))
        cells = [dataset, side, str(len(runs)), f"{metric} {score:.4f}", " + ".join(f"{n:g}" for n in epochs)]
        cells += [f"{peak:.0f}", f"{peak / our_peak:.2f}"]
        for clock in Times._fields:
            own, of_ours = _Clock.of(runs, clock), _Clock.of(outcomes[ours], clock)
            lines.append(f"| {' | '.join([*cells, clock, *own.cells(of_ours)])} |")
            cells = [""] * len(cells)
    return lines
