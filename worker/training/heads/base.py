"""What a head is: hidden states in, logits out, and nothing else."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

Needs = Literal["summary", "all_tokens"]
Reads = Literal["together", "apart"]


class Head(Protocol):
    """A network on top of the encoder's last hidden states.

    Attributes:
        needs: Whether it reads a text's `summary` or all of its tokens; decides what phase 1 has to remember.
        reads: Whether the encoder reads a pair as one input, each text seeing the other, or each text by itself.
    """

    needs: ClassVar[Needs]
    reads: ClassVar[Reads]

    def __call__(self, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Hidden states (batch, length, width), mask and segments (batch, length) → logits.

        Of a head that needs the summary alone, the hidden states are that: (batch, 2, width).
        Logits are (batch, n_outputs), or (batch, length, n_outputs) for a task per token.
        """


def init_kaiming(module: nn.Module) -> None:
    """Kaiming-uniform weights and zero biases for fully connected and convolutional layers.

    He et al. 2015, arXiv 1502.01852.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def two_layers(width: int, n_outputs: int, dropout: float) -> nn.Sequential:
    """The two fully connected layers that end most heads."""
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(width, n_outputs),
    )


def summary(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """The first token and the mean over the tokens: (batch, length, width) → (batch, 2, width).

    Encoders differ in which of the two they were made to put a text's meaning into.
    """
    return torch.stack([hidden_states[:, 0], masked_mean(hidden_states, attention_mask)], dim=1)


def masked_max(values: Tensor, mask: Tensor) -> Tensor:
    """Values (batch, length, width) and mask (batch, length) → maximum over the real tokens (batch, width).

    Zero for a text that has none.
    """
    highest = values.masked_fill(mask.unsqueeze(-1) == 0, -1e4).amax(dim=1)
    return highest * mask.amax(dim=1, keepdim=True).to(values.dtype)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Values (batch, length, width) and mask (batch, length) → mean over the real tokens (batch, width)."""
    weights = mask.unsqueeze(-1).to(values.dtype)
    return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
