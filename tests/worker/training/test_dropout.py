"""Our dropout: zeros in the right share, the mean kept, gradients where values pass, nothing while evaluating."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.worker.conftest import Bench
from worker.training.dropout import ByteDropout


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_share_of_zeros_and_the_mean_are_those_of_dropout(p: float) -> None:
    torch.manual_seed(0)
    values = ByteDropout(p)(torch.ones(1000, 1003))  # not a multiple of eight

    assert (values == 0).float().mean().item() == pytest.approx(p, abs=0.005)
    assert values.mean().item() == pytest.approx(1.0, abs=0.005)
    assert values.unique().numel() == 2


def test_every_byte_of_a_number_is_random() -> None:
    torch.manual_seed(0)
    zeros = (ByteDropout(0.5)(torch.ones(80_000)) == 0).view(-1, 8).float().mean(dim=0)

    torch.testing.assert_close(zeros, torch.full((8,), 0.5), atol=0.02, rtol=0)


def test_gradients_flow_where_values_passed_and_nowhere_else() -> None:
    values = torch.ones(64, requires_grad=True)
    dropped = ByteDropout(0.5)(values)
    dropped.sum().backward()

    assert values.grad is not None
    assert torch.equal(values.grad, dropped.detach())


def test_nothing_is_dropped_while_evaluating_or_at_zero() -> None:
    values = torch.randn(7)
    assert torch.equal(ByteDropout(0.5).eval()(values), values)
    assert torch.equal(ByteDropout(0.0)(values), values)


def test_the_same_seed_drops_the_same() -> None:
    masks = []
    for _ in range(2):
        torch.manual_seed(3)
        masks.append(ByteDropout(0.3)(torch.ones(50)))
    assert torch.equal(*masks)


def test_the_task_model_uses_it_everywhere(bench: Bench) -> None:
    kinds = [type(module) for module in bench.model().modules()]
    assert ByteDropout in kinds
    assert nn.Dropout not in kinds
