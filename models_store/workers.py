"""Which workers there are, as they say themselves at each sweep: so that a job does not wait for nobody in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete
from sqlmodel import col, select

from models_store.database import Database, db_now
from models_store.placement import QueueName
from models_store.tables import Worker

_FORGOTTEN_SECONDS = 3600.0
MISSED_SWEEPS = 4.0  # after which a worker is taken for gone


def report(db: Database, name: str, queues: Sequence[QueueName]) -> None:
    """Say that a worker is there and takes the jobs of these queues, and of none; forget those long gone."""
    now: Any = db_now()
    with db.transaction() as session:
        session.exec(delete(Worker).where(col(Worker.seen_at) < db_now(-_FORGOTTEN_SECONDS)))
        session.merge(Worker(name=name, queues=[queue.value for queue in queues], seen_at=now))


def leave(db: Database, name: str) -> None:
    """Say that a worker is there no more."""
    with db.transaction() as session:
        session.exec(delete(Worker).where(col(Worker.name) == name))


def served(db: Database, *, within_seconds: float) -> dict[str, int]:
    """How many workers take jobs of each queue, and under an empty name how many there are at all.

    Args:
        db: The database.
        within_seconds: For which a worker may have been silent.
    """
    with db.reading() as session:
        found = session.exec(select(Worker.queues).where(col(Worker.seen_at) >= db_now(-within_seconds))).all()
    counts = {"": len(found)} | {queue.value: sum(queue in queues for queues in found) for queue in QueueName}
    return {name: count for name, count in counts.items() if count}


def why_waiting(queue: str | None, served_by: Mapping[str, int]) -> str | None:
    """Why a queued job will not be begun, if that is so; None where it only waits for its turn."""
    if not served_by:
        return "no worker is running"
    if queue is not None and queue not in served_by:
        return f"no worker takes jobs of the queue {queue}"
    return None
