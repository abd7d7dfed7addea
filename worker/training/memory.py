"""Batches that fit into memory: what is too much at once is computed in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from models_store.predictor import batches_by_length
from worker.training.data import Batch, Inputs
from worker.training.errors import OutOfMemoryError, is_out_of_memory

EVALUATION_TOKENS = 2048  # of one batch; on a CPU 8192 take nearly twice as long, having outgrown its caches

T = TypeVar("T")


class MemoryBudget:
    """Learns from running out of memory how many padded tokens fit into it at once.

    Tokens rather than rows, so that batches of short texts stay whole where those of long ones must be parted.

    Attributes:
        tokens: The most that is tried; None as long as everything has fitted.
    """

    def __init__(self, tokens: int | None = None) -> None:
        self.tokens = tokens

    def parts(self, indices: list[int], lengths: Sequence[int]) -> list[list[int]]:
        """The examples of a batch in as few parts as fit."""
        rows = self.rows(indices, lengths)
        return [indices[start : start + rows] for start in range(0, len(indices), rows)]

    def rows(self, indices: list[int], lengths: Sequence[int]) -> int:
        """How many examples of a batch fit at once; at least one."""
        if self.tokens is None:
            return len(indices)
        return min(len(indices), max(1, self.tokens // _longest(indices, lengths)))

    def shrink(self, indices: list[int], lengths: Sequence[int], error: Exception) -> None:
        """Take note that as many of these examples as `rows` says were too many at once: try half of them.

        Raises:
            OutOfMemoryError: It was but one.
            Exception: The error itself, if it was about something else.
        """
        if not is_out_of_memory(error):
            raise error
        rows, longest = self.rows(indices, lengths), _longest(indices, lengths)
        if rows == 1:
            raise OutOfMemoryError(
                f"out of memory with one text of {longest} word pieces at a time; try a smaller max_length"
            ) from error
        self.tokens = rows * longest // 2

    def run(self, indices: list[int], lengths: Sequence[int], work: Callable[[list[int]], T]) -> Iterator[T]:
        """Do work on the examples that needs none of the others, in as few parts as fit."""
        left = indices
        while left:
            part = left[: self.rows(left, lengths)]
            try:
                result = work(part)
            except Exception as error:  # noqa: BLE001 (it looks which one it is)
                self.shrink(left, lengths, error)
                continue
            left = left[len(part) :]
            yield result


def in_batches(inputs: Inputs, work: Callable[[Batch], T]) -> Iterator[tuple[Batch, T]]:
    """Each example once, by length: the batches with what the work made of them."""
    budget = MemoryBudget()

    def of(indices: list[int]) -> tuple[Batch, T]:
        batch = inputs.collate(indices)
        return batch, work(batch)

    for indices in batches_by_length(inputs.lengths, EVALUATION_TOKENS):
        yield from budget.run(indices, inputs.lengths, of)


def _longest(indices: list[int], lengths: Sequence[int]) -> int:
    return max(1, *(lengths[i] for i in indices))
