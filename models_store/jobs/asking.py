"""What users ask for: a job, its end, a pause, another try."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection

from sqlalchemy import and_
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from models_store.database import Database
from models_store.errors import ConflictError, InvalidInputError, NotFoundError
from models_store.jobs.looking import find
from models_store.jobs.writing import NewEvent, add_event, ended, put_back, status_event, update_jobs
from models_store.placement import PRIORITIES
from models_store.specs import JobRequest, TrainingSpec
from models_store.tables import HELD_STATUSES, TERMINAL_STATUSES, Dataset, JobStatus, Model
from models_store.tables import TrainingJob as J

_WAITING = (JobStatus.QUEUED, JobStatus.PAUSED)
_QUEUED = NewEvent("status", "queued", data={"status": JobStatus.QUEUED})


def submit(
    db: Database,
    request: JobRequest,
    spec: TrainingSpec,
    *,
    max_attempts: int,
    idempotency_key: str | None = None,
) -> J:
    """Write the job down as ``queued``; once this returns, it is never lost.

    Raises:
        NotFoundError: The data set was deleted meanwhile.
        InvalidInputError: The idempotency key belongs to another request.
        ConflictError: The model's name belongs to another task.
    """
    job = J(
        dataset_id=request.dataset_id,
        model=request.model,
        task=spec.task,
        spec=spec.model_dump(mode="json"),
        metadata_=request.metadata,
        priority=PRIORITIES[request.priority],
        queue=request.queue,
        webhook_url=None if request.webhook_url is None else str(request.webhook_url),
        idempotency_key=idempotency_key,
        request_sha256=_fingerprint(request),
        max_attempts=max_attempts,
    )
    return _add(db, job, _fingerprints(request))


def submitted_before(db: Database, request: JobRequest, idempotency_key: str | None) -> J | None:
    """The job that was made under this key, even if its data set or its encoder is gone by now.

    Raises:
        InvalidInputError: The key belongs to another request.
    """
    return _made_before(db, _fingerprints(request), idempotency_key)


def retry(db: Database, job_id: str, *, max_attempts: int, idempotency_key: str | None = None) -> J:
    """Another job that is to do what one did that failed or was cancelled. That one stays as it is: an end is final.

    Raises:
        NotFoundError: No such job, or its data set was deleted.
        InvalidInputError: The idempotency key belongs to another request.
        ConflictError: The job has not ended, or it succeeded.
    """
    with db.reading() as session:
        old = find(session, job_id)
    if old.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise _not_to_be_retried(old)
    kept = ("dataset_id", "model", "task", "spec", "metadata_", "priority", "queue", "webhook_url")
    job = J(
        **{name: getattr(old, name) for name in kept},
        retry_of=old.id,
        idempotency_key=idempotency_key,
        request_sha256=hashlib.sha256(f"retry {old.id}".encode()).hexdigest(),
        max_attempts=max_attempts,
    )
    return _add(db, job, [job.request_sha256])


def request_cancel(db: Database, job_id: str) -> J:
    """Cancel a job that waits at once; ask the worker of a running one to stop.

    Raises:
        NotFoundError: No such job.
        ConflictError: The job has already ended otherwise.
    """
    with db.transaction() as session:
        job = find(session, job_id, lock=True)
        if job.status in _WAITING:
            job = _change(session, job, ended(JobStatus.CANCELLED, cancel_requested=True))
            add_event(session, job, status_event(JobStatus.CANCELLED))
        elif job.status in HELD_STATUSES and not job.cancel_requested:
            job = _change(session, job, {"cancel_requested": True})
            add_event(session, job, NewEvent("message", "cancellation requested"))
    if job.status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
        raise _has_ended(job)
    return job


def pause(db: Database, job_id: str) -> J:
    """Keep a queued job from being begun; ask the worker of a running one to write a checkpoint and stop.

    Raises:
        NotFoundError: No such job.
        ConflictError: The job has ended, or is about to be cancelled.
    """
    with db.transaction() as session:
        job = find(session, job_id, lock=True)
        _check_goes_on(job)
        if job.status == JobStatus.QUEUED:
            job = _change(session, job, put_back(JobStatus.PAUSED))
            add_event(session, job, status_event(JobStatus.PAUSED))
        elif job.status == JobStatus.RUNNING:
            job = _change(session, job, {"status": JobStatus.PAUSING})
            add_event(session, job, status_event(JobStatus.PAUSING))
    return job


def resume(db: Database, job_id: str) -> J:
    """Let a paused job go on from its newest checkpoint, or one that is being paused go on as if nothing had been.

    Raises:
        NotFoundError: No such job.
        ConflictError: The job has ended, or is about to be cancelled.
    """
    with db.transaction() as session:
        job = find(session, job_id, lock=True)
        _check_goes_on(job)
        if job.status == JobStatus.PAUSED:
            job = _change(session, job, put_back(JobStatus.QUEUED))
            add_event(session, job, NewEvent("status", "queued again: resumed", data={"status": JobStatus.QUEUED}))
        elif job.status == JobStatus.PAUSING:
            job = _change(session, job, {"status": JobStatus.RUNNING})
            add_event(session, job, status_event(JobStatus.RUNNING))
    return job


def _add(db: Database, job: J, fingerprints: Collection[str]) -> J:
    if (earlier := _made_before(db, fingerprints, job.idempotency_key)) is not None:
        return earlier
    try:
        with db.transaction() as session:
            _check_names(session, job)
            session.add(job)
            session.flush()
            add_event(session, job, _QUEUED)
    except IntegrityError:  # a parallel call with the same key was faster
        if (earlier := _made_before(db, fingerprints, job.idempotency_key)) is not None:
            return earlier
        raise
    return job


def _made_before(db: Database, fingerprints: Collection[str], idempotency_key: str | None) -> J | None:
    if not idempotency_key:
        return None
    with db.reading() as session:
        job = session.exec(select(J).where(J.idempotency_key == idempotency_key)).first()
    if job is not None and job.request_sha256 not in fingerprints:
        raise InvalidInputError(
            f"this Idempotency-Key was used for another request (job {job.id})", code="idempotency_key_reused"
        )
    return job


def _fingerprint(request: JobRequest) -> str:
    # Without defaults: a field that a later version adds leaves the fingerprints of earlier requests as they are.
    # Sorted: to JSON the order of an object's names means nothing.
    content = request.model_dump(mode="json", exclude_defaults=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _fingerprints(request: JobRequest) -> list[str]:
    """Those that the request's job may have: the one it is given, and the one that earlier versions gave."""
    unsorted = request.model_dump_json(exclude_defaults=True)
    return [_fingerprint(request), hashlib.sha256(unsorted.encode()).hexdigest()]


