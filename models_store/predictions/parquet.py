"""Answers in Parquet. Columns of Parquet and Arrow keep their types; those of other files get what all rows fit into.

A column that no type fits is text, its lists and objects as JSON.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from models_store.characters import escaped
from models_store.datasets.columns import MAX_COLUMNS
from models_store.datasets.readers.columnar import ColumnarSheet
from models_store.predictions.answered import Answered
from models_store.predictions.reading import Record, records
from models_store.predictions.values import as_text

GROUP_ROWS = 50_000
_GROUP_BYTES = 64 * 1024 * 1024
_ROWS = 256  # at a time: few enough that long texts do not fill the memory
_TEXT = pa.string()
_MISFIT = (pa.ArrowException, OverflowError, TypeError, ValueError)  # what Arrow raises for values of another type
_SCORED = [("label", _TEXT), ("score", pa.float64())]
_ENTITY = [("label", _TEXT), ("text", _TEXT), ("start", pa.int64()), ("end", pa.int64()), ("score", pa.float64())]
_ANSWER_TYPES: dict[str, pa.DataType] = {
    "predicted_label": _TEXT,
    "predicted_score": pa.float64(),
    "predicted_labels": pa.list_(pa.struct(_SCORED)),
    "predicted_entities": pa.list_(pa.struct(_ENTITY)),
    "predicted_tags": pa.list_(_TEXT),
    "prediction_error": _TEXT,
}

Piece: TypeAlias = "pa.RecordBatch | list[Record]"  # some rows: as Arrow holds them, or one by one


class _MisfitError(Exception):
    """Values of a column are not of its type."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def write_parquet(answered: Answered, path: Path) -> None:
    """Write the rows and their answers; at no time are more than a row group of them in memory."""
    sheet = answered.sheet()
    kept = sheet.schema if isinstance(sheet, ColumnarSheet) else _inferred(answered, sheet.header)
    kept = pa.schema([_writable(field) for field in kept], kept.metadata)
    while True:
        try:
            _write(answered, path, kept)
        except _MisfitError as error:  # such as whole numbers that a column of fractions cannot hold
            kept = kept.set(kept.get_field_index(error.column), pa.field(error.column, _TEXT))
        else:
            return


def _write(answered: Answered, path: Path, kept: pa.Schema) -> None:
    added = [pa.field(name, _ANSWER_TYPES[name]) for name in answered.new]
    schema = pa.schema([*kept, *added], kept.metadata)
    answers = answered.answers()
    group: list[pa.RecordBatch] = []
    with pq.ParquetWriter(path, schema) as writer:
        for piece in _pieces(answered):
            some = list(islice(answers, len(piece)))
            arrays = [*_arrays(piece, kept), *(pa.array([row[f.name] for row in some], f.type) for f in added)]
            group.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
            if sum(map(len, group)) >= GROUP_ROWS or sum(batch.nbytes for batch in group) >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(group, schema))
                group.clear()
        if group:
            writer.write_table(pa.Table.from_batches(group, schema))


def _pieces(answered: Answered) -> Iterator[Piece]:
    """The rows of the file, a few hundred at a time."""
    sheet = answered.sheet()
    if isinstance(sheet, ColumnarSheet):
        yield from answered.pulse.over(sheet.batches())
        return
    rows = (_named(record) for _, record in answered.pulse.over(records(sheet)))
    while piece := list(islice(rows, _ROWS)):
        yield piece


def _arrays(piece: Piece, kept: pa.Schema) -> Iterator[pa.Array]:
    for index, field in enumerate(kept):
        if isinstance(piece, list):
            yield _array([row.get(field.name) for row in piece], field)
        elif piece.schema.field(index).type == field.type:
            yield piece.column(index)
        else:
            yield _array(piece.column(index).to_pylist(), field)


def _array(values: Sequence[Any], field: pa.Field) -> pa.Array:
    if field.type == _TEXT:
        values = [None if value is None else as_text(value) for value in values]
    try:
        return pa.array([_clean(value) for value in values], field.type)
    except _MISFIT as error:
        if field.type == _TEXT:
            raise
        raise _MisfitError(field.name) from error


def _named(record: Record) -> Record:
    """The row with names that can be written."""
    return {escaped(name): value for name, value in record.items()}


def _clean(value: Any) -> Any:
    """A value without halves of surrogate pairs, as it goes into columns that are not text."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {escaped(name): _clean(part) for name, part in value.items()}
    return [_clean(part) for part in value] if isinstance(value, list) else value


def _inferred(answered: Answered, header: Sequence[str]) -> pa.Schema:
    """The columns of a file that says nothing of their types, in the order in which they come."""
    types: dict[str, pa.DataType] = {name: pa.null() for name in header if name.strip()}
    for piece in _pieces(answered):
        for name in dict.fromkeys(name for row in piece for name in row):
            found = _type([row.get(name) for row in piece])
            types[name] = _common(types.get(name, pa.null()), found)
    return pa.schema(list(types.items()))


def _type(values: Sequence[Any]) -> pa.DataType:
    try:
        return pa.infer_type([_clean(value) for value in values])
    except _MISFIT:
        return _TEXT


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """A type that holds the values of both; text if none does, or it would have fields without end."""
    schemas = [pa.schema([("column", kind)]) for kind in (one, other)]
    try:
        found = pa.unify_schemas(schemas, promote_options="permissive").field("column").type
    except pa.ArrowException:
        return _TEXT
    return found if _fields(found) <= MAX_COLUMNS else _TEXT


def _fields(kind: pa.DataType) -> int:
    return sum(_fields(kind.field(index).type) for index in range(kind.num_fields)) or 1


def _writable(field: pa.Field) -> pa.Field:
    """The column with its type, or as text where Parquet has no such type."""
    try:
        pq.write_table(pa.schema([field]).empty_table(), io.BytesIO())
    except pa.ArrowException:
        return pa.field(field.name, _TEXT)
    return field
