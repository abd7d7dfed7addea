"""How large columnar files are once they are decoded, whatever they say of themselves."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models_store.datasets.readers.columnar import ColumnarSheet
from models_store.datasets.source import SourceFile
from models_store.errors import TooLargeError
from models_store.weighing import weigh

MOST = 64 * 1024 * 1024


def parquet(folder: Path, table: pa.Table) -> Path:
    path = folder / "table.parquet"
    pq.write_table(table, path, compression="zstd")
    return path


def arrow(folder: Path, table: pa.Table) -> Path:
    path = folder / "table.arrow"
    with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return path


def texts(rows: int, characters: int) -> pa.Table:
    return pa.table({"text": ["a" * characters] * rows, "label": ["x"] * rows})


def dictionary(rows: int, characters: int) -> pa.Table:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["a" * characters]))
    return pa.table({"text": column, "label": ["x"] * rows})


@pytest.mark.parametrize("write", [parquet, arrow])
@pytest.mark.parametrize("rows_of", [texts, dictionary])
def test_a_small_file_that_stands_for_a_large_one_is_too_large(tmp_path: Path, write, rows_of) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path, rows_of(1000, 1_000_000))
    assert path.stat().st_size < 200_000
    with pytest.raises(TooLargeError):
        ColumnarSheet(SourceFile("table", path, MOST))


@pytest.mark.parametrize("write", [parquet, arrow])
def test_what_is_nested_counts(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    inner = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["a" * 1_000_000]))
    lists = pa.ListArray.from_arrays(pa.array(range(1001), pa.int32()), inner)
    structs = pa.StructArray.from_arrays([inner], ["inner"])
    for column in (lists, structs):
        path = write(tmp_path, pa.table({"text": ["x"] * 1000, "other": column}))
        assert weigh(path, MOST).size > MOST


def test_rows_of_nothing_count(tmp_path: Path) -> None:
    path = arrow(tmp_path, pa.table({"text": pa.nulls(100_000_000)}))
    assert weigh(path, MOST).size > MOST


def test_more_than_the_memory_of_its_process_is_more_than_it_may(tmp_path: Path) -> None:
    path = parquet(tmp_path, dictionary(2000, 16_000_000))
    assert weigh(path, MOST).size > MOST


@pytest.mark.parametrize("write", [parquet, arrow])
def test_large_rows_are_read_a_few_at_a_time(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path, texts(40, 4_000_000))
    weight = weigh(path, 4 * MOST)
    assert weight.error is None
    assert weight.size == pytest.approx(160_000_000, rel=0.01)
    sheet = ColumnarSheet(SourceFile("table", path, 4 * MOST))
    assert sum(len(text) for _, (text,) in sheet.rows(["text"])) == 160_000_000


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    path = parquet(tmp_path, texts(10, 10))
    path.write_bytes(path.read_bytes()[:-10])
    assert weigh(path, MOST).error
