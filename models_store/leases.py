"""Rows that somebody has to work on, one worker at a time: a lease on the database's clock, and a fencing token.

The token is the number of the attempt, which only rises and which every later write repeats. (Jobs have more to be said
of: `models_store.jobs`.)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import ColumnElement, and_, case, or_, update
from sqlmodel import Session, col, select

from models_store.database import DATABASE_AWAY, Database, db_now
from models_store.errors import LeaseLostError

LEASE_SECONDS = 60.0
MAX_DEATHS = 3
PASSING = (LeaseLostError, MemoryError, *DATABASE_AWAY)  # what another attempt may have more luck with


class Leased(Protocol):
    """What such a row has."""

    id: str
    status: str
    attempt: int
    deaths: int
    lease_until: datetime | None


LeasedT = TypeVar("LeasedT", bound=Leased)


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to work on a row, until the lease runs out."""

    id: str
    attempt: int


class Turns(Generic[LeasedT]):
    """The turns at one table.

    Args:
        table: Of which the rows are.
        status: Of a row that waits for somebody, or is being worked on.
        given_up: What becomes of a row whose workers have died so often, one after the other, without getting on.
        taken: What becomes of one that somebody has taken.
    """

    def __init__(
        self, table: type[LeasedT], status: str, *, given_up: dict[str, Any], taken: dict[str, Any] | None = None
    ) -> None:
        self._table = table
        self._status = status
        self._given_up = given_up
        self._taken = taken or {}

    def claim(self, db: Database) -> Turn | None:
        """Take the oldest row that waits, or none; give up those that have been tried too often."""
        row = self._table
        expired = col(row.lease_until) < db_now()  # whoever had it has died, or it would have been released
        waits = and_(col(row.status) == self._status, or_(col(row.lease_until).is_(None), expired))
        deaths = row.deaths + case((expired, 1), else_=0)
        with db.reading() as session:  # mostly there is nothing, and then nobody's writing is held up
            if session.exec(select(row.id).where(waits).limit(1)).first() is None:
                return None
        with db.transaction() as session:
            self._update(session, and_(waits, deaths >= MAX_DEATHS), self._given_up)
            oldest = select(row.id).where(waits).order_by(col(row.id)).limit(1)
            # On PostgreSQL two would else wait for the same row, one of them in vain.
            chosen = oldest.with_for_update(skip_locked=True).correlate(None).scalar_subquery()
            token = {"attempt": row.attempt + 1, "deaths": deaths, "lease_until": db_now(LEASE_SECONDS)}
            taken = {**token, **self._taken}
            rows = self._update(session, and_(col(row.id) == chosen, waits), taken)
            return Turn(rows[0].id, rows[0].attempt) if rows else None

    def release(self, db: Database, turn: Turn, *, died: bool = False) -> None:
        """Let others have it at once; ``died`` where its worker has, and was not told to stop."""
        values = {"lease_until": None, "deaths": self._table.deaths + int(died)}
        with db.transaction() as session:
            self._update(session, self._is_mine(turn), values)

    def beat(self, db: Database, turn: Turn, **values: Any) -> LeasedT:
        """Write something down, and prolong the lease. Where work was done that is not done again, ``deaths=0``.

        Raises:
            LeaseLostError: The row is no longer this turn's.
        """
        return self._write(db, turn, {"lease_until": db_now(LEASE_SECONDS), **values})

    def finish(self, db: Database, turn: Turn, **values: Any) -> LeasedT:
        """Write down what came of it; the values hold the status.

        Raises:
            LeaseLostError: The row is no longer this turn's.
        """
        return self._write(db, turn, {"lease_until": None, **values})

    def _write(self, db: Database, turn: Turn, values: dict[str, Any]) -> LeasedT:
        with db.transaction() as session:
            rows = self._update(session, self._is_mine(turn), values)
        if not rows:
            raise LeaseLostError(f"{turn.id!r} is no longer attempt {turn.attempt}'s")
        return rows[0]

    def _is_mine(self, turn: Turn) -> ColumnElement[bool]:
        row = self._table
        return and_(col(row.id) == turn.id, col(row.attempt) == turn.attempt, col(row.status) == self._status)

    def _update(self, session: Session, where: ColumnElement[bool], values: dict[str, Any]) -> list[LeasedT]:
        table = self._table
        statement = update(table).where(where).values(values).returning(table)
        options = {"populate_existing": True, "synchronize_session": False}
        return list(session.scalars(statement, execution_options=options))
