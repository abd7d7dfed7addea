"""Two bidirectional LSTM layers with highway connections (arXiv 1907.05338, classification)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from worker.training.heads.base import Needs, Reads, init_kaiming, masked_max, two_layers
from worker.training.heads.recurrent import BiLstm

_LAYERS = 2
_CARRY = -1.0  # bias of a new gate: it begins by letting most of its input pass


class HighwayLstmHead(nn.Module):
    """Maximum over the tokens, concatenated with the first token, then two fully connected layers."""

    needs: ClassVar[Needs] = "all_tokens"
    reads: ClassVar[Reads] = "together"

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        units = 2 * (width // 4)
        self.dropout = nn.Dropout(dropout)
        self.input = nn.Linear(width, units)
        self.lstms = nn.ModuleList(BiLstm(units, units // 2) for _ in range(_LAYERS))
        self.gates = nn.ModuleList(nn.Linear(units, units) for _ in range(_LAYERS))
        self.layers = two_layers(units + width, n_outputs, dropout)
        init_kaiming(self)
        for gate in self.gates:
            nn.init.constant_(gate.get_parameter("bias"), _CARRY)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, length, width) → (batch, n_outputs).

        Each layer gives g · BiLSTM(x) + (1 − g) · x with the gate g = σ(Wx + b) (Srivastava et al. 2015,
        arXiv 1505.00387).
        """
        values = self.input(self.dropout(hidden_states))
        for lstm, gate in zip(self.lstms, self.gates, strict=True):
            share = gate(values).sigmoid()
            values = share * lstm(values, attention_mask) + (1 - share) * values
        logits: Tensor = self.layers(torch.cat([masked_max(values, attention_mask), hidden_states[:, 0]], dim=-1))
        return logits
