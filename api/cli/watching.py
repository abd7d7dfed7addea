"""Watching a job to its end, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from api.cli.session import ExitStatus, Session

if TYPE_CHECKING:
    import thawline


def watch(session: Session, job: thawline.Job) -> None:
    """Show both phases until the job has ended, then its result. Ctrl-C leaves the job running.

    Raises:
        thawline.JobFailed: It came to nothing.
    """
    try:
        ended = job.wait(progress=True)
    except KeyboardInterrupt:
        session.out.note(f"\nThe job goes on. Watch it again: thawline jobs watch {job.id}")
        session.out.note(f"Stop it: thawline jobs cancel {job.id}")
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    show_result(session, ended)
    if ended.model.version is not None and session.out.is_terminal and not session.out.as_json:
        session.out.note(f'\nAsk it: thawline predict {ended.model.name} "…"')


def tell_started(session: Session, job: thawline.Job) -> None:
    """That a job was made, and how to follow it."""
    session.out.done(job.raw, job.id, f"{job.id} is {job.status}")
    session.out.note(f"Watch it: thawline jobs watch {job.id}")


def show_result(session: Session, job: thawline.Job) -> None:
    """The metrics of each split and phase."""
    if session.out.as_json:
        session.out.json(dict(job.raw))
        return
    result: dict[str, Any] = job.result or {}
    tables = [(f"phase {phase['name']}", phase["metrics"]) for phase in result.get("phases", [])]
    tables += list(job.metrics.items())
    names = list(dict.fromkeys(name for _, values in tables for name in values))
    rows = [[split, *(values.get(name) for name in names)] for split, values in tables]
    version = f"{job.model.name}@{job.model.version}"
    session.out.table(("", *names), rows, title=f"{version} · head {result.get('head')}")
