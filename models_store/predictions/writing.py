"""The file that is handed back: the uploaded one's columns as they are, and behind them the answers."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from models_store.artifacts import fsync
from models_store.characters import escaped
from models_store.predictions.answered import Answered
from models_store.predictions.files import OutputFormat
from models_store.predictions.parquet import write_parquet
from models_store.predictions.reading import column_names
from models_store.predictions.values import as_json, as_text


def assemble(answered: Answered, target: Path, form: OutputFormat) -> None:
    """Write the file, which appears whole or not at all."""
    writing = target.with_name(f"{target.name}.writing")
    _WRITERS[form](answered, writing)
    fsync(writing)
    writing.rename(target)


def _write_jsonl(answered: Answered, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in answered.rows():
            print(as_json(row), file=file)


def _write_csv(answered: Answered, path: Path) -> None:
    header = [*column_names(answered.sheet()), *answered.new]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(escaped, header))
        writer.writerows([as_text(row.get(name)) for name in header] for row in answered.rows())


_WRITERS: dict[OutputFormat, Callable[[Answered, Path], None]] = {
    OutputFormat.JSONL: _write_jsonl,
    OutputFormat.CSV: _write_csv,
    OutputFormat.PARQUET: write_parquet,
}
