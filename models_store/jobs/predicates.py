"""What may be said of a job in the WHERE of a statement."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import col

from models_store.database import db_now
from models_store.tables import HELD_STATUSES
from models_store.tables import TrainingJob as J


def is_held() -> ColumnElement[bool]:
    """A worker has the job."""
    return col(J.status).in_(HELD_STATUSES)


def lease_expired() -> ColumnElement[bool]:
    """A worker had the job, and has not been heard of for the length of the lease."""
    return and_(is_held(), col(J.lease_until) < db_now())


def is_claimable() -> ColumnElement[bool]:
    """Attempts are left, and nobody has asked for the job's end."""
    return and_(col(J.attempt) < col(J.max_attempts), col(J.cancel_requested).is_(False))


def is_for(queues: Collection[str]) -> ColumnElement[bool]:
    """A worker that takes the jobs of these queues, and those of none, may have the job."""
    return or_(col(J.queue).is_(None), col(J.queue).in_(queues))
