"""Tokenised splits, and batches of similar length."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, islice, pairwise
from typing import Any, Protocol, cast

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from models_store.tasks import Encoded, Row, Target, Task
from models_store.tasks.base import IGNORED_TARGET
from models_store.windows import Logits, Window, Windowing, merge_all, whole

# Matrix kernels like even shapes, and each new shape costs: on CPUs a compiled kernel that stays in memory.
_MULTIPLE = 8
_TOKENISED_ROWS = 10_000  # at a time
_POOL = 50  # batches sorted by length together: enough to save padding, few enough to stay random


@dataclass(frozen=True, slots=True)
class Split:
    """One split, tokenised once. The encoder is run over windows, of which most examples are one.

    Attributes:
        rows: The examples.
        encoded: Word pieces of each, as a whole.
        targets: What the objective compares the logits of each with.
        windows: The windows of all examples, one example after the other.
        starts: The index of each example's first window; at the end, the number of windows.
        per_token: Whether targets and logits are one a piece rather than one an example.
    """

    rows: Sequence[Row]
    encoded: Sequence[Encoded]
    targets: Sequence[Target]
    windows: Sequence[Window]
    starts: Sequence[int]
    per_token: bool

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, indices: Sequence[int]) -> Split:
        """Some of the examples, in this order."""
        return _split(
            [self.rows[i] for i in indices],
            [self.encoded[i] for i in indices],
            [self.targets[i] for i in indices],
            [self.windows_of(i) for i in indices],
            per_token=self.per_token,
        )

    def cut(self, windowing: Windowing) -> Split:
        """The same examples in windows."""
        windows = [windowing.windows(encoded) for encoded in self.encoded]
        return _split(self.rows, self.encoded, self.targets, windows, per_token=self.per_token)

    def windows_of(self, row: int) -> Sequence[Window]:
        """The windows of one example."""
        return self.windows[self.starts[row] : self.starts[row + 1]]

    def target_of(self, window: int) -> Target:
        """What the logits of a window are compared with: its example's target, or the tags it answers for."""
        target = self.targets[bisect_right(self.starts, window) - 1]
        return _own_targets(self.windows[window], cast("list[int]", target)) if self.per_token else target

    def merge(self, logits: Iterable[Logits]) -> list[Logits]:
        """Logits of each example from those of all windows."""
        owned = (self.windows_of(row) for row in range(len(self)))
        return merge_all(owned, logits, per_token=self.per_token)

    def draw(self, rng: np.random.Generator) -> list[int]:
        """The windows of one epoch.

        Per token they are all of them, for each word counts once. Otherwise each text counts once, however long it is,
        with a window that is drawn anew for every epoch.
        """
        if self.per_token or not self.windowed:
            return list(range(len(self.windows)))
        starts = np.asarray(self.starts)
        drawn: list[int] = (starts[:-1] + rng.integers(np.diff(starts))).tolist()
        return drawn

    @property
    def epoch_size(self) -> int:
        """How many windows `draw` takes."""
        return len(self.windows) if self.per_token else len(self)

    @property
    def windowed(self) -> int:
        """Examples that are longer than one window."""
        return sum(second - first > 1 for first, second in pairwise(self.starts))

    @property
    def truncated(self) -> int:
        """Examples that lost text to the maximum length."""
        return sum(encoded.truncated for encoded in self.encoded)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What `train` learns from and what it is steered by."""

    task: Task[Any]
    train: Split
    validation: Split
    pad_id: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Arguments of the module to be trained, and what its logits should be."""

    indices: list[int]
    inputs: dict[str, Tensor]
    targets: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        inputs = {name: _moved(tensor, device) for name, tensor in self.inputs.items()}
        return Batch(self.indices, inputs, _moved(self.targets, device))


