"""Engine, sessions, and the database's own clock: SQLite by default, PostgreSQL when outgrown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session

# The database is away for the moment: restarting, unreachable, or locked by another writer for too long.
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeoutError)
_READ_ONLY = "thawline_read_only"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite keeps it as text that sorts, PostgreSQL as ``timestamptz``."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC; a naive time is a defect of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime: times are aware and in UTC")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Hand back an aware time."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class db_now(FunctionElement[datetime]):  # noqa: N801 (reads like the SQL function it is)
    """The database's clock, ``seconds`` from now: leases must not depend on the clocks of several machines."""

    type = UtcDateTime()
    inherit_cache = False
    name = "db_now"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = float(seconds)
        super().__init__()


@compiles(db_now, "sqlite")
def _sqlite_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '{element.seconds:+.3f} seconds')"


@compiles(db_now, "postgresql")
def _postgresql_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(clock_timestamp() + interval '{element.seconds:.3f} seconds')"


def explain(error: SQLAlchemyError) -> str:
    """What is wrong with the database, for a person; nothing of the statement or the address."""
    original = getattr(error, "orig", None)
    if getattr(original, "sqlstate", None) == "42P01" or "no such table" in str(original):
        return "the database has no tables; run `thawline migrate`"
    return "the database does not answer"


class Database:
    """One engine and two ways to use it: ``transaction()`` writes, ``reading()`` only reads."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.url = url
        if parsed.get_backend_name() == "sqlite":
            self.engine = _sqlite_engine(url, parsed.database)
        else:
            self.engine = create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)
        self._reader = self.engine.execution_options(**{_READ_ONLY: True})

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits at the end of the block, or rolls back on an exception."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for queries; it takes no write lock."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _sqlite_engine(url: str, path: str | None) -> Engine:
    # The pool hands a connection from thread to thread, one at a time, which SQLite allows.
    engine = create_engine(url, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "do_connect")
    def _make_folder(*_: object) -> None:  # not before it is needed: importing a program makes no folders
        if path and path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver must not open transactions of its own
        cursor = connection.cursor()
        # synchronous=FULL: a job that was answered 202 outlives a power cut, too.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=15000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that begins as a reader and then writes fails at once with SQLITE_BUSY_SNAPSHOT
        # when another has written meanwhile; taking the write lock first waits its turn instead.
        read_only = connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
