"""CSV and CoNLL → rows with their physical lines, and what is said about files that cannot be read."""

from __future__ import annotations

import bz2
import codecs
import csv
import io
import lzma
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_store.datasets.source import SourceFile, display_name
from models_store.errors import ProblemList, UnreadableFileError
from models_store.tasks import TaskName
from models_store.tasks.bio import Scheme
from tests.models_store.datasets.files import places, source
from tests.models_store.datasets.reading import Whole as Table
from tests.models_store.datasets.reading import read_whole


def read(
    folder: Path, content: str | bytes, task: TaskName = TaskName.CLASSIFICATION, name: str = "train.csv"
) -> tuple[Table, ProblemList]:
    return read_whole(source(folder, content, name), task)


def good(folder: Path, content: str | bytes, task: TaskName = TaskName.CLASSIFICATION) -> Table:
    table, problems = read(folder, content, task)
    assert problems.kept == []
    return table


def located(table: Table) -> list[tuple[int, object, object]]:
    """Line, text and label of each row."""
    return [(row.line, row.values["text"], row.values["label"]) for row in table.rows]


# ---- CSV ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", codecs.BOM_UTF8])
def test_dialects(tmp_path: Path, delimiter: str, line_end: str, bom: bytes) -> None:
    lines = [["text", "label"], ["grün 😀", "a"], ["blue", "b"]]
    content = bom + "".join(delimiter.join(line) + line_end for line in lines).encode()
    assert located(good(tmp_path, content)) == [(2, "grün 😀", "a"), (3, "blue", "b")]


def test_last_line_needs_no_line_end(tmp_path: Path) -> None:
    assert located(good(tmp_path, "text,label\nred,a")) == [(2, "red", "a")]


def test_rows_after_quoted_line_breaks_keep_their_physical_line(tmp_path: Path) -> None:
    content = 'text,label\n"one\ntwo\r\nthree",a\n\n"say ""hi"", please",b\nplain,a\n'
    assert located(good(tmp_path, content)) == [
        (2, "one\ntwo\r\nthree", "a"),
        (6, 'say "hi", please', "b"),
        (7, "plain", "a"),
    ]


def test_header_may_be_quoted_over_lines_and_follow_blank_lines(tmp_path: Path) -> None:
    table = good(tmp_path, '\n"text";"label";"a\nnote"\nred;a;x\n')
    assert located(table) == [(4, "red", "a")]


def test_delimiters_inside_quotes_do_not_decide(tmp_path: Path) -> None:
    table = good(tmp_path, 'text,label,"note; or; a; remark"\nred,a,x\n')
    assert located(table) == [(2, "red", "a")]


def test_texts_stay_as_they_are_and_labels_are_trimmed(tmp_path: Path) -> None:
    assert located(good(tmp_path, "text,label\n  red ,  a \n")) == [(2, "  red ", "a")]


def test_columns_beside_ours_are_ignored(tmp_path: Path) -> None:
    assert good(tmp_path, "id,Text,note,LABEL\n1,red,,a\n").rows[0].values == {"text": "red", "label": "a"}


