"""The command line ``thawline``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from api.cli.serve import Supervisor
from migrations import upgrade
from models_store.errors import ConfigurationError
from models_store.logging import configure_logging
from models_store.settings import Settings, get_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train text models and serve them.")


def _settings() -> Settings:
    """The settings, checked for what would make the process unsafe to start."""
    settings = get_settings()
    try:
        settings.check_exposure()
        _ = settings.artifacts_dir
    except ConfigurationError as error:
        typer.echo(f"thawline: {error.message}", err=True)
        raise typer.Exit(2) from error
    configure_logging(settings)
    return settings


@app.command()
def serve() -> None:
    """Run API, worker and, unless THAWLINE_BROKER_URL is set, a broker, until SIGINT or SIGTERM."""
    raise typer.Exit(Supervisor(_settings()).run())


@app.command()
def api() -> None:
    """Run the HTTP API alone."""
    _settings()
    os.execv(sys.executable, [sys.executable, "-m", "api"])  # noqa: S606


@app.command()
def worker(
    concurrency: Annotated[int | None, typer.Option(min=1, help="Jobs at a time (THAWLINE_WORKER_CONCURRENCY)")] = None,
) -> None:
    """Run a worker alone."""
    if concurrency is not None:
        os.environ["THAWLINE_WORKER_CONCURRENCY"] = str(concurrency)
    os.execv(sys.executable, [sys.executable, "-m", "worker"])  # noqa: S606


@app.command()
def migrate() -> None:
    """Bring the database's schema to the newest version."""
    settings = get_settings()
    upgrade(settings.resolved_database_url)
    typer.echo("the database is up to date")


if __name__ == "__main__":
    app()
