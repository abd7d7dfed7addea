"""What a head is: hidden states in, logits out, and nothing else."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

from torch import Tensor, nn


class Head(Protocol):
    """A network on top of the encoder's last hidden states.

    Attributes:
        needs: Whether it reads the first token alone or all of them; decides what phase 1 has to remember.
    """

    needs: ClassVar[Literal["first_token", "all_tokens"]]

    def __call__(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states (batch, length, width) and mask (batch, length) → logits.

        Logits are (batch, n_outputs), or (batch, length, n_outputs) for a task per token.
        """


def init_kaiming(module: nn.Module) -> None:
    """Kaiming-uniform weights and zero biases for every fully connected layer (He et al. 2015, arXiv 1502.01852)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
