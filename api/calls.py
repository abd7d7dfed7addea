"""A call's texts on their way through the queue, and what becomes of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating[Any]]
Outcome = Logits | Exception
Done = Callable[["Results"], None]


class ClosedError(RuntimeError):
    """The model was unloaded meanwhile."""


class NotFiniteError(RuntimeError):
    """The model answered with something that is no number."""


class OverdueError(RuntimeError):
    """Nobody waits for this answer any more."""


class RunnerLostError(RuntimeError):
    """The thread that ran this text died, or came to no end."""


@dataclass(slots=True)
class Results:
    """What became of the texts of a call.

    Attributes:
        outcomes: The logits of each text, or why there are none.
        queue_seconds: How long the last of them waited for a runner.
        infer_seconds: How long their batches ran: the longest.
    """

    outcomes: list[Outcome]
    queue_seconds: float = 0.0
    infer_seconds: float = 0.0


class Call:
    """The texts that were submitted together; they are run in any order and handed back as one."""

    def __init__(self, texts: int, seconds: float, done: Done) -> None:
        self.since = time.perf_counter()
        self._deadline = self.since + seconds
        self._done = done
        self._cancelled = False
        self._found: dict[int, Outcome] = {}
        self._results = Results([])
        self._texts = texts
        self._lock = threading.Lock()

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for the answer."""
        return not self._cancelled and time.perf_counter() < self._deadline

    def cancel(self) -> None:
        """Nobody waits any more: what has not begun is not run."""
        self._cancelled = True

    def finish(self, index: int, outcome: Outcome, *, started: float | None = None, seconds: float = 0.0) -> None:
        """Note what became of a text; what is said of it later, by a runner that was given up, does not count.

        Args:
            index: Of the text in the call.
            outcome: What became of it.
            started: When a runner took it; just now, where none did.
            seconds: How long that worked on it.
        """
        started = time.perf_counter() if started is None else started
        with self._lock:
            if index in self._found:
                return
            self._found[index] = outcome
            self._results.queue_seconds = max(self._results.queue_seconds, started - self.since)
            self._results.infer_seconds = max(self._results.infer_seconds, seconds)
            if len(self._found) < self._texts:
                return
        self._results.outcomes = [self._found[i] for i in range(self._texts)]
        self._done(self._results)
