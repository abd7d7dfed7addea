"""The one way to write to a job: an UPDATE that carries its whole predicate, and the events that tell of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, and_, update
from sqlmodel import Session, col

from models_store.database import db_now
from models_store.jobs.webhooks import announce
from models_store.tables import TERMINAL_STATUSES, AttemptOutcome, JobAttempt, JobEvent, JobStatus
from models_store.tables import TrainingJob as J

EXHAUSTED = "attempts_exhausted"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something to tell about a job."""

    type: str
    message: str
    level: str = "info"
    data: dict[str, Any] = field(default_factory=dict)


def update_jobs(session: Session, where: ColumnElement[bool], values: dict[str, Any]) -> list[J]:
    """Change the jobs that the predicate holds for, and hand back what they are now."""
    statement = update(J).where(where).values(values).returning(J).execution_options(synchronize_session=False)
    return list(session.scalars(statement, execution_options={"populate_existing": True}))


def ended(status: JobStatus, **values: Any) -> dict[str, Any]:
    """The columns of a job that is over."""
    assert status in TERMINAL_STATUSES  # noqa: S101
    return {"status": status, "lease_until": None, "finished_at": db_now(), "phase": None, **values}


def put_back(status: JobStatus) -> dict[str, Any]:
    """The columns of a job that no worker has any more."""
    return {"status": status, "lease_until": None, "enqueued_at": None, "phase": None}


def exhausted(reason: str, attempt: int | None = None) -> str:
    """The message of a job that was given up."""
    count = f"{attempt} attempts" if attempt else "the last attempt"
    return f"given up after {count}: {reason}; the job's `attempts` tell of each"


def add_event(session: Session, job: J, event: NewEvent) -> None:
    """Write an event down, and for whoever wants to be told of it, that they are to be."""
    values = {name: getattr(event, name) for name in ("level", "type", "message", "data")}
    session.add(JobEvent(job_id=job.id, attempt=job.attempt, **values))
    if event.type == "status":
        announce(session, job, event.data["status"])


def status_event(status: JobStatus, **data: Any) -> NewEvent:
    """A job has come to a status."""
    return NewEvent("status", status.value, data={"status": status, **data})


def failure_event(code: str, message: str) -> NewEvent:
    """A job has failed."""
    return NewEvent("status", message, level="error", data={"status": JobStatus.FAILED, "code": code})


def begin_attempt(session: Session, job: J) -> None:
    """Note who works on the job from now on, and that whoever did before was lost."""
    end_attempt(session, job, AttemptOutcome.LOST, "its worker was lost", attempt=job.attempt - 1)
    began: Any = db_now()
    session.add(JobAttempt(job_id=job.id, attempt=job.attempt, worker=job.worker or "", started_at=began))


def end_attempt(
    session: Session, job: J, outcome: AttemptOutcome, reason: str | None = None, *, attempt: int | None = None
) -> None:
    """Note how an attempt ended, unless that is known already: by default the job's latest."""
    mine = and_(
        col(JobAttempt.job_id) == job.id,
        col(JobAttempt.attempt) == (job.attempt if attempt is None else attempt),
        col(JobAttempt.ended_at).is_(None),
    )
    values = {"ended_at": db_now(), "outcome": outcome, "reason": reason}
    session.execute(update(JobAttempt).where(mine).values(values).execution_options(synchronize_session=False))
