"""The registry: version numbers, aliases, references, and what may be deleted."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import IntegrityError

from models_store import jobs, registry
from models_store.database import Database
from models_store.errors import ConflictError, NotFoundError
from models_store.registry import PRODUCTION, NewVersion
from models_store.tables import ModelVersion, TrainingJob
from tests.models_store.samples import VERSION, claim, publish, submit


def resolve(db: Database, reference: str) -> int:
    with db.reading() as session:
        return registry.resolve(session, reference).version


def promote(db: Database, version: int, alias: str) -> None:
    with db.transaction() as session:
        registry.promote(session, registry.get_version(session, "intent", version), alias)


def delete(db: Database, version: int) -> str:
    with db.transaction() as session:
        return registry.delete_version(session, "intent", version)


def test_versions_count_from_one_and_production_follows(db: Database) -> None:
    assert [publish(db).version for _ in range(3)] == [1, 2, 3]

    with db.reading() as session:
        assert registry.aliases(session, "intent") == {PRODUCTION: 3}
        assert [row.version for row in registry.versions(session, "intent")] == [3, 2, 1]


def test_a_version_keeps_what_made_it(db: Database) -> None:
    mine = claim(db, submit(db).id)
    jobs.succeed(db, mine, result={}, version=NewVersion("models/a.1", "linear", {"test": {"f1": 0.5}}, 77))

    with db.reading() as session:
        row = registry.get_version(session, "intent", 1)

    assert (row.job_id, row.dataset_id, row.task) == (mine.job_id, mine.dataset_id, "classification")
    assert (row.artifact, row.head, row.metrics, row.size_bytes) == ("models/a.1", "linear", {"test": {"f1": 0.5}}, 77)
    assert (row.base_model, row.strategy) == ("minilm-l6", "hybrid")


def test_models_count_their_versions_apart(db: Database) -> None:
    assert [publish(db, name).version for name in ("a", "b", "a")] == [1, 1, 2]


def test_a_number_is_never_given_twice(db: Database) -> None:
    publish(db)
    publish(db)
    promote(db, 1, PRODUCTION)

    assert delete(db, 2) == VERSION.artifact
    assert publish(db).version == 3


def test_versions_published_at_once_get_numbers_of_their_own(db: Database) -> None:
    claims = [claim(db, submit(db).id) for _ in range(8)]
    together = threading.Barrier(len(claims))

    def finish(index: int) -> int:
        together.wait()
        return jobs.succeed(db, claims[index], result={}, version=VERSION).version

    publish(db)  # the row of the model exists: its first version is a race of its own, below
    with ThreadPoolExecutor(len(claims)) as pool:
        numbers = sorted(pool.map(finish, range(len(claims))))

    assert numbers == list(range(2, 10))
    assert resolve(db, "intent") == 9


def test_first_versions_published_at_once_are_both_kept(db: Database) -> None:
    together = threading.Barrier(2)
    for round_ in range(10):
        claims = [claim(db, submit(db, model=f"m{round_}").id) for _ in range(2)]

        def finish(index: int, claims: list[jobs.Claim] = claims) -> int:
            together.wait()
            return jobs.succeed(db, claims[index], result={}, version=VERSION).version

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(finish, range(2))) == [1, 2]


def test_the_database_itself_refuses_a_second_version_of_a_job(db: Database) -> None:
    first = publish(db)

    with pytest.raises(IntegrityError), db.transaction() as session:
        session.add(ModelVersion(**{**first.model_dump(), "version": 2}))


def test_publishing_under_a_name_of_another_task_is_refused(db: Database) -> None:
    publish(db)
    job = submit(db, model="other")

    with db.transaction() as session:
        row = session.get_one(TrainingJob, job.id)
        row.model, row.task = "intent", "tagging"
        with pytest.raises(ConflictError) as refused:
            registry.publish(session, row, VERSION)
        session.rollback()
    assert refused.value.code == "other_task"


@pytest.mark.parametrize(
    ("reference", "version"), [("intent", 3), ("intent@1", 1), ("intent@production", 3), ("intent@staging", 2)]
)
def test_a_reference_means_a_version(sqlite: Database, reference: str, version: int) -> None:
    for _ in range(3):
        publish(sqlite)
    promote(sqlite, 2, "staging")

    assert resolve(sqlite, reference) == version


@pytest.mark.parametrize(
    ("reference", "code", "words"),
    [
        ("nobody", "model_not_found", "'nobody' does not exist"),
        ("nobody@3", "model_not_found", "'nobody' does not exist"),
        ("intent@9", "version_not_found", "no version 9"),
        ("intent@canary", "not_found", "no alias 'canary'"),
        ("waiting", "no_finished_version", "no finished version"),
        ("waiting@1", "no_finished_version", "no finished version"),
        ("", "not_found", "write name, name@3 or name@alias"),
        ("intent@", "not_found", "write name, name@3 or name@alias"),
        ("intent@@1", "not_found", "write name, name@3 or name@alias"),
        ("intent@0", "not_found", "write name, name@3 or name@alias"),
        ("intent@99999999999999999999", "not_found", "write name, name@3 or name@alias"),
        ("../etc/passwd", "not_found", "write name, name@3 or name@alias"),
        ("intent\n", "not_found", "write name, name@3 or name@alias"),
        ("x" * 64, "not_found", "write name, name@3 or name@alias"),
    ],
)
def test_a_reference_that_means_nothing_says_what_is_wrong(
    sqlite: Database, reference: str, code: str, words: str
) -> None:
    publish(sqlite)
    waiting = submit(sqlite, model="waiting")

    with pytest.raises(NotFoundError) as refused:
        resolve(sqlite, reference)

    assert refused.value.code == code
    assert words in refused.value.message
    if code == "no_finished_version":
        assert f"{waiting.id} is queued" in refused.value.message


def test_promotion_moves_an_alias(db: Database) -> None:
    publish(db)
    publish(db)

    promote(db, 1, PRODUCTION)

    assert resolve(db, "intent") == 1
    assert resolve(db, "intent@2") == 2


def test_a_version_in_use_is_not_deleted(db: Database) -> None:
    publish(db)
    publish(db)
    promote(db, 1, "staging")

    for version, alias in ((1, "staging"), (2, "production")):
        with pytest.raises(ConflictError, match=alias) as refused:
            delete(db, version)
        assert refused.value.code == "version_in_use"
    assert resolve(db, "intent@1") == 1


def test_a_deleted_version_is_gone(db: Database) -> None:
    publish(db)
    publish(db)
    delete(db, 1)

    with pytest.raises(NotFoundError, match="no version 1"):
        resolve(db, "intent@1")
    with pytest.raises(NotFoundError):
        delete(db, 1)


def test_models_are_listed_by_name(db: Database) -> None:
    for name in ("b", "c", "a"):
        publish(db, name)

    with db.reading() as session:
        assert [row.name for row in registry.list_models(session, 2, None)] == ["a", "b"]
        assert [row.name for row in registry.list_models(session, 2, "b")] == ["c"]
