"""The losses: logits and targets in, a mean over the examples (or labelled tokens) out."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from models_store.tasks.base import IGNORED_TARGET, ObjectiveName

Objective = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Logits (batch, n_labels), targets (batch,) int64."""
    return functional.cross_entropy(logits.float(), targets)


def token_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Logits (batch, length, n_tags), targets (batch, length) int64 with `IGNORED_TARGET` where there is no label."""
    total = functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED_TARGET, reduction="sum"
    )
    # Not the built-in mean: of a batch in which no word survived the tokenizer that would be 0 / 0.
    return total / (targets != IGNORED_TARGET).sum().clamp(min=1)


def graded(logits: Tensor, targets: Tensor) -> Tensor:
    """Logits (batch, 1), targets (batch,) in 0…1: cross-entropy with the score read as a probability."""
    return functional.binary_cross_entropy_with_logits(logits.float().squeeze(-1), targets)


OBJECTIVES: dict[ObjectiveName, Objective] = {
    ObjectiveName.CROSS_ENTROPY: cross_entropy,
    ObjectiveName.TOKEN_CROSS_ENTROPY: token_cross_entropy,
    ObjectiveName.GRADED: graded,
}