@given(
    st.lists(
        st.tuples(
            st.text(alphabet="ab\"',;\t|\n\r é😀", min_size=1, max_size=12).filter(str.strip), st.sampled_from("xy")
        ),
        min_size=1,
        max_size=6,
    )
)
def test_what_a_csv_writer_wrote_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(("text", "label"))
    expected = []
    for text, label in rows:
        expected.append((1 + written.getvalue().count("\n"), text, label))
        writer.writerow((text, label))
    assert located(good(tmp_path_factory.getbasetemp(), written.getvalue())) == expected


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        ("text,label\nred,a\nblue\n", ("ragged_row", "train.csv", 3, None), "1 fields where the header has 2"),
        ("text,label\nred,a,b\n", ("ragged_row", "train.csv", 2, None), "3 fields where the header has 2"),
        ('text,label\n"a\nb",a\nblue\n', ("ragged_row", "train.csv", 4, None), "1 fields"),
        ("text,label\nred, \n", ("missing_label", "train.csv", 2, "label"), "label is empty"),
        ("review,topic\n ,a\n", ("missing_text", "train.csv", 2, "review"), "review is empty"),
        ("text,label\nre\0d,a\n", ("nul_byte", "train.csv", 2, "text"), "NUL byte"),
        ("", ("empty_file", "train.csv", None, None), "empty"),
        ("\n \n\n", ("empty_file", "train.csv", None, None), "empty"),
        (codecs.BOM_UTF8, ("empty_file", "train.csv", None, None), "empty"),
    ],
)
def test_problems_of_rows(
    tmp_path: Path, content: str | bytes, place: tuple[str, str, int | None, str | None], message: str
) -> None:
    _, problems = read(tmp_path, content)
    assert places(problems.kept) == [place]
    assert message in problems.kept[0].message


def test_every_wrong_field_of_a_row_is_named(tmp_path: Path) -> None:
    _, problems = read(tmp_path, "text,label,id\n,,7\n,,\n")
    assert places(problems.kept) == [
        ("missing_text", "train.csv", 2, "text"),
        ("missing_label", "train.csv", 2, "label"),
    ]


def test_good_rows_beside_bad_ones_are_kept(tmp_path: Path) -> None:
    table, problems = read(tmp_path, "text,label\nred,a\n,b\nblue,b\n")
    assert (located(table), problems.count) == ([(2, "red", "a"), (4, "blue", "b")], 1)


@pytest.mark.parametrize("score", ["high", "nan", "inf", "-Infinity", "1e999", "3,5", "1_000", "0x10", "٣"])
def test_scores_must_be_finite_numbers(tmp_path: Path, score: str) -> None:
    content = f"sentence1;sentence2;similarity\na;b;1\na;b;{score}\n"
    _, problems = read(tmp_path, content, TaskName.SIMILARITY)
    assert places(problems.kept) == [("invalid_score", "train.csv", 3, "similarity")]
    assert repr(score) in problems.kept[0].message


@pytest.mark.parametrize(("score", "number"), [("3.5", 3.5), (" 4 ", 4.0), ("-1", -1.0), ("1e-3", 0.001), ("+.5", 0.5)])
def test_scores_are_read_as_numbers(tmp_path: Path, score: str, number: float) -> None:
    table = good(tmp_path, f"text,text_pair,score\na,b,{score}\n", TaskName.SIMILARITY)
    assert table.rows[0].values == {"text": "a", "text_pair": "b", "score": number}


@pytest.mark.parametrize(
    ("content", "code"),
    [("a,b,\n", "missing_score"), ("a,,1\n", "missing_text_pair"), (",b,1\n", "missing_text")],
)
def test_missing_fields_of_a_pair(tmp_path: Path, content: str, code: str) -> None:
    _, problems = read(tmp_path, "text,text_pair,score\n" + content, TaskName.SIMILARITY)
    assert [problem.code for problem in problems.kept] == [code]


# ---- files that cannot be read at all -------------------------------------------------------------------------------


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("train.csv"), io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize("task", [TaskName.CLASSIFICATION, TaskName.TAGGING])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (bz2.compress(b"text,label\n"), "bzip2 archive"),
        (lzma.compress(b"text,label\n"), "xz archive"),
        (tarred(), "tar archive"),
        (b"%PDF-1.4\n1 0 obj", "PDF document"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (bytes(range(1, 256)) * 4, "this is no text"),
    ],
)
def test_other_formats_are_recognised(tmp_path: Path, content: bytes, kind: str, task: TaskName) -> None:
    with pytest.raises(UnreadableFileError, match=kind) as caught:
        read(tmp_path, content, task)
    assert places(caught.value.problems) == [("unsupported_format", "train.csv", None, None)]


