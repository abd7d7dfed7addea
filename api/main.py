"""The application: `create_app` puts the parts together."""

from __future__ import annotations

import asyncio
import importlib.metadata
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline

from api import errors, openapi
from api.middleware import RequestMiddleware
from api.routes import aliases, datasets, exports, jobs, models, oip, openai, predict, predictions, service
from api.routes.common import known_parameters
from api.security import bearer
from api.services import Services
from api.short_way import ShortWay
from api.tracing import Tracing, TracingMiddleware
from models_store.settings import Settings, get_settings


def create_app(settings: Settings | None = None, tracing: Tracing | None = None) -> FastAPI:
    """An application with its own parts; nothing is connected before it starts."""
    settings = settings or get_settings()
    settings.check_consistency()
    settings.check_exposure()
    if tracing is None and settings.otlp_endpoint:
        tracing = Tracing(endpoint=settings.otlp_endpoint)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        settings.scratch_dir.mkdir(parents=True, exist_ok=True)
        before, tempfile.tempdir = tempfile.tempdir, str(settings.scratch_dir)  # where uploads spool
        app.state.services = Services.build(settings, tracing)
        services = app.state.services
        services.errands.start()
        beside = [asyncio.create_task(work) for work in (services.upkeep.run(), services.news.run())]
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            services.close()
            if tracing:
                tracing.close()
            tempfile.tempdir = before

    app: FastAPI = FastAPIOffline(
        title="Thawline",
        version=importlib.metadata.version("thawline"),
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect is no problem document, and a client may not send its body again
        **openapi.ABOUT,
    )
    app.state.draining = False
    errors.install(app)
    openapi.install(app)
    app.add_middleware(ShortWay)
    app.add_middleware(RequestMiddleware, settings=settings)
    if tracing:
        app.add_middleware(TracingMiddleware, tracing=tracing)
    keyed = [Depends(bearer), Depends(known_parameters)]
    app.include_router(predict.router, dependencies=keyed)  # first, for routes are looked through one by one
    app.include_router(service.router, dependencies=[Depends(known_parameters)])
    app.include_router(service.metrics_router, dependencies=keyed)
    app.include_router(datasets.router, dependencies=keyed)
    app.include_router(predictions.router, dependencies=keyed)
    app.include_router(oip.probes, dependencies=[Depends(known_parameters)])
    for module in (jobs, models, aliases, exports, oip, openai):
        app.include_router(module.router, dependencies=keyed)
    app.mount("/web", service.PageFiles(directory=service.WEB, check_dir=False), name="web")
    return app
