"""More files of the corpus: tables with the oddities that spreadsheets, exports and scripts leave in them."""

from __future__ import annotations

import codecs
import json
from datetime import date

import pyarrow as pa

from tests.models_store.datasets.corpus import (
    CSV,
    CUT,
    GRADED,
    PAIRS,
    ROWS,
    C,
    Case,
    S,
    arrow,
    lines,
    objects,
    parquet,
    table,
    text,
    with_rows,
    workbook,
)

TSV = CSV.replace(b",", b"\t")
LONG_TSV = b"text\tlabel\n" + b"".join(f"text {i}\t{'ab'[i % 2]}\n".encode() for i in range(600))
SPLITS = ["train"] * 14 + ["dev"] * 3 + ["test"] * 3
PARTS = {"train": 14, "validation": 3, "test": 3}


def not_utf8() -> pa.Table:
    """Rows of which the second holds a byte that is no UTF-8."""
    values = [b"alpha", b"b\xe9ta", b"gamma", b"delta", b"more"]
    offsets = [sum(map(len, values[:i])) for i in range(len(values) + 1)]
    buffers = [None, pa.array(offsets, pa.int32()).buffers()[1], pa.py_buffer(b"".join(values))]
    return pa.table({"text": pa.Array.from_buffers(pa.string(), len(values), buffers), "label": list("ababa")})


def with_labels(labels: pa.Array) -> pa.Table:
    return pa.table({"text": [t for t, _ in ROWS], "label": labels})


MOMENTS = pa.array([i % 2 + 1 for i in range(20)], pa.timestamp("ns"))
FAR_DATES = pa.array([4_000_000 + i % 2 for i in range(20)], pa.int32()).cast(pa.date32())
OTHER_FEATURES = {
    "info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}, "x": [{"dtype": "int64"}]}}
}

