"""Uploads that are too large to be read while their caller waits: claimed, read, and told of, exactly once.

As with jobs the database is the truth: a lease on its clock, and an attempt's number as the fencing token.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, update
from sqlmodel import Session, col, select

from models_store.artifacts import ArtifactStore
from models_store.database import DATABASE_AWAY, Database, db_now
from models_store.datasets.report import OnError
from models_store.datasets.service import Wishes, check, dataset_key, get, manifest_of, read, stored
from models_store.datasets.source import SourceFile, check_encoding
from models_store.errors import InvalidInputError, LeaseLostError, Problem, ThawlineError
from models_store.tables import Dataset, DatasetStatus
from models_store.tasks import TaskName

MAX_ATTEMPTS = 3
LEASE_SECONDS = 60.0
_BEAT_SECONDS = 2.0
_SHOWN_ERRORS = 100


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to read a data set's files, until the lease runs out."""

    dataset_id: str
    attempt: int


def claim(db: Database) -> Turn | None:
    """Take the oldest upload that waits, or None; give up those that have been tried too often."""
    free = or_(col(Dataset.lease_until).is_(None), col(Dataset.lease_until) < db_now())
    waits = and_(col(Dataset.status) == DatasetStatus.VALIDATING, free)
    with db.transaction() as session:
        _give_up(session, and_(waits, col(Dataset.attempt) >= MAX_ATTEMPTS))
        oldest = select(Dataset.id).where(waits).order_by(col(Dataset.id)).limit(1)
        chosen = oldest.with_for_update(skip_locked=True).correlate(None).scalar_subquery()
        values = {"attempt": Dataset.attempt + 1, "lease_until": db_now(LEASE_SECONDS), "rows_read": 0}
        rows = _update(session, and_(col(Dataset.id) == chosen, waits), values)
        return Turn(rows[0].id, rows[0].attempt) if rows else None


def release(db: Database, turn: Turn) -> None:
    """Let others have it at once."""
    with db.transaction() as session:
        _update(session, _is_mine(turn), {"lease_until": None})


def validate(db: Database, store: ArtifactStore, turn: Turn, *, most_unpacked: int | None) -> DatasetStatus:
    """Read the files, and write down what came of it.

    Raises:
        LeaseLostError: Somebody else has it, or it was deleted; nothing was written.
    """
    _beat(db, turn)
    dataset = get(db, turn.dataset_id)
    wishes = dict(dataset.wishes or {})
    names: dict[str, str] = wishes.pop("files")
    how = Wishes(**{**wishes, "task": TaskName(wishes["task"]), "on_error": OnError(wishes["on_error"])})
    kept = store.kept(turn.dataset_id)
    with store.staging() as folder:
        sources = {}
        for split, name in names.items():
            path = folder / f"source-{split}"
            os.link(kept / path.name, path)  # the upload stays whole for another attempt
            sources[split] = SourceFile(name, path, most_unpacked, check_encoding(how.encoding))
        try:
            outcome = read(sources, check(how), how.on_error, folder, _Beats(db, turn))
            values = stored(outcome, folder)
        except InvalidInputError as error:
            return _refuse(db, store, turn, error.problems, error.error_count)
        except ThawlineError as error:
            return _refuse(db, store, turn, [Problem(error.code, error.message)], 1)
        _beat(db, turn)  # nobody else may be at it now
        store.delete(dataset_key(turn.dataset_id))  # what an attempt left that died before it could say so
        manifest = manifest_of(turn.dataset_id, values["schema_"], values["splits"])
        store.publish(folder, dataset_key(turn.dataset_id), manifest)
    _finish(db, turn, {"status": DatasetStatus.READY, **values})
    store.drop_kept(turn.dataset_id)
    return DatasetStatus.READY


class _Beats:
    """Tells how many rows have been read, and prolongs the lease, at a bounded rate."""

    def __init__(self, db: Database, turn: Turn) -> None:
        self._db = db
        self._turn = turn
        self._due = time.monotonic() + _BEAT_SECONDS

    def __call__(self, rows: int) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _BEAT_SECONDS
        try:
            _beat(self._db, self._turn, rows_read=rows)
        except DATABASE_AWAY:
            return  # the next one tries again


def _beat(db: Database, turn: Turn, **values: Any) -> None:
    with db.transaction() as session:
        if not _update(session, _is_mine(turn), {"lease_until": db_now(LEASE_SECONDS), **values}):
            raise LeaseLostError(f"dataset {turn.dataset_id!r} is no longer attempt {turn.attempt}'s")


def _refuse(db: Database, store: ArtifactStore, turn: Turn, problems: list[Problem], count: int) -> DatasetStatus:
    errors = [problem.to_json() for problem in problems[:_SHOWN_ERRORS]]
    _finish(db, turn, {"status": DatasetStatus.INVALID, "errors": errors, "error_count": count})
    store.drop_kept(turn.dataset_id)
    return DatasetStatus.INVALID


def _finish(db: Database, turn: Turn, values: dict[str, Any]) -> None:
    with db.transaction() as session:
        if not _update(session, _is_mine(turn), {**values, "lease_until": None}):
            raise LeaseLostError(f"dataset {turn.dataset_id!r} is no longer attempt {turn.attempt}'s")


def _give_up(session: Session, where: ColumnElement[bool]) -> None:
    message = f"reading the files was given up after {MAX_ATTEMPTS} attempts: the process died each time"
    errors = [Problem("validation_failed", message).to_json()]
    _update(session, where, {"status": DatasetStatus.INVALID, "errors": errors, "error_count": 1})


def _is_mine(turn: Turn) -> ColumnElement[bool]:
    return and_(
        col(Dataset.id) == turn.dataset_id,
        col(Dataset.attempt) == turn.attempt,
        col(Dataset.status) == DatasetStatus.VALIDATING,
    )


def _update(session: Session, where: ColumnElement[bool], values: dict[str, Any]) -> list[Dataset]:
    statement = (
        update(Dataset).where(where).values(values).returning(Dataset).execution_options(synchronize_session=False)
    )
    return list(session.scalars(statement, execution_options={"populate_existing": True}))
