"""How quickly a model's runners get texts done, learnt from what they did of late."""

from __future__ import annotations

import threading

_HALF_LIFE_TOKENS = 16_384  # after so many more tokens, what was learnt before counts half
_SECONDS_PER_TOKEN = 2e-4  # until something was learnt


class Throughput:
    """Seconds a padded token, learnt from the batches of late.

    Only a runner's own time counts. The latency of a call holds waiting, tokenising and changes of thread besides,
    which do not add up over the texts of a full queue.
    """

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0  # both weighted exponentially
        self._lock = threading.Lock()

    def learn(self, tokens: int, runner_seconds: float, runners: int) -> None:
        """Take in a batch that one of the runners worked on for so long; the others can do as much meanwhile."""
        kept = 0.5 ** (tokens / _HALF_LIFE_TOKENS)
        with self._lock:
            self._tokens = kept * self._tokens + tokens
            self._seconds = kept * self._seconds + runner_seconds / runners

    def seconds_for(self, tokens: int) -> float:
        """Seconds in which all runners together get so many tokens done."""
        with self._lock:
            return tokens * (self._seconds / self._tokens if self._tokens else _SECONDS_PER_TOKEN)