@pytest.mark.parametrize("task", [TaskName.CLASSIFICATION, TaskName.TAGGING])
def test_bytes_that_are_not_utf8_are_placed(tmp_path: Path, task: TaskName) -> None:
    content = "text,label\nred,a\ngrün,b\n".encode("latin-1")
    with pytest.raises(UnreadableFileError, match=r"train\.csv, line 3: byte 0xfc at position 3 of the line") as caught:
        read(tmp_path, content, task)
    assert places(caught.value.problems) == [("not_utf8", "train.csv", 3, None)]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('text,label\nred,a\n"never closed,b\nblue,b\n', 3),
        ('text,label\n"one\ntwo",a\n"x"y,b\n', 4),
    ],
)
def test_broken_quotes_are_placed_where_the_record_starts(tmp_path: Path, content: str, line: int) -> None:
    with pytest.raises(UnreadableFileError, match=rf"train\.csv, line {line}: ") as caught:
        read(tmp_path, content)
    assert places(caught.value.problems) == [("malformed_csv", "train.csv", line, None)]


# ---- CoNLL ----------------------------------------------------------------------------------------------------------

CONLL = """-DOCSTART- -X- -X- O

Ada NNP B-NP B-PER
met VBD B-VP O

-DOCSTART- -X- -X- O
Bob NNP B-NP B-PER
Lee NNP I-NP I-PER
"""


def sentences(table: Table) -> list[tuple[int, list[str], list[str]]]:
    return [(row.line, row.values["tokens"], row.values["tags"]) for row in table.rows]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_long_conll_file_has_the_lines_of_a_short_one(tmp_path: Path, line_end: str) -> None:
    """It is read in chunks, and sentences that are like all others at once."""
    plain = "".join(f"Łódź{i} B-LOC\nis O\nbig O\n\n" for i in range(20_000))
    strange = "# a comment\n-DOCSTART- O\n\nŁódź B-LOC\nno-tag\n \n\n# B-LOC\nwhole O\n\n"
    content = f"{plain}{strange}{plain}last O\n" + "Łódź B-LOC\n" * 100_000 + "x\n"
    assert len(content) > 4 * 256 * 1024
    table, problems = read_whole(source(tmp_path, content.replace("\n", line_end)), TaskName.TAGGING)

    first = 20_000 * 4
    assert [(one.code, one.line) for one in problems.kept] == [
        ("missing_label", first + 5),
        ("missing_label", len(content.split("\n")) - 1),
    ]
    lines = [row.line for row in table.rows]
    assert lines[:20_000] == list(range(1, first, 4))
    assert lines[20_000] == first + 8
    assert lines[20_001:] == list(range(first + 11, 2 * first + 11, 4))
    assert table.rows[20_000].values["tokens"] == ["#", "whole"]
    assert {len(row.values["tokens"]) for row in table.rows[20_001:]} == {3}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("blank", [" ", "\t", "  "])
def test_conll(tmp_path: Path, line_end: str, blank: str) -> None:
    content = CONLL.replace(" ", blank).replace("\n", line_end)
    table = good(tmp_path, content, TaskName.TAGGING)
    assert table.scheme is Scheme.BIO
    assert sentences(table) == [(3, ["Ada", "met"], ["B-PER", "O"]), (7, ["Bob", "Lee"], ["B-PER", "I-PER"])]


@pytest.mark.parametrize(
    ("tags", "scheme", "as_bio"),
    [
        ("B-X I-X O", Scheme.BIO, "B-X I-X O"),
        ("I-X B-X O", Scheme.IOB1, "B-X B-X O"),
        ("B-X E-X S-Y", Scheme.BIOES, "B-X I-X B-Y"),
        ("X X O", Scheme.IO, "B-X I-X O"),
        ("DET NOUN VERB", Scheme.PLAIN, "DET NOUN VERB"),
    ],
)
def test_tags_are_brought_to_bio(tmp_path: Path, tags: str, scheme: Scheme, as_bio: str) -> None:
    content = "".join(f"w{i} {tag}\n" for i, tag in enumerate(tags.split()))
    table = good(tmp_path, content, TaskName.TAGGING)
    assert (table.scheme, table.rows[0].values["tags"]) == (scheme, as_bio.split())


