"""What the rows of a data set are like: how many of each label, how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models_store.datasets.census import Census, numbers
from models_store.tasks import Row

COUNTED_ROWS = 10_000  # of a split, whose word pieces are counted; more would keep the caller waiting
_AT_A_TIME = 1_000


def of_split(census: Census, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Labels and lengths of some rows of a split."""
    lengths = numbers(census.lengths)[rows]
    return {"rows": int(rows.sum()), "labels": _labels(census, rows), "characters": spread(lengths)}


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


def of_pieces(rows: Sequence[Row], tokenizer: Tokenizer, most: int) -> dict[str, Any]:
    """Lengths in word pieces, those that the encoder adds included, of a split or of evenly drawn rows of a large one.

    Args:
        rows: The split.
        tokenizer: The encoder's, which must not truncate.
        most: What the encoder reads at once.
    """
    chosen = np.unique(np.linspace(0, len(rows) - 1, COUNTED_ROWS).astype(int)) if len(rows) > COUNTED_ROWS else None
    indices = range(len(rows)) if chosen is None else chosen.tolist()
    lengths = np.asarray(list(_piece_counts(rows, indices, tokenizer)), np.int64)
    longer = [int(index) for index, length in zip(indices, lengths, strict=True) if length > most]
    return {
        **spread(lengths),
        "counted_rows": len(lengths),
        "longer_than_encoder": {"max_length": most, "rows": len(longer), "examples": longer[:20]},
    }


def _piece_counts(rows: Sequence[Row], indices: Sequence[int], tokenizer: Tokenizer) -> Iterator[int]:
    for first in range(0, len(indices), _AT_A_TIME):
        inputs = [_input(rows[index]) for index in indices[first : first + _AT_A_TIME]]
        is_words = bool(inputs) and isinstance(inputs[0], list)
        for encoding in tokenizer.encode_batch(inputs, is_pretokenized=is_words):
            yield len(encoding.ids)


def _input(row: Row) -> Any:
    if "tokens" in row:
        return row["tokens"]
    return (row["text"], row["text_pair"]) if "text_pair" in row else row["text"]
