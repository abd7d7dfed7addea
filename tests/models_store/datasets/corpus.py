"""Small files as people have them, good and bad, each with all that is to be said of it."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from models_store.tasks import TaskName

C, T, S = TaskName.CLASSIFICATION, TaskName.TAGGING, TaskName.SIMILARITY
Place = tuple[str, int | None, str | None]  # code, line, column


@dataclass(frozen=True)
class Case:
    """A file, and what is said of it: rows by split if it is taken, and problems and warnings by their places."""

    name: str
    task: TaskName
    content: bytes
    rows: Mapping[str, int] = field(default_factory=dict)
    errors: Sequence[Place] = ()
    warnings: Sequence[tuple[str, Sequence[int]]] = ()
    form: Mapping[str, Any] = field(default_factory=dict)
    skipped: Sequence[Place] = ()
    format: str | None = None
    labels: Sequence[str] | None = None


# ---- ways to write the same rows ----

WORDS = ("parcel", "refund", "invoice", "courier", "address", "voucher", "delay", "account", "password", "login")
ROWS = [(f"{word} {other}", "ab"[i % 2]) for i, word in enumerate(WORDS) for other in ("late", "wrong")]
GRADED = [(f"{word} late", f"{word} wrong", i / 2) for i, word in enumerate(WORDS)]
SENTENCES = [[("Ada", "B-PER"), ("met", "O"), (word, "O")] for word in WORDS]
CUT = {"train": 16, "validation": 4}
CUT_10 = {"train": 8, "validation": 2}


def text(lines: Sequence[Sequence[Any]], separator: str = ",", end: str = "\n") -> bytes:
    """Columns that need no quotes."""
    return "".join(separator.join(map(str, line)) + end for line in lines).encode()


CSV = text([("text", "label"), *ROWS])
PAIRS = text([("sentence1", "sentence2", "score"), *GRADED])
CONLL = "".join("".join(f"{w} {t}\n" for w, t in s) + "\n" for s in SENTENCES).encode()


def lines(rows: Sequence[Any]) -> bytes:
    """JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def objects() -> list[dict[str, Any]]:
    """The rows as JSON."""
    return [{"text": t, "label": label} for t, label in ROWS]


def several() -> list[dict[str, Any]]:
    """Rows with a list of labels."""
    return [{"text": t, "label": [label, "x"] if i % 3 else [label]} for i, (t, label) in enumerate(ROWS)]


def table() -> pa.Table:
    """The rows as columns."""
    return pa.table({"text": [t for t, _ in ROWS], "label": [label for _, label in ROWS]})


