"""What must hold in the end, whatever happened: read from the tables and the folders, not from the service."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlmodel import col, select

from models_store.artifacts import ArtifactStore, children
from models_store.database import Database
from models_store.errors import ThawlineError
from models_store.housekeeping import tidy
from models_store.settings import Settings
from models_store.tables import (
    TERMINAL_STATUSES,
    AttemptOutcome,
    JobAttempt,
    JobEvent,
    JobStatus,
    Model,
    ModelVersion,
    TrainingJob,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept; `job_id` where it is one job's."""

    promise: str
    what: str
    job_id: str | None = None


def broken_promises(
    db: Database, store: ArtifactStore, settings: Settings, told: Mapping[str, Collection[str]], cancelled: set[str]
) -> list[Broken]:
    """All that is wrong, after the workers have stopped. Housekeeping has been done when it returns.

    Args:
        db: The tables.
        store: The artifacts.
        settings: Where scratch space and checkpoints lie.
        told: Of each Idempotency-Key, the ids that were answered.
        cancelled: Jobs whose cancellation was granted.
    """
    found = [*_accepted(db, told), *_partial(db, store)]
    for job in _rows(db, TrainingJob):
        found += _of_job(db, job, job.id in cancelled)
    found += _numbers(db)
    tidy(db, store, settings.scratch_dir, settings.checkpoints_dir)
    return [*found, *_leftovers(db, store, settings)]


def evidence(db: Database, job_id: str) -> Iterator[str]:
    """What the tables tell of a job."""
    with db.reading() as session:
        job = session.get(TrainingJob, job_id)
        yield f"    {job.model_dump(exclude={'spec', 'result', 'progress'}) if job else 'no such job'}"
        for attempt in session.exec(select(JobAttempt).where(JobAttempt.job_id == job_id)):
            yield f"    attempt {attempt.model_dump(exclude={'job_id'})}"
        for event in session.exec(select(JobEvent).where(JobEvent.job_id == job_id).order_by(col(JobEvent.id))):
            yield f"    {event.created_at:%H:%M:%S.%f} (attempt {event.attempt}) {event.message}"


def _accepted(db: Database, told: Mapping[str, Collection[str]]) -> Iterator[Broken]:
    """Whatever was answered 202 is there, once."""
    stored = {job.idempotency_key: job.id for job in _rows(db, TrainingJob)}
    for key, ids in told.items():
        if set(ids) != {stored.get(key)}:
            yield Broken("missing", f"{key} was answered {sorted(ids)} and is {stored.get(key)}")
    for unknown in stored.keys() - told.keys():
        yield Broken("missing", f"{unknown} is there and nobody was told", stored[unknown])


def _of_job(db: Database, job: TrainingJob, cancelled: bool) -> Iterator[Broken]:
    if job.status not in TERMINAL_STATUSES:
        yield Broken("terminal", f"it is {job.status}", job.id)
        return
    if cancelled and job.status == JobStatus.SUCCEEDED:
        yield Broken("cancelled", "it was cancelled and has succeeded", job.id)
    with db.reading() as session:
        versions = session.exec(select(ModelVersion).where(ModelVersion.job_id == job.id)).all()
        attempts = session.exec(
            select(JobAttempt).where(JobAttempt.job_id == job.id).order_by(col(JobAttempt.attempt))
        ).all()
        statuses = session.exec(select(JobEvent).where(JobEvent.job_id == job.id, JobEvent.type == "status")).all()
    if [version.version for version in versions] != ([job.version] if job.status == JobStatus.SUCCEEDED else []):
        yield Broken("once", f"{job.status} with versions {[version.version for version in versions]}", job.id)
    ends = [event.data["status"] for event in statuses if event.data.get("status") in TERMINAL_STATUSES]
    if ends != [job.status]:
        yield Broken("once", f"it has ended as {ends}", job.id)
    yield from _of_attempts(job, [(one.attempt, one.outcome if one.ended_at else None) for one in attempts])


def _of_attempts(job: TrainingJob, attempts: list[tuple[int, str | None]]) -> Iterator[Broken]:
    """They are numbered without a gap, each has ended, and only the last one can have succeeded."""
    if [number for number, _ in attempts] != list(range(1, job.attempt + 1)):
        yield Broken("attempts", f"{job.attempt} attempts are numbered {[number for number, _ in attempts]}", job.id)
    outcomes = [outcome for _, outcome in attempts]
    if None in outcomes:
        yield Broken("attempts", f"an attempt has not ended: {outcomes}", job.id)
    expected = [len(outcomes) - 1] if job.status == JobStatus.SUCCEEDED else []
    if [place for place, outcome in enumerate(outcomes) if outcome == AttemptOutcome.SUCCEEDED] != expected:
        yield Broken("attempts", f"{job.status} with {outcomes}", job.id)


def _partial(db: Database, store: ArtifactStore) -> Iterator[Broken]:
    """Whatever lies where readers look is whole, with a row or without."""
    named = {version.artifact: version.job_id for version in _rows(db, ModelVersion)}
    for key in {*store.keys("models"), *store.keys("datasets"), *named}:
        try:
            store.verified_path(key)
        except ThawlineError as error:
            yield Broken("partial", error.message, named.get(key))


def _numbers(db: Database) -> Iterator[Broken]:
    """Versions of a model are counted from 1, without a gap: nobody has deleted any."""
    versions = _rows(db, ModelVersion)
    for model in _rows(db, Model):
        numbers = sorted(version.version for version in versions if version.model == model.name)
        if numbers != list(range(1, model.last_version + 1)):
            yield Broken("once", f"{model.name} has versions {numbers}, the last one {model.last_version}")


def _leftovers(db: Database, store: ArtifactStore, settings: Settings) -> Iterator[Broken]:
    """After housekeeping only what has a row is left."""
    named = {version.artifact for version in _rows(db, ModelVersion)}
    orphans = [store.root / key for key in store.keys("models") if key not in named]
    passing = [*store.staged(), *children(settings.scratch_dir), *children(settings.checkpoints_dir)]
    for path in [*orphans, *passing]:
        yield Broken("leftovers", f"{path.relative_to(settings.home)} is left")


def _rows(db: Database, table: type[T]) -> list[T]:
    with db.reading() as session:
        return list(session.exec(select(table)))
