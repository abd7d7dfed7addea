"""Figures of shadows: added up from many processes, and forgotten with their alias."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from models_store import aliases, shadows
from models_store.aliases import Traffic
from models_store.database import Database
from models_store.shadows import Tally
from models_store.tables import ShadowFigures
from tests.models_store.samples import publish


def with_shadow(db: Database) -> int:
    """The change that gave production a shadow."""
    for _ in range(2):
        publish(db)
    with db.transaction() as session:
        aliases.set_alias(session, "intent", "production", Traffic(2, shadow=1))
        change = aliases.history(session, "intent", "production", 1)[0].id
    assert change is not None
    return change


def record(db: Database, change: int, keep: int = 0, **counts: Any) -> None:
    with db.transaction() as session:
        shadows.record(session, {change: Tally(**counts)}, keep)


def figures(db: Database, change: int) -> ShadowFigures:
    with db.reading() as session:
        row = shadows.figures(session, change)
    assert row is not None
    return row


def test_counts_add_up(db: Database) -> None:
    change = with_shadow(db)

    record(db, change, compared=3, disagreed=1, failed=2, last_error="overloaded")
    record(db, change, compared=4, dropped=5)

    row = figures(db, change)
    assert (row.compared, row.disagreed, row.dropped, row.failed) == (7, 1, 5, 2)
    assert row.last_error == "overloaded"


def test_processes_that_write_at_once_lose_nothing(db: Database) -> None:
    change, together = with_shadow(db), threading.Barrier(6)

    def write(_: int) -> None:
        together.wait()
        for _ in range(5):
            record(db, change, compared=2, disagreed=1)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))

    assert (figures(db, change).compared, figures(db, change).disagreed) == (60, 30)


def test_the_latest_examples_are_kept_and_none_where_none_are_wanted(db: Database) -> None:
    change = with_shadow(db)
    for number in range(5):
        record(db, change, keep=3, examples=[{"input": number}])
    assert [example["input"] for example in figures(db, change).examples] == [2, 3, 4]

    record(db, change, keep=0, examples=[{"input": "secret"}])  # the operator has changed the setting

    assert figures(db, change).examples == []


def test_figures_of_an_alias_that_is_gone_are_forgotten(db: Database) -> None:
    change = with_shadow(db)
    with db.transaction() as session:
        aliases.delete_alias(session, "intent", "production")

    record(db, change, compared=1)

    with db.reading() as session:
        assert shadows.figures(session, change) is None