CASES = [
    Case("csv with Excel's separator line", C, b"sep=;\r\n" + CSV.replace(b",", b";"), CUT, format="csv"),
    Case("the same with a mark", C, codecs.BOM_UTF8 + b"sep=;\r\n" + CSV.replace(b",", b";"), CUT),
    Case(
        "csv with commas in the header's names",
        C,
        text([("text (free, in any language)", "label"), *ROWS], ";"),
        CUT,
        form={"columns": {"text": "text (free, in any language)"}},
    ),
    Case("csv with as many commas", C, text([("text", "label", "a,b,c"), *((*r, "1") for r in ROWS)], ";"), CUT),
    Case("csv with empty rows in the end", C, CSV.replace(b",", b";") + b";;\n;\n\n" * 3, CUT),
    Case("header further down", C, b"\n\nbody,kind\n" + CSV, errors=[("missing_column", 3, "label")]),
    Case(
        "tsv with quotes at the beginning of texts",
        C,
        TSV + b'"Hello there\ta\nno quote\tb\nand "\ta\n',
        {"train": 18, "validation": 5},
    ),
    Case("tsv with a single quote far down", C, LONG_TSV + b'"Hello\ta\n', {"train": 501, "validation": 100}),
    Case("tsv with quoted fields", C, b"text\tlabel\n" + b"".join(f'"{t}"\t"{y}"\n'.encode() for t, y in ROWS), CUT),
    Case(
        "tsv with quoted line breaks and a ragged row",
        C,
        TSV + b'"two\nlines"\ta\nragged\n',
        errors=[("ragged_row", 24, None)],
    ),
    Case(
        "misspelt split",
        C,
        text([("text", "label", "split"), *((*r, s) for r, s in zip(ROWS, ["trian", *SPLITS[1:]], strict=True))]),
        errors=[("unknown_split", 2, "split")],
    ),
    Case(
        "empty split",
        C,
        text([("text", "label", "split"), *((*r, s) for r, s in zip(ROWS, ["", *SPLITS[1:]], strict=True))]),
        errors=[("unknown_split", 2, "split")],
    ),
    Case(
        "JSON whose later rows have a split",
        C,
        lines([row if i < 1 else {**row, "split": SPLITS[i]} for i, row in enumerate(objects())]),
        errors=[("unknown_split", 1, "split")],
    ),
    Case(
        "sheets with a split column that says the same",
        C,
        workbook(
            train=[("text", "label", "split"), *((*r, "train") for r in ROWS)],
            test=[("text", "label", "split"), ("new", "a", "test")],
        ),
        {**CUT, "test": 1},
    ),
    Case(
        "sheets with a split column that says otherwise",
        C,
        workbook(
            train=[("text", "label", "split"), *((*r, s) for r, s in zip(ROWS, SPLITS, strict=True))],
            test=[("text", "label"), ("new", "a")],
        ),
        errors=[("other_split", i, "split") for i in range(16, 22)],
    ),
    Case(
        "labels like lists",
        C,
        CSV.replace(b",a", b",['a']").replace(b",b", b",['b']"),
        CUT,
        warnings=[("joint_labels", range(2, 22))],
    ),
    Case(
        "JSON with a first row that lacks its label",
        C,
        lines([{"text": "x"}, *objects()]),
        errors=[("missing_label", 1, "label")],
    ),
    Case(
        "JSON with a broken line",
        C,
        lines(objects()) + b'{"text": "x"\n' + lines(objects()[:1]),
        {"train": 17, "validation": 4},
        form={"on_error": "skip"},
        skipped=[("malformed_json", 21, None)],
        warnings=[("rows_skipped", [21]), ("duplicate_rows", [22])],
    ),
    Case("JSON of lists", C, b'["x", "a"]\n["y", "b"]\n', errors=[("not_an_object", 1, None)]),
    Case(
        "csv that is not what it was called",
        C,
        CSV + b"\x81,a\n",
        form={"encoding": "cp1252"},
        errors=[("wrong_encoding", 22, None)],
    ),
    Case(
        "csv with the mark of another encoding",
        C,
        codecs.BOM_UTF8 + CSV,
        form={"encoding": "cp1252"},
        errors=[("wrong_encoding", 1, None)],
    ),
    Case("Parquet that is not UTF-8", C, parquet(not_utf8()), errors=[("not_a_text", 2, "text")]),
    Case("Arrow that is not UTF-8", C, arrow(not_utf8()), errors=[("not_a_text", 2, "text")]),
    Case("Parquet with nanoseconds for labels", C, parquet(with_labels(MOMENTS)), CUT),
    Case(
        "Arrow with durations for labels", C, arrow(with_labels(MOMENTS.cast(pa.int64()).cast(pa.duration("ns")))), CUT
    ),
    Case("Parquet with dates far ahead", C, parquet(with_labels(FAR_DATES)), CUT),
    Case(
        "Parquet with an unknown time zone",
        C,
        parquet(with_labels(pa.array([i % 2 for i in range(20)], pa.timestamp("s", "Mars/Olympus")))),
        CUT,
        labels=["1970-01-01 00:00:00.000", "1970-01-01 00:00:01.000"],
    ),
    Case(
        "Parquet with dates",
        C,
        parquet(with_labels(pa.array([date(2024, 1, 1 + i % 2) for i in range(20)]))),
        CUT,
        labels=["2024-01-01", "2024-01-02"],
    ),
    Case(
        "Parquet of datasets with other features",
        C,
        parquet(
            table()
            .set_column(1, "label", pa.array([i % 2 for i in range(20)]))
            .replace_schema_metadata({"huggingface": json.dumps(OTHER_FEATURES)})
        ),
        CUT,
        labels=["neg", "pos"],
    ),
    Case(
        "scores out of range",
        S,
        text(
            [
                ("text", "text_pair", "score", "split"),
                *((*r, "train") for r in GRADED),
                ("x", "y", 55, "test"),
                ("x", "z", -3, "test"),
                ("x", "w", 4.9, "test"),
            ]
        ),
        errors=[("score_out_of_range", 12, "score"), ("score_out_of_range", 13, "score")],
    ),
    Case(
        "an outlying score",
        S,
        PAIRS + b"x,y,9999\n",
        {"train": 9, "validation": 2},
        warnings=[("outlying_scores", [12])],
    ),
    Case(
        "JSON whose rows say late which split they are for",
        C,
        lines(
            [{"text": f"row {i}", "label": "ab"[i % 2]} | ({"split": "test"} if i > 209 else {}) for i in range(230)]
        ),
        errors=[("unknown_split", 211, "split")],
    ),
    Case(
        "csv whose rows say late which split they are for",
        C,
        text(
            [("text", "label", "split"), *((f"row {i}", "ab"[i % 2], "none" if i < 60 else "test") for i in range(80))]
        ),
        errors=[("unknown_split", 62, "split")],
        warnings=[("split_column_ignored", [])],
    ),
    Case(
        "tsv with ordinary quotes and a ragged row",
        C,
        LONG_TSV + b'"Hello\ta\none\ttoo\tmany\nand "\tb\n',
        errors=[("ragged_row", 603, None)],
    ),
    Case("a label too long", C, with_rows(f"x,{'y' * 300}"), errors=[("label_too_long", 22, "label")]),
]
