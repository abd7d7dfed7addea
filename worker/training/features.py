"""Hidden states of the frozen encoder, computed once and read in every epoch of the head.

In phase 1 the encoder does not change, so its outputs are the head's data set. They are kept in memory while they
are small and in a memory-mapped file beyond that, so that memory stays bounded whatever the data's size.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worker.training.data import Batch, Split, TokenInputs, collate_targets
from worker.training.hardware import Hardware
from worker.training.heads import Needs, Reads
from worker.training.heads.base import summary
from worker.training.memory import in_batches
from worker.training.model import TaskModel
from worker.training.vectors import Vectors

_SUMMARY = 2  # rows of a text's summary


class FeatureInputs:
    """Hidden states: input of the head alone. `FeatureStore` makes them."""

    def __init__(self, split: Split, starts: Sequence[int], lengths: Sequence[int], store: Vectors) -> None:
        self.split = split
        self.lengths = lengths
        self._starts = starts
        self._store = store

    def collate(self, indices: list[int]) -> Batch:
        """Hidden states (batch, length, width), mask and segments (batch, length)."""
        shape = (len(indices), max(self.lengths[i] for i in indices))
        hidden = np.zeros((*shape, self._store.width), dtype=np.float32)
        mask, types = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, index in enumerate(indices):
            length = self.lengths[index]
            hidden[row, :length] = self._rows(index)
            mask[row, :length] = 1
            types[row, :length] = self.split.windows[index].encoded.type_ids[:length]
        inputs = {
            "hidden_states": torch.from_numpy(hidden),
            "attention_mask": torch.from_numpy(mask),
            "token_type_ids": torch.from_numpy(types),
        }
        return Batch(indices, inputs, collate_targets([self.split.target_of(i) for i in indices]))

    def put(self, index: int, hidden: NDArray[np.float32]) -> None:
        """Remember the hidden states (length or more, width) of one window."""
        self._rows(index)[:] = hidden[: self.lengths[index]]

    def subset(self, indices: Sequence[int]) -> FeatureInputs:
        """Some of the examples, in this order; nothing is copied."""
        windows = [window for i in indices for window in range(self.split.starts[i], self.split.starts[i + 1])]
        starts, lengths = [self._starts[i] for i in windows], [self.lengths[i] for i in windows]
        return FeatureInputs(self.split.subset(indices), starts, lengths, self._store)

    def summaries(self, folder: Path) -> FeatureInputs:
        """What a head sees that reads the summary alone."""
        total = _SUMMARY * len(self.lengths)
        store = Vectors(total, self._store.width, folder)
        for index in range(len(self.lengths)):
            rows = self._rows(index)
            store.rows(_SUMMARY * index, _SUMMARY * (index + 1))[:] = rows[0], rows.mean(axis=0)
        starts = range(0, total, _SUMMARY)
        return FeatureInputs(self.split, starts, [_SUMMARY] * len(self.lengths), store)

    def _rows(self, index: int) -> NDArray[np.float32]:
        start = self._starts[index]
        return self._store.rows(start, start + self.lengths[index])


class FeatureStore:
    """The features of each split, computed when they are first asked for. It is of use while the encoder is frozen.

    Attributes:
        kept: Whether `clear` is to keep them, for another model with the same frozen encoder is yet to come.
    """

    def __init__(self, pad_id: int, hardware: Hardware, scratch: Path) -> None:
        self._pad_id = pad_id
        self._hardware = hardware
        self._scratch = scratch
        self.kept = False
        self._known: dict[tuple[int, Reads, Needs], FeatureInputs] = {}

    def of(self, model: TaskModel, split: Split, needs: Needs) -> Generator[int, None, FeatureInputs]:
        """The features of a split, for heads that need so many of its tokens.

        Yields:
            The number of windows that the encoder has been run over, after each batch.

        Returns:
            The features (``yield from``).
        """
        key = (id(split), model.reads, needs)
        if key not in self._known:
            whole = self._known.get((id(split), model.reads, "all_tokens"))
            made = whole.summaries(self._scratch) if whole else (yield from self._compute(model, split, needs))
            self._known[key] = made
        return self._known[key]

    def clear(self) -> None:
        """Forget them all: the encoder is about to change, and its training needs the memory."""
        if not self.kept:
            self._known.clear()

    def _compute(self, model: TaskModel, split: Split, needs: Needs) -> Generator[int, None, FeatureInputs]:
        lengths = [_SUMMARY if needs == "summary" else len(window) for window in split.windows]
        starts = [0, *accumulate(lengths)]
        store = Vectors(starts.pop(), int(model.encoder.config.hidden_size), self._scratch)
        features = FeatureInputs(split, starts, lengths, store)
        model.encoder.eval()  # type: ignore[no-untyped-call]
        done = 0

        def encode(batch: Batch) -> NDArray[np.float32]:
            inputs = batch.to(self._hardware.device).inputs
            with torch.inference_mode(), self._hardware.autocast():
                states = model.encode(**inputs).float()
            if needs == "summary":
                states = summary(states, inputs["attention_mask"])
            hidden: NDArray[np.float32] = states.cpu().numpy()
            return hidden

        for batch, hidden in in_batches(TokenInputs(split, self._pad_id), encode):
            for row, index in zip(hidden, batch.indices, strict=True):
                features.put(index, row)
            done += len(batch.indices)
            yield done
        return features
