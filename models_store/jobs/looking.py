"""What there is to know of jobs. Nothing here changes any."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, func, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from models_store.database import Database
from models_store.errors import NotFoundError
from models_store.tables import JobAttempt, JobEvent, JobStatus
from models_store.tables import TrainingJob as J


def get(db: Database, job_id: str) -> J:
    """A job by its id.

    Raises:
        NotFoundError: No such job.
    """
    with db.reading() as session:
        return find(session, job_id)


def find(session: Session, job_id: str, *, lock: bool = False) -> J:
    """The same within a session; with ``lock`` it stays as it is until the transaction is over.

    Raises:
        NotFoundError: No such job.
    """
    job = session.get(J, job_id, with_for_update=lock)
    if job is None:
        raise NotFoundError(f"job {job_id!r} does not exist", code="job_not_found")
    return job


def list_jobs(
    db: Database, *, limit: int, after: str | None = None, status: str | None = None, model: str | None = None
) -> list[J]:
    """Jobs, the newest first, from the one after ``after`` on."""
    query = select(J).order_by(col(J.id).desc()).limit(limit)
    if after:
        query = query.where(col(J.id) < after)
    if status:
        query = query.where(J.status == status)
    if model:
        query = query.where(J.model == model)
    with db.reading() as session:
        return list(session.exec(query))


def count_by_status(db: Database) -> dict[JobStatus, int]:
    """How many jobs there are in each status."""
    with db.reading() as session:
        rows = session.exec(select(J.status, func.count()).group_by(col(J.status))).all()
    return dict.fromkeys(JobStatus, 0) | {JobStatus(status): count for status, count in rows}


def positions(db: Database, jobs: Sequence[J]) -> dict[str, int]:
    """Of those that are queued, the place in the queue, counted from 1: the more urgent and the older go first."""
    waiting = [job.id for job in jobs if job.status == JobStatus.QUEUED]
    if not waiting:
        return {}
    other = aliased(J)
    is_ahead = or_(
        col(other.priority) > col(J.priority),
        and_(col(other.priority) == col(J.priority), col(other.id) <= col(J.id)),
    )
    place = select(func.count()).where(other.status == JobStatus.QUEUED, is_ahead).correlate(J).scalar_subquery()
    query = select(J.id, place).where(col(J.id).in_(waiting), J.status == JobStatus.QUEUED)
    with db.reading() as session:
        return dict(session.exec(query).all())


def attempts(db: Database, job_id: str) -> list[JobAttempt]:
    """The attempts of a job, the first one first."""
    query = select(JobAttempt).where(JobAttempt.job_id == job_id).order_by(col(JobAttempt.attempt))
    with db.reading() as session:
        return list(session.exec(query))


def events(db: Database, job_id: str, *, after: int = 0, limit: int = 100) -> list[JobEvent]:
    """The events of a job in order, from the one after ``after`` on.

    Raises:
        NotFoundError: No such job.
    """
    query = (
        select(JobEvent)
        .where(JobEvent.job_id == job_id, col(JobEvent.id) > after)
        .order_by(col(JobEvent.id))
        .limit(limit)
    )
    with db.reading() as session:
        find(session, job_id)
        return list(session.exec(query))
