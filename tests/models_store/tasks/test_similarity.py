"""Similarity: a graded score for a pair of texts, or a label such as yes/no."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from models_store.tasks import PredictOptions, task_from_config
from models_store.tasks.base import Encoded, ObjectiveName
from models_store.tasks.similarity import SimilarityTask, TextPair

GRADED = SimilarityTask(score_range=(1.0, 5.0))
YES_NO = SimilarityTask(labels=("different", "duplicate"))
PAIR = TextPair("a", "b")
ANY = Encoded([101, 102], [0, 0], truncated=False)


def test_shape_of_the_task() -> None:
    assert (GRADED.graded, GRADED.n_outputs, GRADED.primary_metric) == (True, 1, "spearman")
    assert (YES_NO.graded, YES_NO.n_outputs, YES_NO.primary_metric) == (False, 2, "accuracy")
    assert (GRADED.ranks_labels, YES_NO.ranks_labels) == (False, True)
    assert (GRADED.objective, YES_NO.objective) == (ObjectiveName.GRADED, ObjectiveName.CROSS_ENTROPY)


def test_a_pair_is_taken_as_sent() -> None:
    assert GRADED.parse({"text": "How?", "text_pair": " Why?"}) == TextPair("How?", " Why?")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("a", "expected an object"),
        (["a", "b"], "expected an object"),
        ({"text": "a"}, "expected an object"),
        ({"text": "a", "text_pair": "b", "extra": 1}, "expected an object"),
        ({"text": 1, "text_pair": "b"}, "^text is not a text"),
        ({"text": "a", "text_pair": None}, "^text_pair is not a text"),
        ({"text": " ", "text_pair": "b"}, "^text is empty"),
        ({"text": "a", "text_pair": ""}, "^text_pair is empty"),
    ],
)
def test_what_is_no_pair_is_refused(item: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GRADED.parse(item)


def test_both_texts_are_read_together_and_the_longer_is_cut(tokenizer_of: Callable[[int], Tokenizer]) -> None:
    short, long = YES_NO.encode(
        tokenizer_of(8), [TextPair("one", "two"), TextPair("one two three four five six seven", "two")]
    )
    assert (short.input_ids, short.type_ids, short.truncated) == ([101, 2028, 102, 2048, 102], [0, 0, 0, 1, 1], False)
    assert (len(long), long.type_ids, long.truncated) == (8, [0, 0, 0, 0, 0, 0, 1, 1], True)


@pytest.mark.parametrize(("score", "target"), [(1.0, 0.0), (5.0, 1.0), (2.0, 0.25), (0.0, 0.0), (9.0, 1.0)])
def test_target_is_the_score_on_a_scale_of_0_to_1(score: float, target: float) -> None:
    """A score of another split that lies outside the training range counts as its end."""
    value = GRADED.target({"text": "a", "text_pair": "b", "score": score}, ANY)
    assert value == target
    assert type(value) is float


def test_target_of_a_label_is_its_index() -> None:
    assert YES_NO.target({"text": "a", "text_pair": "b", "label": "duplicate"}, ANY) == 1


@given(st.floats(-1e4, 1e4, width=32))
def test_a_graded_answer_stays_in_the_range_of_the_data(logit: float) -> None:
    prediction = GRADED.decode(np.array([logit], dtype=np.float32), PAIR, ANY, PredictOptions())
    assert list(prediction) == ["score"]
    assert 1.0 <= prediction["score"] <= 5.0


def test_a_graded_answer_undoes_the_target() -> None:
    logit = np.log(0.25 / 0.75)
    prediction = GRADED.decode(np.array([logit], dtype=np.float32), PAIR, ANY, PredictOptions())
    assert prediction["score"] == pytest.approx(2.0)


def test_a_yes_no_answer_has_label_and_probability() -> None:
    logits = np.log(np.array([0.1, 0.9], dtype=np.float32))
    assert YES_NO.decode(logits, PAIR, ANY, PredictOptions()) == {"label": "duplicate", "score": pytest.approx(0.9)}


@pytest.mark.parametrize(
    ("labels", "positive"),
    [
        (("0", "1"), "1"),
        (("different", "duplicate"), "duplicate"),
        (("Yes", "no"), "Yes"),
        (("entailment", "not_entailment"), "entailment"),
        (("alpha", "beta"), "beta"),
        (("a", "b", "c"), None),
    ],
)
def test_the_label_that_means_alike(labels: tuple[str, ...], positive: str | None) -> None:
    assert SimilarityTask(labels=labels).positive == positive


def test_scores_of_both_kinds() -> None:
    rows = [{"text": "a", "text_pair": "b", "score": score} for score in (1.0, 2.0, 4.0)]
    logits = [np.array([value], dtype=np.float32) for value in (-3, 0, 2)]
    metrics = GRADED.score(logits, rows, [ANY] * 3)
    assert metrics["spearman"] == pytest.approx(1.0)
    assert 0.9 < metrics["pearson"] < 1.0

    rows = [{"text": "a", "text_pair": "b", "label": label} for label in ("duplicate", "duplicate", "different")]
    logits = [np.array(pair, dtype=np.float32) for pair in ((0, 1), (1, 0), (1, 0))]
    metrics = YES_NO.score(logits, rows, [ANY] * 3)
    assert (metrics["accuracy"], metrics["precision"], metrics["recall"]) == pytest.approx((2 / 3, 1.0, 0.5))


@pytest.mark.parametrize("task", [GRADED, YES_NO])
def test_config_round_trip(task: SimilarityTask) -> None:
    assert task_from_config(task.to_config()) == task
