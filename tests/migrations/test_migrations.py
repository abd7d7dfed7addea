"""Migrations: up, up again, down, and two processes at once; what they build is what the tables say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

import models_store.tables  # noqa: F401 (fills the metadata)
from migrations import alembic_config, upgrade
from models_store.database import Database
from tests.fixtures.servers import ROOT
from tests.models_store.samples import publish

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


def test_processes_that_start_together_do_not_migrate_together(database_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE, database_url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # all have imported everything by now, so that they really meet
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], [errors for _, errors in ends]
    assert tables(database_url) == {*SQLModel.metadata.tables, "alembic_version"}
    with connected(database_url) as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one() == 1
