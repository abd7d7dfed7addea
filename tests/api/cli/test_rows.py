"""Rows of a pipe."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from api.cli.rows import (
    Answers,
    Form,
    NoTextError,
    Row,
    UnreadableRowsError,
    UnusableRowError,
    Writer,
    decoded,
    gathered,
    input_of,
    read,
)


@pytest.mark.parametrize(
    ("text", "form", "rows"),
    [
        ('text,n\n"a\nb",1\n', Form.CSV, [{"text": "a\nb", "n": "1"}]),
        ("\ufeffid,text\n1,a\n", Form.CSV, [{"id": "1", "text": "a"}]),
        ('{"text": "a"}\n\n{"text": "b"}\n', Form.JSONL, [{"text": "a"}, {"text": "b"}]),
        ('[{"text": "a"}, "b"]', Form.JSONL, [{"text": "a"}, {"text": "b"}]),
        ("text;n\na;1\n", Form.CSV, [{"text": "a", "n": "1"}]),
        ("Text\tn\na\t1\n", Form.CSV, [{"Text": "a", "n": "1"}]),
        ('\n[\n {"text": "a"},\n "b"\n]\n', Form.JSONL, [{"text": "a"}, {"text": "b"}]),
        ('{"text": NaN}\n', Form.JSONL, [{"text": None}]),
        ("Hello, you\n\nthere\n", Form.LINES, [{"text": "Hello, you"}, {"text": "there"}]),
        ("", Form.LINES, []),
    ],
)
def test_the_form_is_seen(text: str, form: Form, rows: list[dict[str, Any]]) -> None:
    found, read_rows = read(io.StringIO(text, newline=""), None)

    assert (found, list(read_rows)) == (form, rows)


def test_a_form_that_is_named() -> None:
    _, rows = read(["body,n\n", "a,1\n"], Form.CSV)
    assert [input_of(row, {"text": "body"}) for row in rows] == ["a"]
    _, texts = read(['"a"\n'], Form.JSONL)
    assert list(texts) == [{"text": "a"}]


@pytest.mark.parametrize(
    ("lines", "told"),
    [(["{}\n", "{\n"], "line 2 is no JSON"), (["text\n", '"a\n'], "no CSV"), (["[" * 100_000], "line 1")],
)
def test_rows_that_cannot_be_read(lines: list[str], told: str) -> None:
    with pytest.raises(UnreadableRowsError, match=told):
        list(read(lines, None)[1])


def test_bytes_of_another_encoding() -> None:
    assert list(decoded(io.BytesIO("Grüße\n".encode("cp1252")), "cp1252")) == ["Grüße\n"]
    with pytest.raises(UnreadableRowsError, match="--encoding"):
        list(decoded(io.BytesIO(b"a\n\xff\n"), "utf-8"))
    with pytest.raises(typer.BadParameter, match="no encoding"):
        list(decoded(io.BytesIO(b"a\n"), "nothing"))


def test_what_is_asked() -> None:
    rows: list[dict[str, Any]] = [{"text": "a"}, {"text": "a", "text_pair": "b"}, {"tokens": ["a"], "tags": ["O"]}]

    assert [input_of(row, {}) for row in rows] == ["a", {"text": "a", "text_pair": "b"}, ["a"]]
    assert input_of({"Sentence 1": "a", "Sentence 2": "b"}, {}) == {"text": "a", "text_pair": "b"}
    with pytest.raises(NoTextError, match="only body"):
        input_of({"body": "a"}, {})
    with pytest.raises(UnusableRowError, match="half of a surrogate"):
        input_of({"text": "\ud800"}, {})


def test_rows_do_not_wait_for_others() -> None:
    second = threading.Event()

    def rows() -> Iterator[Row]:
        yield {"text": "first"}
        assert second.wait(60)
        yield from ({"text": str(n)} for n in range(5))
        raise UnreadableRowsError("line 7")

    lists = gathered(rows(), 2)
    assert next(lists) == [{"text": "first"}]
    second.set()
    rest = [len(next(lists))]
    while sum(rest) < 5:
        rest.append(len(next(lists)))
    assert max(rest) <= 2
    with pytest.raises(UnreadableRowsError):
        next(lists)


def test_rows_without_an_answer_wait_for_the_columns_of_one() -> None:
    stream = io.StringIO()
    writer = Writer(stream, Answers.CSV)
    writer.write({"text": "", "prediction_error": "empty"}, answered=False)
    writer.write({"text": "a", "predicted_tags": "x"})
    writer.close()
    assert stream.getvalue() == "text,predicted_tags,prediction_error\n,,empty\na,x,\n"

    none = Writer(bare := io.StringIO(), Answers.CSV)
    none.write({"text": "", "prediction_error": "empty"}, answered=False)
    none.close()
    assert bare.getvalue() == "text,prediction_error\n,empty\n"


def test_csv_has_a_place_for_what_has_no_answer() -> None:
    stream = io.StringIO()
    writer = Writer(stream, Answers.CSV)
    writer.write({"text": "a", "predicted_label": "x"})
    writer.write({"text": "b", "predicted_label": None, "prediction_error": "no number"})

    assert stream.getvalue() == "text,predicted_label,prediction_error\na,x,\nb,,no number\n"
