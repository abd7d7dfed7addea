"""Two fully connected layers: on the summary of a text or pair, on every token for tagging."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from worker.training.heads.base import Needs, Reads, init_kaiming, two_layers


class LinearHead(nn.Module):
    """First token and mean, and two fully connected layers.

    The baseline of arXiv 1907.05338 has the first token alone, which says little before fine-tuning where the encoder
    was made for sentence embeddings (docs/decisions/0009-heads-by-measurement.md).
    """

    needs: ClassVar[Needs] = "summary"
    reads: ClassVar[Reads] = "together"

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.layers = two_layers(2 * width, n_outputs, dropout)
        init_kaiming(self)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, 2, width) → (batch, n_outputs)."""
        logits: Tensor = self.layers(hidden_states.flatten(1))
        return logits


class TokenLinearHead(nn.Module):
    """The same two layers on every token."""

    needs: ClassVar[Needs] = "all_tokens"
    reads: ClassVar[Reads] = "together"

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.layers = two_layers(width, n_outputs, dropout)
        init_kaiming(self)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, length, width) → (batch, length, n_outputs)."""
        logits: Tensor = self.layers(hidden_states)
        return logits
