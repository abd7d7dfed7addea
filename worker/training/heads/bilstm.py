"""A bidirectional LSTM over the tokens and one fully connected layer (arXiv 1907.05338, sequence labelling)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from worker.training.heads.base import init_kaiming


class BiLstmHead(nn.Module):
    """Each direction has half the encoder's width, so that the layer keeps the width.

    Padding stands at the end. The backward direction therefore reads a copy in which the *real* tokens are
    reversed in place: an LSTM that met the padding first would answer differently in every batch.
    """

    needs: ClassVar[Literal["first_token", "all_tokens"]] = "all_tokens"

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.ahead = nn.LSTM(width, width // 2, batch_first=True)
        self.back = nn.LSTM(width, width // 2, batch_first=True)
        self.output = nn.Linear(2 * (width // 2), n_outputs)
        init_kaiming(self)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, length, width) → (batch, length, n_outputs)."""
        hidden_states = self.dropout(hidden_states)
        mirrored = _mirror(attention_mask)
        ahead, _ = self.ahead(hidden_states)
        back, _ = self.back(_take(hidden_states, mirrored))
        both = torch.cat([ahead, _take(back, mirrored)], dim=-1)
        logits: Tensor = self.output(self.dropout(both))
        return logits


def _mirror(attention_mask: Tensor) -> Tensor:
    """Index (batch, length) that reverses the real tokens of each row; it is its own inverse on them."""
    last = attention_mask.sum(dim=1, keepdim=True) - 1
    positions = attention_mask.cumsum(dim=1) - 1  # 0, 1, 2, … on real tokens
    return (last - positions).clamp(min=0)


def _take(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
