"""Whether the service can do its work: one answer for every protocol's probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import select
from starlette.requests import Request

from api.services import Services, services_of
from models_store.database import explain
from models_store.errors import ThawlineError, UnavailableError
from models_store.logging import get_logger
from models_store.tables import Model

log = get_logger(__name__)


def check_parts(request: Request) -> dict[str, str]:
    """Of each part that is needed ``ok``, or what to do about it.

    The database has its tables, the broker answers, the models are there, and the server is not about to stop.
    """
    services = services_of(request)
    checks = {
        "database": _check(_database, services),
        "broker": _check(_broker, services),
        "models": services.upkeep.trouble() or "ok",
    }
    return {**checks, "server": "it is about to stop"} if request.app.state.draining else checks


def is_ready(checks: Mapping[str, str]) -> bool:
    """Whether all of them are ``ok``."""
    return all(check == "ok" for check in checks.values())


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


def _database(services: Services) -> None:
    with services.db.reading() as session:
        session.exec(select(Model).limit(1)).first()


def _broker(services: Services) -> None:
    if not services.queue.configured:
        raise UnavailableError("THAWLINE_BROKER_URL is not set")
    services.queue.depth()
