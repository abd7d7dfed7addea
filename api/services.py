"""What the routes work with: built once per application, handed out by dependency."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from api.admission import Admission
from api.batching import Throughput
from api.predictions import PredictionService
from api.predictors import PredictorPool
from api.resolving import VersionResolver
from api.shadowing import Shadows
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
    resolver: VersionResolver
    predictors: PredictorPool
    shadows: Shadows
    predictions: PredictionService
    validations: asyncio.Semaphore

    @classmethod
    def build(cls, settings: Settings) -> Services:
        """Connect the parts that the settings name."""
        db = Database(settings.resolved_database_url)
        store = ArtifactStore(settings.artifacts_dir)
        throughput = Throughput()
        resolver = VersionResolver(db)
        predictors = PredictorPool(store, settings, throughput)
        admission = Admission(settings.predict_queue_items, throughput)
        shadows = Shadows(db, settings)
        return cls(
            settings=settings,
            db=db,
            store=store,
            queue=JobQueue(settings.broker_url),
            resolver=resolver,
            predictors=predictors,
            shadows=shadows,
            predictions=PredictionService(resolver, admission, predictors, shadows, settings),
            validations=asyncio.Semaphore(_VALIDATIONS),
        )

    def close(self) -> None:
        """Let go of threads and connections."""
        self.shadows.close()
        self.predictors.close()
        self.queue.close()
        self.db.dispose()


def get_services(request: Request) -> Services:
    """The services of the application that answers this request."""
    return cast("Services", request.app.state.services)


ServicesDep = Annotated[Services, Depends(get_services)]
