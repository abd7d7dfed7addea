"""The mean of a module's weights over several moments of its training.

Where the last epochs wander around a minimum, their mean lies nearer to it than any of them (Izmailov et al. 2018,
arXiv 1803.05407).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RunningAverage:
    """Adds up weights without keeping them all.

    Attributes:
        count: How many moments there were.
        weights: Their mean; whole numbers, which no mean is made of, are those of the last.
    """

    def __init__(self, count: int = 0, weights: dict[str, Tensor] | None = None) -> None:
        self.count = count
        self.weights = weights or {}

    @torch.no_grad()
    def add(self, module: nn.Module) -> None:
        """Take in the weights as they are now."""
        self.count += 1
        for name, tensor in module.state_dict().items():
            if name not in self.weights or not tensor.is_floating_point():
                self.weights[name] = tensor.detach().to("cpu", copy=True)
            else:
                self.weights[name].lerp_(tensor.to("cpu"), 1 / self.count)
