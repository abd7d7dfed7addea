"""How large a Parquet or Arrow file is once it is decoded: found out by a process whose memory is bounded.

Neither what such a file says of itself nor its size on the disk tells: a kilobyte may stand for gigabytes.
``python -m models_store.weighing`` is told on its standard input which file, and prints what it has found.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models_store.process import guarded

ROWS = 256  # decoded at a time, unless they are large
_OVERHEAD = 512 * 1024 * 1024  # bytes, of the process itself
_SECONDS = 120.0
_ROW = 16  # bytes, at least, of a row in a column
_ENVIRONMENT = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}  # others reserve memory, which the bound counts


@dataclass(frozen=True, slots=True)
class Weight:
    """How large a file is once it is decoded.

    Attributes:
        size: Of all rows, in bytes; more than `most` where it was not worth while to go on.
        largest: Of the largest batch of `ROWS` rows.
        error: Why it cannot be read to its end, if it cannot.
    """

    size: int
    largest: int
    error: str | None = None


def weigh(path: Path, most: int) -> Weight:
    """Decode a file in a process of its own, until it is more than so many bytes; once, however often it is read."""
    now = path.stat()
    return _weighed(path, most, now.st_mtime_ns, now.st_size)


@lru_cache(maxsize=256)
def _weighed(path: Path, most: int, changed: int, size: int) -> Weight:  # the last two tell one file from another
    told = json.dumps({"path": str(path), "most": most})
    command = guarded([sys.executable, "-m", "models_store.weighing"])
    try:
        done = subprocess.run(
            command, input=told, capture_output=True, text=True, timeout=_SECONDS, check=False, env=_ENVIRONMENT
        )
    except subprocess.TimeoutExpired:
        return Weight(most + 1, most + 1)
    if done.returncode:  # it was more than its memory
        return Weight(most + 1, most + 1)
    return Weight(**json.loads(done.stdout))


def batches(path: Path, columns: list[str] | None = None, rows: int = ROWS) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, or of an Arrow file or stream, a few at a time; of all columns, or of some."""
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"PAR1"):
        yield from pq.ParquetFile(path, memory_map=True).iter_batches(rows, columns=columns)
        return
    mapped = pa.memory_map(str(path))
    if head == b"ARROW1":
        reader = pa.ipc.open_file(mapped)
        whole: Iterator[Any] = (reader.get_batch(index) for index in range(reader.num_record_batches))
    else:
        whole = iter(pa.ipc.open_stream(mapped))
    for batch in whole:
        chosen = batch if columns is None else batch.select(columns)
        for first in range(0, chosen.num_rows, rows):
            yield chosen.slice(first, rows)


def decoded_size(batch: pa.RecordBatch) -> int:
    """Bytes of a batch whose dictionaries are written out."""
    return sum(_size(column) for column in batch.columns)


def _size(column: pa.Array) -> int:
    """Of a column and all that is nested in it; a row costs something even where it holds nothing."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    elif isinstance(column, pa.RunEndEncodedArray):
        column = pc.run_end_decode(column)
    rows = len(column) * _ROW
    if isinstance(column, pa.ExtensionArray):
        return rows + _size(column.storage)
    if isinstance(column, pa.StructArray):
        return rows + sum(map(_size, column.flatten()))
    if isinstance(column, pa.MapArray):
        return rows + sum(_size(part) for part in (column.keys, column.items))
    if hasattr(column, "flatten") and column.type.num_fields == 1:  # a list of any kind
        return rows + _size(column.flatten())
    return rows + int(column.nbytes)


def _weigh(path: Path, most: int) -> Weight:
    size = largest = 0
    try:
        for batch in batches(path):
            part = decoded_size(batch)
            size, largest = size + part, max(largest, part)
            if size > most:
                break
    except MemoryError:
        return Weight(most + 1, most + 1)
    except (pa.ArrowException, OSError, ValueError) as error:
        return Weight(size, largest, str(error).partition("\n")[0][:200])
    return Weight(size, largest)


def main() -> None:
    """Weigh one file."""
    told = json.loads(sys.stdin.read())
    bound = told["most"] + _OVERHEAD
    resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
    found = _weigh(Path(told["path"]), told["most"])
    sys.stdout.write(json.dumps({"size": found.size, "largest": found.largest, "error": found.error}))


if __name__ == "__main__":
    main()
