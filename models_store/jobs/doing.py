"""What workers do with jobs: claim, keep, end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, or_
from sqlmodel import Session, col, select

from models_store import promotion, registry
from models_store.database import Database, db_now
from models_store.errors import LeaseLostError
from models_store.jobs.predicates import is_claimable, is_for, is_held, lease_expired
from models_store.jobs.writing import (
    EXHAUSTED,
    NewEvent,
    add_event,
    begin_attempt,
    end_attempt,
    ended,
    exhausted,
    failure_event,
    put_back,
    status_event,
    update_jobs,
)
from models_store.registry import NewVersion
from models_store.reports import Comparison
from models_store.specs import Promotion
from models_store.tables import AttemptOutcome, JobStatus, ModelVersion
from models_store.tables import TrainingJob as J


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a job, until the lease runs out.

    Attributes:
        fraction: How much of it earlier attempts told to be done.
    """

    job_id: str
    attempt: int
    dataset_id: str
    spec: dict[str, Any]
    queue: str | None = None
    fraction: float = 0.0


class Wish(StrEnum):
    """What somebody has asked for meanwhile."""

    GO_ON = "go on"
    CANCEL = "cancel"
    PAUSE = "pause"


def most_urgent(db: Database, queues: Collection[str]) -> str | None:
    """The id of the job that should be claimed next, by a worker that takes those of these queues and of none."""
    query = select(J.id).where(J.status == JobStatus.QUEUED, is_claimable(), is_for(queues))
    with db.reading() as session:
        return session.exec(query.order_by(col(J.priority).desc(), col(J.id)).limit(1)).first()


def claim(db: Database, job_id: str, *, worker: str, lease_seconds: float) -> Claim | None:
    """Take a job, or None if it is not to be had: taken, ended, cancelled, paused or out of attempts."""
    # One that was to be paused when its worker was lost is the sweep's, which pauses it.
    lost = and_(lease_expired(), col(J.status) == JobStatus.RUNNING)
    free = and_(col(J.id) == job_id, is_claimable(), or_(col(J.status) == JobStatus.QUEUED, lost))
    values = {
        "status": JobStatus.RUNNING,
        "attempt": J.attempt + 1,
        "lease_until": db_now(lease_seconds),
        "worker": worker,
        "started_at": db_now(),
        "phase": None,  # what was told of the progress stays: this attempt goes on from there
        "error_code": None,
        "error_message": None,
    }
    with db.transaction() as session:
        rows = update_jobs(session, free, values)
        if not rows:
            return None
        job = rows[0]
        begin_attempt(session, job)
        data = {"status": JobStatus.RUNNING, "worker": worker, "attempt": job.attempt}
        add_event(session, job, NewEvent("status", f"running (attempt {job.attempt})", data=data))
        told = job.progress.get("fraction", 0.0)
        return Claim(job_id, job.attempt, job.dataset_id, job.spec, job.queue, told)


def heartbeat(
    db: Database,
    claim: Claim,
    *,
    lease_seconds: float,
    phase: str | None = None,
    progress: dict[str, Any] | None = None,
    new_events: Sequence[NewEvent] = (),
) -> Wish:
    """Prolong the lease, and write down what has happened since.

    Returns:
        What somebody has asked for.

    Raises:
        LeaseLostError: The job is no longer this attempt's; nothing was written.
    """
    values: dict[str, Any] = {"lease_until": db_now(lease_seconds)}
    if phase is not None:
        values["phase"] = phase
    if progress is not None:
        values["progress"] = progress
    with db.transaction() as session:
        job = _guarded(session, claim, values)
        for event in new_events:
            add_event(session, job, event)
        if job.cancel_requested:
            return Wish.CANCEL
        return Wish.PAUSE if job.status == JobStatus.PAUSING else Wish.GO_ON


def succeed(db: Database, claim: Claim, *, result: dict[str, Any], version: NewVersion) -> ModelVersion:
    """Publish the version, let ``production`` point at it if that is to be, and end the job, in one transaction.

    Args:
        db: The database.
        claim: The attempt that ends.
        result: What the job shows; ``promotion`` is the `Comparison` that was asked for, if one was.
        version: What is published.

    Raises:
        LeaseLostError: The job is no longer this attempt's, or was cancelled; nothing is published.
        ConflictError: The model's name belongs to another task.
    """
    with db.transaction() as session:
        job = _guarded(session, claim, ended(JobStatus.SUCCEEDED, result=result), cancelled=False)
        published = registry.publish(session, job, version)
        result = _promoted(session, job, published, result)
        update_jobs(session, col(J.id) == claim.job_id, {"version": published.version, "result": result})
        end_attempt(session, job, AttemptOutcome.SUCCEEDED)
        add_event(session, job, status_event(JobStatus.SUCCEEDED, version=published.version))
        return published


