"""Killed at any step of publishing, or the disk full: the old version goes on being served, the new one appears once
and whole.
"""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models_store import artifacts, jobs, registry
from models_store.housekeeping import tidy
from models_store.jobs import Claim
from models_store.tables import HELD_STATUSES, JobStatus, ModelVersion
from tests.models_store.samples import EXPIRED
from tests.worker import dying_publisher
from tests.worker.conftest import Workshop
from worker import runner as runner_module

ROOT = Path(__file__).parents[2]


@pytest.fixture
def published(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A workshop in which version 1 is in production, and another job waits."""
    monkeypatch.setattr(runner_module, "TrainingProcess", None)  # so that the real one is put back at the end
    workshop.submit()
    assert dying_publisher.runner_of(workshop.settings.home).run_next()
    return workshop


def in_production(workshop: Workshop) -> ModelVersion:
    with workshop.db.reading() as session:
        return registry.resolve(session, "model")


@pytest.mark.parametrize("step", dying_publisher.STEPS)
def test_a_version_is_published_once_and_whole_or_not_at_all(published: Workshop, step: str) -> None:
    old = in_production(published)
    job_id = published.submit()

    command = [sys.executable, "-m", "tests.worker.dying_publisher", str(published.settings.home), step]
    killed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True)

    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    was_done = step == "after the transaction"
    assert published.job(job_id).status == (JobStatus.SUCCEEDED if was_done else JobStatus.RUNNING)
    assert (in_production(published).version == old.version) is not was_done
    published.store.verified_path(in_production(published).artifact)

    _rescue(published, job_id)

    assert published.job(job_id).status == JobStatus.SUCCEEDED
    new = in_production(published)
    assert (new.version, new.job_id) == (old.version + 1, job_id)
    for version in (old, new):
        published.store.verified_path(version.artifact)
    assert sorted(published.store.keys("models")) == sorted([old.artifact, new.artifact])
    assert published.store.staged() == []


@pytest.mark.parametrize(
    ("target", "name"),
    [(Path, "write_text"), (artifacts, "fsync"), (Path, "rename")],
    ids=["the manifest is written", "a file is forced to disk", "the rename"],
)
def test_a_full_disk_leaves_the_old_version_and_the_next_attempt_has_room_again(
    published: Workshop, monkeypatch: pytest.MonkeyPatch, target: object, name: str
) -> None:
    old = in_production(published)
    job_id = published.submit()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(target, name, full)
        dying_publisher.runner_of(published.settings.home).run_next()

    job = published.job(job_id)
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 1)
    assert "No space left on device" in (jobs.attempts(published.db, job_id)[-1].reason or "")
    assert in_production(published).version == old.version
    published.store.verified_path(old.artifact)
    assert (published.store.keys("models"), published.store.staged()) == ([old.artifact], [])

    dying_publisher.runner_of(published.settings.home).run_next()

    assert published.job(job_id).status == JobStatus.SUCCEEDED
    assert in_production(published).version == old.version + 1


def _rescue(workshop: Workshop, job_id: str) -> None:
    """What other workers do once the lease has run out."""
    job = workshop.job(job_id)
    if job.status in HELD_STATUSES:
        dead = Claim(job.id, job.attempt, job.dataset_id, job.spec)
        jobs.heartbeat(workshop.db, dead, lease_seconds=EXPIRED)
        assert jobs.sweep(workshop.db) == [job_id]
    settings = workshop.settings
    tidy(workshop.db, workshop.store, settings.scratch_dir, settings.checkpoints_dir)
    dying_publisher.runner_of(settings.home).run_next()
