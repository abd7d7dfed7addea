"""Uploads that are too large to be read while their caller waits: claimed, read, and told of, exactly once."""

from __future__ import annotations

import os
import time

from models_store.artifacts import ArtifactStore
from models_store.database import DATABASE_AWAY, Database
from models_store.datasets.pieces import limit_for
from models_store.datasets.reading import read, stored
from models_store.datasets.report import OnError
from models_store.datasets.rows import dataset_key
from models_store.datasets.service import get, manifest_of
from models_store.datasets.source import SourceFile, check_encoding
from models_store.datasets.uploads import Wishes, check
from models_store.encoders import EncoderCatalogue
from models_store.errors import InvalidInputError, NotFoundError, Problem, TooLargeError
from models_store.leases import MAX_DEATHS, PASSING, Turn, Turns
from models_store.logging import get_logger
from models_store.tables import Dataset, DatasetStatus
from models_store.tasks import TaskName

_BEAT_SECONDS = 2.0
log = get_logger(__name__)
_SHOWN_ERRORS = 100
_GIVEN_UP = Problem("validation_failed", f"reading the files was given up: {MAX_DEATHS} processes have died at it")
TURNS = Turns(
    Dataset,
    DatasetStatus.VALIDATING,
    given_up={"status": DatasetStatus.INVALID, "errors": [_GIVEN_UP.to_json()], "error_count": 1},
    taken={"rows_read": 0},
)


def validate(
    db: Database,
    store: ArtifactStore,
    turn: Turn,
    *,
    most_unpacked: int | None,
    encoders: EncoderCatalogue | None = None,
) -> DatasetStatus:
    """Read the files, and write down what came of it.

    Raises:
        LeaseLostError: Somebody else has it, or it was deleted; nothing was written.
    """
    TURNS.beat(db, turn)
    dataset = get(db, turn.id)
    wishes = dict(dataset.wishes or {})
    names: dict[str, str] = wishes.pop("files")
    how = Wishes(**{**wishes, "task": TaskName(wishes["task"]), "on_error": OnError(wishes["on_error"])})
    kept = store.kept(turn.id)
    with store.attempt(turn.id, turn.attempt) as folder:
        sources = {}
        for split, name in names.items():
            path = folder / f"source-{split}"
            os.link(kept / path.name, path)  # the upload stays whole for another attempt
            sources[split] = SourceFile(name, path, most_unpacked, check_encoding(how.encoding))
        try:
            limit = limit_for(how.encoder, encoders)
            outcome = read(sources, check(how), how.on_error, folder, _Beats(db, turn), limit=limit)
            values = stored(outcome, folder)
        except InvalidInputError as error:
            return _refuse(db, store, turn, error.problems, error.error_count)
        except (TooLargeError, NotFoundError) as error:  # or an encoder that has gone meanwhile
            return _refuse(db, store, turn, [Problem(error.code, error.message)], 1)
        except PASSING:
            raise
        except Exception as error:  # would come again with every attempt
            log.exception("an upload cannot be read", id=turn.id)
            message = f"the file cannot be read, which is a mistake of this service: {type(error).__name__}"
            return _refuse(db, store, turn, [Problem("internal_error", message)], 1)
        TURNS.beat(db, turn)  # nobody else may be at it now
        store.delete(dataset_key(turn.id))  # what an attempt left that died before it could say so
        manifest = manifest_of(turn.id, values["schema_"], values["splits"])
        store.publish(folder, dataset_key(turn.id), manifest)
    TURNS.finish(db, turn, status=DatasetStatus.READY, **values)
    store.drop_kept(turn.id)
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
            TURNS.beat(self._db, self._turn, rows_read=rows)
        except DATABASE_AWAY:
            return  # the next one tries again


def _refuse(db: Database, store: ArtifactStore, turn: Turn, problems: list[Problem], count: int) -> DatasetStatus:
    errors = [problem.to_json() for problem in problems[:_SHOWN_ERRORS]]
    TURNS.finish(db, turn, status=DatasetStatus.INVALID, errors=errors, error_count=count)
    store.drop_kept(turn.id)
    return DatasetStatus.INVALID
