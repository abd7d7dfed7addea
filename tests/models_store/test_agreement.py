"""What counts as the same answer: for precisions, answer by answer; for shadows, also between other label spaces."""

from __future__ import annotations

from typing import Any

import pytest

from models_store.agreement import agreement, decides_alike, decision_of
from models_store.tasks import Task
from models_store.tasks.bio import Scheme
from models_store.tasks.classification import ClassificationTask, MultiLabelTask
from models_store.tasks.similarity import SimilarityTask
from models_store.tasks.tagging import TaggingTask
from models_store.tasks.words import WordSplitter

TASKS: dict[str, Task[Any]] = {
    "one": ClassificationTask(("a", "b")),
    "several": MultiLabelTask(("a", "b")),
    "tagging": TaggingTask(("O", "B-PERSON"), Scheme.BIO, WordSplitter()),
    "graded": SimilarityTask(score_range=(0.0, 5.0)),
    "pairs": SimilarityTask(labels=("no", "yes")),
}


def tokens(*tags: str) -> dict[str, Any]:
    return {"tokens": [{"tag": tag, "start": 2 * i, "end": 2 * i + 1} for i, tag in enumerate(tags)]}


def several(*labels: str) -> dict[str, Any]:
    return {"label": "a", "score": 0.4, "labels": [{"label": label, "score": 0.9} for label in labels]}


@pytest.mark.parametrize(
    ("kind", "first", "second", "same"),
    [
        ("one", [{"label": "a"}, {"label": "b"}], [{"label": "a"}, {"label": "a"}], 0.5),
        ("several", [several("a", "b")], [several("a")], 0.0),
        ("tagging", [tokens("O", "O", "B-PERSON"), tokens("O")], [tokens("O", "O", "O"), tokens("O")], 0.75),
        ("graded", [{"score": 1.0}, {"score": 4.0}], [{"score": 1.09}, {"score": 4.11}], 0.5),
        ("pairs", [], [], 0.0),
    ],
)
def test_the_share_of_the_same_answers(kind: str, first: list[Any], second: list[Any], same: float) -> None:
    assert agreement(TASKS[kind], first, second) == same


@pytest.mark.parametrize(
    ("kind", "one", "other", "alike"),
    [
        ("one", {"label": "a", "score": 0.9}, {"label": "a", "score": 0.6}, True),
        ("one", {"label": "a", "score": 0.9}, {"label": "new", "score": 0.9}, False),
        ("several", several("a", "b"), several("b", "a"), True),
        ("several", several(), several(), True),
        ("tagging", tokens("O", "B-PERSON"), tokens("O", "B-PERSON"), True),
        ("tagging", tokens("O", "B-PERSON"), tokens("O", "O"), False),
        ("tagging", tokens("O", "O"), tokens("O"), False),  # a splitter of words that differs
        ("graded", {"score": 2.0}, {"score": 2.09}, True),
        ("graded", {"score": 2.0}, {"score": 2.11}, False),
        # Versions of a name may have been trained on other kinds of data.
        ("one", {"label": "a", "score": 0.4}, several("a"), False),
        ("several", several("a"), {"label": "a", "score": 0.9}, False),
        ("graded", {"score": 0.9}, {"label": "yes", "score": 0.9}, False),
        ("pairs", {"label": "yes", "score": 0.9}, {"score": 0.9}, False),
    ],
)
def test_a_decision_is_the_same_or_not(kind: str, one: Any, other: Any, alike: bool) -> None:
    assert decides_alike(TASKS[kind], one, other) is alike


@pytest.mark.parametrize(
    ("prediction", "decision"),
    [
        ({"label": "a", "score": 0.9}, "a"),
        (several("b", "a"), ["b", "a"]),
        ({**tokens("O", "B-PERSON"), "entities": []}, ["O", "B-PERSON"]),
        ({"score": 2.5}, 2.5),
    ],
)
def test_a_decision_in_short(prediction: Any, decision: Any) -> None:
    assert decision_of(prediction) == decision
