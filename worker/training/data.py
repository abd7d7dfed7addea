"""Tokenised splits, and batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from models_store.predictor import batches_by_length
from models_store.tasks import Encoded, Row, Task
from models_store.tasks.base import IGNORED_TARGET

# Matrix kernels like even shapes, and each new shape costs: on CPUs a compiled kernel that stays in memory.
_MULTIPLE = 8
_POOL = 50  # batches sorted by length together: enough to save padding, few enough to stay random


@dataclass(frozen=True, slots=True)
class Split:
    """One split, tokenised once."""

    rows: Sequence[Row]
    encoded: Sequence[Encoded]
    targets: Sequence[int | float | list[int]]

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, indices: Sequence[int]) -> Split:
        """Some of the examples, in this order."""
        return Split(
            [self.rows[i] for i in indices], [self.encoded[i] for i in indices], [self.targets[i] for i in indices]
        )

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
        inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()}
        return Batch(self.indices, inputs, self.targets.to(device, non_blocking=True))


class Inputs(Protocol):
    """A split as input of some module: word pieces for the whole model, hidden states for the head alone."""

    @property
    def split(self) -> Split:
        """The examples."""

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each example, for batches of similar length."""

    def collate(self, indices: list[int]) -> Batch:
        """Pad these examples into one batch."""


class TokenInputs:
    """Word pieces: input of the whole model."""

    def __init__(self, split: Split, pad_id: int) -> None:
        self.split = split
        self._pad_id = pad_id
        self.lengths = [len(encoded) for encoded in split.encoded]

    def collate(self, indices: list[int]) -> Batch:
        """Ids, mask and segments (batch, length)."""
        members = [self.split.encoded[i] for i in indices]
        inputs = {
            "input_ids": _pad([e.input_ids for e in members], self._pad_id, _MULTIPLE),
            "attention_mask": _pad([[1] * len(e) for e in members], 0, _MULTIPLE),
            "token_type_ids": _pad([e.type_ids for e in members], 0, _MULTIPLE),
        }
        return Batch(indices, inputs, collate_targets([self.split.targets[i] for i in indices], _MULTIPLE))


def tokenise(task: Task[Any], tokenizer: Tokenizer, rows: Sequence[Row]) -> Split:
    """Encode the rows of a split and their targets."""
    encoded = task.encode(tokenizer, [task.example(row) for row in rows]) if rows else []
    return Split(rows, encoded, [task.target(row, e) for row, e in zip(rows, encoded, strict=True)])


def collate_targets(targets: Sequence[int | float | list[int]], multiple: int = 1) -> Tensor:
    """Targets (batch,), or (batch, length) padded with `IGNORED_TARGET` to a multiple of so many tokens."""
    lists = [target for target in targets if isinstance(target, list)]
    if lists:
        return _pad(lists, IGNORED_TARGET, multiple)
    kind = torch.float32 if isinstance(targets[0], float) else torch.int64
    return torch.tensor(targets, dtype=kind)


def shuffled_batches(lengths: Sequence[int], batch_size: int, rng: np.random.Generator) -> list[list[int]]:
    """Every index once, in batches of similar length and random order."""
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), batch_size * _POOL):
        pool = sorted(order[start : start + batch_size * _POOL].tolist(), key=lambda i: lengths[i])
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    rng.shuffle(batches)
    return batches


def evaluation_batches(inputs: Inputs, batch_tokens: int = 8192) -> Iterator[Batch]:
    """Every example once, by length."""
    return (inputs.collate(indices) for indices in batches_by_length(inputs.lengths, batch_tokens))


def _pad(rows: Sequence[Sequence[int]], fill: int, multiple: int) -> Tensor:
    longest = max(len(row) for row in rows)
    padded = np.full((len(rows), longest + -longest % multiple), fill, dtype=np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return torch.from_numpy(padded)
