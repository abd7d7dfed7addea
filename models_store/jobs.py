"""Jobs: every change of a job's state, and nowhere else.

    queued ──claim──► running ──► succeeded | failed | cancelled
      ▲                  │
      └── lease lost ────┘  (release or sweep)

A job is claimed by one guarded UPDATE that raises `attempt` and sets a lease on the database's clock. `attempt` is
the fencing token: every later write repeats ``AND attempt = :mine AND status = 'running'``, so a worker that was
taken for dead and wakes again changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from models_store import promotion, registry
from models_store.database import Database, db_now
from models_store.errors import ConflictError, InvalidInputError, LeaseLostError, NotFoundError
from models_store.registry import NewVersion
from models_store.reports import Comparison
from models_store.specs import JobRequest, Promotion, TrainingSpec
from models_store.tables import (
    TERMINAL_STATUSES,
    Dataset,
    JobEvent,
    JobStatus,
    Model,
    ModelVersion,
    TrainingJob,
)

J = TrainingJob
_EXHAUSTED = "attempts_exhausted"
_QUEUED_AGAIN: dict[str, Any] = {"status": JobStatus.QUEUED, "lease_until": None, "enqueued_at": None, "phase": None}


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a job, until the lease runs out."""

    job_id: str
    attempt: int
    dataset_id: str
    spec: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something to tell about a job."""

    type: str
    message: str
    level: str = "info"
    data: dict[str, Any] = field(default_factory=dict)


# ---- asking ---------------------------------------------------------------------------------------------------------


def submit(
    db: Database,
    request: JobRequest,
    spec: TrainingSpec,
    *,
    max_attempts: int,
    idempotency_key: str | None = None,
) -> TrainingJob:
    """Write the job down as ``queued``; once this returns, it is never lost.

    Raises:
        NotFoundError: The data set was deleted meanwhile.
        InvalidInputError: The idempotency key belongs to another request.
        ConflictError: The model's name belongs to another task.
    """
    if (earlier := submitted_before(db, request, idempotency_key)) is not None:
        return earlier
    job = TrainingJob(
        dataset_id=request.dataset_id,
        model=request.model,
        task=spec.task,
        spec=spec.model_dump(mode="json"),
        metadata_=request.metadata,
        idempotency_key=idempotency_key,
        request_sha256=_fingerprint(request),
        max_attempts=max_attempts,
    )
    try:
        with db.transaction() as session:
            _check_names(session, job)
            session.add(job)
            session.flush()
            _add_event(session, job.id, 0, NewEvent("status", "queued", data={"status": JobStatus.QUEUED}))
    except IntegrityError:  # a parallel call with the same key was faster
        if (earlier := submitted_before(db, request, idempotency_key)) is not None:
            return earlier
        raise
    return job


def submitted_before(db: Database, request: JobRequest, idempotency_key: str | None) -> TrainingJob | None:
    """The job that was made under this key, even if its data set or its encoder is gone by now.

    Raises:
        InvalidInputError: The key belongs to another request.
    """
    if not idempotency_key:
        return None
    with db.reading() as session:
        job = session.exec(select(J).where(J.idempotency_key == idempotency_key)).first()
    if job is not None and job.request_sha256 != _fingerprint(request):
        raise InvalidInputError(
            f"this Idempotency-Key was used for another request (job {job.id})", code="idempotency_key_reused"
        )
    return job


def _fingerprint(request: JobRequest) -> str:
    return hashlib.sha256(request.model_dump_json().encode()).hexdigest()


def _check_names(session: Session, job: TrainingJob) -> None:
    if session.get(Dataset, job.dataset_id, with_for_update=True) is None:
        raise NotFoundError(f"dataset {job.dataset_id!r} does not exist")
    model = session.get(Model, job.model)
    if model is not None and model.task != job.task:
        raise ConflictError(f"model {job.model!r} is a {model.task} model; choose another name", code="other_task")


def get(db: Database, job_id: str) -> TrainingJob:
    """A job by its id.

    Raises:
        NotFoundError: No such job.
    """
    with db.reading() as session:
        return _get(session, job_id)


def _get(session: Session, job_id: str) -> TrainingJob:
    job = session.get(J, job_id)
    if job is None:
        raise NotFoundError(f"job {job_id!r} does not exist", code="job_not_found")
    return job


def list_jobs(
    db: Database, *, limit: int, after: str | None = None, status: str | None = None, model: str | None = None
) -> list[TrainingJob]:
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
        _get(session, job_id)
        return list(session.exec(query))


def request_cancel(db: Database, job_id: str) -> TrainingJob:
    """Cancel a queued job at once; ask the worker of a running one to stop.

    Raises:
        NotFoundError: No such job.
        ConflictError: The job has already ended otherwise.
    """
    with db.transaction() as session:
        session.get(J, job_id, with_for_update=True)  # it must not change from running to queued between the two
        values = {
            "status": JobStatus.CANCELLED,
            "cancel_requested": True,
            "finished_at": db_now(),
            "phase": None,
        }
        queued = _update(session, and_(col(J.id) == job_id, col(J.status) == JobStatus.QUEUED), values)
        if queued:
            _add_event(session, job_id, queued[0].attempt, _status_event(JobStatus.CANCELLED))
        asked = _update(
            session,
            and_(col(J.id) == job_id, col(J.status) == JobStatus.RUNNING, col(J.cancel_requested).is_(False)),
            {"cancel_requested": True},
        )
        if asked:
            _add_event(session, job_id, asked[0].attempt, NewEvent("message", "cancellation requested"))
        job = _get(session, job_id)
    if job.status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
        raise ConflictError(f"job {job_id} has already {job.status}", code="job_ended")
    return job


# ---- doing ----------------------------------------------------------------------------------------------------------


def claim(db: Database, job_id: str, *, worker: str, lease_seconds: float) -> Claim | None:
    """Take a job, or None if it is not to be had: taken, ended, cancelled or out of attempts."""
    free = and_(
        col(J.id) == job_id,
        col(J.attempt) < col(J.max_attempts),
        col(J.cancel_requested).is_(False),
        or_(col(J.status) == JobStatus.QUEUED, _lease_expired()),
    )
    values = {
        "status": JobStatus.RUNNING,
        "attempt": J.attempt + 1,
        "lease_until": db_now(lease_seconds),
        "worker": worker,
        "started_at": db_now(),
        "phase": None,
        "progress": {},
        "error_code": None,
        "error_message": None,
    }
    with db.transaction() as session:
        rows = _update(session, free, values)
        if not rows:
            return None
        job = rows[0]
        data = {"status": JobStatus.RUNNING, "worker": worker, "attempt": job.attempt}
        _add_event(session, job_id, job.attempt, NewEvent("status", f"running (attempt {job.attempt})", data=data))
        return Claim(job_id, job.attempt, job.dataset_id, job.spec)


def heartbeat(
    db: Database,
    claim: Claim,
    *,
    lease_seconds: float,
    phase: str | None = None,
    progress: dict[str, Any] | None = None,
    new_events: Sequence[NewEvent] = (),
) -> bool:
    """Prolong the lease, and write down what has happened since.

    Returns:
        Whether somebody asked for the job to be cancelled.

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
            _add_event(session, claim.job_id, claim.attempt, event)
        return job.cancel_requested


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
        job = _guarded(session, claim, _ended(JobStatus.SUCCEEDED, result=result), cancelled=False)
        published = registry.publish(session, job, version)
        result = _promoted(session, job, published, result)
        _update(session, col(J.id) == claim.job_id, {"version": published.version, "result": result})
        event = _status_event(JobStatus.SUCCEEDED, version=published.version)
        _add_event(session, claim.job_id, claim.attempt, event)
        return published


