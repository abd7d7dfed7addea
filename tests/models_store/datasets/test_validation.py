"""What the rows of all files say together: label spaces, contradictions between files, warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models_store.datasets.census import loose_key, row_key
from models_store.datasets.report import Report
from models_store.datasets.validation import Findings, examine, warnings
from models_store.errors import ProblemList
from models_store.tasks import TaskName
from tests.models_store.datasets.files import places
from tests.models_store.datasets.reading import collected

CLASSIFICATION, SIMILARITY, TAGGING = TaskName.CLASSIFICATION, TaskName.SIMILARITY, TaskName.TAGGING


def examined(folder: Path, task: TaskName, **files: str) -> tuple[Findings, ProblemList]:
    report = Report()
    splits = collected(folder, task, files, report)
    return examine(task, splits, report), report.errors


def pairs(answers: str, column: str = "score") -> str:
    rows = "".join(f"a{i},b{i},{answer}\n" for i, answer in enumerate(answers.split()))
    return f"text,text_pair,{column}\n{rows}"


def conll(*sentences: str) -> str:
    return "\n\n".join("\n".join(pair.replace("/", " ") for pair in s.split()) for s in sentences) + "\n"


@pytest.mark.parametrize(
    ("task", "train", "schema", "labels"),
    [
        (
            CLASSIFICATION,
            "text,label\nx,b\ny,a\nz,b\n",
            {"task": "classification", "labels": ["a", "b"]},
            [{"label": "b", "count": 2}, {"label": "a", "count": 1}],
        ),
        (SIMILARITY, pairs("5 0.5 3"), {"task": "similarity", "score_range": [0.5, 5.0]}, []),
        (
            SIMILARITY,
            pairs("no yes no", "label"),
            {"task": "similarity", "labels": ["no", "yes"]},
            [{"label": "no", "count": 2}, {"label": "yes", "count": 1}],
        ),
        (
            TAGGING,
            conll("Ada/I-PER met/O Bob/I-PER", "in/O York/I-LOC"),
            {
                "task": "tagging",
                "tags": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"],
                "scheme": "io",
                "splitter": {"joiners": "", "prefixes": ""},
            },
            [{"label": "PER", "count": 2}, {"label": "LOC", "count": 1}],
        ),
        (
            TAGGING,
            conll("a/DET b/NOUN c/NOUN"),
            {
                "task": "tagging",
                "tags": ["DET", "NOUN"],
                "scheme": "plain",
                "splitter": {"joiners": "", "prefixes": ""},
            },
            [{"label": "NOUN", "count": 2}, {"label": "DET", "count": 1}],
        ),
    ],
)
def test_label_space(
    tmp_path: Path, task: TaskName, train: str, schema: dict[str, Any], labels: list[dict[str, Any]]
) -> None:
    findings, problems = examined(tmp_path, task, train=train)
    assert problems.kept == []
    assert (findings.schema, findings.labels) == (schema, labels)


@pytest.mark.parametrize(
    ("task", "files", "place"),
    [
        (CLASSIFICATION, {"train": "review,topic\nx,a\ny,a\n"}, ("single_class", "train.csv", None, "topic")),
        (
            CLASSIFICATION,
            {"train": "text,label\nx,a\ny,b\n", "test": 'text,category\n"z\nz",a\nz,c\n'},
            ("unknown_label", "test.csv", 4, "category"),
        ),
        (SIMILARITY, {"train": pairs("2 2 2")}, ("constant_score", "train.csv", None, "score")),
        (
            SIMILARITY,
            {"train": pairs(" ".join(str(i / 10) for i in range(30)), "label")},
            ("label_looks_like_score", "train.csv", None, "label"),
        ),
        (SIMILARITY, {"train": pairs("yes yes", "label")}, ("single_class", "train.csv", None, "label")),
        (
            SIMILARITY,
            {"train": pairs("1 2"), "validation": pairs("1 0", "label")},
            ("other_columns", "validation.csv", 1, None),
        ),
        (
            SIMILARITY,
            {"train": pairs("1 0", "label"), "validation": pairs("1 2")},
            ("other_columns", "validation.csv", 1, None),
        ),
        (TAGGING, {"train": conll("a/O b/O")}, ("single_class", "train.csv", None, None)),
        (TAGGING, {"train": conll("a/X b/X")}, ("single_class", "train.csv", None, None)),
        (
            TAGGING,
            {"train": conll("a/B-X b/O"), "test": conll("a/O", "a/O b/B-Y")},
            ("unknown_label", "test.csv", 4, "tag"),
        ),
        (
            TAGGING,
            {"train": conll("a/B-X b/O"), "test": conll("a/DET b/NOUN")},
            ("other_scheme", "test.csv", None, "tag"),
        ),
    ],
)
def test_what_would_spoil_the_training(
    tmp_path: Path, task: TaskName, files: dict[str, str], place: tuple[str, str, int | None, str | None]
) -> None:
    _, problems = examined(tmp_path, task, **files)
    assert places(problems.kept) == [place]


def test_schemes_may_differ_between_files_that_mean_the_same(tmp_path: Path) -> None:
    _, problems = examined(
        tmp_path, TAGGING, train=conll("a/B-X b/I-X c/O"), validation=conll("a/S-X b/O"), test=conll("a/I-X b/O")
    )
    assert problems.kept == []


def test_a_test_file_without_any_entity_is_fine(tmp_path: Path) -> None:
    _, problems = examined(tmp_path, TAGGING, train=conll("a/B-X b/O"), test=conll("a/O b/O"))
    assert problems.kept == []


# ---- warnings -------------------------------------------------------------------------------------------------------


def noted(folder: Path, task: TaskName, **files: str) -> list[tuple[str, str, list[int]]]:
    """Warnings but for that of labels with few rows, which all labels of such small files have."""
    found = warnings(collected(folder, task, files, Report()))
    return [(w["code"], w["file"], w["lines"]) for w in found if w["code"] != "rare_label"]


def test_repeated_rows(tmp_path: Path) -> None:
    """Case and blanks make no difference; the first occurrence is none."""
    assert noted(tmp_path, CLASSIFICATION, train="text,label\nGood day,a\nx,b\n good  DAY,a\nx,b\n") == [
        ("duplicate_rows", "train.csv", [4, 5])
    ]


def test_contradictory_rows_are_all_named(tmp_path: Path) -> None:
    assert noted(tmp_path, CLASSIFICATION, train="text,label\nx,a\ny,a\nX,b\n") == [
        ("duplicate_rows", "train.csv", [4]),
        ("contradictory_labels", "train.csv", [2, 4]),
    ]


def test_rows_shared_between_splits(tmp_path: Path) -> None:
    files = {
        "train": "text,label\nx,a\ny,b\n",
        "validation": "text,label\nz,a\nx,a\n",
        "test": "text,label\nq,a\nZ,b\n",
    }
    assert noted(tmp_path, CLASSIFICATION, **files) == [
        ("rows_shared_between_splits", "validation.csv", [3]),
        ("rows_shared_between_splits", "test.csv", [3]),
        ("contradictory_labels", "test.csv", [3]),  # the validation file says that z is an a
    ]


def test_warnings_of_pairs_and_sentences(tmp_path: Path) -> None:
    assert noted(tmp_path, SIMILARITY, train="text,text_pair,score\na,b,1\na,c,1\na,b,2\n") == [
        ("duplicate_rows", "train.csv", [4]),
        ("contradictory_labels", "train.csv", [2, 4]),
    ]
    assert noted(tmp_path, TAGGING, train=conll("a/B-X b/O", "a/O b/B-X", "b/O")) == [
        ("duplicate_rows", "train.csv", [4]),
        ("contradictory_labels", "train.csv", [1, 4]),
    ]


def test_a_warning_counts_all_lines_and_lists_the_first_twenty(tmp_path: Path) -> None:
    (warning,) = warnings(collected(tmp_path, CLASSIFICATION, {"train": "text,label\n" + "x,a\n" * 50}, Report()))
    assert warning["message"].startswith("49 row(s)")
    assert warning["lines"] == list(range(3, 23))


def test_clean_data_give_no_warning(tmp_path: Path) -> None:
    assert noted(tmp_path, CLASSIFICATION, train="text,label\nx,a\ny,b\n", test="text,label\nz,a\n") == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"text": "A  b"}, {"text": "a b "}, True),
        ({"text": "a", "text_pair": "b"}, {"text": "b", "text_pair": "a"}, False),
        ({"text": "a b", "text_pair": ""}, {"text": "a", "text_pair": "b"}, False),
        ({"tokens": ["a", "b"]}, {"tokens": ["a  b"]}, True),
    ],
)
def test_row_key(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    assert (row_key(one) == row_key(other)) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("well, yes!", "Well yes", True),
        ("(a) – b…", "a b", True),
        ("की", "का", False),  # vowels of their own
        ("C#", "C", False),
        ("C++", "C", False),
        ("1.5", "15", False),
        ("-5", "5", False),
        ("5.", "5", True),
        ("fine 👍", "fine 👎", False),
        ("!!", "??", False),
    ],
)
def test_loose_key(one: str, other: str, same: bool) -> None:
    keys = [loose_key(row_key({"text": text})) for text in (one, other)]
    assert (keys[0] == keys[1]) is same
