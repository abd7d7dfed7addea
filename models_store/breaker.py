"""A circuit breaker: after a failure nobody tries again for a while, so that nobody waits for what is not there."""

from __future__ import annotations

import threading
import time


class CircuitBreaker:
    """Whether something that failed may be tried; any number of threads may ask.

    Once the rest is over one caller tries, and the others go on doing without until it has succeeded.
    """

    def __init__(self, rest_seconds: float) -> None:
        self._rest_seconds = rest_seconds
        self._rests_until: float | None = None  # on the clock of `time.monotonic`; None: it works
        self._lock = threading.Lock()

    def allows(self) -> bool:
        """Whether the caller may try, and is then to say what came of it."""
        with self._lock:
            if self._rests_until is None:
                return True
            now = time.monotonic()
            if now < self._rests_until:
                return False
            self._rests_until = now + self._rest_seconds
            return True

    def failed(self) -> None:
        """Let nobody try for a while."""
        with self._lock:
            self._rests_until = time.monotonic() + self._rest_seconds

    def succeeded(self) -> None:
        """Let everybody try."""
        with self._lock:
            self._rests_until = None
