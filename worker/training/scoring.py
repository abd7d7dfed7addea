"""The exported model over many examples, with signs of life on the way."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models_store.predictor import Predictor
from models_store.tasks import Encoded, Row
from models_store.windows import Logits

_PIECES = 250_000  # between two signs of life


def logits_of(predictor: Predictor, encoded: Sequence[Encoded]) -> Generator[int, None, list[Logits]]:
    """Logits of each example.

    Yields:
        The number of examples done so far.

    Returns:
        One array for each, in the order given (``yield from``).
    """
    logits: list[Logits] = []
    ends = np.cumsum([len(e) for e in encoded])
    while len(logits) < len(encoded):
        before = ends[len(logits)] - len(encoded[len(logits)])
        stop = int(np.searchsorted(ends, before + _PIECES, side="right"))
        logits += predictor.logits(encoded[len(logits) : max(stop, len(logits) + 1)])
        yield len(logits)
    return logits


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model makes of rows.

    Attributes:
        examples: The rows as the task takes them.
        encoded: Word pieces of each.
        logits: Of each.
        metrics: By name.
    """

    examples: Sequence[Any]
    encoded: Sequence[Encoded]
    logits: Sequence[Logits]
    metrics: dict[str, float]


def score(predictor: Predictor, rows: Sequence[Row]) -> Generator[int, None, Scored]:
    """Answer rows and compare with what they say.

    Yields:
        The number of rows done so far.

    Returns:
        All that came of it (``yield from``).
    """
    examples = [predictor.task.example(row) for row in rows]
    encoded = predictor.encode(examples)
    logits = yield from logits_of(predictor, encoded)
    return Scored(examples, encoded, logits, predictor.task.score(logits, rows, encoded))
