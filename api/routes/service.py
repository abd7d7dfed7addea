"""Health, metrics and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import select

from api.figures import BROKER_MESSAGES, JOBS, WAITING_TEXTS
from api.services import Services, ServicesDep
from models_store import jobs
from models_store.database import explain
from models_store.errors import ThawlineError, UnavailableError
from models_store.logging import get_logger
from models_store.tables import Model

log = get_logger(__name__)

router = APIRouter(tags=["service"])
metrics_router = APIRouter(tags=["service"])
WEB = Path(__file__).parents[1] / "web"


@router.get("/healthz", operation_id="healthz")
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="readyz", responses={503: {"description": "A part does not answer"}})
def readyz(request: Request, services: ServicesDep) -> Response:
    """The service can do its work: database and broker answer, the models are there, and it is not about to stop."""
    checks = {
        "database": _check(_database, services),
        "broker": _check(_broker, services),
        "models": services.upkeep.trouble() or "ok",
    }
    if request.app.state.draining:
        checks["server"] = "it is about to stop"
    ready = all(check == "ok" for check in checks.values())
    body: dict[str, Any] = {"status": "ok" if ready else "unavailable", "checks": checks}
    return JSONResponse(body, status_code=200 if ready else 503)


@metrics_router.get("/metrics", operation_id="metrics", response_class=Response)
def metrics(services: ServicesDep) -> Response:
    """Figures for Prometheus: requests, stages of a prediction, loaded models, jobs by status, the queue."""
    WAITING_TEXTS.set(services.predictions.admission.total)
    services.predictors.flush_figures()
    with _best_effort("jobs"):
        for status, count in jobs.count_by_status(services.db).items():
            JOBS.labels(status).set(count)
    with _best_effort("broker"):
        BROKER_MESSAGES.set(services.queue.depth())
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
def page() -> FileResponse:
    """The web page."""
    return FileResponse(WEB / "index.html")


def _check(probe: Callable[[Services], None], services: Services) -> str:
    """``ok``, or what to do about it. Anybody may ask, so the details are for the log alone."""
    try:
        probe(services)
    except ThawlineError as error:
        return error.message
    except SQLAlchemyError as error:
        log.warning("not ready", error=str(error))
        return explain(error)
    return "ok"


@contextmanager
def _best_effort(what: str) -> Iterator[None]:
    """Figures that cannot be had keep their last value; the others are told all the same."""
    try:
        yield
    except (ThawlineError, SQLAlchemyError) as error:
        log.warning("no figures", of=what, error=str(error))


def _database(services: Services) -> None:
    with services.db.reading() as session:
        session.exec(select(Model).limit(1)).first()


def _broker(services: Services) -> None:
    if not services.queue.configured:
        raise UnavailableError("THAWLINE_BROKER_URL is not set")
    services.queue.depth()
