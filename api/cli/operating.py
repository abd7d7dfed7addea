"""The commands that run the service: `serve`, `api`, `worker`, `migrate`. What they need is imported when they run."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models_store.settings import Settings


@contextlib.contextmanager
def _told_plainly() -> Iterator[None]:
    """Turn what keeps a process from starting into one line for the operator, and exit status 2."""
    from models_store.errors import ConfigurationError

    try:
        from pydantic import ValidationError
        from sqlalchemy.exc import SQLAlchemyError
    except ModuleNotFoundError:
        typer.echo("thawline: this runs the service, and only the client is installed", err=True)
        typer.echo("Next: install it with its extras, such as thawline[cpu,worker,embedded]", err=True)
        raise typer.Exit(2) from None
    try:
        yield
    except ConfigurationError as error:
        message = error.message
    except ValidationError as error:
        message = "; ".join(
            f"THAWLINE_{str(problem['loc'][0]).upper()}={problem['input']}: {problem['msg']}"
            for problem in error.errors()
        )
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        message = f"the database of THAWLINE_DATABASE_URL cannot be used: {reason}"
    except OSError as error:
        message = str(error)
    else:
        return
    typer.echo(f"thawline: {message}", err=True)
    raise typer.Exit(2)


def _settings(*, listens: bool = False, works: bool = False) -> Settings:
    """The settings, checked for what would make the process unsafe to start, or useless."""
    from models_store.logging import configure_logging
    from models_store.settings import get_settings

    settings = get_settings()
    settings.check_consistency()
    if listens:
        settings.check_exposure()
    if works:
        settings.check_worker()
    configure_logging(settings)
    return settings


def serve() -> None:
    """Run API, worker and, unless THAWLINE_BROKER_URL is set, a broker, until SIGINT or SIGTERM."""
    with _told_plainly():
        from api.cli.serve import Supervisor

        supervisor = Supervisor(_settings(listens=True, works=True))
        supervisor.prepare()
    raise typer.Exit(supervisor.run())


def api() -> None:
    """Run the HTTP API alone."""
    with _told_plainly():
        _settings(listens=True)
    os.execv(sys.executable, [sys.executable, "-m", "api"])  # noqa: S606


def worker(
    concurrency: Annotated[int | None, typer.Option(min=1, help="Jobs at a time (THAWLINE_WORKER_CONCURRENCY)")] = None,
    queues: Annotated[
        str | None, typer.Option(help="Queues to take jobs from: cpu, gpu or cpu,gpu (THAWLINE_WORKER_QUEUES)")
    ] = None,
) -> None:
    """Run a worker alone."""
    if concurrency is not None:
        os.environ["THAWLINE_WORKER_CONCURRENCY"] = str(concurrency)
    if queues is not None:
        os.environ["THAWLINE_WORKER_QUEUES"] = queues or ","  # empty, it would be unset; like this it is refused
    with _told_plainly():
        _settings(works=True)
    os.execv(sys.executable, [sys.executable, "-m", "worker"])  # noqa: S606


def migrate() -> None:
    """Bring the database's schema to the newest version."""
    with _told_plainly():
        from migrations import upgrade

        upgrade(_settings().resolved_database_url)
    typer.echo("the database is up to date")
