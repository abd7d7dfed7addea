"""What goes on beside the calls: named models are kept in memory, lost runners replaced, idle models unloaded."""

from __future__ import annotations

import asyncio

from api.predictions import PredictionService
from api.predictors import PredictorPool
from models_store.errors import ThawlineError
from models_store.logging import get_logger

_INTERVAL_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0  # with a model that is to be loaded; then the service is ready without it
log = get_logger(__name__)


class Upkeep:
    """Looks after the models once a second."""

    def __init__(self, predictors: PredictorPool, predictions: PredictionService, preload: list[str]) -> None:
        self._predictors = predictors
        self._predictions = predictions
        self._preload = preload
        self._to_load = set(preload)
        self._told: dict[str, str] = {}

    def trouble(self) -> str | None:
        """Why the models are not ready, if they are not."""
        if self._to_load:
            return f"being loaded: {', '.join(sorted(self._to_load))}"
        return self._predictors.trouble()

    async def run(self) -> None:
        """Until cancelled."""
        keeping = {reference: asyncio.create_task(self._keep(reference)) for reference in self._preload}
        refreshing: asyncio.Task[None] | None = None
        while True:
            try:
                self._predictors.tend()
                if refreshing is None or refreshing.done():  # else the database is slow, and nobody else shall wait
                    refreshing = asyncio.create_task(self._predictions.refresh())
            except Exception:
                log.exception("upkeep failed")
            await asyncio.sleep(_INTERVAL_SECONDS)
            for reference, task in keeping.items():
                if task.done():  # else its disk is slow, which is nobody else's concern
                    keeping[reference] = asyncio.create_task(self._keep(reference, if_room=True))

    async def _keep(self, reference: str, *, if_room: bool = False) -> None:
        """Have a model in memory. One that cannot be had keeps nobody waiting for long: the others serve without it."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._predictions.keep(reference, if_room=if_room)
            self._told.pop(reference, None)
        except Exception as error:  # noqa: BLE001 (upkeep must go on)
            reason = error.message if isinstance(error, ThawlineError) else repr(error)
            if self._told.get(reference) != reason:
                log.warning("a model of THAWLINE_PRELOAD_MODELS is not there", model=reference, reason=reason)
            self._told[reference] = reason
        self._to_load.discard(reference)
