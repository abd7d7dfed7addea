"""Rows of an Arrow file as a sequence."""

from __future__ import annotations

import pyarrow as pa
import pytest

from models_store.datasets.rows import ArrowRows

ROWS = [{"text": f"text {i}", "label": ["a", "b"][: i % 3]} for i in range(2_500)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> ArrowRows:
    path = tmp_path_factory.mktemp("rows") / "train.arrow"
    table = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=700)
    return ArrowRows(path)


def test_all_rows_come_in_order(rows: ArrowRows) -> None:
    assert len(rows) == len(ROWS)
    assert list(rows) == ROWS


@pytest.mark.parametrize("index", [0, 699, 700, 2_499, -1])
def test_a_row_is_found_by_its_place(rows: ArrowRows, index: int) -> None:
    assert rows[index] == ROWS[index]


@pytest.mark.parametrize("part", [slice(0, 3), slice(698, 703), slice(-2, None), slice(10, 2, -3), slice(9, 9)])
def test_a_stretch_of_rows_is_a_list(rows: ArrowRows, part: slice) -> None:
    assert rows[part] == ROWS[part]


def test_there_is_no_row_behind_the_last(rows: ArrowRows) -> None:
    with pytest.raises(IndexError):
        rows[2_500]
