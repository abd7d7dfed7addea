"""What there is to know of jobs. Nothing here changes any."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy import case, func, true
from sqlmodel import Session, col, select

from models_store.database import Database
from models_store.errors import NotFoundError
from models_store.jobs.predicates import is_for
from models_store.placement import QueueName
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


def positions(db: Database, jobs: Sequence[J], served: Collection[str] | None = None) -> dict[str, int]:
    """Of those that are queued, the place in the queue, counted from 1: the more urgent and the older go first.

    Only jobs that want the same workers count: those of the same queue, and those for which any worker will do.

    Args:
        db: The database.
        jobs: Any; only those that are queued have a place.
        served: The queues that some worker takes jobs from. Those of others stand in nobody's way.
    """
    waiting = [job.id for job in jobs if job.status == JobStatus.QUEUED]
    if not waiting:
        return {}
    # One pass over the queue: as many running counts as there are queues, of which each job takes its own.
    order = (col(J.priority).desc(), col(J.id))
    rivals = {queue.value: is_for([queue]) for queue in QueueName} | {"": is_for(served) if served else true()}
    places = [
        func.sum(case((is_rival, 1), else_=0)).over(order_by=order).label(f"place_{name}")
        for name, is_rival in rivals.items()
    ]
    queue = sa.select(col(J.id), col(J.queue), *places).where(col(J.status) == JobStatus.QUEUED).subquery()
    with db.reading() as session:
        rows = session.connection().execute(sa.select(queue).where(queue.c.id.in_(waiting))).mappings().all()
    return {row["id"]: int(row[f"place_{row['queue'] or ''}"]) for row in rows}


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