def _promoted(session: Session, job: J, version: ModelVersion, result: dict[str, Any]) -> dict[str, Any]:
    """Promote the version or not; the result with what became of it, where the job left this open."""
    compared = result.get("promotion")
    comparison = Comparison.model_validate(compared) if compared else None
    verdict = promotion.settle(session, job, version, comparison)
    if job.spec.get("promote") != Promotion.IF_BETTER:
        return result
    told = promotion.outcome(Promotion.IF_BETTER, verdict, comparison)
    message = f"version {version.version} was {'' if verdict.promoted else 'not '}promoted: {verdict.reason}"
    add_event(session, job, NewEvent("message", message, verdict.level, told))
    return {**result, "promotion": told}


def fail(db: Database, claim: Claim, *, code: str, message: str) -> None:
    """End the job as failed.

    Raises:
        LeaseLostError: The job is no longer this attempt's.
    """
    with db.transaction() as session:
        job = _guarded(session, claim, ended(JobStatus.FAILED, error_code=code, error_message=message))
        end_attempt(session, job, AttemptOutcome.FAILED, message)
        add_event(session, job, failure_event(code, message))


def cancelled(db: Database, claim: Claim) -> None:
    """End the job as cancelled, after its work was stopped.

    Raises:
        LeaseLostError: The job is no longer this attempt's, or nobody asked for its cancellation.
    """
    with db.transaction() as session:
        job = _guarded(session, claim, ended(JobStatus.CANCELLED), cancelled=True)
        end_attempt(session, job, AttemptOutcome.CANCELLED)
        add_event(session, job, status_event(JobStatus.CANCELLED))


def release(db: Database, claim: Claim, *, reason: str, spend_attempt: bool) -> bool:
    """Let go of the job. It goes back to the queue, or is paused or cancelled where somebody asked for that.

    Args:
        db: The database.
        claim: The attempt that ends.
        reason: What happened, for the job's events.
        spend_attempt: False where nothing is wrong (a deploy, a pause): the job then keeps all its attempts. True: it
            has failed when they are used up.

    Returns:
        Whether the job waits in the queue again, and so wants a message.

    Raises:
        LeaseLostError: The job is no longer this attempt's.
    """
    more: dict[str, Any] = {} if spend_attempt else {"max_attempts": J.max_attempts + 1}
    outcome = AttemptOutcome.INTERRUPTED if spend_attempt else AttemptOutcome.HANDED_BACK
    with db.transaction() as session:
        job = _guarded(session, claim, more)  # it is this attempt's, and stays so until the transaction is over
        end_attempt(session, job, outcome, reason)
        if job.cancel_requested:  # nobody would claim it any more
            values, event = ended(JobStatus.CANCELLED), status_event(JobStatus.CANCELLED)
        elif job.attempt >= job.max_attempts:
            message = exhausted(reason, job.attempt)
            values = ended(JobStatus.FAILED, error_code=EXHAUSTED, error_message=message)
            event = failure_event(EXHAUSTED, message)
        elif job.status == JobStatus.PAUSING:
            values, event = put_back(JobStatus.PAUSED), status_event(JobStatus.PAUSED)
        else:
            values = put_back(JobStatus.QUEUED)
            event = NewEvent("status", f"queued again: {reason}", level="warning", data={"status": JobStatus.QUEUED})
        (job,) = update_jobs(session, col(J.id) == claim.job_id, values)
        add_event(session, job, event)
        return job.status == JobStatus.QUEUED


def has_published(db: Database, job_id: str, artifact: str) -> bool:
    """Whether the job's version is there, made of these files."""
    with db.reading() as session:
        version = session.exec(select(ModelVersion).where(ModelVersion.job_id == job_id)).first()
    return version is not None and version.artifact == artifact


def _guarded(session: Session, claim: Claim, values: dict[str, Any], *, cancelled: bool | None = None) -> J:
    """Write to the job if it is still this attempt's and, unless None, its cancellation was asked for or not."""
    mine = and_(col(J.id) == claim.job_id, col(J.attempt) == claim.attempt, is_held())
    if cancelled is not None:
        mine = and_(mine, col(J.cancel_requested).is_(cancelled))
    rows = update_jobs(session, mine, values or {"attempt": J.attempt})
    if not rows:
        raise LeaseLostError(f"attempt {claim.attempt} no longer owns job {claim.job_id}")
    return rows[0]
