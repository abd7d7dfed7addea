"""The best sequence of tags under scores of tags and of their succession (Viterbi 1967; Lafferty et al. 2001)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models_store.tasks.base import log_sum_exp
from models_store.tasks.bio import split_tag

_ILLEGAL = -1e9

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Transitions:
    """Log-domain scores of the first tag (n_tags,), the last one, and of each tag (row) being followed by another."""

    start: tuple[float, ...]
    end: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]

    @cached_property
    def arrays(self) -> tuple[Scores, Scores, Scores]:
        """Start, end and matrix."""
        return np.asarray(self.start), np.asarray(self.end), np.asarray(self.matrix)

    def to_config(self) -> dict[str, Any]:
        """The scores as JSON."""
        return {"start": list(self.start), "end": list(self.end), "matrix": [list(row) for row in self.matrix]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The scores that `to_config` wrote."""
        return cls(tuple(config["start"]), tuple(config["end"]), tuple(tuple(row) for row in config["matrix"]))

    @classmethod
    def mean(cls, several: Sequence[Transitions]) -> Self:
        """The mean of several scores of the same tags."""
        columns = zip(*(scores.arrays for scores in several), strict=True)
        start, end, matrix = (np.mean(column, axis=0).tolist() for column in columns)
        return cls(tuple(start), tuple(end), tuple(map(tuple, matrix)))

    @classmethod
    def of_bio(cls, tags: Sequence[str]) -> Self:
        """Zero where BIO allows the succession, prohibitive where an ``I-x`` follows neither ``B-x`` nor ``I-x``."""
        parts = [split_tag(tag) for tag in tags]
        start = tuple(_ILLEGAL if prefix == "I" else 0.0 for prefix, _ in parts)
        matrix = tuple(
            tuple(_ILLEGAL if prefix == "I" and label != before else 0.0 for prefix, label in parts)
            for _, before in parts
        )
        return cls(start, (0.0,) * len(parts), matrix)

    def __add__(self, other: Transitions) -> Transitions:
        start, end, matrix = (ours + theirs for ours, theirs in zip(self.arrays, other.arrays, strict=True))
        return Transitions(tuple(start.tolist()), tuple(end.tolist()), tuple(map(tuple, matrix.tolist())))


def is_legal(path: Sequence[int], transitions: Transitions) -> bool:
    """Whether no step of the path is prohibitive."""
    if not len(path):
        return True
    start, _, matrix = transitions.arrays
    steps = matrix[list(path[:-1]), list(path[1:])]
    return bool(start[path[0]] > _ILLEGAL / 2 and (steps > _ILLEGAL / 2).all())


def best_path(emissions: Scores, transitions: Transitions) -> list[int]:
    """Emissions (words, n_tags) → the tags with the highest sum of scores."""
    if not len(emissions):
        return []
    start, end, matrix = transitions.arrays
    score = start + emissions[0]
    pointers = []
    for emission in emissions[1:]:
        candidates = score[:, None] + matrix
        pointers.append(candidates.argmax(axis=0))
        score = candidates.max(axis=0) + emission
    path = [int((score + end).argmax())]
    for pointer in reversed(pointers):
        path.append(int(pointer[path[-1]]))
    return path[::-1]


def marginals(emissions: Scores, transitions: Transitions) -> Scores:
    """Probability of each tag of each word over all sequences (words, n_tags), by forward and backward sums."""
    if not len(emissions):
        return emissions
    start, end, matrix = transitions.arrays
    ahead, back = [start + emissions[0]], [end]
    for emission in emissions[1:]:
        ahead.append(log_sum_exp(ahead[-1][:, None] + matrix, axis=0) + emission)
    for emission in emissions[:0:-1]:
        back.append(log_sum_exp(matrix + (emission + back[-1])[None, :], axis=1))
    joint = np.stack(ahead) + np.stack(back[::-1])
    probabilities: Scores = np.exp(joint - log_sum_exp(joint, axis=1)[:, None])
    return probabilities