def _promoted(session: Session, job: TrainingJob, version: ModelVersion, result: dict[str, Any]) -> dict[str, Any]:
    """Promote the version or not; the result with what became of it, where the job left this open."""
    compared = result.get("promotion")
    comparison = Comparison.model_validate(compared) if compared else None
    verdict = promotion.settle(session, job, version, comparison)
    if job.spec.get("promote") != Promotion.IF_BETTER:
        return result
    told = promotion.outcome(Promotion.IF_BETTER, verdict, comparison)
    message = f"version {version.version} was {'' if verdict.promoted else 'not '}promoted: {verdict.reason}"
    _add_event(session, job.id, job.attempt, NewEvent("message", message, verdict.level, told))
    return {**result, "promotion": told}


def fail(db: Database, claim: Claim, *, code: str, message: str) -> None:
    """End the job as failed.

    Raises:
        LeaseLostError: The job is no longer this attempt's.
    """
    with db.transaction() as session:
        _guarded(session, claim, _ended(JobStatus.FAILED, error_code=code, error_message=message))
        _add_event(session, claim.job_id, claim.attempt, _failure_event(code, message))


def cancelled(db: Database, claim: Claim) -> None:
    """End the job as cancelled, after its work was stopped.

    Raises:
        LeaseLostError: The job is no longer this attempt's, or nobody asked for its cancellation.
    """
    with db.transaction() as session:
        _guarded(session, claim, _ended(JobStatus.CANCELLED), cancelled=True)
        _add_event(session, claim.job_id, claim.attempt, _status_event(JobStatus.CANCELLED))