def parquet(columns: pa.Table) -> bytes:
    """A Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(columns, buffer)
    return buffer.getvalue()


def arrow(columns: pa.Table, *, stream: bool = False) -> bytes:
    """An Arrow file or stream."""
    buffer = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(buffer, columns.schema) as writer:
        writer.write_table(columns)
    return buffer.getvalue()


def workbook(**sheets: Sequence[Sequence[Any]]) -> bytes:
    """An Excel workbook."""
    book = openpyxl.Workbook(write_only=True)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zstd(content: bytes) -> bytes:
    """Packed with Zstandard."""
    return bytes(pa.compress(content, "zstd", asbytes=True))


def spans(key: str = "entities", **names: str) -> list[dict[str, Any]]:
    """Texts with a marked name each."""
    start, end, label = (names.get(name, name) for name in ("start", "end", "label"))
    return [{"text": f"Ada met {word}.", key: [{start: 0, end: 3, label: "PER"}]} for word in WORDS]


def spanned(*marks: Any, text: str = "Ada Lovelace met Bob") -> bytes:
    """Good rows, and one with these spans in the end."""
    return lines([*spans(), {"text": text, "entities": list(marks)}])


def with_rows(*extra: str, base: bytes = CSV) -> bytes:
    """The good rows, and others behind them; the first of these stands on line 22."""
    return base + "".join(f"{row}\n" for row in extra).encode()


def huggingface() -> pa.Table:
    """Numbers for labels, whose names stand beside them."""
    columns = pa.table({"text": [t for t, _ in ROWS], "label": [i % 2 for i in range(20)]})
    info = {"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}
    return columns.replace_schema_metadata({"huggingface": json.dumps(info)})


CONLL_U = "".join(
    f"# sent_id = {i}\n# text = {w} it's\n1\t{w}\t_\tNOUN\t_\t_\t0\troot\t_\t_\n2-3\tit's\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "2\tit\t_\tPRON\t_\t_\t1\tx\t_\t_\n3\t's\t_\tAUX\t_\t_\t1\tx\t_\t_\n\n"
    for i, w in enumerate(WORDS)
).encode()
LABEL_STUDIO = [
    {
        "data": {"text": f"Ada met {word}"},
        "annotations": [{"result": [{"value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}}]}],
    }
    for word in WORDS
]

GOOD = [
    Case("csv", C, CSV, CUT, format="csv", labels=["a", "b"]),
    Case("csv with semicolons", C, CSV.replace(b",", b";"), CUT, format="csv"),
    Case("csv with bars", C, CSV.replace(b",", b"|"), CUT, format="csv"),
    Case("csv with CRLF", C, CSV.replace(b"\n", b"\r\n"), CUT),
    Case("csv with a byte order mark", C, codecs.BOM_UTF8 + CSV, CUT),
    Case("csv without a last line end", C, CSV.rstrip(), CUT),
    Case("csv with blank lines", C, b"\n\n" + CSV.replace(b"refund late", b"\nrefund late"), CUT),
    Case(
        "csv with quotes, commas and line breaks", C, CSV + b'"one, ""two""\nthree",a\n', {"train": 17, "validation": 4}
    ),
    Case(
        "csv with columns beside ours", C, text([("id", "text", "label"), *((i, *r) for i, r in enumerate(ROWS))]), CUT
    ),
    Case("csv with other spellings", C, CSV.replace(b"text,label", b"Review,Sentiment"), CUT),
    Case("csv in UTF-16", C, CSV.decode().encode("utf-16"), CUT),
    Case("csv in UTF-16 BE", C, codecs.BOM_UTF16_BE + CSV.decode().encode("utf-16-be"), CUT),
    Case(
        "csv in cp1252, named",
        C,
        with_rows("grün,a").decode().encode("cp1252"),
        {"train": 17, "validation": 4},
        form={"encoding": "cp1252"},
    ),
    Case("tsv", C, CSV.replace(b",", b"\t"), CUT, format="tsv"),
    Case(
        "tsv with bare quotes",
        C,
        CSV.replace(b",", b"\t").replace(b"refund late", b'5" screen') + b'"never closed\ta\n',
        {"train": 17, "validation": 4},
        format="tsv",
    ),
    Case("csv.gz", C, gzip.compress(CSV), CUT, format="csv"),
    Case("csv.gz of two members", C, gzip.compress(CSV[:100]) + gzip.compress(CSV[100:]), CUT),
    Case("csv.zst", C, zstd(CSV), CUT, format="csv"),
    Case(
        "csv with a split column",
        C,
        text([("text", "label", "split"), *((*r, "dev" if i % 5 == 0 else "train") for i, r in enumerate(ROWS))]),
        {"train": 16, "validation": 4},
    ),
    Case(
        "csv with another split column",
        C,
        text([("text", "label", "split"), *((*r, i) for i, r in enumerate(ROWS))]),
        CUT,
        warnings=[("split_column_ignored", [])],
    ),
    Case(
        "csv with a named split column",
        C,
        text([("text", "label", "fold"), *((*r, "test" if i % 5 == 0 else "train") for i, r in enumerate(ROWS))]),
        {"train": 13, "validation": 3, "test": 4},
        form={"columns": {"split": "fold"}},
    ),
    Case(
        "csv with several labels",
        C,
        text([("text", "label"), *((t, f"{label}|x" if i % 3 else label) for i, (t, label) in enumerate(ROWS))]),
        CUT,
        form={"label_separator": "|"},
    ),
    Case("json lines", C, lines(objects()), CUT, format="json"),
    Case("json array", C, json.dumps(objects()).encode(), CUT, format="json"),
    Case("json array over lines", C, json.dumps(objects(), indent=1).encode(), CUT, format="json"),
    Case("json lines with several labels", C, lines(several()), CUT, format="json"),
    Case("json lines.gz", C, gzip.compress(lines(objects())), CUT, format="json"),
    Case("json lines in UTF-16", C, lines(objects()).decode().encode("utf-16"), CUT, format="json"),
    Case("parquet", C, parquet(table()), CUT, format="parquet"),
    Case("parquet.gz", C, gzip.compress(parquet(table())), CUT, format="parquet"),
    Case("parquet with names for numbers", C, parquet(huggingface()), CUT, labels=["neg", "pos"]),
    Case(
        "parquet with categories", C, parquet(table().set_column(1, "label", table()["label"].dictionary_encode())), CUT
    ),
    Case("arrow file", C, arrow(table()), CUT, format="arrow"),
    Case("arrow stream", C, arrow(table(), stream=True), CUT, format="arrow"),
    Case("workbook", C, workbook(Sheet1=[("text", "label"), *ROWS]), CUT, format="xlsx"),
    Case(
        "workbook with numbers and empty rows",
        C,
        workbook(Data=[(), ("text", "label"), (), *((t, float(i % 2)) for i, (t, _) in enumerate(ROWS))]),
        CUT,
        labels=["0", "1"],
    ),
    Case(
        "workbook with splits",
        C,
        workbook(
            train=[("text", "label"), *ROWS],
            dev=[("text", "label"), ("new", "a")],
            Test=[("text", "label"), ("newer", "b")],
        ),
        {"train": 20, "validation": 1, "test": 1},
    ),
    Case("zip with one file", C, zipped({"data/my rows.csv": CSV}), CUT, format="csv"),
    Case(
        "zip with splits of different formats",
        C,
        zipped(
            {
                "a/train.csv": CSV,
                "a/dev.jsonl": b'{"text": "new", "label": "a"}\n',
                "a/test.parquet": parquet(table().slice(0, 1)),
                "__MACOSX/a/._train.csv": b"x",
            }
        ),
        {"train": 20, "validation": 1, "test": 1},
        warnings=[("rows_shared_between_splits", [1])],
    ),
    Case(
        "zip with a workbook", C, zipped({"rows.xlsx": workbook(Sheet1=[("text", "label"), *ROWS])}), CUT, format="xlsx"
    ),
    Case("graded pairs", S, PAIRS, CUT_10),
    Case("graded pairs in json", S, lines([{"text_a": a, "text_b": b, "similarity": s} for a, b, s in GRADED]), CUT_10),
    Case(
        "labelled pairs",
        S,
        text([("premise", "hypothesis", "label"), *((a, b, "no" if s < 2 else "yes") for a, b, s in GRADED)]),
        CUT_10,
        warnings=[("rare_label", [])],
    ),
    Case("conll", T, CONLL, CUT_10, format="conll", labels=["PER"]),
    Case("conll with tabs and CRLF", T, CONLL.replace(b" ", b"\t").replace(b"\n", b"\r\n"), CUT_10),
    Case("conll with more columns", T, CONLL.replace(b" ", b" NN x "), CUT_10),
    Case("conll with document lines", T, b"-DOCSTART- O\n\n" + CONLL, CUT_10),
    Case("conll with comments", T, b"# a comment of several words\n" + CONLL, CUT_10),
    Case("conll with number signs for words", T, CONLL.replace(b"met O", b"# O"), CUT_10),
    Case("conll in IOB1", T, CONLL.replace(b"B-PER", b"I-PER"), CUT_10, labels=["PER"]),
    Case("conll in BIOES", T, CONLL.replace(b"B-PER", b"S-PER"), CUT_10, labels=["PER"]),
    Case("conll in BILUO", T, CONLL.replace(b"B-PER", b"U-PER"), CUT_10, labels=["PER"]),
    Case("conll in IO", T, CONLL.replace(b"B-PER", b"PER"), CUT_10, labels=["PER"]),
    Case(
        "conll with plain tags",
        T,
        CONLL.replace(b"B-PER", b"PROPN").replace(b" O", b" X"),
        CUT_10,
        labels=["PROPN", "X"],
    ),
    Case("conll-u", T, CONLL_U, CUT_10, format="conllu", labels=["AUX", "NOUN", "PRON"]),
    Case(
        "tokens and tags",
        T,
        lines([{"tokens": [w for w, _ in s], "ner_tags": [t for _, t in s]} for s in SENTENCES]),
        CUT_10,
    ),
    Case(
        "tokens and tags in parquet",
        T,
        parquet(
            pa.table({"tokens": [[w for w, _ in s] for s in SENTENCES], "tags": [[t for _, t in s] for s in SENTENCES]})
        ),
        CUT_10,
        format="parquet",
    ),
    Case("spans", T, lines(spans()), CUT_10, format="json", labels=["PER"]),
    Case("spans of Prodigy", T, json.dumps(spans("spans")).encode(), CUT_10, labels=["PER"]),
    Case("spans of Doccano", T, lines(spans(start="start_offset", end="end_offset")), CUT_10, labels=["PER"]),
    Case(
        "spans of Doccano as lists",
        T,
        lines([{"text": f"Ada met {w}", "label": [[0, 3, "PER"]]} for w in WORDS]),
        CUT_10,
        labels=["PER"],
    ),
    Case(
        "spans of spaCy 2",
        T,
        json.dumps([[f"Ada met {w}", {"entities": [[0, 3, "PER"]]}] for w in WORDS]).encode(),
        CUT_10,
        labels=["PER"],
    ),
    Case("spans of Label Studio", T, json.dumps(LABEL_STUDIO).encode(), CUT_10, labels=["PER"]),
    Case("spans beside an emoji", T, spanned([2, 5, "PER"], text="👩‍👧"[:1] + " Ada"), {"train": 9, "validation": 2}),
]

WRONG = [
    Case("ragged row", C, with_rows("one,a,b", "alone"), errors=[("ragged_row", 22, None), ("ragged_row", 23, None)]),
    Case(
        "empty text and label",
        C,
        with_rows(" ,a", "x,"),
        errors=[("missing_text", 22, "text"), ("missing_label", 23, "label")],
    ),
    Case(
        "wrong row behind a quoted line break",
        C,
        with_rows('"one\ntwo",a', ",b"),
        errors=[("missing_text", 24, "text")],
    ),
    Case(
        "wrong rows left out",
        C,
        with_rows(" ,a", "x,", "y,a"),
        {"train": 17, "validation": 4},
        form={"on_error": "skip"},
        skipped=[("missing_text", 22, "text"), ("missing_label", 23, "label")],
        warnings=[("rows_skipped", [22, 23])],
    ),
    Case("NUL byte", C, with_rows("x\0y,a"), errors=[("nul_byte", 22, "text")]),
    Case("long label", C, with_rows("x," + "y" * 300), errors=[("label_too_long", 22, "label")]),
    Case(
        "no header",
        C,
        CSV.removeprefix(b"text,label\n"),
        errors=[("missing_column", 1, "text"), ("missing_column", 1, "label")],
    ),
    Case(
        "header twice the same",
        C,
        CSV.replace(b"text,label", b"text,label,Text"),
        errors=[("duplicate_column", 1, "Text")],
    ),
    Case(
        "mapped to a column that is not there",
        C,
        CSV,
        errors=[("unknown_column", 1, "body")],
        form={"columns": {"text": "body"}},
    ),
    Case("one class", C, CSV.replace(b",b", b",a"), errors=[("single_class", None, "label")]),
    Case("too few rows", C, b"text,label\nx,a\ny,b\n", errors=[("too_few_rows", None, None)]),
    Case("only a header", C, b"text,label\n", errors=[("no_rows", None, None)]),
    Case("nothing", C, b"", errors=[("empty_file", None, None)]),
    Case("quote never closed", C, with_rows('"x,a'), errors=[("malformed_csv", 22, None)]),
    Case("old Mac line ends", C, CSV.replace(b"\n", b"\r"), errors=[("malformed_csv", 1, None)]),
    Case("not UTF-8", C, with_rows("grün,a").decode().encode("cp1252"), errors=[("not_utf8", 22, None)]),
    Case("UTF-16 without a mark", C, CSV.decode().encode("utf-16-le"), errors=[("not_utf8", 1, None)]),
    Case("cut-off UTF-16", C, CSV.decode().encode("utf-16")[:-1], errors=[("wrong_encoding", 21, None)]),
    Case(
        "unknown split",
        C,
        text([("text", "label", "split"), *((*r, "train") for r in ROWS), ("x", "a", "holdout")]),
        errors=[("unknown_split", 22, "split")],
    ),
    Case(
        "unknown label in a split",
        C,
        text([("text", "label", "split"), *((*r, "train") for r in ROWS), ("x", "c", "test")]),
        errors=[("unknown_label", 22, "label")],
    ),
    Case(
        "unknown label left out",
        C,
        text([("text", "label", "split"), *((*r, "train") for r in ROWS), ("x", "c", "test"), ("y", "a", "test")]),
        {"train": 16, "validation": 4, "test": 1},
        form={"on_error": "skip"},
        skipped=[("unknown_label", 22, "label")],
        warnings=[("rows_skipped", [22])],
    ),
    Case("damaged gzip", C, gzip.compress(CSV)[:-9], errors=[("damaged_archive", None, None)]),
    Case("damaged Zstandard", C, zstd(CSV)[:-9], errors=[("damaged_archive", None, None)]),
    Case("damaged zip", C, zipped({"train.csv": CSV})[:-30], errors=[("damaged_archive", None, None)]),
    Case("empty zip", C, zipped({"a/": b""}), errors=[("unsupported_format", None, None)]),
    Case(
        "zip with unclear names", C, zipped({"one.csv": CSV, "two.csv": CSV}), errors=[("unclear_splits", None, None)]
    ),
    Case(
        "zip in a zip", C, zipped({"rows.zip": zipped({"train.csv": CSV})}), errors=[("unsupported_format", None, None)]
    ),
    Case(
        "zip with a bad split",
        C,
        zipped({"train.csv": CSV, "test.csv": b"text,label\n,a\n"}),
        errors=[("missing_text", 2, "text")],
    ),
    Case("damaged Parquet", C, parquet(table())[:-20], errors=[("damaged_file", None, None)]),
    Case(
        "Parquet with lists for texts",
        C,
        parquet(pa.table({"text": [["x"]] * 4, "label": list("abab")})),
        errors=[("not_a_text", i, "text") for i in range(1, 5)],
    ),
    Case(
        "Parquet with nothing in places",
        C,
        parquet(pa.table({"text": [*"abcde", None], "label": list("ababab")})),
        errors=[("missing_text", 6, "text")],
    ),
    Case("damaged Arrow", C, arrow(table())[:-40], errors=[("damaged_file", None, None)]),
    Case(
        "workbook with unclear sheets",
        C,
        workbook(One=[("text", "label"), *ROWS], Two=[("text", "label"), *ROWS]),
        errors=[("unclear_splits", None, None)],
    ),
    Case(
        "workbook with a wrong row",
        C,
        workbook(Data=[("text", "label"), *ROWS, ("x", None), ("y", "a", "more")]),
        errors=[("missing_label", 22, "label"), ("ragged_row", 23, None)],
    ),
    Case("malformed JSON", C, lines(objects()) + b'{"text": "x", }\n', errors=[("malformed_json", 21, None)]),
    Case("array that never ends", C, json.dumps(objects()).encode()[:-1], errors=[("malformed_json", 1, None)]),
    Case(
        "JSON rows that are no objects",
        C,
        lines([*objects(), 7, "x"]),
        errors=[("not_an_object", 21, None), ("not_an_object", 22, None)],
    ),
    Case(
        "JSON with half a character",
        C,
        lines(objects()) + b'{"text": "\\ud83d", "label": "a"}\n',
        errors=[("invalid_text", 21, "text")],
    ),
    Case(
        "JSON with lists and single labels",
        C,
        lines([*several(), {"text": "x", "label": "a"}]),
        errors=[("mixed_labels", 21, "label")],
    ),
    Case("a picture", C, b"\x89PNG\r\n\x1a\n" + bytes(50), errors=[("unsupported_format", None, None)]),
    Case(
        "an old workbook",
        C,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
        errors=[("unsupported_format", None, None)],
    ),
    Case(
        "repeated and contradictory rows",
        C,
        with_rows("Parcel  LATE,a", "refund late,a", "delay-late!,a"),
        {"train": 18, "validation": 5},
        warnings=[("duplicate_rows", [22, 23]), ("near_duplicate_rows", [24]), ("contradictory_labels", [4, 23])],
    ),
    Case(
        "labels that look like several",
        C,
        text([("text", "label"), *((t, f"{label}|{'xy'[i % 2]}") for i, (t, label) in enumerate(ROWS))]),
        CUT,
        warnings=[("joint_labels", list(range(2, 22)))],
    ),
    Case(
        "rare label",
        C,
        with_rows("odd one,c", "odd two,c"),
        {"train": 18, "validation": 4},
        warnings=[("rare_label", [])],
    ),
    Case(
        "score that is no number",
        S,
        PAIRS + b"a,b,high\na,c,1e999\n",
        errors=[("invalid_score", 12, "score"), ("invalid_score", 13, "score")],
    ),
    Case(
        "all scores alike",
        S,
        text([("text", "text_pair", "score"), *((a, b, 1) for a, b, _ in GRADED)]),
        errors=[("constant_score", None, "score")],
    ),
    Case(
        "scores that look like labels",
        S,
        text([("text", "text_pair", "label"), *((f"{a}{i}", b, i / 7) for i, (a, b, _) in enumerate(GRADED * 3))]),
        errors=[("label_looks_like_score", None, "label")],
        warnings=[],
    ),
    Case("conll without a tag", T, CONLL + b"Bob\n", errors=[("missing_label", 41, "tag")]),
    Case("conll with ragged lines", T, CONLL + b"Bob NN B-PER\n", errors=[("ragged_row", 41, None)]),
    Case(
        "conll with an inside that begins nothing",
        T,
        CONLL + b"Bob O\nLee I-PER\n",
        errors=[("invalid_tag_sequence", 42, "tag")],
    ),
    Case(
        "conll with an entity never closed",
        T,
        CONLL.replace(b"B-PER", b"S-PER") + b"Bob B-PER\n",
        errors=[("invalid_tag_sequence", 41, "tag")],
    ),
    Case(
        "conll with tags in another dress",
        T,
        b"Ada B_PER\nLee I_PER\nmet O\n\n" * 4,
        errors=[("unknown_tag_form", line, "tag") for first in range(1, 17, 4) for line in (first, first + 1)],
    ),
    Case("conll without an entity", T, CONLL.replace(b"B-PER", b"O"), errors=[("single_class", None, None)]),
    Case(
        "wrong sentences left out",
        T,
        CONLL + b"Bob O\nLee I-PER\n\nEve\nran O\n",
        CUT_10,
        form={"on_error": "skip"},
        skipped=[("invalid_tag_sequence", 42, "tag"), ("missing_label", 44, "tag")],
        warnings=[("rows_skipped", [42, 44])],
    ),
    Case("span out of bounds", T, spanned([0, 99, "PER"]), errors=[("span_out_of_bounds", 11, "entities")]),
    Case("span of nothing", T, spanned([3, 4, "PER"]), errors=[("empty_span", 11, "entities")]),
    Case(
        "overlapping spans", T, spanned([0, 12, "PER"], [4, 12, "PER"]), errors=[("overlapping_spans", 11, "entities")]
    ),
    Case(
        "span that says another text",
        T,
        spanned({"start": 1, "end": 4, "label": "PER", "text": "Ada"}),
        errors=[("misaligned_span", 11, "entities")],
    ),
    Case(
        "span within an emoji",
        T,
        spanned([0, 1, "PER"], text="👩\u200d👧 Ada"),
        errors=[("misaligned_span", 11, "entities")],
    ),
    Case(
        "span before an accent",
        T,
        spanned([0, 4, "PER"], text="Jose\u0301 met"),
        errors=[("misaligned_span", 11, "entities")],
    ),
    Case("span without a label", T, spanned({"start": 0, "end": 3}), errors=[("invalid_span", 11, "entities")]),
    Case(
        "text without its entities", T, lines([*spans(), {"text": "Bob"}]), errors=[("missing_label", 11, "entities")]
    ),
    Case("tokens without tags", T, lines([{"tokens": ["Ada"]}]), errors=[("missing_label", 1, "tags")]),
    Case(
        "more tokens than tags",
        T,
        lines([{"tokens": ["Ada", "met"], "tags": ["O"]}]),
        errors=[("ragged_row", 1, "tags")],
    ),
    Case(
        "tags that are numbers",
        T,
        lines([{"tokens": ["Ada"], "ner_tags": [1]}]),
        errors=[("missing_label", 1, "ner_tags")],
    ),
    Case(
        "a workbook for tagging",
        T,
        workbook(Sheet1=[("text", "label"), *ROWS]),
        errors=[("unsupported_format", None, None)],
    ),
]

CASES = [*GOOD, *WRONG]
