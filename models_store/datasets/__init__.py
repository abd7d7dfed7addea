"""Uploaded data: read, validate row by row, split, store as Arrow; all or nothing."""

from models_store.datasets.export import ExportFormat, exported
from models_store.datasets.pieces import EncoderLimit
from models_store.datasets.reading import Outcome
from models_store.datasets.report import OnError
from models_store.datasets.rows import SPLIT_SEED, SPLITS, dataset_key, marked, read_split
from models_store.datasets.service import (
    create,
    create_or_find,
    delete,
    dry_run,
    get,
    get_ready,
    list_datasets,
    piece_lengths,
    preview,
    rows_of,
    skipped,
)
from models_store.datasets.uploads import Upload, Wishes, check

__all__ = [
    "SPLITS",
    "SPLIT_SEED",
    "EncoderLimit",
    "ExportFormat",
    "OnError",
    "Outcome",
    "Upload",
    "Wishes",
    "check",
    "create",
    "create_or_find",
    "dataset_key",
    "delete",
    "dry_run",
    "exported",
    "get",
    "get_ready",
    "list_datasets",
    "marked",
    "piece_lengths",
    "preview",
    "read_split",
    "rows_of",
    "skipped",
]
