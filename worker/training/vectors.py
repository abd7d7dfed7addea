"""Many vectors: in memory while they are few, in a file mapped into it beyond that."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MEMORY_LIMIT_BYTES = 1024**3


class Vectors:
    """Rows of float32. Of those in a file, no more stay in memory at a time than the limit allows."""

    def __init__(self, rows: int, width: int, scratch: Path) -> None:
        self.width = width
        size = rows * width * 4
        self._mapping = _map_file(size, scratch) if size > MEMORY_LIMIT_BYTES else None
        buffer = self._mapping if self._mapping is not None else bytearray(size)
        self._array: NDArray[np.float32] = np.frombuffer(buffer, dtype=np.float32).reshape(rows, width)
        self._touched = 0

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows (stop − start, width), to be read or written before the next are asked for."""
        if self._mapping is not None:
            self._touched += max((stop - start) * self.width * 4, mmap.PAGESIZE)
            if self._touched > MEMORY_LIMIT_BYTES:
                # The pages stay in the system's cache of the file, where they can be spared when memory is short.
                self._mapping.madvise(mmap.MADV_DONTNEED)
                self._touched = 0
        return self._array[start:stop]


def _map_file(size: int, scratch: Path) -> mmap.mmap:
    descriptor, _ = tempfile.mkstemp(suffix=".features", dir=scratch)
    try:
        os.truncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
