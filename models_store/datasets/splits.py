"""Cutting a validation split off the training rows: stratified, grouped, the same every time."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from models_store.datasets.validation import row_key
from models_store.tasks import Row

SPLIT_SEED = 13
_MAX_VALIDATION_ROWS = 5_000


def validation_size(rows: int) -> int:
    """A tenth of the rows; for small data up to a fifth, because a metric over a few rows says little."""
    return min(_MAX_VALIDATION_ROWS, max(round(0.1 * rows), min(round(0.2 * rows), 100), 1))


def split_off_validation(rows: Sequence[Row]) -> tuple[list[int], list[int]]:
    """Indices of training and validation rows.

    Rows with the same text stay together, so that none is trained on and validated with; each label gives its
    share, and a label that stands on one text alone stays in training.

    Returns:
        Training indices and validation indices, both ascending.
    """
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[row_key(row)].append(index)
    strata: defaultdict[str, list[list[int]]] = defaultdict(list)
    for group in groups.values():
        strata[_stratum(rows[group[0]])].append(group)

    shuffled = random.Random(SPLIT_SEED)  # noqa: S311 (a split, not a secret)
    fraction = validation_size(len(rows)) / len(rows)
    validation: list[int] = []
    owed = 0.0  # rows that earlier strata were too small to give
    for name in sorted(strata):
        members = strata[name]
        shuffled.shuffle(members)
        owed += fraction * sum(len(group) for group in members)
        for group in members[1:]:  # the first group always stays in training
            if owed < len(group) * 0.5:
                break
            validation += group
            owed -= len(group)
    chosen = set(validation)
    return [i for i in range(len(rows)) if i not in chosen], sorted(chosen)


def _stratum(row: Row) -> str:
    if "label" in row:
        return str(row["label"])
    if "tags" in row:
        return ",".join(sorted({tag.partition("-")[2] or "" for tag in row["tags"]} - {""})) or "none"
    return "graded"
