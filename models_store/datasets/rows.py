"""Rows of a stored split, read as they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import pyarrow as pa

from models_store.tasks import Row

SPLIT_SEED = 13  # where no other is asked for
SPLITS = ("train", "validation", "test")
_AT_A_TIME = 1_000


class ArrowRows(Sequence[Row]):
    """The rows of an Arrow file, which is mapped into memory and never read whole."""

    def __init__(self, path: Path) -> None:
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        """A row, or some of them."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                some: list[Row] = self._table.slice(start, max(0, stop - start)).to_pylist()
                return some
            return [self[i] for i in range(start, stop, step)]
        row: Row = self._table.slice(range(len(self))[index], 1).to_pylist()[0]
        return row

    def __iter__(self) -> Iterator[Row]:
        for batch in self._table.to_batches(max_chunksize=_AT_A_TIME):
            yield from batch.to_pylist()


def read_split(folder: Path, split: str) -> Sequence[Row]:
    """The rows of a split from the data set's folder; none if the split does not exist."""
    path = split_path(folder, split)
    return ArrowRows(path) if path.is_file() else []


def dataset_key(dataset_id: str) -> str:
    """Where the data set's files lie in the artifact store."""
    return f"datasets/{dataset_id}"


def split_path(folder: Path, split: str) -> Path:
    """Where the rows of a split lie."""
    return folder / f"{split}.arrow"
