"""The process that reads a large upload: ``python -m models_store.datasets.validating``."""

from __future__ import annotations

from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets.pending import validate
from models_store.errands import Errand, run
from models_store.leases import Turn
from models_store.tables import DatasetStatus


def work(db: Database, store: ArtifactStore, turn: Turn, errand: Errand) -> DatasetStatus:
    """Read the files."""
    return validate(db, store, turn, most_unpacked=errand.most_unpacked, encoders=errand.encoders)


if __name__ == "__main__":
    run(work)