def release(db: Database, claim: Claim, *, reason: str, spend_attempt: bool) -> bool:
    """Hand the job back to the queue, or fail it when its attempts are used up; end it if its cancellation was asked.

    Args:
        db: The database.
        claim: The attempt that ends.
        reason: What happened, for the job's events.
        spend_attempt: False for a worker that is merely shutting down: the job then keeps all its attempts.

    Returns:
        Whether the job waits in the queue again, and so wants a message.

    Raises:
        LeaseLostError: The job is no longer this attempt's.
    """
    values = dict(_QUEUED_AGAIN)
    if not spend_attempt:
        values["max_attempts"] = J.max_attempts + 1
    with db.transaction() as session:
        job = _guarded(session, claim, values)  # all of it is undone if anything below raises
        if job.cancel_requested:  # nobody would claim it any more
            _update(session, col(J.id) == claim.job_id, _ended(JobStatus.CANCELLED))
            event = _status_event(JobStatus.CANCELLED)
        elif job.attempt >= job.max_attempts:
            message = _exhausted(claim.attempt, reason)
            failed = _ended(JobStatus.FAILED, error_code=_EXHAUSTED, error_message=message)
            _update(session, col(J.id) == claim.job_id, failed)
            event = _failure_event(_EXHAUSTED, message)
        else:
            event = NewEvent("status", f"queued again: {reason}", level="warning", data={"status": JobStatus.QUEUED})
        _add_event(session, claim.job_id, claim.attempt, event)
        return job.status == JobStatus.QUEUED


def has_published(db: Database, job_id: str, artifact: str) -> bool:
    """Whether the job's version is there, made of these files."""
    with db.reading() as session:
        version = session.exec(select(ModelVersion).where(ModelVersion.job_id == job_id)).first()
    return version is not None and version.artifact == artifact


# ---- sweeping -------------------------------------------------------------------------------------------------------


