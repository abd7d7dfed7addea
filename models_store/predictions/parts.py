"""The answers on the disk, in parts that appear whole, so that another process goes on where one has died."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_store.artifacts import children, fsync
from models_store.predictions.columns import ADDED, ERROR, added
from models_store.tasks import Prediction, TaskName


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the answers.

    Attributes:
        path: JSON Lines: what is added to each row.
        rows: How many it has.
        failed: Of these without an answer.
    """

    path: Path
    rows: int
    failed: int


def finished_parts(folder: Path) -> list[Part]:
    """What earlier attempts have left, as far as it is without a gap."""
    folder.mkdir(exist_ok=True)
    parts: list[Part] = []
    start = 0
    for path in children(folder):
        if path.suffix != ".jsonl":
            path.unlink()  # it was being written when its process died
            continue
        first, rows, failed = map(int, path.stem.split("-"))
        if first != start:
            break
        parts.append(Part(path, rows, failed))
        start += rows
    return parts


def write_part(folder: Path, first: int, answers: Sequence[Prediction | str], task: TaskName) -> Part:
    """Write the answers to the rows from the one with the number ``first`` on: each, or why there is none."""
    failed = sum(isinstance(answer, str) for answer in answers)
    name = f"{first:012d}-{len(answers)}-{failed}"
    writing = folder / f"{name}.writing"
    with writing.open("w", encoding="ascii") as file:
        for answer in answers:
            wrong = answer if isinstance(answer, str) else None
            print(json.dumps(added(task, None if isinstance(answer, str) else answer, wrong)), file=file)
    fsync(writing)
    path = folder / f"{name}.jsonl"
    writing.rename(path)
    return Part(path, len(answers), failed)


def answers_of(parts: Sequence[Part], task: TaskName) -> Iterator[dict[str, Any]]:
    """What is added to each row, in their order."""
    names = (*ADDED[task], ERROR)
    for part in parts:
        with part.path.open(encoding="ascii") as file:
            for line in file:
                row = json.loads(line)
                yield {name: row.get(name) for name in names}
