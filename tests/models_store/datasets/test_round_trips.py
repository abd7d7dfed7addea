"""Whatever rows there are: written in any format they are read back the same, to the letter, with their places."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_store.datasets.readers.marks import Span, words_and_tags
from models_store.tasks import TaskName
from models_store.tasks.bio import entity_spans
from models_store.tasks.words import WordSplitter
from tests.models_store.datasets.corpus import arrow, parquet, workbook, zipped, zstd
from tests.models_store.datasets.files import source
from tests.models_store.datasets.reading import read_whole

Rows = list[tuple[str, str]]

HOSTILE = (
    "\u202ebidi\u202c marks\u2066\u2069",
    "combining Z\u0351\u036b\u0343a\u0323\u0302l",
    "NFC \u00e9 and NFD e\u0301",
    "👩\u200d👩\u200d👧\u200d👦 and 🏳\ufe0f\u200d🌈 🇨🇭",
    "zero\u200bwidth\ufeff\u2060",
    "日本語の文章。العربية עברית",
    "tab\tand  blanks\u00a0\u3000",
    "line\nbreaks\r\nand\rreturns\u2028\u2029\u0085\x0b\x0c",
    "quotes \" ' `` ''",
    "\U0010ffff\ue000\ufffd",
    "x" * 1_000_000,
)
# Whatever UTF-8 can hold, but for control characters: a file that is full of them is taken for no text.
letters = st.characters(codec="utf-8", exclude_categories=["Cc"], include_characters="\t\n\r\x85")
texts = st.text(letters, min_size=1, max_size=30).filter(lambda text: text.strip() != "")
labels = st.sampled_from(["a", "b", "Ä ö", "0"])
rows_of_any_kind = st.lists(st.tuples(texts, labels), min_size=1, max_size=6)


def as_csv(rows: Rows, delimiter: str = ",") -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    return buffer.getvalue().encode()


def as_lines(rows: Rows, *, ascii_only: bool = False) -> bytes:
    objects = [{"text": text, "label": label} for text, label in rows]
    return "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in objects).encode()


def as_array(rows: Rows) -> bytes:
    return json.dumps([{"text": text, "label": label} for text, label in rows], ensure_ascii=False, indent=2).encode()


def as_table(rows: Rows) -> pa.Table:
    return pa.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]})


FORMATS: dict[str, Callable[[Rows], bytes]] = {
    "csv": as_csv,
    "csv with semicolons": lambda rows: as_csv(rows, ";"),
    "tsv": lambda rows: as_csv(rows, "\t"),
    "csv with a mark": lambda rows: codecs.BOM_UTF8 + as_csv(rows),
    "csv in UTF-16": lambda rows: as_csv(rows).decode().encode("utf-16"),
    "csv.gz": lambda rows: gzip.compress(as_csv(rows)),
    "json lines": as_lines,
    "json lines, escaped": lambda rows: as_lines(rows, ascii_only=True),
    "json lines.zst": lambda rows: zstd(as_lines(rows)),
    "json array": as_array,
    "parquet": lambda rows: parquet(as_table(rows)),
    "arrow": lambda rows: arrow(as_table(rows)),
    "arrow stream": lambda rows: arrow(as_table(rows), stream=True),
    "zip": lambda rows: zipped({"train.csv": as_csv(rows)}),
}


def read_back(folder: Path, content: bytes) -> Rows:
    table, problems = read_whole(source(folder, content))
    assert problems.kept == []
    return [(row.values["text"], row.values["label"]) for row in table.rows]


@pytest.mark.parametrize("form", FORMATS)
@given(rows_of_any_kind)
def test_rows_are_read_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, form: str, rows: Rows) -> None:
    assert read_back(tmp_path_factory.getbasetemp(), FORMATS[form](rows)) == rows


def test_quoted_line_breaks_in_a_file_with_tabs_are_no_rows(tmp_path: Path) -> None:
    rows = [("0\t\n", "a")]  # whose lines would all have two columns if quotes were ordinary characters

    assert read_back(tmp_path, as_csv(rows, "\t")) == rows


# What a workbook can hold: no control characters, and not more characters than a cell takes.
cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=30).filter(
    lambda text: text.strip() != "" and not text.startswith("=")
)


@given(st.lists(st.tuples(cells, labels), min_size=1, max_size=6))
def test_workbooks_of_any_rows_are_read_back(tmp_path_factory: pytest.TempPathFactory, rows: Rows) -> None:
    written = workbook(Sheet1=[("text", "label"), *rows])

    assert read_back(tmp_path_factory.getbasetemp(), written) == [(text, label) for text, label in rows]


label_sets = st.lists(st.sampled_from(["a", "b", "Ä ö", "x, y"]), unique=True, max_size=3).map(sorted)


@pytest.mark.parametrize("form", ["json lines", "parquet", "csv"])
@given(st.lists(st.tuples(texts, label_sets), min_size=1, max_size=6))
def test_rows_with_several_labels_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, form: str, rows: list[tuple[str, list[str]]]
) -> None:
    content = {
        "json lines": lambda: "".join(json.dumps({"text": t, "label": ls}) + "\n" for t, ls in rows).encode(),
        "parquet": lambda: parquet(
            pa.table({"text": [t for t, _ in rows], "label": pa.array([ls for _, ls in rows], pa.list_(pa.string()))})
        ),
        "csv": lambda: as_csv([(t, "|".join(ls)) for t, ls in rows]),
    }[form]()
    separator = "|" if form == "csv" else None

    table, problems = read_whole(source(tmp_path_factory.getbasetemp(), content), label_separator=separator)

    assert problems.kept == []
    assert [(row.values["text"], row.values["label"]) for row in table.rows] == rows


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_texts_keep_every_character(tmp_path: Path, form: str) -> None:
    rows = [(text, "ab"[number % 2]) for number, text in enumerate(HOSTILE)]

    assert read_back(tmp_path, FORMATS[form](rows)) == rows


def test_a_workbook_is_read_back(tmp_path: Path) -> None:
    rows = [(text, "a") for text in (*HOSTILE[:6], "= no formula", " blanks ", "line\nbreak", "y" * 32_000)]

    written = workbook(Sheet1=[("text", "label"), *((f"'{text}", label) for text, label in rows)])

    assert read_back(tmp_path, written) == [(f"'{text}", label) for text, label in rows]


# A token is one column of a line: neither blanks, tabs nor line ends, and no sign that begins a comment or a document.
signs = st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters=" #-")
tokens = st.text(signs, min_size=1, max_size=8).filter(lambda token: token.strip() != "")
sentences = st.lists(
    st.lists(st.tuples(tokens, st.sampled_from(["O", "B-X", "B-Y"])), min_size=1, max_size=5), min_size=1, max_size=5
)


@pytest.mark.parametrize("separator", [" ", "\t"])
@given(sentences)
def test_sentences_are_read_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, separator: str, given_sentences: list[list[tuple[str, str]]]
) -> None:
    sentence_of = [("certainly", "B-X"), ("tagged", "O")]
    content = "".join("".join(f"{w}{separator}{t}\n" for w, t in s) + "\n" for s in [*given_sentences, sentence_of])

    table, problems = read_whole(source(tmp_path_factory.getbasetemp(), content), TaskName.TAGGING)

    assert problems.kept == []
    found = [list(zip(row.values["tokens"], row.values["tags"], strict=True)) for row in table.rows]
    assert found == [*given_sentences, sentence_of]


@st.composite
def marked_texts(draw: st.DrawFn) -> tuple[str, list[Span]]:
    """A text, and spans that do not overlap and are more than blanks."""
    text = draw(texts)
    borders = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6, unique=True)))
    pairs = zip(borders[::2], borders[1::2], strict=False)
    return text, [Span(start, end, "X") for start, end in pairs if text[start:end].strip()]


@given(marked_texts())
def test_the_words_of_a_text_lose_nothing_and_know_their_spans(marked: tuple[str, list[Span]]) -> None:
    text, spans = marked

    words, tags = words_and_tags(text, spans, WordSplitter())

    assert "".join("".join(word.text for word in words).split()) == "".join(text.split())
    whole = ["".join("".join(word.text for word in words[first:last]).split()) for _, first, last in entity_spans(tags)]
    marks = ["".join(text[span.start : span.end].split()) for span in spans]
    assert whole == [mark for mark in marks if mark and unicodedata.normalize("NFC", mark)]