def _check_names(session: Session, job: J) -> None:
    if session.get(Dataset, job.dataset_id, with_for_update=True) is None:
        raise NotFoundError(f"dataset {job.dataset_id!r} does not exist")
    check_task(session, job.model, job.task)


def check_task(session: Session, name: str, task: str) -> None:
    """See that a model of this name, if there is one, is for this task.

    Raises:
        ConflictError: It is for another one.
    """
    model = session.get(Model, name)
    if model is not None and model.task != task:
        raise ConflictError(f"model {name!r} is a {model.task} model; choose another name", code="other_task")


def _change(session: Session, job: J, values: dict[str, object]) -> J:
    """Change a job that is as it was read: it is locked on PostgreSQL, and SQLite has one writer at a time."""
    (changed,) = update_jobs(session, and_(col(J.id) == job.id, col(J.status) == job.status), values)
    return changed


def _check_goes_on(job: J) -> None:
    """Refuse what only a job can do that is not over, nor about to be.

    Raises:
        ConflictError: It has ended, or is about to be cancelled.
    """
    if job.status in TERMINAL_STATUSES:
        raise _has_ended(job)
    if job.cancel_requested:
        raise ConflictError(f"job {job.id} is being cancelled", code="job_ended")


def _has_ended(job: J) -> ConflictError:
    fate = "was cancelled" if job.status == JobStatus.CANCELLED else f"has {job.status}"
    return ConflictError(f"job {job.id} {fate} already", code="job_ended")


def _not_to_be_retried(job: J) -> ConflictError:
    if job.status == JobStatus.SUCCEEDED:
        reason = "has succeeded; to train once more, submit a new job (POST /jobs)"
    else:
        reason = f"is {job.status}"
    return ConflictError(f"job {job.id} {reason}; only a failed or cancelled one is tried again")
