"""Uploaded data: read, validate row by row, split, store as Arrow; all or nothing."""

from models_store.datasets.report import OnError
from models_store.datasets.service import (
    SPLITS,
    Upload,
    Wishes,
    create,
    dataset_key,
    delete,
    get,
    list_datasets,
    preview,
    read_split,
)

__all__ = [
    "SPLITS",
    "OnError",
    "Upload",
    "Wishes",
    "create",
    "dataset_key",
    "delete",
    "get",
    "list_datasets",
    "preview",
    "read_split",
]
