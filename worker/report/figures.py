"""Counts that figures of any task are made of. They grow with the labels, not with the rows."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from models_store.reports import ClassFigures, Confusion, Reliability, ReliabilityBin, WorstError

WORST_ERRORS = 50
CONFUSION_LABELS = 50  # a larger matrix is for nobody's eyes
RELIABILITY_BINS = 15  # as many as `expected_calibration_error` uses
OTHER = "other"
_TEXT_CHARACTERS = 1_000


class Confusions:
    """Counts pairs of a true and a predicted label; None where there was none on that side."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[str | None, str | None]] = Counter()

    def add(self, true: str | None, predicted: str | None) -> None:
        """Count a pair."""
        self._pairs[true, predicted] += 1

    def classes(self, labels: Sequence[str]) -> list[ClassFigures]:
        """Precision, recall and F1 of each label; 0 where a figure would be 0 / 0."""
        true, predicted = self._totals()
        return [_class_figures(label, self._pairs[label, label], true[label], predicted[label]) for label in labels]

    def matrix(self, labels: Sequence[str], *, paired: bool, limit: int = CONFUSION_LABELS) -> Confusion:
        """Rows true, columns predicted; beyond ``limit`` labels, the rarest become one.

        Args:
            labels: All there are, in the order wanted.
            paired: Whether every true label has a predicted one, so that none can be missed or spurious.
            limit: How many of them to tell apart.
        """
        true, _ = self._totals()
        frequent = set(sorted(labels, key=lambda label: -true[label])[:limit])
        kept = [label for label in labels if label in frequent]
        folded = len(labels) - len(kept)
        place = dict.fromkeys(labels, len(kept)) | {label: index for index, label in enumerate(kept)}
        size = len(kept) + bool(folded)
        counts = np.zeros((size + 1, size + 1), dtype=np.int64)  # the last ones are for "none"
        for (a, b), count in self._pairs.items():
            counts[size if a is None else place[a], size if b is None else place[b]] += count
        return Confusion(
            labels=kept + [OTHER] * bool(folded),
            counts=counts[:-1, :-1].tolist(),
            folded=folded,
            missed=None if paired else counts[:-1, -1].tolist(),
            spurious=None if paired else counts[-1, :-1].tolist(),
        )

    def _totals(self) -> tuple[Counter[str | None], Counter[str | None]]:
        true: Counter[str | None] = Counter()
        predicted: Counter[str | None] = Counter()
        for (a, b), count in self._pairs.items():
            true[a] += count
            predicted[b] += count
        return true, predicted


def _class_figures(label: str, hits: int, true: int, predicted: int) -> ClassFigures:
    return ClassFigures(
        label=label,
        precision=hits / predicted if predicted else 0.0,
        recall=hits / true if true else 0.0,
        f1=2 * hits / (true + predicted) if true + predicted else 0.0,
        support=true,
    )


class ReliabilityCurve:
    """Answers by their confidence, in equally wide intervals (Guo et al. 2017, arXiv 1706.04599)."""

    def __init__(self, unit: Literal["row", "word", "label"], bins: int = RELIABILITY_BINS) -> None:
        self._unit = unit
        self._counts, self._rights, self._sums = [0] * bins, [0] * bins, [0.0] * bins

    def add(self, confidence: float, *, right: bool) -> None:
        """Count an answer; confidence in 0…1."""
        bins = len(self._counts)
        index = min(int(confidence * bins), bins - 1)
        self._counts[index] += 1
        self._rights[index] += right
        self._sums[index] += confidence

    def figures(self) -> Reliability | None:
        """The curve and the expected calibration error; None without any answer."""
        total, bins = sum(self._counts), len(self._counts)
        if not total:
            return None
        rows = list(zip(self._counts, self._rights, self._sums, strict=True))
        return Reliability(
            unit=self._unit,
            ece=sum(abs(confidence - right) for _, right, confidence in rows) / total,
            bins=[
                ReliabilityBin(
                    lower=index / bins,
                    upper=(index + 1) / bins,
                    count=count,
                    confidence=confidence / count if count else None,
                    accuracy=right / count if count else None,
                )
                for index, (count, right, confidence) in enumerate(rows)
            ],
        )


class WorstErrors:
    """Counts all wrong answers and keeps the worst of them; of equally bad ones, the earlier."""

    def __init__(self, limit: int = WORST_ERRORS) -> None:
        self._limit = limit
        self._kept: list[tuple[float, int, WorstError]] = []
        self.count = 0

    def add(self, score: float, row: int, describe: Callable[[], WorstError]) -> None:
        """Take a wrong answer in; it is described only if it is to be kept."""
        self.count += 1
        if len(self._kept) == self._limit and (score, -row) < self._kept[0][:2]:
            return
        heapq.heappush(self._kept, (score, -row, describe()))
        if len(self._kept) > self._limit:
            heapq.heappop(self._kept)

    def listed(self) -> list[WorstError]:
        """The worst first."""
        return [error for _, _, error in sorted(self._kept, key=lambda kept: kept[:2], reverse=True)]


def shortened(text: str, limit: int = _TEXT_CHARACTERS) -> str:
    """The text, or its beginning with … at the end."""
    return text if len(text) <= limit else text[:limit] + "…"
