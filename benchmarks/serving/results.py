"""The measurements as a file, as tables, and as what `benchmarks.plots` draws."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.serving.load import Measured

OURS = "thawline"
LIMIT = "onnxruntime"

Point = tuple[str, str, int]  # precision, kind of text, connections


@dataclass(frozen=True, slots=True)
class Run:
    """One server under one load."""

    precision: str
    texts: str
    connections: int
    round: int
    server: str
    measured: Measured

    @property
    def point(self) -> Point:
        """What it can be compared in."""
        return self.precision, self.texts, self.connections

    def to_json(self) -> str:
        """A line of the file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Run:
        """Read what ``to_json`` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, "measured": Measured(**fields["measured"])})


def read(path: Path) -> list[Run]:
    """All runs of a file."""
    return [Run.from_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Results:
    """Runs, by what they can be compared in."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs: dict[Point, dict[str, dict[int, Measured]]] = {}
        for run in runs:
            self._runs.setdefault(run.point, {}).setdefault(run.server, {})[run.round] = run.measured
        found = dict.fromkeys(server for servers in self._runs.values() for server in servers)
        self.others = [server for server in found if server != OURS]

    @property
    def points(self) -> list[Point]:
        """In the order measured."""
        return list(self._runs)

    def of(self, point: Point, server: str) -> list[Measured]:
        """The rounds of one server."""
        return list(self._runs[point].get(server, {}).values())

    def ratios(self, point: Point, server: str) -> list[float]:
        """Thawline's answers a second over another's, for each round that both have; infinite where there came none."""
        ours, other = (self._runs[point].get(name, {}) for name in (OURS, server))
        pairs = [(ours[number].per_second, other[number].per_second) for number in ours if number in other]
        return [one / another if another else math.inf for one, another in pairs]


Cell = Callable[[Results, Point, str], str]


def tables(results: Results) -> Iterator[str]:
    """Everything as Markdown: ratios first, then what they are made of."""
    yield "Thawline's requests a second over the other's: median of the rounds (lowest to highest)\n"
    yield from _table(results, results.others, _ratio)
    yield "\nRequests a second; median and 99th percentile of the latency in ms: medians of the rounds\n"
    yield from _table(results, [OURS, *results.others], _absolute)


def _table(results: Results, servers: Sequence[str], cell: Cell) -> Iterator[str]:
    yield f"| precision | texts | connections | {' | '.join(servers)} |"
    yield f"|---|---|---:|{'---:|' * len(servers)}"
    for point in results.points:
        precision, texts, connections = point
        cells = [precision, texts, str(connections), *(cell(results, point, server) for server in servers)]
        yield f"| {' | '.join(cells)} |"


def _ratio(results: Results, point: Point, server: str) -> str:
    ratios = results.ratios(point, server)
    if not ratios:
        return "–"
    spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
    return f"{median(ratios):.2f}{spread}"


def _absolute(results: Results, point: Point, server: str) -> str:
    rounds = results.of(point, server)
    if not rounds:
        return "–"
    per_second, p50, p99 = (median(getattr(one, name) for one in rounds) for name in ("per_second", "p50", "p99"))
    errors = sum(one.errors for one in rounds)
    return f"{per_second:.0f}; {p50:.1f}, {p99:.1f}" + (f"; {errors} errors" if errors else "")


def curves(results: Results) -> dict[str, dict[str, dict[int, float]]]:
    """For each precision and kind of text, a server's requests a second by connections."""
    panels: dict[str, dict[str, dict[int, float]]] = {}
    for point in results.points:
        precision, texts, connections = point
        for server in (OURS, *results.others):
            if rounds := results.of(point, server):
                curve = panels.setdefault(f"{texts} texts, {precision}", {}).setdefault(server, {})
                curve[connections] = median(one.per_second for one in rounds)
    return panels
