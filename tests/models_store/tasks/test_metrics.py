"""Metrics under their usual names, with values that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models_store.tasks.metrics import correlation_metrics, entity_metrics, label_metrics, token_accuracy


def test_label_metrics() -> None:
    metrics = label_metrics(["a", "a", "b", "c"], ["a", "b", "b", "b"])
    assert metrics == {"accuracy": 0.5, "f1_macro": pytest.approx((2 / 3 + 1 / 2 + 0) / 3)}


def test_positive_label_adds_its_own_f1() -> None:
    metrics = label_metrics(["1", "1", "0", "0"], ["1", "0", "1", "0"], positive="1")
    assert metrics == {"accuracy": 0.5, "f1_macro": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5}


def test_positive_label_that_never_occurs_scores_zero() -> None:
    metrics = label_metrics(["0", "0"], ["0", "0"], positive="1")
    assert metrics == {"accuracy": 1.0, "f1_macro": 1.0, "precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_correlation_sees_rank_and_line() -> None:
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    metrics = correlation_metrics(truth, np.exp(truth))
    assert metrics["spearman"] == pytest.approx(1.0)
    assert metrics["pearson"] < 0.95
    assert correlation_metrics(truth, -truth)["pearson"] == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("truth", "predicted"), [([1.0, 1.0], [0.0, 1.0]), ([0.0, 1.0], [1.0, 1.0]), ([1.0], [1.0]), ([], [])]
)
def test_correlation_that_is_not_defined_is_zero(truth: list[float], predicted: list[float]) -> None:
    assert correlation_metrics(np.array(truth), np.array(predicted)) == {"spearman": 0.0, "pearson": 0.0}


@pytest.mark.parametrize(
    ("predicted", "precision", "recall", "f1"),
    [
        ("B-PER I-PER O B-LOC", 1.0, 1.0, 1.0),
        ("B-PER O O B-LOC", 0.5, 0.5, 0.5),  # one end is wrong
        ("B-LOC I-LOC O B-LOC", 0.5, 0.5, 0.5),  # the label is wrong
        ("O O O B-LOC", 1.0, 0.5, 2 / 3),
        ("B-PER I-PER B-PER B-LOC", 2 / 3, 1.0, 0.8),
        ("O O O O", 0.0, 0.0, 0.0),
    ],
)
def test_an_entity_counts_only_when_label_and_both_ends_are_right(
    predicted: str, precision: float, recall: float, f1: float
) -> None:
    metrics = entity_metrics([["B-PER", "I-PER", "O", "B-LOC"]], [predicted.split()])
    assert (metrics["precision"], metrics["recall"], metrics["f1"]) == pytest.approx((precision, recall, f1))


def test_same_span_in_another_sentence_is_no_hit() -> None:
    metrics = entity_metrics([["B-PER", "O"], ["O", "O"]], [["O", "O"], ["B-PER", "O"]])
    assert metrics == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 0.5}


def test_token_accuracy_is_over_words_not_sentences() -> None:
    assert token_accuracy([["a"], ["a", "b", "c"]], [["x"], ["a", "b", "c"]]) == 0.75
    assert token_accuracy([], []) == 0.0