class Inputs(Protocol):
    """A split as input of some module: word pieces for the whole model, hidden states for the head alone."""

    @property
    def split(self) -> Split:
        """The examples."""

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each window, for batches of similar length."""

    def collate(self, indices: list[int]) -> Batch:
        """Pad these windows into one batch."""


class TokenInputs:
    """Word pieces: input of the whole model."""

    def __init__(self, split: Split, pad_id: int) -> None:
        self.split = split
        self._pad_id = pad_id
        self.lengths = [len(window) for window in split.windows]

    def collate(self, indices: list[int]) -> Batch:
        """Ids, mask and segments (batch, length)."""
        members = [self.split.windows[i].encoded for i in indices]
        inputs = {
            "input_ids": _pad([e.input_ids for e in members], self._pad_id, _MULTIPLE),
            "attention_mask": _pad([[1] * len(e) for e in members], 0, _MULTIPLE),
            "token_type_ids": _pad([e.type_ids for e in members], 0, _MULTIPLE),
        }
        return Batch(indices, inputs, collate_targets([self.split.target_of(i) for i in indices], _MULTIPLE))


def tokenise(task: Task[Any], tokenizer: Tokenizer, rows: Sequence[Row]) -> Split:
    """Encode the rows of a split and their targets; each row is one window until the split is cut.

    What the tokenizer makes of a row is ten times as large as what is kept of it, hence a few rows at a time.
    """
    encoded: list[Encoded] = []
    targets: list[Target] = []
    remaining = iter(rows)
    while some := list(islice(remaining, _TOKENISED_ROWS)):
        part = [_packed(e) for e in task.encode(tokenizer, [task.example(row) for row in some])]
        targets += [task.target(row, e) for row, e in zip(some, part, strict=True)]
        encoded += part
    return _split(rows, encoded, targets, [[whole(e)] for e in encoded], per_token=task.per_token)


def _packed(encoded: Encoded) -> Encoded:
    """The same in little more than half the memory: a list has eight bytes for each number, an array what it needs."""
    first = encoded.first_pieces
    return replace(
        encoded,
        input_ids=array("i", encoded.input_ids),
        type_ids=array("B", encoded.type_ids),
        first_pieces=None if first is None else array("i", first),
    )


def _split(
    rows: Sequence[Row],
    encoded: Sequence[Encoded],
    targets: Sequence[Target],
    owned: Sequence[Sequence[Window]],
    *,
    per_token: bool,
) -> Split:
    starts = list(accumulate(map(len, owned), initial=0))
    return Split(rows, encoded, targets, list(chain.from_iterable(owned)), starts, per_token)


def _own_targets(window: Window, target: list[int]) -> list[int]:
    own = [IGNORED_TARGET] * len(window)
    own[window.own] = target[window.start : window.stop]
    return own


def collate_targets(targets: Sequence[Target], multiple: int = 1) -> Tensor:
    """One tensor of the targets of a batch.

    Returns:
        Indices (batch,) int64, or (batch, length) padded with `IGNORED_TARGET` to a multiple of so many tokens;
        shares (batch,) or (batch, n_labels) float32.
    """
    first = targets[0]
    if isinstance(first[0] if isinstance(first, list) else first, float):
        return torch.tensor(targets, dtype=torch.float32)
    if isinstance(first, list):
        return _pad(cast("Sequence[list[int]]", targets), IGNORED_TARGET, multiple)
    return torch.tensor(targets, dtype=torch.int64)


def epoch_batches(inputs: Inputs, batch_size: int, rng: np.random.Generator) -> list[list[int]]:
    """The windows of one epoch, in batches of similar length and random order."""
    drawn = inputs.split.draw(rng)
    batches = shuffled_batches([inputs.lengths[i] for i in drawn], batch_size, rng)
    return [[drawn[i] for i in batch] for batch in batches]


def shuffled_batches(lengths: Sequence[int], batch_size: int, rng: np.random.Generator) -> list[list[int]]:
    """Every index once, in batches of similar length and random order."""
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), batch_size * _POOL):
        pool = sorted(order[start : start + batch_size * _POOL].tolist(), key=lambda i: lengths[i])
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    rng.shuffle(batches)
    return batches


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Only from pinned memory does a GPU copy beside its other work."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _pad(rows: Sequence[Sequence[int]], fill: int, multiple: int) -> Tensor:
    longest = max(len(row) for row in rows)
    padded = np.full((len(rows), longest + -longest % multiple), fill, dtype=np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return torch.from_numpy(padded)
