"""The outbox of webhooks: what is to be told of a job is written down with the change itself, and sent afterwards.

A delivery is claimed like a job: by one guarded UPDATE that raises `attempts` and moves `next_attempt_at` ahead, on the
database's clock. That is the lease; `attempts` is the fencing token. A worker that dies while it sends leaves a
delivery that is sent again: at least once, with the same id, by which a receiver knows it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, String, and_, exists, func, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import Session, col, select

from models_store.database import Database, db_now
from models_store.jobs.looking import find
from models_store.tables import DeliveryStatus, JobStatus, utc_now
from models_store.tables import TrainingJob as J
from models_store.tables import WebhookDelivery as D

TOLD = (JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)

_HOUR = 3600.0
# Seconds after each attempt that failed, as Standard Webhooks proposes them: three days and a bit, then it is given up.
BACK_OFF = (5.0, 300.0, 1800.0, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR)
_JITTER = 0.1  # of the wait, more or less: receivers that were away together are not all called together


@dataclass(frozen=True, slots=True)
class Delivery:
    """The right to send something, until the lease runs out."""

    id: str
    job_id: str
    url: str
    payload: str
    attempt: int

    @property
    def origin(self) -> str:
        """The receiver: what all of its URLs begin with, up to the path (``https://example.org/``)."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/"


class _origin(FunctionElement[str]):  # noqa: N801 (reads like the SQL function it is)
    """`Delivery.origin` of a column of URLs, which are in their normal form: there is a path, ``/`` at least."""

    type = String()
    inherit_cache = True
    name = "origin"


@compiles(_origin, "sqlite")
def _sqlite_origin(element: _origin, compiler: SQLCompiler, **kw: Any) -> str:
    url = compiler.process(element.clauses, **kw)
    return f"substr({url}, 1, 8 + instr(substr({url}, 9), '/'))"  # the first slash beyond that of the scheme


@compiles(_origin, "postgresql")
def _postgresql_origin(element: _origin, compiler: SQLCompiler, **kw: Any) -> str:
    url = compiler.process(element.clauses, **kw)
    return f"substr({url}, 1, 8 + strpos(substr({url}, 9), '/'))"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt.

    Attributes:
        status: The HTTP status, if there was an answer.
        error: Why there was none.
        hopeless: Whether another attempt would end alike.
    """

    status: int | None = None
    error: str | None = None
    hopeless: bool = False


def announce(session: Session, job: J, status: JobStatus) -> None:
    """Write down that the job's receiver, if it has one, is to be told of a status it has come to."""
    if job.webhook_url is None or status not in TOLD:
        return
    now = utc_now()
    kind = f"job.{status.value}"
    error = {"code": job.error_code, "message": job.error_message} if job.error_code else None
    data = {
        "id": job.id,
        "status": status.value,
        "model": job.model,
        "version": job.version,
        "attempt": job.attempt,
        "error": error,
    }
    payload = json.dumps({"type": kind, "timestamp": now.isoformat().replace("+00:00", "Z"), "data": data})
    due: Any = db_now()
    session.add(D(job_id=job.id, type=kind, url=job.webhook_url, payload=payload, created_at=now, next_attempt_at=due))


def claim_delivery(
    db: Database, *, lease_seconds: float, sparing: Collection[str] = (), among: Collection[str] | None = None
) -> Delivery | None:
    """Take what is to be sent first, if anything is. Safe in many workers at once.

    Args:
        db: The database.
        lease_seconds: How long nobody else has it: longer than an attempt may take.
        sparing: Receivers to leave alone, each by its `Delivery.origin`.
        among: The only receivers that will do; by default all of them.
    """
    is_due = and_(col(D.status) == DeliveryStatus.PENDING, col(D.next_attempt_at) <= db_now())
    receiver = _origin(col(D.url))
    wanted = [receiver.not_in(sparing)] if among is None else [receiver.not_in(sparing), receiver.in_(among)]
    first = select(D.id).where(is_due, _is_next_of_its_job(), *wanted).order_by(col(D.next_attempt_at), col(D.id))
    # On PostgreSQL two workers would else wait for the same row, one of them in vain.
    chosen = first.limit(1).with_for_update(skip_locked=True).correlate(None).scalar_subquery()
    taken = {"attempts": D.attempts + 1, "next_attempt_at": db_now(lease_seconds)}
    with db.transaction() as session:
        row = _update(session, and_(col(D.id) == chosen, is_due), taken)
        return None if row is None else Delivery(row.id, row.job_id, row.url, row.payload, row.attempts)


def _is_next_of_its_job() -> ColumnElement[bool]:
    """Whatever the job came to before has been sent at least once, with or without success.

    Waiting for the success instead, a receiver that refuses one kind of message would get no other for days.
    """
    earlier = aliased(D)
    untried = and_(
        col(earlier.status) == DeliveryStatus.PENDING,
        col(earlier.last_status).is_(None),
        col(earlier.last_error).is_(None),
    )
    return ~exists().where(col(earlier.job_id) == col(D.job_id), col(earlier.id) < col(D.id), untried)


def settle(db: Database, delivery: Delivery, answer: Answer) -> DeliveryStatus | None:
    """Write down what came of an attempt.

    Returns:
        What the delivery is now; None if it is no longer this attempt's, and nothing was written.
    """
    values: dict[str, Any] = {"last_status": answer.status, "last_error": answer.error}
    status = DeliveryStatus.PENDING
    if answer.status is not None and 200 <= answer.status < 300:
        status = DeliveryStatus.DELIVERED
        values["delivered_at"] = db_now()
    elif answer.hopeless or answer.status == HTTPStatus.GONE or delivery.attempt > len(BACK_OFF):
        status = DeliveryStatus.GIVEN_UP
    else:
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 (no secret)
        values["next_attempt_at"] = db_now(BACK_OFF[delivery.attempt - 1] * jitter)
    mine = and_(col(D.id) == delivery.id, col(D.attempts) == delivery.attempt, col(D.status) == DeliveryStatus.PENDING)
    with db.transaction() as session:
        written = _update(session, mine, {"status": status, **values})
    return None if written is None else status


def _update(session: Session, where: ColumnElement[bool], values: dict[str, Any]) -> D | None:
    """Change the one delivery that the predicate holds for, and hand back what it is now."""
    statement = update(D).where(where).values(values).returning(D)
    return session.scalars(statement, execution_options={"synchronize_session": False}).first()


def deliveries(db: Database, job_id: str, *, limit: int, after: str | None = None) -> list[D]:
    """What a job's receiver was told or is to be told, in order, from the one after ``after`` on.

    Raises:
        NotFoundError: No such job.
    """
    query = select(D).where(D.job_id == job_id).order_by(col(D.id)).limit(limit)
    if after:
        query = query.where(col(D.id) > after)
    with db.reading() as session:
        find(session, job_id)
        return list(session.exec(query))


def count_pending(db: Database) -> int:
    """How many deliveries are still to be made."""
    with db.reading() as session:
        return session.exec(select(func.count()).where(D.status == DeliveryStatus.PENDING)).one()
