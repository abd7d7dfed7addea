"""Rows of a data set → a file that can be uploaded again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum

from models_store.datasets.columns import FIELDS, SPLIT
from models_store.datasets.labels import USUAL_SEPARATORS
from models_store.errors import ConflictError
from models_store.tables import Dataset
from models_store.tasks import Row, TaskName

_ROWS = 1_000  # in a piece of the file


class ExportFormat(StrEnum):
    """How rows are written."""

    JSONL = "jsonl"
    CSV = "csv"
    CONLL = "conll"


def exported(dataset: Dataset, rows: Iterable[Row], form: ExportFormat) -> Iterator[str]:
    """The file in pieces.

    Raises:
        ConflictError: At once: rows of this kind cannot be written so.
    """
    is_tagging = dataset.task == TaskName.TAGGING
    if form is ExportFormat.JSONL:
        return _in_pieces(rows, _json_lines)
    if form is ExportFormat.CONLL:
        if not is_tagging:
            raise ConflictError("only tagged text is exported as CoNLL; take csv or jsonl", code="unsuitable_format")
        return _in_pieces(rows, _conll)
    if is_tagging:
        raise ConflictError("tagged text has no place in CSV; take conll or jsonl", code="unsuitable_format")
    separator = _separator(dataset) if dataset.multi_label else ""
    fields = [name for name in FIELDS[TaskName(dataset.task)] if name != SPLIT and name in dataset.columns]
    return _csv(rows, fields, separator)


def _separator(dataset: Dataset) -> str:
    """What stands in no label, to be sent as `label_separator` when the file is uploaded again."""
    labels = "".join(one["label"] for one in dataset.labels)
    for separator in USUAL_SEPARATORS:
        if separator not in labels:
            return separator
    raise ConflictError("labels hold every usual separator; take jsonl", code="unsuitable_format")


def _csv(rows: Iterable[Row], fields: Sequence[str], separator: str) -> Iterator[str]:
    yield _written([fields])
    yield from _in_pieces(rows, lambda some: _written([_cells(row, fields, separator) for row in some]))


def _cells(row: Row, fields: Sequence[str], separator: str) -> list[str]:
    values = (row[name] for name in fields)
    return [separator.join(value) if isinstance(value, list) else str(value) for value in values]


def _written(records: Iterable[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(records)
    return buffer.getvalue()


def _json_lines(rows: Sequence[Row]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def _conll(rows: Sequence[Row]) -> str:
    return "".join(
        "".join(f"{token}\t{tag}\n" for token, tag in zip(row["tokens"], row["tags"], strict=True)) + "\n"
        for row in rows
    )


def _in_pieces(rows: Iterable[Row], write: Callable[[list[Row]], str]) -> Iterator[str]:
    piece: list[Row] = []
    for row in rows:
        piece.append(row)
        if len(piece) == _ROWS:
            yield write(piece)
            piece = []
    if piece:
        yield write(piece)
