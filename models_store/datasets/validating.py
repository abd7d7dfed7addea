"""The process that reads a large upload: ``python -m models_store.datasets.validating``, told on its standard input."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pydantic import BaseModel

from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets.pending import validate
from models_store.errors import LeaseLostError
from models_store.leases import Turn
from models_store.logging import get_logger

log = get_logger(__name__)


class Errand(BaseModel):
    """What is to be read, and where it lies."""

    database_url: str
    artifacts_dir: Path
    dataset_id: str
    attempt: int
    most_unpacked: int | None


def main() -> None:
    """Read the files of one data set."""
    os.nice(10)  # predictions go first
    errand = Errand.model_validate_json(sys.stdin.read())
    db = Database(errand.database_url)
    turn = Turn(errand.dataset_id, errand.attempt)
    try:
        status = validate(db, ArtifactStore(errand.artifacts_dir), turn, most_unpacked=errand.most_unpacked)
        log.info("validated", dataset_id=turn.id, status=status.value)
    except LeaseLostError as error:
        log.warning("validation given up", dataset_id=turn.id, error=error.message)
    finally:
        db.dispose()


if __name__ == "__main__":
    main()
