"""Which version answers: what a name means, remembered for a moment, and how an alias shares its calls out."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time

from models_store import registry
from models_store.database import Database
from models_store.errors import NotFoundError
from models_store.registry import Route
from models_store.tables import ModelVersion

_RESOLVE_SECONDS = 1.0  # a promotion is seen by every API process within this time
_FRESH_SECONDS = 0.5  # what is older is asked again, while callers go on with it
_DIGEST_BYTES = 8


class VersionResolver:
    """Remembers for a moment what ``name@alias`` means, so that a prediction costs no query."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[str, tuple[float, Route]] = {}  # with when it was asked
        self._asking: dict[str, asyncio.Task[Route]] = {}
        self._changes = 0

    async def resolve(self, reference: str) -> ModelVersion:
        """The version meant; of an alias that shares its calls out, the one that answers most things.

        Raises:
            NotFoundError: No such model, version or alias.
        """
        return (await self.route(reference)).primary

    async def route(self, reference: str) -> Route:
        """The version meant, with the canary and the shadow that an alias may have.

        Raises:
            NotFoundError: No such model, version or alias.
        """
        found = self._known.get(reference)
        age = time.monotonic() - found[0] if found else _RESOLVE_SECONDS
        if found and age < _FRESH_SECONDS:
            return found[1]
        asking = self._ask(reference)
        return found[1] if found and age < _RESOLVE_SECONDS else await asyncio.shield(asking)

    def forget(self) -> None:
        """Look everything up anew; for changes made by this process."""
        self._changes += 1
        self._known.clear()
        self._asking.clear()

    def _ask(self, reference: str) -> asyncio.Task[Route]:
        """Ask the database, once for all who want to know."""
        task = self._asking.get(reference)
        if task is None:
            task = self._asking[reference] = asyncio.create_task(self._look_up(reference))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # may be awaited by nobody
        return task

    async def _look_up(self, reference: str) -> Route:
        changes, asked_at = self._changes, time.monotonic()
        try:
            route = await asyncio.to_thread(self._query, reference)
        except NotFoundError:
            if changes == self._changes:
                self._known.pop(reference, None)
            raise
        finally:
            if changes == self._changes:  # else the answer may be older than the change
                self._asking.pop(reference, None)
        if changes == self._changes:
            self._known[reference] = (asked_at, route)
        return route

    def _query(self, reference: str) -> Route:
        with self._db.reading() as session:
            return registry.route(session, reference)


def drawn(route: Route, key: str | None = None) -> ModelVersion:
    """The version that answers one call: the canary for its share of them.

    Args:
        route: What the reference means.
        key: Calls with the same one get the same version as long as the canary is the same, and those who had the
            canary keep it when its share grows. Without a key chance decides.
    """
    if route.canary is None:
        return route.primary
    lot = random.random() if key is None else _lot(route.canary, key)  # noqa: S311 (no secret)
    return route.canary if lot < route.weight else route.primary


def _lot(canary: ModelVersion, key: str) -> float:
    """A number from 0 up to 1 for a key; each canary draws anew, so that not always the same ones try it first."""
    text = f"{canary.model}@{canary.version}:{key}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
    return float(int.from_bytes(digest) / 2 ** (8 * _DIGEST_BYTES))
