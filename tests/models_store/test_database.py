"""Engine and sessions: writers wait for each other, readers never do, times are aware and in UTC."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, StatementError
from sqlmodel import select

from models_store.database import Database, db_now
from models_store.tables import Model
from tests.models_store.samples import add_dataset

WRITERS, WRITES = 8, 5


def count(db: Database, name: str = "m") -> int:
    with db.reading() as session:
        return session.get_one(Model, name).last_version


def add_model(db: Database, name: str = "m", created_at: datetime | None = None) -> None:
    with db.transaction() as session:
        session.add(Model(name=name, task="classification", created_at=created_at or datetime.now(UTC)))


def test_concurrent_writers_wait_instead_of_failing(db: Database) -> None:
    # Each reads before it writes: on SQLite a transaction that begins as a reader would fail with "database is locked".
    add_model(db)
    together = threading.Barrier(WRITERS)

    def write(_: int) -> None:
        together.wait()
        for _ in range(WRITES):
            with db.transaction() as session:
                row = session.get_one(Model, "m", with_for_update=True)
                row.last_version += 1

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))

    assert count(db) == WRITERS * WRITES


def test_readers_do_not_wait_for_a_writer(db: Database) -> None:
    add_model(db)

    with db.transaction() as session:
        session.get_one(Model, "m").last_version = 7
        session.flush()
        assert count(db) == 0  # what is not committed is not seen, and nobody waits for it
    assert count(db) == 7


def test_an_exception_rolls_everything_back(db: Database) -> None:
    def write_half() -> None:
        with db.transaction() as session:
            session.add(Model(name="m", task="classification"))
            session.flush()
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        write_half()

    with db.reading() as session:
        assert session.exec(select(Model)).all() == []


def test_rows_can_be_read_after_their_session(db: Database) -> None:
    dataset_id = add_dataset(db)
    assert dataset_id.startswith("ds_")


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))])
def test_times_come_back_aware_and_in_utc(db: Database, zone: timezone) -> None:
    moment = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=zone)
    add_model(db, created_at=moment)

    with db.reading() as session:
        read = session.get_one(Model, "m").created_at

    assert read == moment
    assert read.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(sqlite: Database) -> None:
    with pytest.raises(StatementError, match="naive"):
        add_model(sqlite, created_at=datetime(2026, 1, 1))


@pytest.mark.parametrize("seconds", [-3600.0, 0.0, 0.25, 3600.0])
def test_the_databases_clock_can_be_asked_for_another_moment(db: Database, seconds: float) -> None:
    with db.reading() as session:
        there, now = session.execute(select(db_now(seconds), db_now())).one()

    assert (there - now).total_seconds() == pytest.approx(seconds, abs=0.2)
    assert abs((now - datetime.now(UTC)).total_seconds()) < 60  # the same machine


def test_sqlite_survives_a_crash_and_checks_references(sqlite: Database) -> None:
    with sqlite.reading() as session:
        settings = {
            name: session.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15000}


def test_a_reading_session_takes_no_write_lock(sqlite: Database) -> None:
    add_model(sqlite)
    with sqlite.reading() as reader:
        reader.get_one(Model, "m")
        add_model(sqlite, "n")  # would wait 15 s and fail if the reader held the lock

    with sqlite.reading() as reader:
        assert len(reader.exec(select(Model)).all()) == 2


def test_a_database_that_is_not_there_is_an_operational_error() -> None:
    # The API answers these with 503.
    absent = Database("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2")

    with pytest.raises(OperationalError), absent.reading() as session:
        session.execute(text("SELECT 1"))
    absent.dispose()