def test_tokens_may_hold_blanks_of_other_kinds(tmp_path: Path) -> None:
    """Only blanks and tabs part columns: French numbers hold a no-break space."""
    table = good(tmp_path, "10\u00a0000 B-NUM\neuros\u3000! O\n", TaskName.TAGGING)
    assert table.rows[0].values["tokens"] == ["10\u00a0000", "euros\u3000!"]
    assert good(tmp_path, "New York\tB-LOC\nis\tO\n", TaskName.TAGGING).rows[0].values["tokens"] == ["New York", "is"]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("Ada B-PER\nmet\n", ("missing_label", "train.csv", 2, "tag")),
        ("Ada\tB-PER\nmet\t\n", ("missing_label", "train.csv", 2, "tag")),
        ("Ada X B-PER\nmet O\n", ("ragged_row", "train.csv", 2, None)),
        ("Ada B-PER\n\n\nmet O\nBob I-PER\n", ("invalid_tag_sequence", "train.csv", 5, "tag")),
        ("Ada B-PER\nm\0t O\n", ("nul_byte", "train.csv", 2, "token")),
        ("Ada\tB-PER\n\tO\n", ("missing_text", "train.csv", 2, "token")),
    ],
)
def test_problems_of_conll(tmp_path: Path, content: str, place: tuple[str, str, int | None, str | None]) -> None:
    _, problems = read(tmp_path, content, TaskName.TAGGING)
    assert places(problems.kept) == [place]


def test_a_line_without_a_tag_does_not_accuse_its_neighbours(tmp_path: Path) -> None:
    content = "Ada\nLovelace I-PER\nmet O\n\nBob B-PER\n"
    _, problems = read(tmp_path, content, TaskName.TAGGING)
    assert [(problem.code, problem.line) for problem in problems.kept] == [("missing_label", 1)]


# ---- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("train.csv", "train.csv"),
        ("Übung (2) [neu].csv", "Übung (2) [neu].csv"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\win.ini", "win.ini"),
        ("a\n\x1b[31m\0b<script>.csv", "a__[31m_b_script_.csv"),
        ("x" * 500, "x" * 100),
        ("folder/", "train"),
        ("", "train"),
        (None, "train"),
    ],
)
def test_display_name_holds_no_folder_and_no_control_character(filename: str | None, name: str) -> None:
    assert display_name(filename, "train") == name


def test_a_byte_order_mark_counts_only_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(codecs.BOM_UTF8 + b"a\n" + codecs.BOM_UTF8 + b"b")
    assert list(SourceFile("f", path).lines()) == ["a\n", "\ufeffb"]


@pytest.mark.parametrize(
    ("content", "task"),
    [
        ("text,label\nred," + "x" * 5_000 + "\n", TaskName.CLASSIFICATION),
        ("y" * 100_000 + "\n", TaskName.CLASSIFICATION),
        ("Ada B-" + "x" * 5_000 + "\n", TaskName.TAGGING),
    ],
)
def test_a_refusal_is_short_however_long_the_value(tmp_path: Path, content: str, task: TaskName) -> None:
    _, problems = read(tmp_path, content, task)

    assert problems.kept
    assert all(len(str(problem.to_json())) < 1_000 for problem in problems.kept)


def test_entity_tags_in_another_dress_are_refused_line_by_line(tmp_path: Path) -> None:
    _, problems = read(tmp_path, "Ada B_PER\nByron I_PER\nsang O\n", TaskName.TAGGING)

    assert places(problems.kept) == [
        ("unknown_tag_form", "train.csv", 1, "tag"),
        ("unknown_tag_form", "train.csv", 2, "tag"),
    ]
    assert "write B-PER" in problems.kept[0].message
