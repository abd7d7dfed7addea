"""Two texts read apart and compared as wholes (Sentence-BERT; Reimers and Gurevych 2019, arXiv 1908.10084).

Encoders made for sentence embeddings know much about similarity before any training: the cosine of their two means
ranks pairs well. The head begins as that cosine and learns what to add to it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.training.heads.base import Needs, Reads, init_kaiming, masked_mean, two_layers

_STEEPNESS = 5.0  # of the logit over the cosine before any training: unrelated texts lie near 0, equal ones at 1
_QUIET = 0.01  # standard deviation of the last layer's weights: it is the cosine that speaks at first


class SiameseHead(nn.Module):
    """The cosine of both texts' means, and two fully connected layers on their differences and products."""

    needs: ClassVar[Needs] = "all_tokens"
    reads: ClassVar[Reads] = "apart"

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.layers = two_layers(2 * width, n_outputs, dropout)
        init_kaiming(self)
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)  # noqa: S101 (what two_layers ends with)
        nn.init.normal_(last.weight, std=_QUIET)
        self.cosine = nn.Linear(1, n_outputs)
        nn.init.constant_(self.cosine.weight, _STEEPNESS)
        nn.init.constant_(self.cosine.bias, -_STEEPNESS / 2)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, length, width) → (batch, n_outputs)."""
        first = masked_mean(hidden_states, attention_mask * (1 - token_type_ids))
        second = masked_mean(hidden_states, attention_mask * token_type_ids)
        return self.compare(first, second)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Means of both texts, (batch, width) each → (batch, n_outputs)."""
        compared = torch.cat([(first - second).abs(), first * second], dim=-1)
        cosine = functional.cosine_similarity(first, second, dim=-1).unsqueeze(-1)
        logits: Tensor = self.cosine(cosine) + self.layers(compared)
        return logits
