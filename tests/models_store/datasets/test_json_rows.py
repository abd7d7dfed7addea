"""JSON Lines and JSON arrays → rows with their physical lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models_store.errors import ProblemList, UnreadableFileError
from models_store.tasks import TaskName
from tests.models_store.datasets.files import places, source
from tests.models_store.datasets.reading import Whole as Table
from tests.models_store.datasets.reading import read_whole


def read(folder: Path, content: str, task: TaskName = TaskName.CLASSIFICATION) -> tuple[Table, ProblemList]:
    return read_whole(source(folder, content, "train.json"), task)


def located(table: Table) -> list[tuple[int, Any, Any]]:
    return [(row.line, row.values["text"], row.values["label"]) for row in table.rows]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ('{"text": "grün", "label": "a"}\n\n{"label": "b", "text": "blue\\nsky", "id": 7}\n', (1, 3)),
        ('\ufeff{"text": "grün", "label": "a"}\r\n{"text": "blue\\nsky", "label": "b"}', (1, 2)),
        ('[{"text": "grün", "label": "a"}, {"text": "blue\\nsky", "label": "b"}]', (1, 2)),
        ('\n[\n {"text": "grün",\n  "label": "a"},\n {"text": "blue\\nsky", "label": "b"}\n]\n', (3, 5)),
        ('{\n"text": "grün",\n"label": "a"\n}\n{"text": "blue\\nsky", "label": "b"}\n', (1, 5)),
    ],
)
def test_dialects(tmp_path: Path, content: str, lines: tuple[int, int]) -> None:
    table, problems = read(tmp_path, content)
    assert problems.kept == []
    assert located(table) == [(lines[0], "grün", "a"), (lines[1], "blue\nsky", "b")]
    assert (table.format, table.multi_label, table.columns) == ("json", False, {"text": "text", "label": "label"})


def test_numbers_and_truths_are_labels_and_scores(tmp_path: Path) -> None:
    table, _ = read(tmp_path, '{"text": "x", "label": 1}\n{"text": "y", "label": true}\n')
    assert located(table) == [(1, "x", "1"), (2, "y", "true")]
    pairs = '{"sentence1": "x", "sentence2": "y", "score": 2.5}\n'
    graded, problems = read(tmp_path, pairs + pairs.replace("2.5", "NaN"), TaskName.SIMILARITY)
    assert [row.values["score"] for row in graded.rows] == [2.5]
    assert places(problems.kept) == [("invalid_score", "train.json", 2, "score")]


@pytest.mark.parametrize(
    ("row", "code", "column"),
    [
        ('{"text": "x"}', "missing_label", "label"),
        ('{"text": null, "label": "a"}', "missing_text", "text"),
        ('{"text": "x", "label": " "}', "missing_label", "label"),
        ('{"text": ["x"], "label": "a"}', "not_a_text", "text"),
        ('{"text": "x", "label": {"name": "a"}}', "not_a_text", "label"),
        ('{"text": "x", "label": ["a"]}', "mixed_labels", "label"),
        ('{"text": "half \\\\ud83d", "label": "a"}'.replace("\\\\", "\\"), "invalid_text", "text"),
        ('{"text": "nul \\u0000", "label": "a"}', "nul_byte", "text"),
        ('["x", "a"]', "not_an_object", None),
    ],
)
def test_bad_rows_are_placed_and_the_others_read(tmp_path: Path, row: str, code: str, column: str | None) -> None:
    good = '{"text": "x", "label": "a"}\n'
    table, problems = read(tmp_path, f"{good}{row}\n{good}")
    assert places(problems.kept) == [(code, "train.json", 2, column)]
    assert [row.line for row in table.rows] == [1, 3]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('{"text": "x", "label": }\n{"text": "y", "label": "a"}\n', 1),
        ('{"text": "x",\n"label": "a"}\n{"text": "y"', 3),
        ('[{"text": "x", "label": "a"}\n{"text": "y", "label": "b"}]', 2),
        ('[{"text": "x", "label": "a"},\n', 2),
        ('[{"text": "x", "label": "a"}]\n{"text": "y", "label": "b"}', 2),
        ('{"text": ' + "[" * 100_000, 1),
        ('{"text": "x", "label": ' + "9" * 10_000 + "}", 1),
    ],
)
def test_what_is_no_json_is_placed(tmp_path: Path, content: str, line: int) -> None:
    with pytest.raises(UnreadableFileError) as caught:
        read(tmp_path, content)
    assert places(caught.value.problems) == [("malformed_json", "train.json", line, None)]


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "y", "label": }',
        '{"text": "y"',
        "[" * 100_000,
        '{"text": "x", "label": ' + "9" * 10_000 + "}",
        "no JSON",
        '{"text": "' + "y" * 1_000_000,
    ],
)
def test_a_broken_line_among_others_is_a_wrong_row(tmp_path: Path, line: str) -> None:
    good = '{"text": "x", "label": "a"}\n'
    table, problems = read(tmp_path, f"{good}{line}\n{good}{line}")
    assert places(problems.kept) == [
        ("malformed_json", "train.json", 2, None),
        ("malformed_json", "train.json", 4, None),
    ]
    assert all(problem.value and line.startswith(problem.value.rstrip("…")) for problem in problems.kept)
    assert [row.line for row in table.rows] == [1, 3]


def test_a_file_of_lists_is_told_what_a_row_looks_like(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="every row is an object in braces"):
        read(tmp_path, '["x", "a"]\n["y", "b"]\n')


def test_the_first_objects_together_say_what_columns_there_are(tmp_path: Path) -> None:
    table, problems = read(tmp_path, '{"text": "x"}\n{"text": "y", "label": "b"}\n')
    assert places(problems.kept) == [("missing_label", "train.json", 1, "label")]
    assert located(table) == [(2, "y", "b")]


def test_a_column_that_is_missing_is_told_with_those_there_are(tmp_path: Path) -> None:
    _, problems = read(tmp_path, '{"words": "x", "label": "a"}\n')
    assert places(problems.kept) == [("missing_column", "train.json", 1, "text")]
    assert "the header has 'words', 'label'" in problems.kept[0].message


def test_a_column_that_is_no_text_cannot_be_named(tmp_path: Path) -> None:
    content = json.dumps({"text": "x", "label": "a", "\ud83d": 1})
    assert located(read(tmp_path, content)[0]) == [(1, "x", "a")]
