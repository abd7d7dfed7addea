"""What is lost is found: jobs of dead workers, and messages that the broker forgot."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import and_, func, or_, update
from sqlmodel import col, select

from models_store.database import Database, db_now
from models_store.jobs.predicates import is_claimable, is_for, lease_expired
from models_store.jobs.writing import (
    EXHAUSTED,
    NewEvent,
    add_event,
    end_attempt,
    ended,
    exhausted,
    failure_event,
    put_back,
    status_event,
    update_jobs,
)
from models_store.tables import AttemptOutcome, JobStatus
from models_store.tables import TrainingJob as J

_LOST = "its worker was lost (no heartbeat within the lease)"


def sweep(db: Database) -> list[str]:
    """Take back what lost workers held. Safe to run in many workers at once.

    Each decision is one UPDATE that carries its whole predicate, so that a job which has just ended, or whose
    worker has just sent a heartbeat, is never overwritten.

    Returns:
        The ids of jobs that went back to the queue.
    """
    message = exhausted(_LOST)
    failed = ended(JobStatus.FAILED, error_code=EXHAUSTED, error_message=message)
    pausing = col(J.status) == JobStatus.PAUSING
    with db.transaction() as session:
        for job in update_jobs(
            session, and_(lease_expired(), col(J.cancel_requested).is_(True)), ended(JobStatus.CANCELLED)
        ):
            end_attempt(session, job, AttemptOutcome.LOST, _LOST)
            add_event(session, job, status_event(JobStatus.CANCELLED))

        for job in update_jobs(session, and_(lease_expired(), col(J.attempt) >= col(J.max_attempts)), failed):
            end_attempt(session, job, AttemptOutcome.LOST, _LOST)
            add_event(session, job, failure_event(EXHAUSTED, message))

        # A lease may run out, or a cancellation come, between these statements: what nobody could claim waits
        # for the next sweep.
        for job in update_jobs(session, and_(lease_expired(), is_claimable(), pausing), put_back(JobStatus.PAUSED)):
            end_attempt(session, job, AttemptOutcome.LOST, _LOST)
            add_event(session, job, status_event(JobStatus.PAUSED))

        rescued = update_jobs(session, and_(lease_expired(), is_claimable(), ~pausing), put_back(JobStatus.QUEUED))
        for job in rescued:
            end_attempt(session, job, AttemptOutcome.LOST, _LOST)
            data = {"status": JobStatus.QUEUED}
            told = f"queued again: {_LOST} in attempt {job.attempt}"
            add_event(session, job, NewEvent("status", told, "warning", data))
        return [job.id for job in rescued]


def unheard(
    db: Database, queues: Collection[str], *, waiting_messages: int, older_than: float, limit: int
) -> list[tuple[str, str | None]]:
    """Queued jobs whose message seems lost, with their queues: the broker holds fewer messages than it should.

    Args:
        db: The database.
        queues: Those of which a worker takes jobs, beside the jobs of none. Another one may have messages that nobody
            reads, of jobs that were cancelled: they say nothing of these.
        waiting_messages: Messages in these queues of the broker.
        older_than: Seconds since the last message, before which a job is left alone.
        limit: How many at most. A message wakes a worker, which then goes on while there are jobs: a few will do.
    """
    with db.reading() as session:
        waits = and_(col(J.status) == JobStatus.QUEUED, is_for(queues))
        if session.exec(select(func.count()).where(waits)).one() <= waiting_messages:
            return []
        stale = or_(col(J.enqueued_at).is_(None), col(J.enqueued_at) < db_now(-older_than))
        query = select(J.id, J.queue).where(waits, stale).order_by(col(J.id)).limit(limit)
        return list(session.exec(query))


def mark_enqueued(db: Database, *job_ids: str) -> None:
    """Note that a message was sent for these jobs."""
    sent = and_(col(J.id).in_(job_ids), col(J.status) == JobStatus.QUEUED)
    with db.transaction() as session:
        session.execute(update(J).where(sent).values(enqueued_at=db_now()).execution_options(synchronize_session=False))
