"""What was counted of shadows, on its way to the database: together, and every few seconds at most."""

from __future__ import annotations

import asyncio

from models_store import shadows
from models_store.database import DATABASE_AWAY, Database
from models_store.logging import get_logger
from models_store.shadows import Tally

_WRITE_SECONDS = 2.0

log = get_logger(__name__)


class ShadowBook:
    """Collects counts on the event loop and adds them to the database's in a thread, while there are any."""

    def __init__(self, db: Database, keep: int) -> None:
        """Open an empty book.

        Args:
            db: The database.
            keep: Examples to keep for each change of an alias, the latest.
        """
        self._db = db
        self._keep = keep
        self._tallies: dict[int, Tally] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, change: int, tally: Tally) -> None:
        """Count for a change of an alias (`AliasChange.id`)."""
        kept = self._tallies.setdefault(change, Tally())
        kept.add(tally)
        kept.examples = kept.examples[-self._keep :] if self._keep else []
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    def close(self) -> None:
        """Write what is there, and no more."""
        if self._writing is not None:
            self._writing.cancel()
        self._store(self._take())

    async def _write(self) -> None:
        while self._tallies:
            await asyncio.sleep(_WRITE_SECONDS)
            taken = self._take()
            if not await asyncio.to_thread(self._store, taken):
                self._put_back(taken)

    def _take(self) -> dict[int, Tally]:
        taken, self._tallies = self._tallies, {}
        return taken

    def _put_back(self, taken: dict[int, Tally]) -> None:
        for change, tally in taken.items():
            tally.add(self._tallies.get(change, Tally()))
            self._tallies[change] = tally

    def _store(self, tallies: dict[int, Tally]) -> bool:
        if not tallies:
            return True
        try:
            with self._db.transaction() as session:
                shadows.record(session, tallies, self._keep)
        except DATABASE_AWAY as error:
            log.warning("figures of shadows not written", error=str(error).partition("\n")[0])
            return False
        return True
