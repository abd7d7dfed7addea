"""The exported model over many examples, with signs of life on the way."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from models_store.predictor import Predictor
from models_store.tasks import Encoded
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
