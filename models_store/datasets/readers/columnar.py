"""Parquet and Arrow files: columns with types, read a few hundred rows at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models_store.datasets.readers.sheet import Cell
from models_store.datasets.source import SourceFile, too_large
from models_store.weighing import ROWS, batches, weigh

_BYTES = 64 * 1024 * 1024  # of rows decoded at a time
_Convert = Callable[[Cell], Cell]
_NO_VALUE = (ValueError, OverflowError, LookupError, ImportError, pa.ArrowException)


class ColumnarSheet:
    """The rows of a Parquet file, or of an Arrow file or stream; their places are their numbers from 1.

    Raises:
        UnreadableFileError: The file is damaged; on opening it, or while its rows are read.
        TooLargeError: It unpacks to more than it may.
    """

    def __init__(self, source: SourceFile) -> None:
        self._source = source
        self.format = "parquet" if source.head().startswith(b"PAR1") else "arrow"
        self._at_a_time = self._rows_at_a_time()
        try:
            schema = _schema(source.path, self.format)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error
        self.schema = schema
        self.header: Sequence[str] = schema.names
        self._names = _class_names(schema)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[Cell]]]:
        """See `Sheet`."""
        number = 0
        converters = [_converter(self._names.get(column)) for column in columns]
        try:
            for batch in batches(self._source.path, list(columns), self._at_a_time):
                values = [
                    list(map(convert, _cells(batch.column(column)))) if convert else _cells(batch.column(column))
                    for column, convert in zip(columns, converters, strict=True)
                ]
                for row in zip(*values, strict=True):
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error, number + 1) from error

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow holds them, with all columns, a few hundred at a time."""
        number = 0
        try:
            for batch in batches(self._source.path, list(self.header), self._at_a_time):
                yield batch
                number += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error, number + 1) from error

    def records(self) -> Iterator[tuple[int, dict[str, Cell]]]:
        """Each row's number and its values as they stand, also where they are numbers of names."""
        number = 0
        for batch in self.batches():
            for row in zip(*map(_cells, batch.columns), strict=True):
                number += 1
                yield number, dict(zip(self.header, row, strict=True))

    def _rows_at_a_time(self) -> int:
        """So many that they do not fill the memory."""
        if self._source.most is None:
            return ROWS
        weight = weigh(self._source.path, self._source.most)
        if weight.size > self._source.most:
            raise too_large(self._source.name, self._source.most)
        return max(1, ROWS * _BYTES // max(weight.largest, _BYTES))

    header_line = 1

    def _damaged(self, error: Exception, row: int | None = None) -> Exception:
        message = f"the {self.format.capitalize()} file is damaged: {str(error).partition(chr(10))[0][:200]}"
        return self._source.unreadable("damaged_file", message, row)


def _schema(path: Path, form: str) -> pa.Schema:
    if form == "parquet":
        return pq.read_schema(path)
    mapped = pa.memory_map(str(path))
    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    return (pa.ipc.open_file(mapped) if is_file else pa.ipc.open_stream(mapped)).schema


def _cells(column: pa.Array) -> list[Cell]:
    """The values of a column; of one that Python has no value for what there is to be shown of it."""
    try:
        return list(_without_nanoseconds(column).to_pylist())
    except _NO_VALUE:
        return [_cell(scalar) for scalar in column]


def _without_nanoseconds(values: Any) -> Any:
    """Times in microseconds, as Python has them; Arrow else makes pandas' own of nanoseconds where that is installed.

    Raises:
        ArrowInvalid: There are times between two microseconds.
        ValueError: There are nanoseconds within lists or objects.
    """
    kind = values.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return values.cast(pa.timestamp("us", kind.tz))
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return values.cast(pa.duration("us"))
    if kind.num_fields and "[ns" in str(kind):
        raise ValueError("they are taken part by part")
    return values


def _cell(scalar: pa.Scalar) -> Cell:
    if not scalar.is_valid:
        return None
    try:
        return _without_nanoseconds(scalar).as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes()  # a text in another encoding: no text, and refused as such
    except _NO_VALUE:  # such as nanoseconds, years beyond 9999, time zones that this machine does not know
        is_zoned = pa.types.is_timestamp(scalar.type) and scalar.type.tz is not None
        try:
            plain = scalar.cast(pa.timestamp(scalar.type.unit)) if is_zoned else scalar
            text = str(plain.cast(pa.string()).as_py())
            return object() if text.startswith("<value out of range") else text
        except _NO_VALUE:
            return _inner(scalar)


def _inner(scalar: pa.Scalar) -> Cell:
    """A list or an object of which a part is none of Python's values."""
    if isinstance(scalar, pa.StructScalar):
        return {name: _cell(part) for name, part in scalar.items()}
    if isinstance(scalar, pa.ListScalar) and not isinstance(scalar, pa.MapScalar):
        return _cells(scalar.values)
    return object()


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the numbers in a column, as the `datasets` library writes them beside a Parquet or Arrow file."""
    try:
        features = dict(json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"])
    except (KeyError, TypeError, ValueError):
        return {}
    found = {}
    for column, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("names"), list):
            found[column] = [str(name) for name in inner["names"]]
    return found


def _converter(names: list[str] | None) -> _Convert | None:
    if names is None:
        return None
    known = names

    def name_of(value: Cell) -> Cell:
        if isinstance(value, list):
            return [name_of(part) for part in value]
        # The library writes -1 where there is no label.
        if isinstance(value, int) and value < len(known):
            return known[value] if value >= 0 else None
        return value

    return name_of
