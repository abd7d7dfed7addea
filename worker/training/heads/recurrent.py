"""A bidirectional LSTM that never sees padding; shared by the heads that need one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BiLstm(nn.Module):
    """One layer, ``units`` in each direction.

    Padding stands at the end. The backward direction therefore reads a copy in which the *real* tokens are
    reversed in place: an LSTM that met the padding first would answer differently in every batch.
    """

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(width, units, batch_first=True)
        self.back = nn.LSTM(width, units, batch_first=True)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Values (batch, length, width) and mask (batch, length) → states (batch, length, 2 × units).

        The first half of a state has read the tokens up to it, the second half those from it on.
        """
        mirrored = _mirror(mask)
        ahead, _ = self.ahead(values)
        back, _ = self.back(_take(values, mirrored))
        return torch.cat([ahead, _take(back, mirrored)], dim=-1)


def final_states(states: Tensor, mask: Tensor) -> Tensor:
    """States of `BiLstm` → what each direction knew at its end (batch, 2 × units)."""
    units = states.shape[-1] // 2
    last = (mask.sum(dim=1) - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, units)
    return torch.cat([states[..., :units].gather(1, last)[:, 0], states[:, 0, units:]], dim=-1)


def _mirror(mask: Tensor) -> Tensor:
    """Index (batch, length) that reverses the real tokens of each row; it is its own inverse on them."""
    last = mask.sum(dim=1, keepdim=True) - 1
    positions = mask.cumsum(dim=1) - 1  # 0, 1, 2, … on real tokens
    return (last - positions).clamp(min=0)


def _take(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
