"""Files of every format → sheets: named columns, and rows with the line at which each starts."""

from models_store.datasets.readers.sheet import Cell, Sheet

__all__ = ["Cell", "Sheet"]
