"""Hidden states of the frozen encoder, computed once and read in every epoch of the head.

In phase 1 the encoder does not change, so its outputs are the head's data set. They are kept in memory while they
are small and in a memory-mapped file beyond that, so that memory stays bounded whatever the data's size.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worker.training.data import Batch, Split, TokenInputs, collate_targets, evaluation_batches
from worker.training.model import TaskModel

MEMORY_LIMIT_BYTES = 1024**3


class FeatureInputs:
    """Hidden states: input of the head alone. Built by `cache_features`."""

    def __init__(self, split: Split, lengths: Sequence[int], store: NDArray[np.float32]) -> None:
        self._split = split
        self._store = store
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self.lengths = lengths

    def collate(self, indices: list[int]) -> Batch:
        """Hidden states (batch, length, width), mask and segments (batch, length)."""
        shape = (len(indices), max(self.lengths[i] for i in indices))
        hidden = np.zeros((*shape, self._store.shape[1]), dtype=np.float32)
        mask, types = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, index in enumerate(indices):
            length = self.lengths[index]
            hidden[row, :length] = self._rows(index)
            mask[row, :length] = 1
            types[row, :length] = self._split.encoded[index].type_ids[:length]
        inputs = {
            "hidden_states": torch.from_numpy(hidden),
            "attention_mask": torch.from_numpy(mask),
            "token_type_ids": torch.from_numpy(types),
        }
        return Batch(indices, inputs, collate_targets([self._split.targets[i] for i in indices]))

    def put(self, index: int, hidden: NDArray[np.float32]) -> None:
        """Remember the hidden states (length, width) of one example."""
        self._rows(index)[:] = hidden

    def _rows(self, index: int) -> NDArray[np.float32]:
        return self._store[self._starts[index] : self._starts[index + 1]]


def cache_features(
    model: TaskModel, split: Split, pad_id: int, device: torch.device, scratch: Path
) -> Generator[int, None, FeatureInputs]:
    """Run the frozen encoder over a split once.

    Yields:
        The number of examples done so far, after each batch.

    Returns:
        The features (``yield from``).
    """
    first_only = model.needs == "first_token"
    lengths = [1 if first_only else len(encoded) for encoded in split.encoded]
    width = int(model.encoder.config.hidden_size)
    features = FeatureInputs(split, lengths, _allocate(sum(lengths), width, scratch))
    model.encoder.eval()  # type: ignore[no-untyped-call]
    done = 0
    for batch in evaluation_batches(TokenInputs(split, pad_id)):
        with torch.inference_mode(), autocast(device):
            hidden = model.encode(**batch.to(device).inputs).float().cpu().numpy()
        for row, index in zip(hidden, batch.indices, strict=True):
            features.put(index, row[: lengths[index]])
        done += len(batch.indices)
        yield done
    return features


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 arithmetic where the device has instructions for it; weights and optimizer stay float32.

    docs/decisions/0006-whole-schedules-in-bfloat16.md has the measurement.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=_computes_bfloat16(device.type))


@lru_cache
def _computes_bfloat16(device_type: str) -> bool:
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _allocate(rows: int, width: int, scratch: Path) -> NDArray[np.float32]:
    if rows * width * 4 <= MEMORY_LIMIT_BYTES:
        return np.empty((rows, width), dtype=np.float32)
    path = scratch / f"features-{rows}.f32"
    return np.memmap(path, dtype=np.float32, mode="w+", shape=(rows, width))
