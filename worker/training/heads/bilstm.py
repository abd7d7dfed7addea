"""A bidirectional LSTM over the tokens and one fully connected layer (arXiv 1907.05338, sequence labelling)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from worker.training.heads.base import Needs, Reads, init_kaiming
from worker.training.heads.recurrent import BiLstm


class BiLstmHead(nn.Module):
    """Each direction has half the encoder's width, so that the layer keeps the width."""

    needs: ClassVar[Needs] = "all_tokens"
    reads: ClassVar[Reads] = "together"

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        units = width // 2
        self.dropout = nn.Dropout(dropout)
        self.lstm = BiLstm(width, units)
        self.output = nn.Linear(2 * units, n_outputs)
        init_kaiming(self)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, length, width) → (batch, length, n_outputs)."""
        states = self.lstm(self.dropout(hidden_states), attention_mask)
        logits: Tensor = self.output(self.dropout(states))
        return logits
