"""Shadows: what a version answered is asked of another one as well, in the background, and compared.

No caller waits for it, and none is refused because of it: it takes none of the places for texts, only as many more as a
small share of them, and none while they are all taken. What finds no room is dropped and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from api.figures import SHADOW_COMPARISONS, SHADOW_DISAGREEMENTS, SHADOW_SKIPPED
from api.shadow_book import ShadowBook
from models_store.agreement import decides_alike, decision_of
from models_store.database import Database
from models_store.errors import InvalidInputError, OverloadedError, ThawlineError
from models_store.logging import get_logger
from models_store.registry import Route
from models_store.settings import Settings
from models_store.shadows import Tally
from models_store.tables import ModelVersion
from models_store.tasks import Prediction, Task

_SHARE = 8  # for so many texts of callers, one of a shadow's may be under way
_REST_SECONDS = 5.0  # of a shadow that failed: to try and load it again takes its time, too
_TEXT_CHARACTERS = 200  # of an example

Ask = Callable[[ModelVersion, Sequence[Any]], Awaitable[list[Prediction]]]
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """A call that the version of an alias has answered.

    Attributes:
        route: The alias's.
        task: Of the version.
        inputs: As they were sent.
        predictions: One for each.
    """

    route: Route
    task: Task[Any]
    inputs: Sequence[Any]
    predictions: Sequence[Prediction]

    def first(self, count: int) -> Answered:
        """The call as if it had had so many inputs at most."""
        return Answered(self.route, self.task, self.inputs[:count], self.predictions[:count])


class Shadows:
    """Compares answers with those of the shadow that an alias may have."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._book = ShadowBook(db, settings.shadow_examples)
        self._keeps_examples = settings.shadow_examples > 0
        self._most = max(1, settings.predict_queue_items // _SHARE)
        self._texts = 0
        self._resting: dict[str, float] = {}  # until when, by artifact
        self._running: set[asyncio.Task[None]] = set()

    def follow(self, answered: Answered, ask: Ask) -> None:
        """Ask the shadow, too, if there is one and little enough is under way; returns at once.

        Args:
            answered: By the version that the alias points at, not by its canary.
            ask: Asks a version if there is room.
        """
        shadow = answered.route.shadow
        if shadow is None or not answered.inputs:
            return
        answered = answered.first(self._most)
        resting = self._resting.get(shadow.artifact, 0.0) > time.monotonic()
        if resting or self._texts + len(answered.inputs) > self._most:
            self._note(answered.route, Tally(dropped=len(answered.inputs)))
            return
        self._texts += len(answered.inputs)
        task = asyncio.create_task(self._compare(answered, shadow, ask))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def close(self) -> None:
        """Give up what is under way, and write down what was counted."""
        for task in self._running:
            task.cancel()
        self._book.close()

    async def _compare(self, answered: Answered, shadow: ModelVersion, ask: Ask) -> None:
        count = len(answered.inputs)
        try:
            others = await ask(shadow, answered.inputs)
            tally = self._tally(answered, others)
        except OverloadedError:
            tally = Tally(dropped=count)
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller has long been answered)
            tally = Tally(failed=count, last_error=self._failed(shadow, error))
        finally:
            self._texts -= count
        self._note(answered.route, tally)

    def _failed(self, shadow: ModelVersion, error: Exception) -> str:
        """Let the shadow rest, unless the inputs were to blame; the error's code."""
        if not isinstance(error, InvalidInputError):
            self._resting[shadow.artifact] = time.monotonic() + _REST_SECONDS
        log.warning("shadow failed", model=shadow.model, version=shadow.version, error=str(error))
        return error.code if isinstance(error, ThawlineError) else type(error).__name__

    def _tally(self, answered: Answered, others: Sequence[Prediction]) -> Tally:
        """Compare; an input that one of the two gave no answer to (``{"error": …}``) counts as failed."""
        triples = list(zip(answered.inputs, answered.predictions, others, strict=True))
        pairs = [(item, one, other) for item, one, other in triples if "error" not in one and "error" not in other]
        apart = [pair for pair in pairs if not decides_alike(answered.task, *pair[1:])]
        examples = [_example(*pair) for pair in apart] if self._keeps_examples else []
        return Tally(len(pairs), len(apart), failed=len(triples) - len(pairs), examples=examples)

    def _note(self, route: Route, tally: Tally) -> None:
        assert route.shadow is not None  # noqa: S101 (callers have checked)
        names = (route.primary.model, str(route.primary.version), str(route.shadow.version))
        SHADOW_COMPARISONS.labels(*names).inc(tally.compared)
        SHADOW_DISAGREEMENTS.labels(*names).inc(tally.disagreed)
        SHADOW_SKIPPED.labels(*names, "dropped").inc(tally.dropped)
        SHADOW_SKIPPED.labels(*names, "failed").inc(tally.failed)
        if route.change is not None:
            self._book.note(route.change, tally)


def _example(item: Any, one: Prediction, other: Prediction) -> dict[str, Any]:
    """A disagreement; of each text only the beginning."""
    if isinstance(item, dict):
        shown: Any = {side: _beginning(text) for side, text in item.items()}
    else:
        shown = _beginning(item if isinstance(item, str) else " ".join(item))
    return {"input": shown, "version": decision_of(one), "shadow": decision_of(other)}


def _beginning(text: str) -> str:
    return text if len(text) <= _TEXT_CHARACTERS else text[:_TEXT_CHARACTERS] + "…"
