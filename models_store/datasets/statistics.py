"""What the rows of a data set are like: how many of each label, how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.census import Census, numbers
from models_store.datasets.pieces import EncoderLimit, evenly
from models_store.tasks import Row

COUNTED_ROWS = 10_000  # of a split, whose word pieces are counted; more would keep the caller waiting
_SCORE_BINS = 10


def of_split(census: Census, rows: NDArray[np.bool_], scores: Sequence[float] = ()) -> dict[str, Any]:
    """Labels, lengths and, of graded pairs, scores of some rows of a split."""
    lengths = numbers(census.lengths)[rows]
    found = {"rows": int(rows.sum()), "labels": _labels(census, rows), "characters": spread(lengths)}
    return {**found, "scores": _scores(np.asarray(scores)[rows])} if len(scores) and rows.any() else found


def _scores(scores: NDArray[np.float64]) -> dict[str, Any]:
    """Smallest, mean, largest; and a histogram of bins of one width."""
    counts, edges = np.histogram(scores, _SCORE_BINS)
    ranges = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
    return {
        "min": float(scores.min()),
        "mean": float(scores.mean()),
        "max": float(scores.max()),
        "histogram": [{"lower": lower, "upper": upper, "rows": rows} for lower, upper, rows in ranges],
    }


def _labels(census: Census, rows: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """In how many rows each label stands; tags by their entity, once a row."""
    if not len(census.vocabulary.names) or not len(census.labels):
        return []
    owners = census.owners()
    kept = rows[owners]
    names = [name.partition("-")[2] or name if census.tagged else name for name in census.vocabulary.names]
    order, number_of = np.unique(names, return_inverse=True)
    pairs = np.unique(owners[kept] * len(order) + number_of[numbers(census.labels)[kept]])
    counts = np.bincount(pairs % len(order), minlength=len(order))
    found = [{"label": name, "rows": int(count)} for name, count in zip(order.tolist(), counts, strict=True) if count]
    return sorted(found, key=lambda one: (-one["rows"], one["label"]))


def spread(lengths: NDArray[np.int64]) -> dict[str, Any]:
    """Smallest, median, 95th and 99th percentile, largest, mean; and a histogram whose bins double in width."""
    if not len(lengths):
        return {"min": 0, "median": 0, "p95": 0, "p99": 0, "max": 0, "mean": 0.0, "histogram": []}
    quantiles = np.quantile(lengths, [0.5, 0.95, 0.99], method="inverted_cdf")
    bins = np.ceil(np.log2(np.maximum(lengths, 1))).astype(int)
    counts = np.bincount(bins)
    first = int(bins.min())
    histogram = [{"up_to": 2**power, "rows": int(counts[power])} for power in range(first, len(counts))]
    return {
        "min": int(lengths.min()),
        **dict(zip(("median", "p95", "p99"), map(int, quantiles), strict=True)),
        "max": int(lengths.max()),
        "mean": round(float(lengths.mean()), 1),
        "histogram": histogram,
    }


def of_pieces(rows: Sequence[Row], limit: EncoderLimit) -> dict[str, Any]:
    """Lengths in word pieces, those that the encoder adds included; of a large split those of evenly drawn rows."""
    chosen = evenly(len(rows), COUNTED_ROWS)
    lengths = limit.lengths(rows, chosen.tolist())
    longer = chosen[lengths > limit.most]
    return {
        **spread(lengths),
        "counted_rows": len(lengths),
        "longer_than_encoder": {"max_length": limit.most, "rows": len(longer), "examples": longer[:20].tolist()},
    }
