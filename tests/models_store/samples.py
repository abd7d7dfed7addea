"""Rows that the tests of jobs and registry start from: a data set, a request, a finished version."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from models_store import aliases, jobs
from models_store.database import Database
from models_store.jobs import Claim
from models_store.registry import NewVersion
from models_store.specs import JobRequest, resolve_spec
from models_store.tables import Dataset, ModelVersion, TrainingJob
from models_store.tasks import Task, TaskName
from models_store.tasks.bio import Scheme
from models_store.tasks.classification import ClassificationTask
from models_store.tasks.similarity import SimilarityTask
from models_store.tasks.tagging import TaggingTask
from models_store.tasks.words import WordSplitter

LONG = 3600.0  # a lease that outlives the test
EXPIRED = -1.0  # a lease that ran out before it was given
VERSION = NewVersion("models/job_x.1", "linear", {"test": {"accuracy": 0.9}}, 1024)


SAMPLE_TASKS: dict[TaskName, Task[Any]] = {
    TaskName.CLASSIFICATION: ClassificationTask(("a", "b")),
    TaskName.TAGGING: TaggingTask(("O", "B-X", "I-X"), Scheme.BIO, WordSplitter()),
    TaskName.SIMILARITY: SimilarityTask(labels=("no", "yes")),
}


def add_dataset(db: Database, task: TaskName = TaskName.CLASSIFICATION) -> str:
    """A data set without files."""
    row = Dataset(
        name="sample",
        task=task,
        format="csv",
        size_bytes=1,
        sha256="0" * 64,
        columns={},
        schema_=SAMPLE_TASKS[task].to_config(),
        labels=[],
        splits={"train": {"rows": 100, "source": "uploaded"}},
        warnings=[],
    )
    with db.transaction() as session:
        session.add(row)
    return row.id


def submit(
    db: Database,
    dataset_id: str | None = None,
    *,
    model: str = "intent",
    task: TaskName = TaskName.CLASSIFICATION,
    key: str | None = None,
    max_attempts: int = 3,
    **fields: Any,
) -> TrainingJob:
    """A queued job, on a data set of its own unless one is given."""
    request = JobRequest(dataset_id=dataset_id or add_dataset(db, task), model=model, **fields)
    spec = resolve_spec(request, SAMPLE_TASKS[task], 100, ["minilm-l6"])
    return jobs.submit(db, request, spec, max_attempts=max_attempts, idempotency_key=key)


def claim(db: Database, job_id: str, *, lease_seconds: float = LONG, worker: str = "w1") -> Claim:
    """A claim that must succeed."""
    mine = jobs.claim(db, job_id, worker=worker, lease_seconds=lease_seconds)
    assert mine is not None
    return mine


def publish(db: Database, model: str = "intent", task: TaskName = TaskName.CLASSIFICATION) -> ModelVersion:
    """A finished version, made by a job of its own."""
    mine = claim(db, submit(db, model=model, task=task).id)
    return jobs.succeed(db, mine, result={"head": "linear"}, version=VERSION)


def alias_versions(session: Session, model: str) -> dict[str, int]:
    """Alias → version."""
    return {state.row.alias: state.row.version for state in aliases.states(session, model)}


def event_messages(db: Database, job_id: str) -> list[str]:
    """What the job's events say, in order."""
    return [event.message for event in jobs.events(db, job_id)]
