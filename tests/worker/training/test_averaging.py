"""The mean of weights."""

from __future__ import annotations

import torch
from torch import nn

from worker.training.averaging import RunningAverage


def test_floating_weights_are_averaged_and_counters_are_the_last() -> None:
    module, average = nn.BatchNorm1d(1), RunningAverage()
    for step, value in enumerate((1.0, 2.0, 6.0)):
        nn.init.constant_(module.weight, value)
        module.get_buffer("num_batches_tracked").fill_(step)
        average.add(module)

    assert average.count == 3
    torch.testing.assert_close(average.weights["weight"], torch.tensor([3.0]))
    assert average.weights["num_batches_tracked"] == 2


def test_the_module_is_left_as_it_is() -> None:
    module, average = nn.Linear(1, 1), RunningAverage()
    average.add(module)
    average.weights["weight"].zero_()

    assert module.weight.detach().abs().sum() > 0
