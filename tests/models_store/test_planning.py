"""What a job would do, and about how long it would take."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from models_store import jobs
from models_store.database import Database
from models_store.jobs import NewEvent
from models_store.jobs.planning import Estimate
from models_store.specs import JobRequest, TrainingSpec, resolve_spec
from models_store.tables import TrainingJob
from models_store.tasks import TaskName
from tests.models_store.samples import LONG, SAMPLE_TASKS, VERSION, add_dataset, claim, submit

TASK = TaskName.CLASSIFICATION


def spec(dataset_id: str, **fields: Any) -> TrainingSpec:
    request = JobRequest(dataset_id=dataset_id, model="planned", **fields)
    return resolve_spec(request, SAMPLE_TASKS[TASK], 100, ["minilm-l6"])


def estimated(db: Database, dataset_id: str, **fields: Any) -> Estimate:
    from models_store.datasets import get

    found = jobs.estimate(db, spec(dataset_id, **fields), get(db, dataset_id))
    assert found is not None
    return found


def succeeded(db: Database, dataset_id: str, seconds: float, told: list[dict[str, Any]]) -> None:
    """A job that took so long and told this."""
    job = submit(db, dataset_id, strategy="frozen")
    mine = claim(db, job.id)
    events = [NewEvent("message", "told", data=data) for data in told]
    jobs.heartbeat(db, mine, lease_seconds=LONG, phase="head", progress={}, new_events=events)
    jobs.succeed(db, mine, result={"head": "linear"}, version=VERSION)
    with db.transaction() as session:
        row = session.get(TrainingJob, job.id)
        assert row is not None
        assert row.started_at is not None
        row.finished_at = row.started_at + timedelta(seconds=seconds)


def test_the_steps_are_in_their_order(sqlite: Database) -> None:
    dataset_id = add_dataset(sqlite)
    rows = {"train": 100, "validation": 20}
    names = {
        strategy: [step.phase for step in jobs.steps(spec(dataset_id, strategy=strategy), rows)]
        for strategy in ("hybrid", "finetune", "frozen")
    }

    assert names["hybrid"] == ["prepare", "head", "full", "export", "evaluate"]
    assert names["finetune"] == ["prepare", "full", "export", "evaluate"]
    assert names["frozen"] == ["prepare", "head", "export", "evaluate"]


def test_trials_of_heads_take_time(sqlite: Database) -> None:
    dataset_id = add_dataset(sqlite)
    tried = estimated(sqlite, dataset_id, strategy="frozen")
    one = estimated(sqlite, dataset_id, strategy="frozen", head="linear")

    assert tried.low_seconds > one.low_seconds + 30
    assert "guess" in tried.basis


def test_jobs_that_were_done_here_are_what_time_is_judged_by(sqlite: Database) -> None:
    dataset_id = add_dataset(sqlite)
    phase = {"phase": "head", "epochs": 10, "seconds": 20.0}
    trials = [{"head": head, "seconds": 100.0} for head in ("linear", "highway_lstm", "dense_cnn")]
    succeeded(sqlite, dataset_id, 350.0, [*trials, phase])
    one = estimated(sqlite, dataset_id, strategy="frozen", head="linear", hyperparameters={"head_epochs": 10})
    tried = estimated(sqlite, dataset_id, strategy="frozen", hyperparameters={"head_epochs": 10})

    assert (one.low_seconds, one.high_seconds) == (30 + 0.3 * 20, 30 + 1.5 * 20)  # 30 beside trials and phase
    assert tried.low_seconds == one.low_seconds + 300
    assert "1 job(s)" in one.basis
