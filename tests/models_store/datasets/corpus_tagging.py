"""Files of tagged text as tools write them, each with all that is to be said of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from tests.models_store.datasets.corpus import (
    CONLL,
    CONLL_U,
    CUT_10,
    LABEL_STUDIO,
    SENTENCES,
    WORDS,
    Case,
    T,
    arrow,
    lines,
    parquet,
    spanned,
    spans,
    workbook,
)

ELEVEN = {"train": 9, "validation": 2}
SPLITS = ("train", "dev", "test")


def prodigy(answer: str | None = "accept") -> list[dict[str, Any]]:
    """Rows as `ner_manual` exports them."""
    rows = []
    for word in WORDS:
        tokens = [{"text": "Ada", "start": 0, "end": 3, "id": 0, "ws": True}]
        marks = [{"start": 0, "end": 3, "token_start": 0, "token_end": 0, "label": "PER"}]
        rows.append({"text": f"Ada met {word}", "tokens": tokens, "spans": marks, "answer": answer})
    return rows


def task(*annotations: Any, text: str = "Ada met Bob", **data: str) -> dict[str, Any]:
    """A task of Label Studio with such marks for each annotator; None is one who skipped it."""
    return {
        "data": {"text": text, **data},
        "annotations": [
            {"was_cancelled": marks is None, "result": [result(*mark) for mark in marks or ()]} for marks in annotations
        ],
    }


def result(start: int, end: int, *labels: str) -> dict[str, Any]:
    """A mark of Label Studio."""
    value = {"start": start, "end": end, "labels": list(labels)}
    return {"type": "labels", "from_name": "label", "to_name": "text", "value": value}


def tasks(*extra: dict[str, Any]) -> bytes:
    """Good tasks, and others behind them; the first of these stands on line 11."""
    return lines([*LABEL_STUDIO, *extra])


def flattened(control: str = "label") -> list[dict[str, Any]]:
    """Rows of Label Studio's JSON-MIN."""
    mark = {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}
    return [{"text": f"Ada met {word}", "id": i, "annotation_id": i, control: [mark]} for i, word in enumerate(WORDS)]


def columns(separator: str = "\t", *, numbered: bool = True, middle: str = "", last: str = "") -> bytes:
    """CoNLL with more columns."""
    found = []
    for sentence in SENTENCES:
        for number, (token, tag) in enumerate(sentence, start=1):
            fields = [str(number) if numbered else "", token, middle, tag, last]
            found.append(separator.join(field for field in fields if field) + "\n")
        found.append("\n")
    return "".join(found).encode()


def with_splits(**column: Any) -> list[dict[str, Any]]:
    """Tokens and tags with a column that says which split they are for; the last row is on line 24."""
    rows = [{"tokens": [f"Ada{i}", "met"], "tags": ["B-PER", "O"], "split": SPLITS[i % 3]} for i in range(24)]
    rows[-1] |= column
    return rows


def tagged_table(**more: Any) -> pa.Table:
    """Tokens and tags as columns."""
    tokens, tags = [[[pair[i] for pair in s] for s in SENTENCES] for i in (0, 1)]
    return pa.table({"tokens": tokens, "tags": tags, **more})


def twice_named() -> pa.Table:
    """A column that stands twice in the header."""
    return tagged_table(other=tagged_table()["tags"]).rename_columns(["tokens", "tags", "tags"])


NANOSECONDS = pa.array([1_700_000_000_000_000_001] * len(WORDS), pa.timestamp("ns"))
GERMEVAL = "".join(
    f"#\thttp://example.org/{word}\t[2009-10-17]\n1\tUni\tB-ORG\tO\n2\t{word}\tI-ORG\tB-LOC\n3\tBonn\tB-LOC\tO\n\n"
    for word in WORDS
).encode()
CONLL_U_PLUS = b"# global.columns = ID FORM UPOS NER\n" + columns(middle="NOUN")
CONLL_U_PLUS_POS = "# global.columns = ID FORM UPOS MISC\n" + "".join(
    f"1\t{word}\tNOUN\tx\n2\tmet\tVERB\ty\n\n" for word in WORDS
)
KAGGLE = "Sentence #,Word,POS,Tag\nSentence: 1,Ada,NNP,B-PER\n,met,VB,O\n"

