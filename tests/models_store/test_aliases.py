"""Aliases: what they are set to, who holds a version, and the way back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlmodel import col, select

from models_store import aliases, registry
from models_store.aliases import AliasState, Canary, Traffic
from models_store.database import Database
from models_store.errors import ConflictError, InvalidInputError, NotFoundError
from models_store.registry import PRODUCTION
from models_store.tables import AliasChange, ShadowFigures
from tests.models_store.samples import publish


def put(db: Database, version: int, canary: Canary | None = None, shadow: int | None = None) -> None:
    with db.transaction() as session:
        aliases.set_alias(session, "intent", PRODUCTION, Traffic(version, canary, shadow))


def roll_back(db: Database, leaving: int | None = None) -> Traffic:
    with db.transaction() as session:
        aliases.roll_back(session, "intent", PRODUCTION, leaving=leaving)
    return state(db).traffic


def state(db: Database) -> AliasState:
    with db.reading() as session:
        return aliases.state(session, "intent", PRODUCTION)


def history(db: Database) -> list[tuple[Traffic, str]]:
    with db.reading() as session:
        changes = aliases.history(session, "intent", PRODUCTION, 100)
    return [(Traffic.of(change), change.changed_by) for change in changes]


def delete(db: Database, version: int) -> None:
    with db.transaction() as session:
        registry.delete_version(session, "intent", version)


@pytest.fixture
def three(db: Database) -> Database:
    """Three versions, each of which has been in production."""
    for _ in range(3):
        publish(db)
    return db


# ---- setting --------------------------------------------------------------------------------------------------------


def test_an_alias_is_what_it_was_set_to_last_and_nothing_else(three: Database) -> None:
    put(three, 3, Canary(2, 0.1), shadow=1)
    assert state(three).traffic == Traffic(3, Canary(2, 0.1), 1)

    put(three, 2)

    assert state(three).traffic == Traffic(2)  # neither canary nor shadow are left over


def test_a_job_that_promotes_its_version_ends_a_canary(three: Database) -> None:
    put(three, 2, Canary(3, 0.1))

    publish(three)

    assert state(three).traffic == Traffic(4)
    with three.reading() as session:
        newest = aliases.history(session, "intent", PRODUCTION, 1)[0]
        assert newest.changed_by == f"job {registry.get_version(session, 'intent', 4).job_id}"


def test_what_is_so_already_is_no_change(three: Database) -> None:
    put(three, 2, Canary(3, 0.1), shadow=1)
    before, changed = history(three), state(three).row.updated_at

    put(three, 2, Canary(3, 0.1), shadow=1)

    assert (history(three), state(three).row.updated_at) == (before, changed)


@pytest.mark.parametrize("traffic", [Traffic(9), Traffic(1, Canary(9, 0.5)), Traffic(1, shadow=9)])
def test_every_version_must_be_there(three: Database, traffic: Traffic) -> None:
    with pytest.raises(NotFoundError, match="no version 9"), three.transaction() as session:
        aliases.set_alias(session, "intent", PRODUCTION, traffic)
    assert state(three).traffic == Traffic(3)


@pytest.mark.parametrize(
    ("traffic", "column"), [(Traffic(1, Canary(1, 0.5)), "canary.version"), (Traffic(1, shadow=1), "shadow")]
)
def test_a_version_is_not_its_own_canary_or_shadow(three: Database, traffic: Traffic, column: str) -> None:
    with pytest.raises(InvalidInputError) as refused, three.transaction() as session:
        aliases.set_alias(session, "intent", PRODUCTION, traffic)
    assert [problem.column for problem in refused.value.problems] == [column]


def test_a_canary_may_be_the_shadow_too(three: Database) -> None:
    put(three, 1, Canary(2, 0.5), shadow=2)

    assert state(three).traffic == Traffic(1, Canary(2, 0.5), 2)


def test_a_shadow_begins_with_figures_of_its_own(three: Database) -> None:
    for weight in (0.1, 0.2):
        put(three, 1, Canary(2, weight), shadow=3)

    with three.reading() as session:
        rows = session.exec(select(ShadowFigures)).all()
    assert [(row.compared, row.disagreed, row.examples) for row in rows] == [(0, 0, []), (0, 0, [])]


# ---- what is in use -------------------------------------------------------------------------------------------------


def test_a_version_is_in_use_as_canary_and_as_shadow(three: Database) -> None:
    put(three, 1, Canary(2, 0.1), shadow=3)

    for version, use in ((1, "as production"), (2, "as canary of production"), (3, "as shadow of production")):
        with pytest.raises(ConflictError, match=use) as refused:
            delete(three, version)
        assert refused.value.code == "version_in_use"

    put(three, 1)
    delete(three, 2)
    delete(three, 3)


def test_a_deleted_model_takes_the_history_of_its_aliases_along(three: Database) -> None:
    put(three, 1, shadow=3)
    publish(three, "other")

    with three.transaction() as session:
        registry.delete_model(session, "intent")

    with three.reading() as session:
        assert {row.model for row in session.exec(select(AliasChange))} == {"other"}
        assert session.exec(select(ShadowFigures)).all() == []


def test_a_deleted_alias_takes_its_history_along(three: Database) -> None:
    put(three, 1, shadow=3)
    with three.transaction() as session:
        aliases.set_alias(session, "intent", "staging", Traffic(2))

    with three.transaction() as session:
        aliases.delete_alias(session, "intent", PRODUCTION)
    put(three, 2)

    assert history(three) == [(Traffic(2), "api")]
    assert state(three).previous is None
    with three.reading() as session:
        assert len(aliases.history(session, "intent", "staging", 100)) == 1


# ---- the way back ---------------------------------------------------------------------------------------------------


def test_rolling_back_twice_goes_further_back(three: Database) -> None:
    assert state(three).previous == 2

    assert roll_back(three) == Traffic(2)
    assert state(three).previous == 1
    assert roll_back(three) == Traffic(1)

    assert state(three).previous is None
    with pytest.raises(ConflictError, match="never anything else") as refused:
        roll_back(three)
    assert refused.value.code == "nothing_to_roll_back_to"
    assert [(traffic.version, by.split()[0]) for traffic, by in history(three)] == [
        (1, "rollback"), (2, "rollback"), (3, "job"), (2, "job"), (1, "job"),
    ]  # fmt: skip


def test_what_was_left_by_a_roll_back_is_not_returned_to(three: Database) -> None:
    roll_back(three)  # away from 3
    publish(three)

    assert [roll_back(three).version, roll_back(three).version] == [2, 1]


def test_versions_that_are_gone_are_passed_over(three: Database) -> None:
    delete(three, 2)

    assert state(three).previous == 1
    assert roll_back(three) == Traffic(1)


def test_where_nothing_earlier_is_left_there_is_no_way_back(three: Database) -> None:
    delete(three, 1)
    delete(three, 2)

    with pytest.raises(ConflictError, match="still exists"):
        roll_back(three)
    assert state(three).traffic == Traffic(3)


def test_a_roll_back_ends_a_canary_first(three: Database) -> None:
    put(three, 2)
    put(three, 2, Canary(3, 0.1))
    put(three, 2, Canary(3, 0.5), shadow=1)

    assert roll_back(three) == Traffic(2)
    assert roll_back(three) == Traffic(3)  # in production before 2 was


def test_a_canary_that_was_promoted_is_left_for_what_was_before_it(three: Database) -> None:
    put(three, 2)
    put(three, 2, Canary(3, 0.5))
    put(three, 3)

    assert roll_back(three) == Traffic(2)


def test_a_shadow_that_came_and_went_is_no_step_of_its_own(three: Database) -> None:
    put(three, 3, shadow=1)
    put(three, 3, shadow=2)

    assert roll_back(three) == Traffic(2)


def test_a_repeated_roll_back_that_names_what_it_leaves_goes_back_once(three: Database) -> None:
    assert roll_back(three, leaving=3) == Traffic(2)

    with pytest.raises(ConflictError, match="points at version 2, not at 3") as refused:
        roll_back(three, leaving=3)
    assert refused.value.code == "alias_changed"
    assert state(three).traffic == Traffic(2)


def test_there_is_no_way_back_from_what_is_not_there(db: Database) -> None:
    with pytest.raises(NotFoundError) as refused:
        roll_back(db)
    assert refused.value.code == "model_not_found"

    publish(db)
    with pytest.raises(NotFoundError) as refused, db.transaction() as session:
        aliases.roll_back(session, "intent", "staging")
    assert refused.value.code == "alias_not_found"


def test_changes_at_once_make_one_chain(three: Database) -> None:
    together = threading.Barrier(4)
    settings: list[Any] = [Traffic(1), Traffic(2), Traffic(3, shadow=1), Traffic(1, Canary(2, 0.5))]

    def change(traffic: Traffic) -> None:
        together.wait()
        with three.transaction() as session:
            aliases.set_alias(session, "intent", PRODUCTION, traffic)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, settings))

    with three.reading() as session:
        rows = session.exec(select(AliasChange).order_by(col(AliasChange.id))).all()
    assert [row.back_to for row in rows] == [None, *(row.id for row in rows[:-1])]
    assert state(three).traffic == Traffic.of(rows[-1])
