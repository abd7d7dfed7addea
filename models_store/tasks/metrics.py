"""Metrics under their usual names. Only the worker scores, so only it needs scikit-learn and SciPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models_store.tasks.bio import entity_spans


def label_metrics(truth: Sequence[str], predicted: Sequence[str], positive: str | None = None) -> dict[str, float]:
    """``accuracy`` and ``f1_macro``; with a ``positive`` label its ``precision``, ``recall`` and ``f1`` too."""
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    metrics = {
        "accuracy": float(np.mean([a == b for a, b in zip(truth, predicted, strict=True)])),
        "f1_macro": float(f1_score(truth, predicted, average="macro", zero_division=0.0)),
    }
    if positive is not None:
        precision, recall, f1, _ = precision_recall_fscore_support(
            truth, predicted, labels=[positive], average="micro", zero_division=0.0
        )
        metrics.update(precision=float(precision), recall=float(recall), f1=float(f1))
    return metrics


def multi_label_metrics(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> dict[str, float]:
    """``f1_micro``, ``f1_macro`` and ``accuracy`` (all labels of a row right) of decisions (n, n_labels).

    As with one label a row, the macro F1 is the mean over the labels that occur in the truth or in the answers.
    """
    from sklearn.metrics import f1_score

    occur = truth.any(axis=0) | predicted.any(axis=0)
    macro = f1_score(truth[:, occur], predicted[:, occur], average="macro", zero_division=0.0) if occur.any() else 0.0
    return {
        "f1_micro": float(f1_score(truth, predicted, average="micro", zero_division=0.0)),
        "f1_macro": float(macro),
        "accuracy": float((truth == predicted).all(axis=1).mean()),
    }


def correlation_metrics(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    """``spearman`` and ``pearson``; 0 where a side is constant and neither is defined."""
    from scipy.stats import pearsonr, spearmanr

    if len(truth) < 2 or np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return {"spearman": 0.0, "pearson": 0.0}
    values = {
        "spearman": float(spearmanr(truth, predicted).statistic),
        "pearson": float(pearsonr(truth, predicted).statistic),
    }
    return {name: value if math.isfinite(value) else 0.0 for name, value in values.items()}


def entity_metrics(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Micro-averaged ``precision``, ``recall`` and ``f1`` over whole entities, and token ``accuracy``.

    An entity counts when its label and both its ends are right, as in the CoNLL-2003 shared task.
    """
    hits = n_predicted = n_truth = 0
    for gold_tags, tags in zip(truth, predicted, strict=True):
        gold, found = set(entity_spans(gold_tags)), set(entity_spans(tags))
        hits += len(gold & found)
        n_predicted += len(found)
        n_truth += len(gold)
    precision = hits / n_predicted if n_predicted else 0.0
    recall = hits / n_truth if n_truth else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"f1": f1, "precision": precision, "recall": recall, "accuracy": token_accuracy(truth, predicted)}


def expected_calibration_error(probabilities: NDArray[np.float64], targets: NDArray[np.int64], bins: int = 15) -> float:
    """How far the likeliest label's probability is from its share of right answers, on average.

    Args:
        probabilities: (n, n_labels).
        targets: Index of the true label (n,).
        bins: Equally wide intervals of probability (Guo et al. 2017, arXiv 1706.04599).
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    interval = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.abs(np.bincount(interval, weights=confidence - right, minlength=bins))
    return float(gaps.sum() / len(targets))


def token_accuracy(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """The share of words with the right tag."""
    pairs = [(a, b) for x, y in zip(truth, predicted, strict=True) for a, b in zip(x, y, strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else 0.0
