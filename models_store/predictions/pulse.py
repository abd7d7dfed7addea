"""The sign of life of the process that answers a file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from models_store.database import Database
from models_store.leases import Turn
from models_store.predictions.files import TURNS
from models_store.tables import FilePrediction

BEAT_SECONDS = 2.0
_ItemT = TypeVar("_ItemT")


class CancelledError(Exception):
    """Somebody has asked for the end."""


class Pulse:
    """Prolongs the lease while the process gets on, and notices when it is no longer wanted."""

    def __init__(self, db: Database, turn: Turn) -> None:
        self._db = db
        self._turn = turn
        self._last = time.monotonic()

    def beat(self, **values: Any) -> FilePrediction:
        """Write something down, and prolong the lease.

        Raises:
            CancelledError: Somebody has asked for the end.
            LeaseLostError: Somebody else has the file.
        """
        row = TURNS.beat(self._db, self._turn, **values)
        self._last = time.monotonic()
        if row.cancel_requested:
            raise CancelledError
        return row

    def tick(self) -> None:
        """Prolong the lease if that was not done for a while; raises what `beat` does."""
        if time.monotonic() - self._last >= BEAT_SECONDS:
            self.beat()

    def over(self, items: Iterable[_ItemT]) -> Iterator[_ItemT]:
        """The items, with a `tick` before each."""
        for item in items:
            self.tick()
            yield item
