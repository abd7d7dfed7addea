"""The registry: version numbers, aliases, references, and what may be deleted."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from models_store import aliases as alias_store
from models_store import jobs, registry
from models_store.database import Database
from models_store.errors import ConflictError, NotFoundError
from models_store.registry import PRODUCTION, NewVersion
from models_store.tables import Model, ModelAlias, ModelVersion, TrainingJob
from models_store.tasks import TaskName
from tests.models_store.samples import VERSION, alias_versions, claim, publish, submit


def resolve(db: Database, reference: str) -> int:
    with db.reading() as session:
        return registry.resolve(session, reference).version


def promote(db: Database, version: int, alias: str) -> None:
    with db.transaction() as session:
        alias_store.promote(session, registry.get_version(session, "intent", version), alias)


def delete(db: Database, version: int) -> str:
    with db.transaction() as session:
        return registry.delete_version(session, "intent", version)


def delete_alias(db: Database, name: str, alias: str) -> None:
    with db.transaction() as session:
        alias_store.delete_alias(session, name, alias)


def delete_model(db: Database, name: str) -> list[str]:
    with db.transaction() as session:
        return registry.delete_model(session, name)


def aliases(db: Database) -> dict[str, int]:
    with db.reading() as session:
        return alias_versions(session, "intent")


def publish_unpromoted(db: Database, artifact: str = VERSION.artifact) -> ModelVersion:
    mine = claim(db, submit(db, promote="never").id)
    return jobs.succeed(db, mine, result={}, version=NewVersion(artifact, "linear", {}, 1))


def test_versions_count_from_one_and_production_follows(db: Database) -> None:
    assert [publish(db).version for _ in range(3)] == [1, 2, 3]

    with db.reading() as session:
        assert alias_versions(session, "intent") == {PRODUCTION: 3}
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
        ("intent@canary", "alias_not_found", "no alias 'canary'"),
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


def test_what_is_in_production_can_be_asked_for_by_its_head(db: Database) -> None:
    for name in ("b", "intent", "a"):
        publish(db, name)
    publish(db)
    promote(db, 1, PRODUCTION)
    promote(db, 2, "staging")

    with db.reading() as session:
        found = [(row.model, row.version) for row in registry.in_production(session, VERSION.head)]
        assert registry.in_production(session, "siamese") == []

    assert found == [("a", 1), ("b", 1), ("intent", 1)]


def test_a_job_may_leave_production_where_it_is(db: Database) -> None:
    publish(db)

    assert publish_unpromoted(db).version == 2
    assert aliases(db) == {PRODUCTION: 1}
    assert (resolve(db, "intent"), resolve(db, "intent@2")) == (1, 2)


def test_a_job_that_was_stored_before_it_could_say_so_is_promoted(db: Database) -> None:
    publish(db)
    mine = claim(db, submit(db).id)
    with db.transaction() as session:
        row = session.get_one(TrainingJob, mine.job_id)
        row.spec = {key: value for key, value in row.spec.items() if key != "promote"}

    jobs.succeed(db, mine, result={}, version=VERSION)

    assert aliases(db) == {PRODUCTION: 2}


@pytest.mark.parametrize(("reference", "alias"), [("intent", PRODUCTION), ("intent@staging", "staging")])
def test_a_model_without_the_alias_says_its_versions_and_how_to_ask(db: Database, reference: str, alias: str) -> None:
    publish_unpromoted(db)
    publish_unpromoted(db)

    with pytest.raises(NotFoundError) as refused:
        resolve(db, reference)

    assert refused.value.code == "alias_not_found"
    for words in (f"no alias '{alias}'", "versions are 2, 1", "intent@2", f"PUT /models/intent/aliases/{alias}"):
        assert words in refused.value.message


@pytest.mark.parametrize("reference", ["intent", "intent@staging"])
def test_a_model_whose_versions_are_all_deleted_has_no_finished_version(db: Database, reference: str) -> None:
    publish_unpromoted(db)
    delete(db, 1)

    with pytest.raises(NotFoundError, match="no finished version") as refused:
        resolve(db, reference)
    assert refused.value.code == "no_finished_version"


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


# ---- aliases and models that go -------------------------------------------------------------------------------------


def test_a_deleted_alias_leaves_its_version(db: Database) -> None:
    publish(db)
    promote(db, 1, "staging")

    delete_alias(db, "intent", "staging")

    assert aliases(db) == {PRODUCTION: 1}
    assert resolve(db, "intent@1") == 1
    with pytest.raises(NotFoundError, match="no alias 'staging'") as refused:
        delete_alias(db, "intent", "staging")
    assert refused.value.code == "alias_not_found"


def test_a_version_may_be_deleted_once_its_alias_is_gone(db: Database) -> None:
    publish(db)
    delete_alias(db, "intent", PRODUCTION)

    assert delete(db, 1) == VERSION.artifact


def test_a_deleted_model_leaves_nothing_but_the_keys_of_its_artifacts(db: Database) -> None:
    for key in ("models/a.1", "models/b.1"):
        publish_unpromoted(db, key)
    promote(db, 1, PRODUCTION)
    promote(db, 2, "staging")
    publish(db, "other")

    assert sorted(delete_model(db, "intent")) == ["models/a.1", "models/b.1"]

    with db.reading() as session:  # of the other model everything is there
        assert [row.name for row in session.exec(select(Model))] == ["other"]
        assert [row.model for row in session.exec(select(ModelVersion))] == ["other"]
        assert [row.model for row in session.exec(select(ModelAlias))] == ["other"]
    with pytest.raises(NotFoundError):
        delete_model(db, "intent")


def test_the_name_of_a_deleted_model_is_free_for_another_task(db: Database) -> None:
    publish(db)
    delete_model(db, "intent")

    assert publish(db, "intent", TaskName.TAGGING).version == 2  # numbers are never given twice


@pytest.mark.parametrize("running", [False, True])
def test_a_model_is_kept_while_a_job_for_it_has_not_ended(db: Database, *, running: bool) -> None:
    publish(db)
    job = submit(db)
    mine = claim(db, job.id) if running else None

    with pytest.raises(ConflictError, match=job.id) as refused:
        delete_model(db, "intent")
    assert refused.value.code == "model_in_use"
    assert aliases(db) == {PRODUCTION: 1}

    jobs.request_cancel(db, job.id)
    if mine is not None:
        jobs.cancelled(db, mine)
    assert delete_model(db, "intent") == [VERSION.artifact]


def test_the_jobs_of_other_models_keep_no_model(db: Database) -> None:
    publish(db)
    submit(db, model="other")

    assert delete_model(db, "intent") == [VERSION.artifact]


def test_what_was_never_there_cannot_be_deleted(db: Database) -> None:
    for absent in (lambda: delete_model(db, "nobody"), lambda: delete_alias(db, "nobody", "staging")):
        with pytest.raises(NotFoundError, match="'nobody' does not exist") as refused:
            absent()
        assert refused.value.code == "model_not_found"
