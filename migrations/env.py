"""Alembic's entry point: runs the migrations on the database it was given."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import models_store.tables  # noqa: F401 (fills the metadata)
from models_store.database import Database
from models_store.settings import get_settings


def run() -> None:
    """Run on the URL that `migrations.upgrade` gave, or on the settings' own."""
    url = context.config.attributes.get("database_url") or get_settings().resolved_database_url
    db = Database(url)
    with db.engine.connect() as connection:
        context.configure(connection=connection, target_metadata=SQLModel.metadata, compare_type=True)
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":
                # Two processes that start together must not migrate together.
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7348291)")
            context.run_migrations()
    db.dispose()


run()
