"""Heads that match the two texts of a pair (arXiv 1907.05338, similarity).

The encoder reads the pair together; its hidden states are then parted by segment and matched from several perspectives
(BIMPM, Wang et al. 2017, arXiv 1702.03814). All three end in two fully connected layers on both texts' matching
vectors beside the first token, which knows the pair as the encoder read it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from worker.training.heads.base import Needs, Reads, init_kaiming, masked_max, masked_mean, two_layers
from worker.training.heads.matching import KINDS, PERSPECTIVES, PerspectiveMatching, split_pair
from worker.training.heads.recurrent import BiLstm, final_states

_MATCHED_WIDTH = 128  # what the encoder's states are brought to before they are matched in twenty weightings
_UNITS = 100  # of each LSTM and direction, as in BIMPM
_BLOCK_WIDTH = 128
_ATTENTION_HEADS = 4


class BimpmLiteHead(nn.Module):
    """BIMPM without its first BiLSTM: the encoder's states themselves are matched."""

    needs: ClassVar[Needs] = "all_tokens"
    reads: ClassVar[Reads] = "together"

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.input = nn.Linear(width, _MATCHED_WIDTH)
        self.matching = PerspectiveMatching(_MATCHED_WIDTH)
        self.aggregation = _Aggregation(KINDS * PERSPECTIVES, width, n_outputs, dropout)
        init_kaiming(self)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, length, width) → (batch, n_outputs)."""
        states, mask = split_pair(self.input(self.dropout(hidden_states)), attention_mask, token_type_ids)
        matched = self.matching(states, mask, masked_mean(states, mask))
        logits: Tensor = self.aggregation(matched, mask, hidden_states[:, 0])
        return logits


class BimpmHead(nn.Module):
    """The whole of it: a BiLSTM reads each text, and each of its directions is matched by itself."""

    needs: ClassVar[Needs] = "all_tokens"
    reads: ClassVar[Reads] = "together"

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.context = BiLstm(width, _UNITS)
        self.matchings = nn.ModuleList(PerspectiveMatching(_UNITS) for _ in range(2))
        self.aggregation = _Aggregation(2 * KINDS * PERSPECTIVES, width, n_outputs, dropout)
        init_kaiming(self)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, length, width) → (batch, n_outputs)."""
        states, mask = split_pair(self.dropout(hidden_states), attention_mask, token_type_ids)
        context = self.context(states, mask)
        directions = zip(
            self.matchings, context.chunk(2, dim=-1), final_states(context, mask).chunk(2, -1), strict=True
        )
        matched = torch.cat([matching(part, mask, whole) for matching, part, whole in directions], dim=-1)
        logits: Tensor = self.aggregation(matched, mask, hidden_states[:, 0])
        return logits


class _Aggregation(nn.Module):
    """A BiLSTM over the matching vectors of each text, and two fully connected layers on what it ends with."""

    def __init__(self, n_matches: int, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.lstm = BiLstm(n_matches, _UNITS)
        self.layers = two_layers(width + 4 * _UNITS, n_outputs, dropout)

    def forward(self, matched: Tensor, mask: Tensor, first_token: Tensor) -> Tensor:
        """Matches (2 × batch, length, n_matches), their mask, first token (batch, width) → (batch, n_outputs)."""
        ends = final_states(self.lstm(self.dropout(matched), mask), mask)
        logits: Tensor = self.layers(torch.cat([first_token, *ends.chunk(2)], dim=-1))
        return logits


class SimTransformerHead(nn.Module):
    """BIMPM without its first BiLSTM, and with a transformer block where its last BiLSTM was."""

    needs: ClassVar[Needs] = "all_tokens"
    reads: ClassVar[Reads] = "together"

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.input = nn.Linear(width, _MATCHED_WIDTH)
        self.matching = PerspectiveMatching(_MATCHED_WIDTH)
        self.matched = nn.Linear(KINDS * PERSPECTIVES, _BLOCK_WIDTH)
        self.block = _TransformerBlock(_BLOCK_WIDTH, dropout)
        self.layers = two_layers(width + 4 * _BLOCK_WIDTH, n_outputs, dropout)
        init_kaiming(self)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, length, width) → (batch, n_outputs)."""
        states, mask = split_pair(self.input(self.dropout(hidden_states)), attention_mask, token_type_ids)
        values = self.block(self.matched(self.matching(states, mask, masked_mean(states, mask))), mask)
        pooled = torch.cat([masked_mean(values, mask), masked_max(values, mask)], dim=-1)
        logits: Tensor = self.layers(torch.cat([hidden_states[:, 0], *pooled.chunk(2)], dim=-1))
        return logits


class _TransformerBlock(nn.Module):
    """Self-attention and a feed-forward layer, each normalised before and added; normalised at the end.

    Xiong et al. 2020, arXiv 2002.04745.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.projections = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.final_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """(batch, length, width) → the same shape."""
        values = values + self.dropout(self._attend(self.attention_norm(values), mask))
        result: Tensor = self.final_norm(values + self.dropout(self.feed_forward(values)))
        return result

    def _attend(self, values: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = values.shape
        shape = (batch, length, 3, _ATTENTION_HEADS, width // _ATTENTION_HEADS)
        query, key, value = self.projections(values).view(shape).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / (width // _ATTENTION_HEADS) ** 0.5
        absent = (1 - mask.to(scores.dtype)) * -1e4
        attended = (scores + absent[:, None, None, :]).softmax(dim=-1) @ value
        result: Tensor = self.output(attended.transpose(1, 2).reshape(batch, length, width))
        return result
