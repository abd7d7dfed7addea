"""Cutting a validation split off the training rows: stratified, grouped, the same every time."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.census import Census, Groups, grouped, numbers
from models_store.datasets.rows import SPLIT_SEED

_MAX_VALIDATION_ROWS = 5_000
_FEW_ROWS = 20  # with one set of labels; fewer would hardly give their share


def validation_size(rows: int) -> int:
    """A tenth of the rows; for small data up to a fifth, because a metric over a few rows says little."""
    return min(_MAX_VALIDATION_ROWS, max(round(0.1 * rows), min(round(0.2 * rows), 100), 1))


def split_off_validation(census: Census, seed: int = SPLIT_SEED) -> list[int]:
    """Which rows to validate with, in ascending order.

    Rows with the same text, or nearly, stay together, so that none is trained on and validated with; each label gives
    its share, and a label that stands on one text alone stays in training.

    Returns:
        Nothing only where no text can be spared: there is but one, or each carries a label of its own.
    """
    groups = grouped(census.loose)
    strata: defaultdict[str, list[int]] = defaultdict(list)
    stratum = _Strata(census)
    for group, first in enumerate(groups.firsts.tolist()):
        strata[stratum.of(first)].append(group)

    shuffled = random.Random(seed)  # noqa: S311 (a split, not a secret)
    spared = _Spared(census, groups)
    sizes = groups.sizes.tolist()
    size = validation_size(len(census))
    owed = 0.0  # rows that earlier strata were too small to give
    for name in sorted(strata):
        members = strata[name]
        shuffled.shuffle(members)
        owed += size / len(census) * sum(sizes[group] for group in members)
        for group in members[1:]:  # the first group always stays in training
            if owed < sizes[group] * 0.5:
                break
            if spared.take(group):
                owed -= sizes[group]
    if not spared.rows:  # every stratum is too small, as with sentences that all differ in their labels
        for group in sorted((group for name in sorted(strata) for group in strata[name]), key=sizes.__getitem__):
            if len(spared.rows) < size:
                spared.take(group)
    return sorted(spared.rows)


class _Spared:
    """Rows taken out of training as long as it keeps a text of every label."""

    def __init__(self, census: Census, groups: Groups) -> None:
        self._census = census
        self._groups = groups
        self._texts = len(groups)
        self._left = _texts_with(census, groups).tolist()
        self.rows: list[int] = []

    def take(self, group: int) -> bool:
        """Take a group of rows with one text, unless it is the last with one of its labels."""
        rows = self._groups.rows(group)
        labels = {label for row in rows for label in self._census.labels_of(row)}
        if self._texts == 1 or any(self._left[label] == 1 for label in labels):
            return False
        self._texts -= 1
        for label in labels:
            self._left[label] -= 1
        self.rows.extend(rows)
        return True


def _texts_with(census: Census, groups: Groups) -> NDArray[np.int64]:
    """In how many groups each label stands."""
    kinds = len(census.vocabulary.names)
    pairs = np.unique(groups.of[census.owners()] * kinds + numbers(census.labels))
    return np.bincount(pairs % kinds if kinds else pairs, minlength=kinds)


class _Strata:
    """What rows are alike in, so that each kind gives its share of the validation rows.

    Rows with several labels are alike in the whole set of them where it is frequent, and else in their rarest label,
    which is the one that is hardest to share out (after Sechidis et al. 2011, who begin with the rarest, too).
    """

    def __init__(self, census: Census) -> None:
        self._census = census
        self._sets: Counter[Sequence[int]] = Counter()
        if not census.tagged:
            self._sets.update(tuple(census.labels_of(row)) for row in range(len(census)))

    def of(self, row: int) -> str:
        """The name of the row's stratum."""
        if self._census.tagged:
            tags = self._census.names_of(row)
            return ",".join(sorted({tag.partition("-")[2] or "" for tag in tags} - {""})) or "none"
        labels = tuple(self._census.labels_of(row))
        names = [self._census.vocabulary.names[label] for label in labels]
        if self._sets[labels] < _FEW_ROWS:
            names = sorted(names, key=self._census.counts.__getitem__)[:1]
        return "\x1f".join(names)