def sweep(db: Database) -> list[str]:
    """Take back what lost workers held. Safe to run in many workers at once.

    Each decision is one UPDATE that carries its whole predicate, so that a job which has just ended, or whose
    worker has just sent a heartbeat, is never overwritten.

    Returns:
        The ids of jobs that went back to the queue.
    """
    lost = "its worker was lost (no heartbeat within the lease)"
    with db.transaction() as session:
        dead = and_(_lease_expired(), col(J.cancel_requested).is_(True))
        for job in _update(session, dead, _ended(JobStatus.CANCELLED)):
            _add_event(session, job.id, job.attempt, _status_event(JobStatus.CANCELLED))

        exhausted = and_(_lease_expired(), col(J.attempt) >= col(J.max_attempts))
        message = _exhausted(None, lost)
        failed = _ended(JobStatus.FAILED, error_code=_EXHAUSTED, error_message=message)
        for job in _update(session, exhausted, failed):
            _add_event(session, job.id, job.attempt, _failure_event(_EXHAUSTED, message))

        # A lease may run out, or a cancellation come, between these statements: what nobody could claim waits
        # for the next sweep.
        claimable = and_(_lease_expired(), col(J.cancel_requested).is_(False), col(J.attempt) < col(J.max_attempts))
        rescued = _update(session, claimable, _QUEUED_AGAIN)
        for job in rescued:
            data = {"status": JobStatus.QUEUED}
            message = f"queued again: {lost} in attempt {job.attempt}"
            _add_event(session, job.id, job.attempt, NewEvent("status", message, "warning", data))
        return [job.id for job in rescued]


def unheard(db: Database, *, waiting_messages: int, older_than: float) -> list[str]:
    """Queued jobs whose message seems lost: the broker holds fewer messages than there are queued jobs.

    Args:
        db: The database.
        waiting_messages: Messages in the broker's queue.
        older_than: Seconds since the last message, before which a job is left alone.
    """
    with db.reading() as session:
        ids = list(session.exec(select(J.id).where(J.status == JobStatus.QUEUED).order_by(col(J.id))))
        if len(ids) <= waiting_messages:
            return []
        stale = or_(col(J.enqueued_at).is_(None), col(J.enqueued_at) < db_now(-older_than))
        query = select(J.id).where(J.status == JobStatus.QUEUED, stale).order_by(col(J.id))
        return list(session.exec(query))


def mark_enqueued(db: Database, job_id: str) -> None:
    """Note that a message was sent for a job."""
    with db.transaction() as session:
        _update(session, and_(col(J.id) == job_id, col(J.status) == JobStatus.QUEUED), {"enqueued_at": db_now()})


# ---- the one way to write -------------------------------------------------------------------------------------------


def _lease_expired() -> ColumnElement[bool]:
    return and_(col(J.status) == JobStatus.RUNNING, col(J.lease_until) < db_now())


def _update(session: Session, where: ColumnElement[bool], values: dict[str, Any]) -> list[TrainingJob]:
    statement = update(J).where(where).values(values).returning(J).execution_options(synchronize_session=False)
    return list(session.scalars(statement, execution_options={"populate_existing": True}))


def _guarded(session: Session, claim: Claim, values: dict[str, Any], *, cancelled: bool | None = None) -> TrainingJob:
    """Write to the job if it is still this attempt's and, unless None, its cancellation was asked for or not."""
    mine = and_(col(J.id) == claim.job_id, col(J.attempt) == claim.attempt, col(J.status) == JobStatus.RUNNING)
    if cancelled is not None:
        mine = and_(mine, col(J.cancel_requested).is_(cancelled))
    rows = _update(session, mine, values)
    if not rows:
        raise LeaseLostError(f"attempt {claim.attempt} no longer owns job {claim.job_id}")
    return rows[0]


def _ended(status: JobStatus, **values: Any) -> dict[str, Any]:
    assert status in TERMINAL_STATUSES  # noqa: S101
    return {"status": status, "lease_until": None, "finished_at": db_now(), "phase": None, **values}


def _exhausted(attempt: int | None, reason: str) -> str:
    count = f"{attempt} attempts" if attempt else "the last attempt"
    return f"given up after {count}: {reason}; the job's events tell of each attempt"


def _status_event(status: JobStatus, **data: Any) -> NewEvent:
    return NewEvent("status", status.value, data={"status": status, **data})


def _failure_event(code: str, message: str) -> NewEvent:
    return NewEvent("status", message, level="error", data={"status": JobStatus.FAILED, "code": code})


def _add_event(session: Session, job_id: str, attempt: int, event: NewEvent) -> None:
    session.add(
        JobEvent(
            job_id=job_id,
            attempt=attempt,
            level=event.level,
            type=event.type,
            message=event.message,
            data=event.data,
        )
    )
