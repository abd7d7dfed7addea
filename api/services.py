"""What the routes work with: built once per application, handed out by dependency."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from api.errands import Errands
from api.news import JobNews
from api.predictions import PredictionService
from api.predictors import PredictorPool
from api.resolving import VersionResolver
from api.rollout import Rollout
from api.shadowing import Shadows
from api.tracing import Tracing
from api.upkeep import Upkeep
from models_store import workers
from models_store.announcements import Announcer
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.queue import JobQueue
from models_store.settings import Settings

_VALIDATIONS = 2  # uploads validated at a time: each takes memory in proportion to its size


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one running application."""

    settings: Settings
    db: Database
    store: ArtifactStore
    queue: JobQueue
    announcer: Announcer
    news: JobNews
    resolver: VersionResolver
    predictors: PredictorPool
    rollout: Rollout
    shadows: Shadows
    predictions: PredictionService
    upkeep: Upkeep
    validations: asyncio.Semaphore
    errands: Errands

    @classmethod
    def build(cls, settings: Settings, tracing: Tracing | None = None) -> Services:
        """Connect the parts that the settings name."""
        db = Database(settings.resolved_database_url)
        store = ArtifactStore(settings.artifacts_dir)
        resolver = VersionResolver(db)
        predictors = PredictorPool(store, settings)
        rollout = Rollout(predictors)
        shadows = Shadows(db, settings)
        predictions = PredictionService(resolver, rollout, predictors, shadows, settings, tracing)
        return cls(
            settings=settings,
            db=db,
            store=store,
            queue=JobQueue(settings.broker_url),
            announcer=Announcer(settings.broker_url),
            news=JobNews(settings.broker_url),
            resolver=resolver,
            predictors=predictors,
            rollout=rollout,
            shadows=shadows,
            predictions=predictions,
            errands=Errands(settings, db),
            upkeep=Upkeep(predictors, predictions, settings.preload_models),
            validations=asyncio.Semaphore(_VALIDATIONS),
        )

    def served(self) -> dict[str, int]:
        """How many workers take jobs of each queue, and under an empty name how many there are."""
        return workers.served(self.db, within_seconds=workers.MISSED_SWEEPS * self.settings.sweep_seconds)

    def close(self) -> None:
        """Let go of threads and connections."""
        self.errands.stop()
        self.shadows.close()
        self.predictors.close()
        self.queue.close()
        self.announcer.close()
        self.db.dispose()


def services_of(request: Request) -> Services:
    """The services of the application that answers this request."""
    return cast("Services", request.app.state.services)


async def _get_services(request: Request) -> Services:  # async: what is not, FastAPI runs in a thread
    return services_of(request)


ServicesDep = Annotated[Services, Depends(_get_services)]
