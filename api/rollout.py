"""A name goes over to another version only when that is loaded and checked; until then the old one answers."""

from __future__ import annotations

import asyncio
import time

from api.figures import SWITCH_FAILURES
from api.predictors import Choice, PredictorPool
from models_store import registry
from models_store.logging import get_logger
from models_store.tables import ModelVersion

_RETRY_SECONDS = 30.0  # a version that could not be loaded is tried again after so long
log = get_logger(__name__)


class Rollout:
    """Remembers which version each name is answered by."""

    def __init__(self, predictors: PredictorPool) -> None:
        self._predictors = predictors
        self._answers: dict[str, ModelVersion] = {}
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._failed: dict[str, float] = {}

    def answering(self, reference: str, meant: ModelVersion) -> ModelVersion:
        """The version to answer with, now that the reference means this one.

        That is the one before as long as it is in memory and the new one is not; the new one is loaded meanwhile.
        """
        before = self._answers.get(reference)
        if before is None or before.artifact == meant.artifact or not self._predictors.has(Choice(before)):
            self._answers[reference] = meant
        elif self._predictors.has(Choice(meant)):
            log.info("switched", reference=reference, version=meant.version, before=before.version)
            self._answers[reference] = meant
        else:
            self._prepare(meant, beside=None)
        return self._answers[reference]

    def ready(self, version: ModelVersion, beside: ModelVersion) -> bool:
        """Whether a version that another one can stand in for is in memory; if not, it is loaded meanwhile.

        Args:
            version: A canary.
            beside: The one that stands in for it, and that it must not push out.
        """
        if self._predictors.has(Choice(version)):
            return True
        self._prepare(version, Choice(beside))
        return False

    def answered(self) -> list[str]:
        """The references that a model in memory answers to."""
        return [name for name, version in self._answers.items() if self._predictors.has(Choice(version))]

    def answered_by(self, artifact: str) -> list[str]:
        """The references that a version in memory answers to."""
        return [reference for reference in self.answered() if self._answers[reference].artifact == artifact]

    def serves(self, name: str, alias: str) -> bool:
        """Whether a model in memory answers to an alias."""
        names = {f"{name}@{alias}", *([name] if alias == registry.PRODUCTION else [])}
        return any(name in names and self._predictors.has(Choice(version)) for name, version in self._answers.items())

    def knows(self, reference: str) -> bool:
        """Whether the reference was answered before: others may be anything a caller thinks of."""
        return reference in self._answers

    def forget(self, artifact: str) -> None:
        """A version was deleted: no name is answered by it any more."""
        self._answers = {name: version for name, version in self._answers.items() if version.artifact != artifact}

    def _prepare(self, version: ModelVersion, beside: Choice | None) -> None:
        if version.artifact in self._preparing or self._failed.get(version.artifact, 0) > time.monotonic():
            return
        task = self._preparing[version.artifact] = asyncio.create_task(self._load(version, beside))
        task.add_done_callback(lambda _: self._preparing.pop(version.artifact, None))

    async def _load(self, version: ModelVersion, beside: Choice | None) -> None:
        try:
            await self._predictors.load(Choice(version), beside)
        except Exception as error:  # noqa: BLE001 (whatever it is, the old version goes on)
            self._failed[version.artifact] = time.monotonic() + _RETRY_SECONDS
            SWITCH_FAILURES.labels(version.model).inc()
            told = {"model": version.model, "version": version.version, "error": str(error)}
            log.error("a version cannot be loaded; the one before goes on", **told)
