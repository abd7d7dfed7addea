"""The chaos benchmark in miniature, and that its checks find what they are to find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from sqlmodel import Session, col

from benchmarks.chaos.__main__ import weather
from benchmarks.chaos.promises import broken_promises, evidence
from benchmarks.chaos.storm import POISONED
from models_store import jobs
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.housekeeping import attempt_folder
from models_store.registry import NewVersion
from models_store.settings import Settings
from models_store.tables import JobAttempt, JobEvent, JobStatus, ModelVersion, TrainingJob
from tests.models_store.samples import add_dataset, claim, submit

SEED = 66  # one job, and the broker is killed


@pytest.mark.services
def test_a_round_in_which_the_broker_dies_breaks_no_promise() -> None:
    line, befell, broken = weather("sqlite", rounds=1, seed=SEED)

    assert broken == []
    assert befell == {POISONED: 1, "broker killed": 1}
    assert line.startswith("| sqlite | 1 | 2 | 100 % | 0 | 0 | 0 | 0 |")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def store(settings: Settings) -> ArtifactStore:
    return ArtifactStore(settings.artifacts_dir)


@pytest.fixture
def told(db: Database, store: ArtifactStore) -> dict[str, list[str]]:
    """A job that has succeeded and one that was cancelled, and what was answered to their keys."""
    dataset_id = add_dataset(db)
    good, bad = (submit(db, dataset_id, key=key) for key in ("good", "bad"))
    mine = claim(db, good.id)
    key = f"models/{attempt_folder(good.id, 1)}"
    with store.staging() as folder:
        (folder / "model.onnx").write_bytes(b"weights")
        store.publish(folder, key, {})
    jobs.succeed(db, mine, result={"head": "linear"}, version=NewVersion(key, "linear", {}, 7))
    jobs.request_cancel(db, bad.id)
    return {"good": [good.id], "bad": [bad.id]}


def found(db: Database, store: ArtifactStore, settings: Settings, told: dict[str, list[str]]) -> set[str]:
    broken = broken_promises(db, store, settings, told, {*told["bad"]})
    assert all(list(evidence(db, one.job_id)) for one in broken if one.job_id)
    return {one.promise for one in broken}


def test_where_nothing_is_wrong_nothing_is_found(
    db: Database, store: ArtifactStore, settings: Settings, told: dict[str, list[str]]
) -> None:
    assert found(db, store, settings, told) == set()


Harm = Callable[[Session, str], object]
HARMS: dict[str, Harm] = {
    "terminal": lambda session, job: session.execute(
        update(TrainingJob).where(col(TrainingJob.id) == job).values(status=JobStatus.RUNNING)
    ),
    "once": lambda session, job: session.execute(delete(ModelVersion).where(col(ModelVersion.job_id) == job)),
    "once ": lambda session, job: session.add(
        JobEvent(job_id=job, attempt=1, level="info", type="status", message="", data={"status": "failed"})
    ),
    "attempts": lambda session, job: session.execute(
        update(JobAttempt).where(col(JobAttempt.job_id) == job).values(ended_at=None)
    ),
    "attempts ": lambda session, job: session.add(JobAttempt(job_id=job, attempt=3, worker="w")),
}


@pytest.mark.parametrize("promise", HARMS)
def test_a_table_that_tells_otherwise_is_found(
    promise: str, db: Database, store: ArtifactStore, settings: Settings, told: dict[str, list[str]]
) -> None:
    with db.transaction() as session:
        HARMS[promise](session, told["good"][0])

    assert promise.strip() in found(db, store, settings, told)


def test_a_damaged_artifact_is_found(
    db: Database, store: ArtifactStore, settings: Settings, told: dict[str, list[str]]
) -> None:
    (store.root / "models" / attempt_folder(told["good"][0], 1) / "model.onnx").write_bytes(b"we")

    assert found(db, store, settings, told) == {"partial"}


def test_a_folder_that_nobody_removes_is_found(
    db: Database, store: ArtifactStore, settings: Settings, told: dict[str, list[str]]
) -> None:
    (store.root / ".staging" / "upload").mkdir(parents=True)

    assert found(db, store, settings, told) == {"leftovers"}


def test_a_job_that_is_not_there_and_one_that_nobody_knows_are_found(
    db: Database, store: ArtifactStore, settings: Settings, told: dict[str, list[str]]
) -> None:
    submit(db, key="unknown")

    broken = broken_promises(db, store, settings, {**told, "lost": ["job_lost"]}, set())

    assert sorted(one.what for one in broken if one.promise == "missing") == [
        "lost was answered ['job_lost'] and is None",
        "unknown is there and nobody was told",
    ]


def test_a_cancelled_job_that_has_succeeded_is_found(
    db: Database, store: ArtifactStore, settings: Settings, told: dict[str, list[str]]
) -> None:
    broken = broken_promises(db, store, settings, told, {*told["good"]})

    assert [one.promise for one in broken] == ["cancelled"]
