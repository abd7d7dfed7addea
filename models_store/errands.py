"""Long work on a file, done by a process of its own that is told on its standard input what to do."""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.encoders import EncoderCatalogue
from models_store.errors import LeaseLostError
from models_store.leases import Turn
from models_store.logging import get_logger

log = get_logger(__name__)


class Errand(BaseModel):
    """Whose turn it is, and where everything lies."""

    database_url: str
    artifacts_dir: Path
    id: str
    attempt: int
    most_unpacked: int | None
    encoders: EncoderCatalogue


class Work(Protocol):
    """What is done in a turn; gives the status that came of it, and raises `LeaseLostError` if the turn is over."""

    def __call__(self, db: Database, store: ArtifactStore, turn: Turn, errand: Errand, /) -> StrEnum:
        """Do it."""
        ...


def run(work: Work) -> None:
    """Do what the standard input says, as the whole of this process."""
    os.nice(10)  # calls go first
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, signal.SIG_IGN)  # whoever started this process ends it, and says that it was no death
    errand = Errand.model_validate_json(sys.stdin.read())
    db = Database(errand.database_url)
    turn = Turn(errand.id, errand.attempt)
    try:
        status = work(db, ArtifactStore(errand.artifacts_dir), turn, errand)
        log.info("done", id=turn.id, status=status.value)
    except LeaseLostError as error:
        log.warning("given up", id=turn.id, error=error.message)
    finally:
        db.dispose()
