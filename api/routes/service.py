"""Health, metrics and the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from api.figures import BROKER_MESSAGES, JOBS, PENDING_WEBHOOKS, WAITING_TEXTS, WORKERS
from api.readiness import check_parts, is_ready
from api.service_schemas import METRICS_EXAMPLE, HealthOut, ReadinessOut
from api.services import ServicesDep
from models_store import jobs
from models_store.errors import ThawlineError
from models_store.logging import get_logger
from models_store.placement import QueueName

log = get_logger(__name__)

router = APIRouter(tags=["service"])
metrics_router = APIRouter(tags=["service"])
_ASK_AGAIN = {"Cache-Control": "no-cache"}
WEB = Path(__file__).parents[1] / "web"


@router.get("/healthz", operation_id="checkHealth", summary="Is the process alive?", response_model=HealthOut)
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    operation_id="checkReadiness",
    summary="Can the service do its work?",
    response_model=ReadinessOut,
    responses={503: {"model": ReadinessOut, "description": "A part does not answer"}},
)
def readyz(request: Request) -> Response:
    """The service can do its work: database and broker answer, the models are there, and it is not about to stop."""
    checks = check_parts(request)
    ready = is_ready(checks)
    body: dict[str, Any] = {"status": "ok" if ready else "unavailable", "checks": checks}
    return JSONResponse(body, status_code=200 if ready else 503)


@metrics_router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": METRICS_EXAMPLE}}},
)
def metrics(services: ServicesDep) -> Response:
    """Figures for Prometheus: requests, stages of a prediction, loaded models, jobs by status, the queue."""
    WAITING_TEXTS.clear()
    for model, texts in list(services.predictions.admission.held.items()):
        WAITING_TEXTS.labels(model).set(texts)
    services.predictors.flush_figures()
    with _best_effort("jobs"):
        for status, count in jobs.count_by_status(services.db).items():
            JOBS.labels(status).set(count)
        served = services.served()
        for queue in QueueName:
            WORKERS.labels(queue.value).set(served.get(queue.value, 0))
        PENDING_WEBHOOKS.set(jobs.count_pending(services.db))
    with _best_effort("broker"):
        BROKER_MESSAGES.set(services.queue.depth())
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
def page() -> Response:
    """The web page."""
    index = WEB / "index.html"
    if not index.is_file():
        return PlainTextResponse(
            "The page has not been built (make setup builds it); the HTTP reference is at /docs.\n"
        )
    return FileResponse(index, headers=_ASK_AGAIN)


class PageFiles(StaticFiles):
    """The files of the page, of which a browser asks each time whether they are still the same."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_ASK_AGAIN)
        return response


@contextmanager
def _best_effort(what: str) -> Iterator[None]:
    """Figures that cannot be had keep their last value; the others are told all the same."""
    try:
        yield
    except (ThawlineError, SQLAlchemyError) as error:
        log.warning("no figures", of=what, error=str(error))
