"""Whether living workers have had time to say so: before that nobody may take them for lost."""

from __future__ import annotations

import time
from collections.abc import Callable

from models_store.settings import Settings

Clock = Callable[[], float]


class Patience:
    """Remembers when the database could last be written to, as seen from here.

    After a gap, be it a database that was away, a suspended machine or a clock that was set ahead, leases have run out
    whose owners are alive: these get the time of two heartbeats before anybody takes their jobs away.
    """

    def __init__(self, settings: Settings, clocks: tuple[Clock, ...] = (time.monotonic, time.time)) -> None:
        # One clock stands still while the machine is suspended, the other one may be set.
        self._clocks = clocks
        lease, heartbeat = settings.lease_seconds, settings.heartbeat_seconds
        # A heartbeat may be as old as its interval when the gap begins; half of what is then left is no danger yet.
        self._longest = settings.sweep_seconds + (lease - heartbeat) / 2
        self._grace = 2 * heartbeat
        self._last: tuple[float, ...] | None = None
        self._until = 0.0

    def reached(self) -> bool:
        """Note that the database has just been written to; whether leases that have run out tell anything by now."""
        now = tuple(clock() for clock in self._clocks)
        gap = max((a - b for a, b in zip(now, self._last, strict=True)), default=0.0) if self._last else 0.0
        if gap > self._longest:
            self._until = now[0] + self._grace
        self._last = now
        return now[0] >= self._until
