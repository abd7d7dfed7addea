"""Whole files answered by a model: stored, answered part by part by a process of its own, and handed back."""

from models_store.predictions.files import (
    TURNS,
    OutputFormat,
    Question,
    cancel,
    delete,
    get,
    list_predictions,
    output_path,
    submit,
)
from models_store.tables import FilePrediction

__all__ = [
    "TURNS",
    "FilePrediction",
    "OutputFormat",
    "Question",
    "cancel",
    "delete",
    "get",
    "list_predictions",
    "output_path",
    "submit",
]
