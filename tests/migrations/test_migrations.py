"""Migrations: up, up again, down, and two processes at once; what they build is what the tables say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

import models_store.tables  # noqa: F401 (fills the metadata)
from migrations import alembic_config, upgrade
from models_store import aliases
from models_store.aliases import Traffic
from models_store.database import Database
from tests.fixtures.servers import ROOT, wait_for
from tests.models_store.samples import publish

MIGRATION_LOCK = 7348291  # as in migrations/env.py
UPGRADE = "import sys; from migrations import upgrade; print('ready', flush=True); input(); upgrade(sys.argv[1])"


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    database = Database(url)
    with database.engine.connect() as connection:
        yield connection
    database.dispose()


def tables(url: str) -> set[str]:
    with connected(url) as connection:
        return set(inspect(connection).get_table_names())


def test_an_empty_database_gets_every_table(database_url: str) -> None:
    upgrade(database_url)

    assert tables(database_url) == {*SQLModel.metadata.tables, "alembic_version"}


def test_the_migrations_build_what_the_tables_say(database_url: str) -> None:
    upgrade(database_url)

    with connected(database_url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_the_history_has_one_beginning_and_one_end(database_url: str) -> None:
    script = ScriptDirectory.from_config(alembic_config(database_url))

    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_upgrading_twice_is_harmless(database_url: str) -> None:
    upgrade(database_url)
    database = Database(database_url)
    publish(database)

    upgrade(database_url)

    with database.reading() as session:
        assert session.execute(text("SELECT count(*) FROM model_versions")).scalar_one() == 1
    database.dispose()


def test_a_downgrade_leaves_nothing_behind(database_url: str) -> None:
    upgrade(database_url)

    command.downgrade(alembic_config(database_url), "base")

    assert tables(database_url) == {"alembic_version"}
    upgrade(database_url)
    assert tables(database_url) == {*SQLModel.metadata.tables, "alembic_version"}


def start_upgrade(url: str) -> subprocess.Popen[str]:
    """A process that has imported everything and waits for a line before it upgrades."""
    process = subprocess.Popen(
        [sys.executable, "-c", UPGRADE, url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_processes_that_start_together_do_not_migrate_together(database_url: str) -> None:
    processes = [start_upgrade(database_url) for _ in range(3)]
    for process in processes:
        go_on(process)
    ends = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], [errors for _, errors in ends]
    assert tables(database_url) == {*SQLModel.metadata.tables, "alembic_version"}
    with connected(database_url) as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one() == 1


def test_on_postgresql_a_migration_waits_for_the_one_under_way(database_url: str) -> None:
    if "sqlite" in database_url:
        pytest.skip("SQLite has one writer at a time")
    process = start_upgrade(database_url)
    with connected(database_url) as under_way:
        under_way.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        go_on(process)
        wait_for(lambda: waits(database_url), seconds=30, what="the second migration waiting for the first")
        assert tables(database_url) == set()

    _, errors = process.communicate(timeout=60)  # the lock went with the connection
    assert process.returncode == 0, errors
    assert tables(database_url) == {*SQLModel.metadata.tables, "alembic_version"}


def waits(url: str) -> bool:
    with connected(url) as connection:
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return bool(connection.execute(text(query)).scalar_one())


def test_the_history_of_an_alias_begins_with_what_it_was_before_there_was_one(database_url: str) -> None:
    command.upgrade(alembic_config(database_url), "0001")
    with connected(database_url) as connection, connection.begin():
        moment = "'2026-01-02 03:04:05'"
        connection.execute(text(f"INSERT INTO models VALUES ('intent', 'classification', 2, {moment})"))
        for alias, version in (("production", 2), ("staging", 1)):
            values = f"('intent', '{alias}', {version}, {moment})"
            connection.execute(text(f"INSERT INTO model_aliases (model, alias, version, updated_at) VALUES {values}"))

    upgrade(database_url)

    database = Database(database_url)
    with database.reading() as session:
        found = {state.row.alias: (state.traffic, state.previous) for state in aliases.states(session, "intent")}
        (change,) = aliases.history(session, "intent", "production", 10)
    assert found == {"production": (Traffic(2), None), "staging": (Traffic(1), None)}
    assert (change.version, change.changed_by, change.changed_at.year) == (2, "migration", 2026)

    command.downgrade(alembic_config(database_url), "0001")

    with database.reading() as session:
        kept = session.execute(text("SELECT alias, version FROM model_aliases ORDER BY alias")).all()
    assert [tuple(row) for row in kept] == [("production", 2), ("staging", 1)]
    database.dispose()
