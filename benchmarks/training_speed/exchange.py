"""What a side is told, and what it tells: files in the side's folder. Light, for each side pays for its imports."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from models_store.tasks import Row

_ASSIGNMENT, _REPORT = "assignment.json", "report.json"


@dataclass(frozen=True, slots=True)
class Assignment:
    """The same for every side of a comparison, but for ``bf16``.

    Attributes:
        task: The label space; `models_store.tasks.task_from_config` reads it.
        head: Name of the head.
        encoder: Folder of the encoder.
        phases: `models_store.specs.PhaseSpec` as JSON, in order.
        values: `models_store.specs.ResolvedHyperparameters` as JSON.
        seed: Of everything random.
        threads: Of torch; 0 leaves it to torch.
        device: ``cpu`` or ``cuda``.
        bf16: Whether a foreign side computes in bfloat16; ours decides for itself.
    """

    task: dict[str, Any]
    head: str
    encoder: str
    phases: list[dict[str, Any]]
    values: dict[str, Any]
    seed: int
    threads: int
    device: str = "cpu"
    bf16: bool = False

    def save(self, folder: Path) -> None:
        """Write it where the side looks for it."""
        (folder / _ASSIGNMENT).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        return cls(**json.loads((folder / _ASSIGNMENT).read_text(encoding="utf-8")))


class Times(NamedTuple):
    """Seconds on two clocks. On a machine that does other work, too, only ``cpu`` is the run's own."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Self:
        """A moment of this process."""
        return cls(time.monotonic(), time.process_time())

    def since(self, earlier: Times) -> Times:
        """What has passed on each clock."""
        return Times(self.wall - earlier.wall, self.cpu - earlier.cpu)


@dataclass(frozen=True, slots=True)
class Report:
    """What a side says of its run: times and epochs by phase (``head``, ``full``), and metrics of the test rows."""

    times: dict[str, Times]
    epochs: dict[str, float]
    metrics: dict[str, float]

    def save(self, folder: Path) -> None:
        """Write it where the comparison looks for it."""
        (folder / _REPORT).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        read = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
        return cls({phase: Times(*pair) for phase, pair in read["times"].items()}, read["epochs"], read["metrics"])


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """A split as JSON lines."""
    path.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows), encoding="utf-8")


def read_rows(folder: Path, split: str) -> list[dict[str, Any]]:
    """The rows of a split: what `models_store.datasets.read_split` gives."""
    with (folder.parent / f"{split}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
