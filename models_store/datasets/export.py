"""Rows of a data set → a file that can be uploaded again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NoReturn

from models_store.datasets.columns import FIELDS, SPLIT
from models_store.datasets.labels import USUAL_SEPARATORS
from models_store.datasets.readers.conll_layout import DOCUMENT, is_header
from models_store.datasets.rows import marked
from models_store.errors import ConflictError, quoted
from models_store.tables import Dataset
from models_store.tasks import Row, TaskName

_ROWS = 1_000  # in a piece of the file
_PARTING = set("\t\r\n")  # what parts columns and lines of CoNLL


class ExportFormat(StrEnum):
    """How rows are written."""

    JSONL = "jsonl"
    CSV = "csv"
    CONLL = "conll"


def exported(dataset: Dataset, rows: Sequence[Row], form: ExportFormat) -> Iterator[str]:
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
        _check_conll(rows)
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
    return "".join(f"{json.dumps(_as_uploaded(row), ensure_ascii=False)}\n" for row in rows)


def _as_uploaded(row: Row) -> Row:
    """A tagged row that was a text with entities as such; any other as it is."""
    if "starts" not in row:
        return row
    text, entities = marked(row)
    return {"text": text, "entities": [{name: one[name] for name in ("start", "end", "label")} for one in entities]}


def _check_conll(rows: Sequence[Row]) -> None:
    """Refuse rows that would not be read back from CoNLL as they are."""
    tags: set[str] = set()
    after_hash: set[str] = set()
    for row in rows:
        inside = False
        for token, tag in zip(row["tokens"], row["tags"], strict=True):
            if _PARTING & {*token, *tag} or tag != tag.strip() or token == DOCUMENT or token.startswith("\ufeff"):
                _refuse_conll(token, tag)
            inside = inside or not token.startswith("#")
            (tags if inside else after_hash).add(tag)
    for tag in after_hash - tags:
        _refuse_conll("#", tag)  # it would be taken for a comment
    first = rows[0] if len(rows) else None
    if first is not None and is_header((first["tokens"][0], first["tags"][0])):
        _refuse_conll(first["tokens"][0], first["tags"][0])


def _refuse_conll(token: str, tag: str) -> NoReturn:
    message = f"{quoted(token)}, tagged {quoted(tag)}, would not be read back from CoNLL as it is; take jsonl"
    raise ConflictError(message, code="unsuitable_format")


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
