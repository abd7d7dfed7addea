"""Which receivers of webhooks are called next: each in its turn, and those that keep others waiting among themselves.

A call holds a slot until it is answered, for seconds where nobody answers. So there are slots for each kind of
receiver, and those that do not answer take none from those that do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """What a receiver did when it was called the last time."""

    PROMPT = "prompt"  # it answered soon, whatever the answer was
    UNTRIED = "untried"
    SLOW = "slow"  # it answered late, or not at all


SLOTS = {Standing.PROMPT: 8, Standing.UNTRIED: 16, Standing.SLOW: 2}
PROMPT_SECONDS = 2.0
_REST_SECONDS = 5.0  # after no answer, so that one that starts again does not fail every message it is to get
_REMEMBERED = 500  # the names are the users' to choose: they must not fill the memory


@dataclass(frozen=True, slots=True)
class Selection:
    """Receivers by their origins: all but some, or some alone."""

    sparing: Set[str] = frozenset()
    among: Set[str] | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    standing: Standing
    rests_until: float  # on the clock of `time.monotonic`


class Receivers:
    """How the receivers that one process calls have done so far. Any thread may tell and ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}  # the one called longest ago first
        self._called: dict[str, Standing] = {}  # whose answer is awaited, and in which slot
        self._served: set[str] = set()  # those that had their turn in the present round

    def has_room(self, standing: Standing) -> bool:
        """Whether one more receiver of this standing may be called."""
        with self._lock:
            return sum(slot is standing for slot in self._called.values()) < SLOTS[standing]

    def candidates(self, standing: Standing) -> list[Selection]:
        """Who may be called now: first those that had no turn yet in this round, then all of this standing."""
        with self._lock:
            if standing is Standing.UNTRIED:
                return [Selection(sparing={*self._known, *self._called})]
            now = time.monotonic()
            awake = {name for name, one in self._known.items() if one.standing is standing and one.rests_until <= now}
            free = awake - self._called.keys()
            waiting = free - self._served
            return [Selection(among=names) for names in (waiting, free if waiting != free else set()) if names]

    def begin(self, origin: str, standing: Standing) -> None:
        """Note that a receiver is called, as one of this standing."""
        with self._lock:
            if origin in self._served:  # nobody else had anything to get: a new round
                self._served = {name for name in self._served if self._is_known_as(name) is not standing}
            self._served.add(origin)
            self._called[origin] = standing

    def end(self, origin: str, *, answered: bool, seconds: float) -> None:
        """Note what came of the call, and after how long."""
        prompt = answered and seconds <= PROMPT_SECONDS
        rest = 0.0 if answered else _REST_SECONDS
        with self._lock:
            del self._called[origin]
            self._known.pop(origin, None)
            self._known[origin] = _Known(Standing.PROMPT if prompt else Standing.SLOW, time.monotonic() + rest)
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._served &= self._known.keys()

    def _is_known_as(self, origin: str) -> Standing:
        known = self._known.get(origin)
        return Standing.UNTRIED if known is None else known.standing
