"""The migrations build what the tables say, on both databases."""

from __future__ import annotations

import subprocess
import sys

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect
from sqlmodel import SQLModel

import models_store.tables  # noqa: F401 (fills the metadata)
from migrations import alembic_config, upgrade


def test_an_upgraded_empty_database_is_what_the_tables_say(database_url: str) -> None:
    upgrade(database_url)

    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []
    engine.dispose()


def test_a_second_upgrade_changes_nothing_and_a_downgrade_leaves_nothing(database_url: str) -> None:
    upgrade(database_url)
    upgrade(database_url)
    command.downgrade(alembic_config(database_url), "base")

    engine = create_engine(database_url)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()


def test_two_processes_that_start_together_do_not_migrate_together(database_url: str) -> None:
    # Processes, because Alembic keeps its context in a module.
    command_line = [sys.executable, "-c", "import sys, migrations; migrations.upgrade(sys.argv[1])", database_url]
    running = [subprocess.Popen(command_line, stderr=subprocess.PIPE) for _ in range(3)]

    outcomes = [(process.communicate()[1].decode()[-300:], process.returncode) for process in running]

    assert [code for _, code in outcomes] == [0, 0, 0], outcomes
