"""Rows of a pipe."""

from __future__ import annotations

import io
from typing import Any

import pytest
import typer

from api.cli.rows import Answers, Form, Writer, inputs_of, read


@pytest.mark.parametrize(
    ("text", "form", "rows"),
    [
        ('text,n\n"a\nb",1\n', Form.CSV, [{"text": "a\nb", "n": "1"}]),
        ("\ufeffid,text\n1,a\n", Form.CSV, [{"id": "1", "text": "a"}]),
        ('{"text": "a"}\n\n{"text": "b"}\n', Form.JSONL, [{"text": "a"}, {"text": "b"}]),
        ('[{"text": "a"}, "b"]', Form.JSONL, [{"text": "a"}, {"text": "b"}]),
        ("Hello, you\n\nthere\n", Form.LINES, [{"text": "Hello, you"}, {"text": "there"}]),
        ("", Form.LINES, []),
    ],
)
def test_the_form_is_seen(text: str, form: Form, rows: list[dict[str, Any]]) -> None:
    found, read_rows = read(io.StringIO(text, newline=""), None)

    assert (found, list(read_rows)) == (form, rows)


def test_a_form_that_is_named() -> None:
    _, rows = read(["body,n\n", "a,1\n"], Form.CSV)
    assert inputs_of(list(rows), {"text": "body"}) == ["a"]
    _, texts = read(['"a"\n'], Form.JSONL)
    assert list(texts) == [{"text": "a"}]


def test_a_line_that_is_not_json() -> None:
    with pytest.raises(typer.BadParameter, match="line 2"):
        list(read(["{}\n", "{\n"], None)[1])


def test_what_is_asked() -> None:
    rows: list[dict[str, Any]] = [{"text": "a"}, {"text": "a", "text_pair": "b"}, {"tokens": ["a"], "tags": ["O"]}]

    assert inputs_of(rows, {}) == ["a", {"text": "a", "text_pair": "b"}, ["a"]]
    with pytest.raises(typer.BadParameter, match="--column text="):
        inputs_of([{"body": "a"}], {})


def test_csv_has_a_place_for_what_has_no_answer() -> None:
    stream = io.StringIO()
    writer = Writer(stream, Answers.CSV)
    writer.write({"text": "a", "predicted_label": "x"})
    writer.write({"text": "b", "predicted_label": None, "prediction_error": "no number"})

    assert stream.getvalue() == "text,predicted_label,prediction_error\na,x,\nb,,no number\n"
