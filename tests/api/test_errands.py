"""Leases of processes that work on files, whatever these are at."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api import errands
from api.errands import KINDS, Errands
from migrations import upgrade
from models_store import datasets, leases
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets import Wishes, pending
from models_store.leases import Turn
from models_store.settings import Settings
from models_store.tasks import TaskName
from tests.models_store.datasets.files import GOOD_CSV, upload


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'thawline.db'}"
    upgrade(url)
    db = Database(url)
    yield db
    db.dispose()


@pytest.fixture
def busy(tmp_path: Path, db: Database) -> Iterator[tuple[Errands, Turn, subprocess.Popen[bytes]]]:
    """Somebody who sees to a process that never says anything."""
    store = ArtifactStore(tmp_path / "artifacts")
    datasets.create(db, store, [upload("train", GOOD_CSV)], Wishes(TaskName.CLASSIFICATION), at_once=0)
    turn = pending.TURNS.claim(db)
    assert turn is not None
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    seen_to = Errands(Settings(_env_file=None, home=tmp_path), db)
    seen_to._running[KINDS[0], turn] = process
    yield seen_to, turn, process
    process.kill()
    process.wait()


def test_a_process_that_lives_keeps_its_lease(
    db: Database, busy: tuple[Errands, Turn, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_to, turn, _ = busy
    with monkeypatch.context() as patched:
        patched.setattr(leases, "LEASE_SECONDS", -1.0)
        pending.TURNS.beat(db, turn)  # nothing was heard of it for long

    seen_to._keep()

    assert pending.TURNS.claim(db) is None


def test_a_process_whose_turn_is_over_is_ended_if_it_does_not_end(
    db: Database, busy: tuple[Errands, Turn, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_to, turn, process = busy
    pending.TURNS.release(db, turn)
    assert pending.TURNS.claim(db) is not None
    monkeypatch.setattr(errands, "LEASE_SECONDS", 0.0)

    seen_to._keep()
    assert process.poll() is None
    seen_to._keep()

    assert process.wait(10) != 0
