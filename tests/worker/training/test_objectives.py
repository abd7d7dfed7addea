"""The losses: means over what has a target, finite whatever the batch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from models_store.tasks.base import IGNORED_TARGET
from worker.training.objectives import graded, token_cross_entropy


def test_tokens_without_a_target_count_for_nothing() -> None:
    logits = torch.randn(2, 3, 4)
    targets = torch.tensor([[1, IGNORED_TARGET, 2], [IGNORED_TARGET, 0, IGNORED_TARGET]])

    expected = functional.cross_entropy(
        torch.stack([logits[0, 0], logits[0, 2], logits[1, 1]]), torch.tensor([1, 2, 0])
    )

    torch.testing.assert_close(token_cross_entropy(logits, targets), expected)


def test_a_batch_without_any_target_has_no_loss_and_no_gradient() -> None:
    # Sentences of nothing but characters that the tokenizer drops: the built-in mean would be 0 / 0.
    logits = torch.randn(2, 3, 4, requires_grad=True)

    loss = token_cross_entropy(logits, torch.full((2, 3), IGNORED_TARGET))
    loss.backward()

    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
def test_the_graded_loss_is_least_at_the_score_itself(score: float) -> None:
    logits = torch.linspace(-6, 6, 241)
    losses = [float(graded(value.view(1, 1), torch.tensor([score]))) for value in logits]
    best = float(torch.sigmoid(logits[min(range(241), key=losses.__getitem__)]))
    assert best == pytest.approx(score, abs=0.02)
