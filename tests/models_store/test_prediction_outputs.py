"""The file that comes back: what it keeps of the one that was sent, in each format, whatever the columns hold."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.predictions import OutputFormat
from models_store.predictions import parquet as parquet_output
from tests.models_store.answers import answered, failed
from tests.models_store.datasets.corpus import arrow, huggingface, lines, parquet

pytestmark = pytest.mark.usefixtures("echo")
NEW = ["predicted_label", "predicted_score", "predicted_labels", "prediction_error"]
RARE = pa.table(
    {
        "text": ["a", "b"],
        "ns": pa.array([1577836800123456789, None], pa.timestamp("ns")),
        "zoned": pa.array([0, 1], pa.timestamp("us", "UTC")),
        "day": pa.array([date(2026, 1, 2), None]),
        "price": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
        "raw": pa.array([b"\xff\x00", None], pa.binary()),
        "struct": pa.array([{"a": 1}, None]),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        "big": pa.array([2**63 + 1, None], pa.uint64()),
        "many": pa.array([[1577836800123456789], None], pa.list_(pa.timestamp("ns"))),
        "kind": pa.array(["x", None]).dictionary_encode(),
    }
)


def json_rows(path: Path) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text(encoding="utf-8").splitlines()]


def csv_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("content", [parquet(RARE), arrow(RARE), arrow(RARE, stream=True)])
def test_columns_of_parquet_and_arrow_keep_types_and_values(
    sqlite: Database, store: ArtifactStore, content: bytes
) -> None:
    found = pq.read_table(answered(sqlite, store, content))

    assert found.select(RARE.column_names).equals(RARE)
    assert found.column_names[len(RARE.column_names) :] == NEW
    assert found["predicted_label"].to_pylist() == ["a", "b"]


def test_the_same_columns_in_json_lines(sqlite: Database, store: ArtifactStore) -> None:
    first, second = json_rows(answered(sqlite, store, parquet(RARE), format=OutputFormat.JSONL))

    kept = {name: first[name] for name in RARE.column_names}
    assert kept == {
        "text": "a",
        "ns": "2020-01-01 00:00:00.123456789",
        "zoned": datetime(1970, 1, 1, tzinfo=UTC).isoformat(),
        "day": "2026-01-02",
        "price": "1.50",
        "raw": "/wA=",
        "struct": {"a": 1},
        "map": [["k", 1]],
        "big": 2**63 + 1,
        "many": ["2020-01-01 00:00:00.123456789"],
        "kind": "x",
    }
    assert {second[name] for name in RARE.column_names if name not in ("text", "zoned")} == {None}


def test_the_same_columns_in_csv(sqlite: Database, store: ArtifactStore) -> None:
    header, first, _ = csv_rows(answered(sqlite, store, parquet(RARE), format=OutputFormat.CSV))

    assert header == [*RARE.column_names, *NEW]
    assert first[3:8] == ["2026-01-02", "1.50", "/wA=", '{"a": 1}', '[["k", 1]]']


def test_numbers_that_have_names_stay_numbers(sqlite: Database, store: ArtifactStore) -> None:
    found = json_rows(answered(sqlite, store, parquet(huggingface()), format=OutputFormat.JSONL))

    assert [row["label"] for row in found[:2]] == [0, 1]


def test_a_type_that_parquet_has_not_becomes_text(sqlite: Database, store: ArtifactStore) -> None:
    months = pa.array([pa.MonthDayNano([1, 2, 3])], pa.month_day_nano_interval())

    found = pq.read_table(answered(sqlite, store, arrow(pa.table({"text": ["a"], "v": months}))))

    assert found["v"].to_pylist() == ["[1, 2, 3]"]


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([1, "x"], ["1", "x"]),
        ([{}, None], ["{}", None]),
        ([[1, "x"], None], ['[1, "x"]', None]),
        ([2**70, 1], [str(2**70), "1"]),
        ([True, 1], ["true", "1"]),
        ([1, 2.5, None], [1.0, 2.5, None]),
        ([2**60 + 1, *[None] * 300, 0.5], [str(2**60 + 1), *[None] * 300, "0.5"]),
        ([2**63, *[None] * 300, -1], [str(2**63), *[None] * 300, "-1"]),
        ([{"a": 1}, *[None] * 300, {"b": "x"}], [{"a": 1, "b": None}, *[None] * 300, {"a": None, "b": "x"}]),
        (["\ud83d", {"\ud83d": 1}], ["\\ud83d", '{"\\ud83d": 1}']),
        ([None, None], [None, None]),
    ],
)
def test_json_becomes_parquet_whatever_its_columns_hold(
    sqlite: Database, store: ArtifactStore, values: list[Any], kept: list[Any]
) -> None:
    content = "".join(json.dumps({"text": "a", "v": value}) + "\n" for value in values).encode()

    found = pq.read_table(answered(sqlite, store, content, format=OutputFormat.PARQUET))

    assert found["v"].to_pylist() == kept
    assert found.column_names == ["text", "v", *NEW]


def test_objects_with_fields_without_end_are_text(sqlite: Database, store: ArtifactStore) -> None:
    content = lines([{"text": "a", "v": {f"k{row}-{i}": 1 for i in range(30)}} for row in range(40)])

    found = pq.read_table(answered(sqlite, store, content, format=OutputFormat.PARQUET))

    assert found.schema.field("v").type == pa.string()
    assert json.loads(found["v"][0].as_py())["k0-0"] == 1


@pytest.mark.parametrize("form", list(OutputFormat))
def test_halves_of_surrogate_pairs_in_other_columns(sqlite: Database, store: ArtifactStore, form: OutputFormat) -> None:
    path = answered(sqlite, store, b'{"text":"a","z":"\\ud83d","\\ud83d":1}\n', format=form)

    if form is OutputFormat.JSONL:
        assert json_rows(path)[0].items() >= {"z": "\ud83d", "\ud83d": 1}.items()
    elif form is OutputFormat.CSV:
        assert [row[:3] for row in csv_rows(path)] == [["text", "z", "\\ud83d"], ["a", "\\ud83d", "1"]]
    else:
        assert pq.read_table(path).select(["z", "\\ud83d"]).to_pylist() == [{"z": "\\ud83d", "\\ud83d": 1}]


def test_what_is_no_number_is_null_in_json(sqlite: Database, store: ArtifactStore) -> None:
    content = b'{"text":"a","v":NaN,"w":[Infinity,-Infinity]}\n'

    (row,) = json_rows(answered(sqlite, store, content))

    assert (row["v"], row["w"]) == (None, ["Infinity", "-Infinity"])


def test_columns_of_the_file_are_never_overwritten(sqlite: Database, store: ArtifactStore) -> None:
    content = lines([*[{"text": "a"}] * 300, {"text": "b", "predicted_label": "mine", "prediction_error": "mine"}])

    told = failed(sqlite, store, content)

    assert [(error["code"], error["line"], error["column"]) for error in told.errors or []] == [
        ("column_taken", 301, "predicted_label"),
        ("column_taken", 301, "prediction_error"),
    ]


def test_rows_with_columns_without_end_are_refused(sqlite: Database, store: ArtifactStore) -> None:
    content = lines([{"text": "a", f"id{i}": i} for i in range(1100)])

    assert [(error["code"], error["line"]) for error in failed(sqlite, store, content).errors or []] == [
        ("too_many_columns", 1000)
    ]


def test_files_without_rows_keep_their_columns(sqlite: Database, store: ArtifactStore) -> None:
    empty = RARE.schema.empty_table()

    assert csv_rows(answered(sqlite, store, b"text,a\n")) == [["text", "a", *NEW]]
    assert pq.read_table(answered(sqlite, store, b"text,a\n", format=OutputFormat.PARQUET)).column_names == [
        "text",
        "a",
        *NEW,
    ]
    found = pq.read_schema(answered(sqlite, store, parquet(empty)))
    assert [found.field(name).type for name in RARE.column_names] == RARE.schema.types
    assert found.field("predicted_score").type == pa.float64()


def test_columns_without_a_name_are_not_kept(sqlite: Database, store: ArtifactStore) -> None:
    assert csv_rows(answered(sqlite, store, b"text,,\nx,1,2\n")) == [["text", *NEW], ["x", "x", "1.0", "", ""]]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (parquet(pa.table({"text": pa.array([b"\xff"], pa.binary())})), "bytes that are no UTF-8"),
        (parquet(pa.table({"text": pa.array([float("nan")])})), "the text is empty"),
        (b'{"text":"a\\u0000b"}\n', "NUL byte"),
    ],
)
def test_what_is_no_text_is_told_in_its_row(sqlite: Database, store: ArtifactStore, content: bytes, error: str) -> None:
    (row,) = json_rows(answered(sqlite, store, content, format=OutputFormat.JSONL))

    assert error in row["prediction_error"]


def test_row_groups_are_large_and_bounded(
    sqlite: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_output, "GROUP_ROWS", 600)
    table = pa.table({"text": [f"a {i}" for i in range(1500)]})

    found = pq.ParquetFile(answered(sqlite, store, parquet(table)))

    assert [found.metadata.row_group(i).num_rows for i in range(found.num_row_groups)] == [768, 732]
    assert found.read()["predicted_label"].to_pylist() == [str(i) for i in range(1500)]
