"""Large uploads: stored first, read by whoever has claimed them, told of exactly once."""

from __future__ import annotations

import pytest

from models_store import datasets, leases
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets import OnError, Wishes, pending
from models_store.errors import ConflictError, LeaseLostError
from models_store.leases import Turn
from models_store.tables import Dataset, DatasetStatus
from models_store.tasks import TaskName
from tests.models_store.datasets.files import GOOD_CSV, upload


def put_aside(db: Database, store: ArtifactStore, content: str = GOOD_CSV, on_error: str = "refuse") -> Dataset:
    """An upload that is larger than what is read at once."""
    wishes = Wishes(TaskName.CLASSIFICATION, on_error=OnError(on_error))
    return datasets.create(db, store, [upload("train", content)], wishes, at_once=0)


def claimed(db: Database) -> Turn:
    turn = pending.TURNS.claim(db)
    assert turn is not None
    return turn


def run_out(db: Database, monkeypatch: pytest.MonkeyPatch) -> Turn:
    """A turn whose owner has died."""
    with monkeypatch.context() as patched:
        patched.setattr(leases, "LEASE_SECONDS", -1.0)
        return claimed(db)


def test_an_upload_waits_until_it_is_read_and_is_then_like_any_other(db: Database, store: ArtifactStore) -> None:
    dataset = put_aside(db, store)
    assert (dataset.status, dataset.splits) == (DatasetStatus.VALIDATING, {})
    with pytest.raises(ConflictError, match="still being validated"):
        datasets.get_ready(db, dataset.id)

    turn = claimed(db)
    assert pending.TURNS.claim(db) is None  # it is this one's
    assert pending.validate(db, store, turn, most_unpacked=None) == DatasetStatus.READY

    ready = datasets.get_ready(db, dataset.id)
    at_once = datasets.create(db, store, [upload("train", GOOD_CSV)], Wishes(TaskName.CLASSIFICATION, "other name"))
    same = ("format", "labels", "columns", "splits", "statistics", "warnings", "sha256", "size_bytes")
    assert {name: getattr(ready, name) for name in same} == {name: getattr(at_once, name) for name in same}
    assert list(datasets.rows_of(store, ready, "train")) == list(datasets.rows_of(store, at_once, "train"))
    assert (store.all_kept(), store.staged()) == ([], [])
    assert put_aside(db, store).id == dataset.id  # the same upload once more


def test_what_is_wrong_with_it_is_kept(db: Database, store: ArtifactStore) -> None:
    dataset = put_aside(db, store, GOOD_CSV + " ,a\nx,\n")

    assert pending.validate(db, store, claimed(db), most_unpacked=None) == DatasetStatus.INVALID

    invalid = datasets.get(db, dataset.id)
    assert (invalid.error_count, [error["line"] for error in invalid.errors or []]) == (2, [22, 23])
    with pytest.raises(ConflictError, match="is invalid"):
        datasets.get_ready(db, dataset.id)
    assert (store.all_kept(), store.keys("datasets")) == ([], [])
    assert put_aside(db, store, GOOD_CSV + " ,a\nx,\n").id != dataset.id  # it may be tried again


def test_rows_may_be_left_out_of_it(db: Database, store: ArtifactStore) -> None:
    dataset = put_aside(db, store, GOOD_CSV + " ,a\n", on_error="skip")

    pending.validate(db, store, claimed(db), most_unpacked=None)

    assert datasets.get_ready(db, dataset.id).skipped_rows == 1


def test_after_a_death_another_one_begins_again(
    db: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = put_aside(db, store)
    dead = run_out(db, monkeypatch)

    second = claimed(db)

    assert second == Turn(dataset.id, 2)
    with pytest.raises(LeaseLostError):
        pending.validate(db, store, dead, most_unpacked=None)
    assert pending.validate(db, store, second, most_unpacked=None) == DatasetStatus.READY
    with pytest.raises(LeaseLostError):  # it is over
        pending.validate(db, store, Turn(dataset.id, 1), most_unpacked=None)


def test_one_that_kills_every_process_is_given_up(
    db: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = put_aside(db, store)
    for _ in range(leases.MAX_DEATHS):
        run_out(db, monkeypatch)

    assert pending.TURNS.claim(db) is None

    given_up = datasets.get(db, dataset.id)
    assert (given_up.status, given_up.error_count) == (DatasetStatus.INVALID, 1)
    assert "3 processes" in (given_up.errors or [])[0]["message"]


def test_what_nobody_has_thought_of_ends_it_with_a_reason(
    db: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = put_aside(db, store)

    def mistaken(*_: object, **__: object) -> None:
        raise KeyError("no such thing")

    monkeypatch.setattr(pending, "read", mistaken)

    assert pending.validate(db, store, claimed(db), most_unpacked=None) == DatasetStatus.INVALID

    told = (datasets.get(db, dataset.id).errors or [])[0]
    assert (told["code"], "KeyError" in told["message"]) == ("internal_error", True)


def test_one_that_is_handed_back_is_had_at_once(db: Database, store: ArtifactStore) -> None:
    put_aside(db, store)
    turn = claimed(db)

    pending.TURNS.release(db, turn)

    assert claimed(db).attempt == 2


def test_however_often_it_is_handed_back_it_is_not_given_up(db: Database, store: ArtifactStore) -> None:
    put_aside(db, store)
    for _ in range(2 * leases.MAX_DEATHS):
        pending.TURNS.release(db, claimed(db))

    assert pending.validate(db, store, claimed(db), most_unpacked=None) == DatasetStatus.READY


def test_deaths_are_forgotten_where_one_has_got_on(
    db: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_aside(db, store)
    for _ in range(leases.MAX_DEATHS):
        pending.TURNS.beat(db, claimed(db), deaths=0, lease_until=None)
        run_out(db, monkeypatch)
        pending.TURNS.release(db, claimed(db), died=True)
        pending.TURNS.beat(db, claimed(db), deaths=0, lease_until=None)

    assert pending.TURNS.claim(db) is not None


def test_one_that_is_deleted_meanwhile_leaves_nothing(db: Database, store: ArtifactStore) -> None:
    dataset = put_aside(db, store)
    turn = claimed(db)

    datasets.delete(db, store, dataset.id)

    assert store.all_kept() == []
    with pytest.raises(LeaseLostError):
        pending.validate(db, store, turn, most_unpacked=None)
    assert (store.keys("datasets"), store.staged()) == ([], [])
