"""A long history: many finished jobs with their attempts and events, written straight into the tables."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert
from ulid import ULID

from models_store.database import Database
from models_store.specs import JobRequest, resolve_spec
from models_store.tables import JobAttempt, JobEvent, JobStatus, TrainingJob
from models_store.tasks import task_from_config

MODELS = 50
WAITING = 40  # jobs that nobody works on
_BATCH = 2000
_SCORES = {"accuracy": 0.91, "f1_macro": 0.9, "rows": 500}
_EVENTS = ("queued", "running (attempt 1)", "prepare started", "head finished after 4 epochs", "export started", "end")
# Nine in ten succeed.
_ENDS = [*[JobStatus.SUCCEEDED] * 18, JobStatus.FAILED, JobStatus.CANCELLED]


def fill(db: Database, jobs: int) -> list[str]:
    """Write so many jobs, the last `WAITING` of them still queued; their ids, the oldest first."""
    draw = random.Random(7)
    began = datetime.now(UTC) - timedelta(days=365)
    step = timedelta(days=364) / jobs
    spec = _spec()
    ids: list[str] = []
    for first in range(0, jobs, _BATCH):
        rows = [
            _job(draw, began + number * step, spec, is_waiting=number >= jobs - WAITING)
            for number in range(first, min(first + _BATCH, jobs))
        ]
        ended = [row for row in rows if row["finished_at"]]
        with db.transaction() as session:
            session.execute(insert(TrainingJob), rows)
            session.execute(insert(JobAttempt), [_attempt(row) for row in ended])
            session.execute(insert(JobEvent), [event for row in rows for event in _events(row)])
        ids += [row["id"] for row in rows]
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")  # as PostgreSQL's autovacuum does by itself in time
    return ids


def _spec() -> dict[str, Any]:
    task = task_from_config({"task": "classification", "labels": ["a", "b"]})
    request = JobRequest(dataset_id="ds_history", model="model-0")
    return resolve_spec(request, task, 1000, ["minilm-l6"]).model_dump(mode="json")


def _job(draw: random.Random, created: datetime, spec: dict[str, Any], *, is_waiting: bool) -> dict[str, Any]:
    status = JobStatus.QUEUED if is_waiting else draw.choice(_ENDS)
    model = f"model-{draw.randrange(MODELS)}"
    took = timedelta(seconds=draw.uniform(30, 600))
    return {
        "id": f"job_{str(ULID.from_datetime(created)).lower()}",
        "status": status,
        "dataset_id": "ds_history",
        "model": model,
        "task": "classification",
        "spec": {**spec, "model": model},
        "metadata_": {"team": "support"},
        "priority": draw.choice((-1, 0, 0, 0, 1)),
        "request_sha256": "0" * 64,
        "progress": {} if is_waiting else {"fraction": 1.0, "epoch": 4, "epochs": 4, "step": 120, "steps": 120},
        "result": {"head": "linear", "metrics": {"validation": _SCORES, "test": _SCORES}, "phases": []}
        if status == JobStatus.SUCCEEDED
        else None,
        "attempt": 0 if is_waiting else 1,
        "created_at": created,
        "started_at": None if is_waiting else created,
        "finished_at": None if is_waiting else created + took,
    }


def _attempt(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "job_id": job["id"],
        "attempt": 1,
        "worker": "host:1",
        "started_at": job["started_at"],
        "ended_at": job["finished_at"],
        "outcome": job["status"],
    }


def _events(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for message in _EVENTS if job["finished_at"] else _EVENTS[:1]:
        yield {
            "job_id": job["id"],
            "attempt": job["attempt"],
            "created_at": job["created_at"],
            "level": "info",
            "type": "message",
            "message": message,
            "data": {"fraction": 0.5},
        }
