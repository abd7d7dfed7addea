"""Densely connected convolutions over the tokens, beside the first token (arXiv 1907.05338, classification).

Four blocks of four convolutions; inside a block each convolution reads what all before it have made (Huang et al. 2017,
arXiv 1608.06993). Layer normalisation takes the place of batch normalisation, whose statistics would mix padding and
other texts into an answer.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from worker.training.heads.base import Needs, Reads, init_kaiming, masked_max, two_layers

_BLOCKS = 4
_LAYERS = 4
_CHANNELS = 96
_GROWTH = 32
_KERNEL = 3


class DenseCnnHead(nn.Module):
    """Maximum over the tokens of the last block, concatenated with the first token, then two fully connected layers."""

    needs: ClassVar[Needs] = "all_tokens"
    reads: ClassVar[Reads] = "together"

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.input = nn.Linear(width, _CHANNELS)
        self.blocks = nn.ModuleList(_DenseBlock() for _ in range(_BLOCKS))
        self.layers = two_layers(_CHANNELS + width, n_outputs, dropout)
        init_kaiming(self)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, length, width) → (batch, n_outputs)."""
        values = self.input(self.dropout(hidden_states))
        for block in self.blocks:
            values = block(values, attention_mask)
        logits: Tensor = self.layers(torch.cat([masked_max(values, attention_mask), hidden_states[:, 0]], dim=-1))
        return logits


class _DenseBlock(nn.Module):
    """Four convolutions on all that came before, and a 1 × 1 transition back to the block's width."""

    def __init__(self) -> None:
        super().__init__()
        widths = [_CHANNELS + i * _GROWTH for i in range(_LAYERS)]
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, _GROWTH, _KERNEL, padding=_KERNEL // 2) for width in widths)
        self.transition = nn.Linear(_CHANNELS + _LAYERS * _GROWTH, _CHANNELS)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """(batch, length, channels) → the same shape."""
        real = mask.unsqueeze(-1).to(values.dtype)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            # Padding is zero before each convolution: its neighbours at the end of the text read it.
            grown = convolution((norm(values).relu() * real).transpose(1, 2)).transpose(1, 2)
            values = torch.cat([values, grown], dim=-1)
        result: Tensor = self.transition(values)
        return result