UNUSUAL = [
    Case("Prodigy", T, lines(prodigy()), CUT_10, labels=["PER"]),
    Case(
        "Prodigy with rejected rows",
        T,
        lines([*prodigy(), prodigy("reject")[0], prodigy("ignore")[1]]),
        CUT_10,
        warnings=[("rejected_rows", [11, 12])],
    ),
    Case(
        "Prodigy without a span",
        T,
        lines([*prodigy(), {"text": "Bob", "tokens": [{"text": "Bob"}], "answer": "accept"}]),
        ELEVEN,
    ),
    Case(
        "spaCy's Doc.to_json",
        T,
        lines([{"text": row["text"], "ents": row["entities"], "tokens": [{"id": 0, "start": 0}]} for row in spans()]),
        CUT_10,
        labels=["PER"],
    ),
    Case("Label Studio with other data", T, tasks(task([(0, 3, "PER")], id="doc-1")), ELEVEN, labels=["PER"]),
    Case(
        "Label Studio with a text that is marked",
        T,
        tasks(
            {
                "data": {"article": "Ada", "id": "7"},
                "annotations": [{"result": [{**result(0, 3, "PER"), "to_name": "article"}]}],
            }
        ),
        ELEVEN,
    ),
    Case(
        "Label Studio with unclear texts",
        T,
        tasks({"data": {"a": "Ada", "b": "Bob"}, "annotations": [{"result": []}]}),
        errors=[("missing_text", 11, "data")],
    ),
    Case(
        "Label Studio with a named text",
        T,
        lines([{**one, "data": {"b": one["data"]["text"], "a": "x"}} for one in LABEL_STUDIO]),  # type: ignore[index]
        CUT_10,
        form={"columns": {"text": "b"}},
    ),
    Case(
        "Label Studio with choices",
        T,
        tasks(
            {"data": {"text": "Ada"}, "annotations": [{"result": [{"type": "choices", "value": {"choices": ["x"]}}]}]}
        ),
        ELEVEN,
    ),
    Case(
        "Label Studio with marks in HTML",
        T,
        tasks(
            {
                "data": {"text": "Ada"},
                "annotations": [{"result": [{"type": "hypertextlabels", "value": {"hypertextlabels": ["PER"]}}]}],
            }
        ),
        errors=[("invalid_span", 11, "annotations")],
    ),
    Case("two annotators who agree", T, tasks(task([(0, 3, "PER")], [(0, 3, "PER")])), ELEVEN),
    Case(
        "two annotators who do not",
        T,
        tasks(task([(0, 3, "PER")], [(8, 11, "PER")]), task([(0, 3, "PER")], [(0, 3, "ORG")]), task([], [(0, 3, "X")])),
        errors=[("contradictory_annotations", line, "annotations") for line in (11, 12, 13)],
    ),
    Case("an annotator who skipped a row", T, tasks(task([(0, 3, "PER")], None)), ELEVEN),
    Case("a row that was skipped by all", T, tasks(task(None)), CUT_10, warnings=[("rejected_rows", [11])]),
    Case("a row that nobody looked at", T, tasks(task()), errors=[("missing_label", 11, "annotations")]),
    Case("JSON-MIN", T, json.dumps(flattened()).encode(), CUT_10, labels=["PER"]),
    Case("JSON-MIN with another control", T, json.dumps(flattened("ner")).encode(), CUT_10, labels=["PER"]),
    Case("JSON-MIN without a mark", T, lines([*flattened(), {"text": "Bob", "annotation_id": 9}]), ELEVEN),
    Case(
        "text and entities under other names",
        T,
        lines([{"body": row["text"], "text": "x", "marks": row["entities"]} for row in spans()]),
        CUT_10,
        form={"columns": {"text": "body", "entities": "marks"}},
    ),
    Case(
        "tokens and tags under other names",
        T,
        lines([{"toks": [w for w, _ in s], "tags": [0], "ner": [t for _, t in s]} for s in SENTENCES]),
        CUT_10,
        form={"columns": {"tokens": "toks", "tags": "ner"}},
    ),
    Case(
        "a key that is not there",
        T,
        lines(spans()[:1]),
        errors=[("missing_text", 1, "body")],
        form={"columns": {"text": "body"}},
    ),
    Case(
        "keys for CoNLL",
        T,
        CONLL,
        errors=[("unknown_column", None, "body")],
        form={"columns": {"text": "body"}},
    ),
    Case(
        "numbers of columns for JSON",
        T,
        lines(spans()),
        errors=[("unknown_column", None, "1")],
        form={"columns": {"token": "1"}},
    ),
    Case("a split column", T, lines(with_splits()), {"train": 8, "validation": 8, "test": 8}),
    Case(
        "a split column in Parquet",
        T,
        parquet(pa.Table.from_pylist(with_splits())),
        {"train": 8, "validation": 8, "test": 8},
    ),
    Case(
        "a split that is none",
        T,
        lines(with_splits(split="holdout")),
        errors=[("unknown_split", 24, "split")],
    ),
    Case(
        "a column that is only called split",
        T,
        lines([{**row, "split": 7} for row in spans()]),
        CUT_10,
        warnings=[("split_column_ignored", [])],
    ),
    Case(
        "GermEval without nested entities",
        T,
        GERMEVAL.replace(b"B-LOC\n2", b"O\n2").replace(b"\tB-LOC\n3", b"\tO\n3"),
        CUT_10,
        labels=["LOC", "ORG"],
        warnings=[("several_tag_columns", [])],
    ),
    Case(
        "Label Studio, flattened, with a mark without labels",
        T,
        json.dumps(
            [
                {
                    "id": i,
                    "annotation_id": i,
                    "text": f"Ada met {word}",
                    "label": [{"start": 0, "end": 3, "labels": ["PER"]}, {"start": 4, "end": 7}][: 1 + (i == 9)],
                }
                for i, word in enumerate(WORDS)
            ]
        ).encode(),
        errors=[("invalid_span", 10, "label")],
    ),
    Case(
        "spans beside other data",
        T,
        lines([{**row, "data": {"src": "web"}, "annotations": []} for row in spans()]),
        CUT_10,
    ),
    Case(
        "spaCy's pairs line by line",
        T,
        lines([[f"Ada met {word}", {"entities": [[0, 3, "PER"]]}] for word in WORDS]),
        CUT_10,
    ),
    Case(
        "a label that only a test row has",
        T,
        lines(with_splits(tags=["B-ORG", "I-ORG"])),
        errors=[("unknown_label", 24, "tag")],
    ),
    Case(
        "a label that only a test row has, left out",
        T,
        lines(with_splits(tags=["B-ORG", "I-ORG"])),
        {"train": 8, "validation": 8, "test": 7},
        form={"on_error": "skip"},
        skipped=[("unknown_label", 24, "tag")],
        warnings=[("rows_skipped", [24])],
    ),
    Case("Parquet with a time that is not read", T, parquet(tagged_table(at=NANOSECONDS)), CUT_10, format="parquet"),
    Case("Parquet with a column twice", T, parquet(twice_named()), errors=[("duplicate_column", 1, "tags")]),
    Case("Arrow with a column twice", T, arrow(twice_named()), errors=[("duplicate_column", 1, "tags")]),
    Case(
        "Parquet without tokens",
        T,
        parquet(pa.table({"at": [datetime(2026, 1, 1)] * 5})),
        errors=[("missing_column", 1, "tokens")],
    ),
    Case(
        "Parquet without the column that was named",
        T,
        parquet(tagged_table()),
        errors=[("unknown_column", 1, "ner")],
        form={"columns": {"tags": "ner"}},
    ),
    Case(
        "several wrong spans of a row",
        T,
        spanned([0, 99, "PER"], [4, 4, "PER"], [8, 90, "PER"], [True, 3, "PER"], [0, 3, "O"], [0, 3, "PER"]),
        errors=[
            *[("span_out_of_bounds", 11, "entities")] * 3,
            *[("invalid_span", 11, "entities")] * 2,
        ],
    ),
    Case(
        "spans that overlap one further away",
        T,
        spanned([0, 20, "PER"], [4, 6, "PER"], [13, 16, "PER"]),
        errors=[("overlapping_spans", 11, "entities")] * 2,
    ),
    Case(
        "true for an end",
        T,
        spanned({"start": 0, "end": True, "label": "X"}),
        errors=[("invalid_span", 11, "entities")],
    ),
    *(
        Case(
            f"span within {name}",
            T,
            spanned([0, end, "PER"], text=text),
            errors=[("misaligned_span", 11, "entities")],
        )
        for name, text, end in [
            ("a skin tone", "👍🏽 Ada", 1),
            ("a flag", "🇩🇪🇫🇷", 1),
            ("a second flag", "🇩🇪🇫🇷", 3),
            ("Hangul", "\u1112\u1161\u11ab met", 2),
            ("a vowel sign", "\u0915\u093f met", 1),
            ("a line end", "Ada\r\nmet", 4),
        ]
    ),
    Case("span between two flags", T, spanned([0, 2, "PER"], text="🇩🇪🇫🇷"), ELEVEN),
    Case(
        "spans with blanks at their ends",
        T,
        spanned([3, 13, "PER"]),
        ELEVEN,
        warnings=[("spans_trimmed", [11])],
    ),
    Case(
        "spans inside words", T, spanned([1, 7, "PER"], text="Ada-Lou"), ELEVEN, warnings=[("spans_inside_words", [11])]
    ),
    Case("span of a part of a compound", T, spanned([4, 7, "PER"], text="Ada-Lou"), ELEVEN),
    Case(
        "labels that look like tags",
        T,
        spanned([0, 3, "B-PER"], [4, 12, "B-cell"]),
        ELEVEN,
        labels=["B-PER", "B-cell", "PER"],
        warnings=[("labels_like_tags", [11]), ("rare_label", [])],
    ),
    Case("tokens beside spans", T, lines([*spans(), {"tokens": ["Bob"], "tags": ["B-PER"]}]), ELEVEN),
    Case("conll with word numbers", T, columns(), CUT_10, labels=["PER"]),
    Case(
        "conll with words numbered from 0",
        T,
        "".join(f"0\tAda\tB-PER\n1\t{word}\tO\n\n" for word in WORDS).encode(),
        CUT_10,
        labels=["PER"],
    ),
    Case("conll with word numbers and blanks", T, columns(" ", middle="NN"), CUT_10, labels=["PER"]),
    Case(
        "conll with a wrong word number",
        T,
        columns() + b"1\tBob\tB-PER\n3\tran\tO\n\n1\tBob\tB-PER\n1\tran\tO\n",
        errors=[("invalid_word_number", 42, "1"), ("invalid_word_number", 45, "1")],
    ),
    Case("GermEval", T, GERMEVAL, CUT_10, labels=["LOC", "ORG"], warnings=[("several_tag_columns", [])]),
    Case("GermEval, nested", T, GERMEVAL, CUT_10, labels=["LOC"], form={"columns": {"tag": 4}}),
    Case("CoNLL-U Plus", T, CONLL_U_PLUS, CUT_10, labels=["PER"]),
    Case("CoNLL-U Plus, another column", T, CONLL_U_PLUS_POS.encode(), CUT_10, labels=["NOUN", "VERB"]),
    Case(
        "CoNLL-U Plus, named",
        T,
        CONLL_U_PLUS_POS.encode(),
        CUT_10,
        labels=["x", "y"],
        form={"columns": {"tag": "MISC"}},
    ),
    Case("CoNLL-X", T, CONLL_U.replace(b"NOUN", b"nn"), CUT_10, format="conllu", labels=["AUX", "PRON", "nn"]),
    Case("CoNLL-U, other tags", T, CONLL_U, CUT_10, labels=["root", "x"], form={"columns": {"tag": "8"}}),
    Case(
        "chosen columns",
        T,
        columns(numbered=False, middle="x", last="y"),
        CUT_10,
        labels=["PER"],
        form={"columns": {"token": "1", "tag": 3}},
    ),
    Case(
        "a column that is not there",
        T,
        CONLL,
        errors=[("unknown_column", None, "3")],
        form={"columns": {"tag": "3"}},
    ),
    Case(
        "conll with comments of as many words as columns",
        T,
        b"# doc1\n" + CONLL + b"# doc2\nBob B-PER\n",
        ELEVEN,
        warnings=[("unclear_comments", [1, 42])],
    ),
    Case(
        "conll with comments in four columns",
        T,
        b"# sent_id = 1\n" + columns(" ", numbered=False, middle="x", last="").replace(b" x ", b" x y "),
        CUT_10,
        labels=["PER"],
        warnings=[("unclear_comments", [1])],
    ),
    Case("conll with a number sign that begins a sentence", T, CONLL + b"# O\nBob B-PER\n", ELEVEN),
    Case("conll with a header", T, b"token ner\n" + CONLL, CUT_10, labels=["PER"]),
    Case(
        "conll with a header that tells the columns",
        T,
        b"word\tner\tpos\n" + "".join(f"{word}\tPER\tN\nmet\tO\tV\n\n" for word in WORDS).encode(),
        CUT_10,
        labels=["PER"],
    ),
    Case(
        "conll with the tag first",
        T,
        b"tag\ttoken\n" + "".join(f"NOUN\t{word}\nVERB\tmet\n\n" for word in WORDS).encode(),
        CUT_10,
        labels=["NOUN", "VERB"],
    ),
    Case(
        "conll with a header of another width",
        T,
        b"token pos tag\n" + CONLL,
        errors=[("ragged_row", 1, None)],
    ),
    Case(
        "conll with one column for both",
        T,
        CONLL,
        errors=[("duplicate_column", None, "2")],
        form={"columns": {"token": "2"}},
    ),
    Case(
        "only rejected rows",
        T,
        lines(prodigy("reject")),
        errors=[("no_rows", None, None)],
        warnings=[("rejected_rows", list(range(1, 11)))],
    ),
    *(
        Case(name, T, content, errors=[("unsupported_format", None, None)])
        for name, content in {
            "Kaggle's table for tagging": KAGGLE.encode(),
            "a table of tokens": b"token,tag\nAda,B-PER\nmet,O\n",
            "a table without a header": b"Ada;B-PER\nmet;O\n",
            "a table of sentences": b"text,labels\nAda met Bob,B-PER O B-PER\n",
            "a workbook of tokens": workbook(Sheet1=[("token", "tag"), ("Ada", "B-PER")]),
        }.items()
    ),
]


def scheme_and_columns() -> Mapping[str, tuple[bytes, str, dict[str, str]]]:
    """Files, and what is shown of how they were read."""
    return {
        "conll": (CONLL, "bio", {"token": "1", "tag": "2"}),
        "iob": (CONLL.replace(b"B-", b"I-"), "io", {"token": "1", "tag": "2"}),
        "numbered": (columns(middle="NN"), "bio", {"token": "2", "tag": "4"}),
        "conll-u": (CONLL_U, "plain", {"token": "2", "tag": "4"}),
        "spans": (lines(spans("spans")), "bio", {"text": "text", "entities": "spans"}),
        "tokens": (
            lines([{"words": ["a", "b"], "ner_tags": ["S-X", "O"]}]),
            "bioes",
            {"tokens": "words", "tags": "ner_tags"},
        ),
        "label studio": (lines(LABEL_STUDIO), "bio", {"text": "data.text", "entities": "annotations"}),
        "parquet": (parquet(tagged_table()), "bio", {"tokens": "tokens", "tags": "tags"}),
    }
