"""Rows of a stored split, read as they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from models_store.tasks import Row
from models_store.tasks.bio import entity_spans
from models_store.tasks.tagging import TaggingExample

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


def marked(row: Row) -> tuple[str, list[dict[str, Any]]]:
    """The text of a tagged row, as it was uploaded or with one blank between its tokens, and the entities in it.

    Each entity has ``label``, ``start`` and ``end`` (characters of the text, the end not included) and ``text``.
    """
    example = TaggingExample.from_row(row)
    entities = []
    for label, first, last in entity_spans(row["tags"]):
        start, end = example.words[first].start, example.words[last - 1].end
        entities.append({"label": label, "start": start, "end": end, "text": example.text[start:end]})
    return example.text, entities


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
