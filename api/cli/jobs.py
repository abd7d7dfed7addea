"""``thawline jobs``."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.options import Limit
from api.cli.session import Session, command
from api.cli.watching import show_result, tell_started
from api.cli.watching import watch as watch_job

if TYPE_CHECKING:
    import thawline

app = typer.Typer(no_args_is_help=True, help="Look at training jobs, watch them, stop them.")
Id = Annotated[str, typer.Argument(help="Of the job: job_…")]
_HEADER = ("id", "model", "status", "phase", "done", "created")


@command(app, "list")
def list_jobs(
    session: Session,
    status: Annotated[str | None, typer.Option(help="Such as running or failed")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model")] = None,
    limit: Limit = 20,
) -> None:
    """List jobs, the newest first."""
    found = list(islice(session.client.jobs(status=status, model=model), limit))
    rows = [(j.id, _model(j), j.status, j.phase, f"{j.progress.fraction:.0%}", j.created_at) for j in found]
    session.out.rows([job.raw for job in found], _HEADER, rows)


@command(app)
def show(session: Session, job_id: Id) -> None:
    """Show a job: how far it is, what went wrong, what came of it."""
    job = session.client.job(job_id)
    pairs: list[tuple[str, Any]] = [
        ("id", job.id), ("model", _model(job)), ("task", job.task), ("status", job.status), ("phase", job.phase),
        ("done", f"{job.progress.fraction:.0%}"), ("waits because", job.waiting_reason),
        ("place in the queue", job.queue_position), ("data set", job.dataset_id), ("attempt", job.attempt),
        ("created", job.created_at), ("started", job.started_at), ("finished", job.finished_at),
        ("error", job.error and job.error.message),
    ]  # fmt: skip
    session.out.record(job.raw, [pair for pair in pairs if pair[1] is not None])
    if job.result and not session.out.as_json:
        show_result(session, job)


@command(app)
def watch(session: Session, job_id: Id) -> None:
    """Show both phases of a job until it has ended. Ctrl-C leaves it running."""
    watch_job(session, session.client.job(job_id))


@command(app)
def cancel(session: Session, job_id: Id) -> None:
    """Cancel a job: at once if it waits, within seconds if it runs."""
    _told(session, session.client.job(job_id).cancel())


@command(app)
def pause(session: Session, job_id: Id) -> None:
    """Let a job write a checkpoint and make room for others."""
    _told(session, session.client.job(job_id).pause())


@command(app)
def resume(session: Session, job_id: Id) -> None:
    """Let a paused job go on."""
    _told(session, session.client.job(job_id).resume())


@command(app)
def retry(session: Session, job_id: Id) -> None:
    """Start another job that does what this one, which failed or was cancelled, was to do."""
    tell_started(session, session.client.job(job_id).retry())


def _told(session: Session, job: thawline.Job) -> None:
    asked = " and is asked to stop" if job.cancel_requested and not job.has_ended else ""
    session.out.done(job.raw, job.status, f"{job.id} is {job.status}{asked}")


def _model(job: thawline.Job) -> str:
    return job.model.name if job.model.version is None else f"{job.model.name}@{job.model.version}"
