"""Cutting a validation split off the training rows: stratified, grouped, the same every time."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from models_store.datasets.labels import labels_of
from models_store.datasets.validation import row_key
from models_store.tasks import Row

SPLIT_SEED = 13
_MAX_VALIDATION_ROWS = 5_000
_FEW_ROWS = 20  # with one set of labels; fewer would hardly give their share


def validation_size(rows: int) -> int:
    """A tenth of the rows; for small data up to a fifth, because a metric over a few rows says little."""
    return min(_MAX_VALIDATION_ROWS, max(round(0.1 * rows), min(round(0.2 * rows), 100), 1))


def split_off_validation(rows: Sequence[Row]) -> tuple[list[int], list[int]]:
    """Indices of training and validation rows.

    Rows with the same text stay together, so that none is trained on and validated with; each label gives its
    share, and a label that stands on one text alone stays in training.

    Returns:
        Training indices and validation indices, both ascending. The latter are empty only where no text can be
        spared: there is but one, or each carries a label of its own.
    """
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[row_key(row)].append(index)
    strata: defaultdict[str, list[list[int]]] = defaultdict(list)
    stratum = _Strata(rows)
    for group in groups.values():
        strata[stratum.of(rows[group[0]])].append(group)

    shuffled = random.Random(SPLIT_SEED)  # noqa: S311 (a split, not a secret)
    spared = _Spared(rows, groups.values())
    size = validation_size(len(rows))
    owed = 0.0  # rows that earlier strata were too small to give
    for name in sorted(strata):
        members = strata[name]
        shuffled.shuffle(members)
        owed += size / len(rows) * sum(len(group) for group in members)
        for group in members[1:]:  # the first group always stays in training
            if owed < len(group) * 0.5:
                break
            if spared.take(group):
                owed -= len(group)
    if not spared.indices:  # every stratum is too small, as with sentences that all differ in their labels
        for group in sorted((group for name in sorted(strata) for group in strata[name]), key=len):
            if len(spared.indices) < size:
                spared.take(group)
    return [i for i in range(len(rows)) if i not in spared.indices], sorted(spared.indices)


class _Spared:
    """Rows taken out of training as long as it keeps a text of every label."""

    def __init__(self, rows: Sequence[Row], groups: Iterable[list[int]]) -> None:
        self._rows = rows
        self._left = Counter(answer for group in groups for answer in self._answers(group))
        self.indices: set[int] = set()

    def take(self, group: list[int]) -> bool:
        """Take a group of rows with one text, unless it is the last with one of its labels."""
        answers = self._answers(group)
        if any(self._left[answer] == 1 for answer in answers):
            return False
        self._left.subtract(answers)
        self.indices.update(group)
        return True

    def _answers(self, group: list[int]) -> set[str]:
        """Labels or tags of a group, and one name that all groups share."""
        rows = [self._rows[index] for index in group]
        return {"\0any", *(str(answer) for row in rows for answer in row.get("tags", labels_of(row)))}


class _Strata:
    """What rows are alike in, so that each kind gives its share of the validation rows.

    Rows with several labels are alike in the whole set of them where it is frequent, and else in their rarest label,
    which is the one that is hardest to share out (after Sechidis et al. 2011, who begin with the rarest, too).
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._sets = Counter(tuple(labels_of(row)) for row in rows)
        self._labels = Counter(label for row in rows for label in labels_of(row))

    def of(self, row: Row) -> str:
        """The name of the row's stratum."""
        if "label" in row:
            labels = tuple(labels_of(row))
            alike = labels if self._sets[labels] >= _FEW_ROWS else sorted(labels, key=self._labels.__getitem__)[:1]
            return "\x1f".join(alike)
        if "tags" in row:
            return ",".join(sorted({tag.partition("-")[2] or "" for tag in row["tags"]} - {""})) or "none"
        return "graded"
