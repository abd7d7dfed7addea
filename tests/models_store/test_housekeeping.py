"""Housekeeping: what dead processes left behind goes, and what anybody works on or answers from stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from models_store import jobs
from models_store.artifacts import ArtifactStore, children
from models_store.database import Database
from models_store.housekeeping import UPLOAD_SECONDS, attempt_folder, tidy
from models_store.registry import NewVersion
from tests.models_store.samples import EXPIRED, add_dataset, claim, submit

STRANGER = attempt_folder("job_0nobodyknowsthisone", 1)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def make_folder(path: Path, *, age: float = 0.0) -> Path:
    """A folder with something in it, last changed ``age`` seconds ago."""
    path.mkdir(parents=True)
    (path / "file").write_bytes(b"content")
    changed = time.time() - age
    os.utime(path, (changed, changed))
    return path


def staged(store: ArtifactStore, name: str, *, age: float = 0.0) -> Path:
    return make_folder(store.root / ".staging" / name, age=age)


def published(store: ArtifactStore, key: str, *, age: float = 0.0) -> Path:
    with store.staging() as folder:
        (folder / "file").write_bytes(b"content")
        store.publish(folder, key, {})
    changed = time.time() - age
    os.utime(store.root / key, (changed, changed))
    return store.root / key


# ---- attempts -------------------------------------------------------------------------------------------------------


def test_where_nothing_was_ever_written_there_is_nothing_to_do(
    sqlite: Database, store: ArtifactStore, scratch: Path, checkpoints: Path
) -> None:
    assert tidy(sqlite, store, scratch, checkpoints) == []


def test_folders_of_a_running_attempt_stay_however_old_they_are(
    sqlite: Database, store: ArtifactStore, scratch: Path, checkpoints: Path
) -> None:
    mine = claim(sqlite, submit(sqlite).id)
    name = attempt_folder(mine.job_id, mine.attempt)
    folders = [make_folder(scratch / name, age=2 * UPLOAD_SECONDS), staged(store, name, age=2 * UPLOAD_SECONDS)]

    assert tidy(sqlite, store, scratch, checkpoints) == []
    assert all(folder.is_dir() for folder in folders)


def test_folders_of_an_earlier_attempt_go_though_the_job_runs_again(
    sqlite: Database, store: ArtifactStore, scratch: Path, checkpoints: Path
) -> None:
    job_id = submit(sqlite).id
    first = claim(sqlite, job_id, lease_seconds=EXPIRED)
    second = claim(sqlite, job_id)
    old, new = (attempt_folder(job_id, attempt.attempt) for attempt in (first, second))
    left = [make_folder(scratch / old), staged(store, old)]
    kept = [make_folder(scratch / new), staged(store, new)]

    assert set(tidy(sqlite, store, scratch, checkpoints)) == set(left)
    assert not any(folder.exists() for folder in left)
    assert all(folder.is_dir() for folder in kept)


def test_folders_of_jobs_that_ended_or_wait_or_never_were_go_at_once(
    sqlite: Database, store: ArtifactStore, scratch: Path, checkpoints: Path
) -> None:
    waiting, ended = submit(sqlite).id, claim(sqlite, submit(sqlite).id)
    jobs.fail(sqlite, ended, code="broken", message="broken")
    names = [attempt_folder(waiting, 1), attempt_folder(ended.job_id, 1), STRANGER]
    left = [make_folder(scratch / name) for name in names] + [staged(store, name) for name in names]

    assert set(tidy(sqlite, store, scratch, checkpoints)) == set(left)
    assert list(scratch.iterdir()) == []
    assert store.staged() == []


def test_checkpoints_stay_until_their_job_is_over(
    sqlite: Database, store: ArtifactStore, scratch: Path, checkpoints: Path
) -> None:
    waiting, running, ended = submit(sqlite).id, claim(sqlite, submit(sqlite).id), claim(sqlite, submit(sqlite).id)
    jobs.fail(sqlite, ended, code="broken", message="broken")
    kept = [make_folder(checkpoints / job_id, age=2 * UPLOAD_SECONDS) for job_id in (waiting, running.job_id)]
    left = [make_folder(checkpoints / job_id) for job_id in (ended.job_id, "job_0nobodyknowsthisone")]

    assert set(tidy(sqlite, store, scratch, checkpoints)) == set(left)
    assert children(checkpoints) == sorted(kept)


# ---- uploads --------------------------------------------------------------------------------------------------------


def test_an_upload_under_way_has_a_day(
    sqlite: Database, store: ArtifactStore, scratch: Path, checkpoints: Path
) -> None:
    fresh = staged(store, "tmpabc123", age=UPLOAD_SECONDS - 600)
    dead = staged(store, "tmpdef456", age=UPLOAD_SECONDS + 600)

    assert tidy(sqlite, store, scratch, checkpoints) == [dead]
    assert fresh.is_dir()
    assert not dead.exists()


def test_files_beside_the_scratch_folders_are_left_alone(
    sqlite: Database, store: ArtifactStore, scratch: Path, checkpoints: Path
) -> None:
    make_folder(scratch / STRANGER)
    note = scratch / "note.txt"
    note.write_text("mine")
    os.utime(note, (0, 0))

    assert tidy(sqlite, store, scratch, checkpoints) == [scratch / STRANGER]
    assert note.is_file()


# ---- artifacts ------------------------------------------------------------------------------------------------------


def test_a_model_with_a_row_stays_and_one_without_goes(
    sqlite: Database, store: ArtifactStore, scratch: Path, checkpoints: Path
) -> None:
    mine = claim(sqlite, submit(sqlite).id)
    key = f"models/{attempt_folder(mine.job_id, mine.attempt)}"
    jobs.succeed(sqlite, mine, result={}, version=NewVersion(key, "linear", {}, 7))
    kept, orphan = published(store, key), published(store, f"models/{STRANGER}")

    assert tidy(sqlite, store, scratch, checkpoints) == [orphan]
    assert not orphan.exists()
    assert store.verified_path(key) == kept


def test_a_model_whose_attempt_is_about_to_write_its_row_stays(
    sqlite: Database, store: ArtifactStore, scratch: Path, checkpoints: Path
) -> None:
    mine = claim(sqlite, submit(sqlite).id)
    key = f"models/{attempt_folder(mine.job_id, mine.attempt)}"
    published(store, key)

    assert tidy(sqlite, store, scratch, checkpoints) == []
    jobs.succeed(sqlite, mine, result={}, version=NewVersion(key, "linear", {}, 7))
    assert tidy(sqlite, store, scratch, checkpoints) == []
    assert store.verified_path(key).is_dir()


def test_a_data_set_with_a_row_stays_and_one_without_has_a_day(
    sqlite: Database, store: ArtifactStore, scratch: Path, checkpoints: Path
) -> None:
    known = published(store, f"datasets/{add_dataset(sqlite)}", age=2 * UPLOAD_SECONDS)
    fresh = published(store, "datasets/ds_fresh", age=60)
    orphan = published(store, "datasets/ds_orphan", age=2 * UPLOAD_SECONDS)

    assert tidy(sqlite, store, scratch, checkpoints) == [orphan]
    assert known.is_dir()
    assert fresh.is_dir()


def test_tidying_twice_finds_nothing_more(
    sqlite: Database, store: ArtifactStore, scratch: Path, checkpoints: Path
) -> None:
    make_folder(scratch / STRANGER)

    assert tidy(sqlite, store, scratch, checkpoints) == [scratch / STRANGER]
    assert tidy(sqlite, store, scratch, checkpoints) == []
