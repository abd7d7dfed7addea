"""Rows → Arrow files, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_ROWS = 10_000
_CHARACTERS = 16 * 1024 * 1024  # of a batch, whichever comes first

_TYPES = {str: pa.string(), float: pa.float64(), list: pa.list_(pa.string())}
_NUMBERS = pa.list_(pa.int64())


class RowWriter:
    """Writes rows that all have the fields of the first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, Any]] = []
        self._characters = 0
        self._sink: pa.OSFile | None = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._rows:
            self._flush()
        if self._writer is not None:
            self._writer.close()
        if self._sink is not None:
            self._sink.close()

    def add(self, row: dict[str, Any], characters: int) -> None:
        """Write a row of so many characters, some time before the end."""
        self._rows.append(row)
        self._characters += characters
        if len(self._rows) >= _ROWS or self._characters >= _CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            self._schema = pa.schema([(name, _type_of(value)) for name, value in self._rows[0].items()])
            self._sink = pa.OSFile(str(self._path), "wb")
            self._writer = pa.ipc.new_file(self._sink, self._schema)
        self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows, self._characters = [], 0


def _type_of(value: Any) -> pa.DataType:
    return _NUMBERS if isinstance(value, list) and value and isinstance(value[0], int) else _TYPES[type(value)]


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of an Arrow file, as they were written."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)


def part_rows(path: Path, parts: Mapping[Path, NDArray[np.bool_]]) -> None:
    """Write chosen rows of an Arrow file to others, each with the rows for which it has True."""
    sinks = []
    writers: dict[Path, Any] = {}
    try:
        start = 0
        for batch in batches(path):
            for target, chosen in parts.items():
                if target not in writers:
                    sinks.append(pa.OSFile(str(target), "wb"))
                    writers[target] = pa.ipc.new_file(sinks[-1], batch.schema)
                rows = batch.filter(pa.array(chosen[start : start + batch.num_rows]))
                if rows.num_rows:
                    writers[target].write_batch(rows)
            start += batch.num_rows
    finally:
        for writer in writers.values():
            writer.close()
        for sink in sinks:
            sink.close()
