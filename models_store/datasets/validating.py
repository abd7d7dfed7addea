"""The process that reads a large upload: ``python -m models_store.datasets.validating``."""

from __future__ import annotations

from models_store.datasets.pending import validate
from models_store.errands import run

if __name__ == "__main__":
    run(validate)
