"""The optimizer of a phase: AdamW with a learning rate for every depth of the model, warm-up and decay.

The lower a layer, the more general is what it knows, and the less it should move (discriminative fine-tuning; Howard
and Ruder 2018, arXiv 1801.06146). A parameter's *depth* is counted from the head's, which is 0, down to the
embeddings.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from models_store.specs import PhaseSpec
from worker.training.hardware import Hardware

_LAYER = re.compile(r"\b(?:layer|layers|albert_layer_groups|blocks?)\.(\d+)\.")
_EMBEDDING = re.compile(r"\.\w*embed")
_FUNCTIONS = "lr_lambdas"  # of the state of torch's schedule: no data
_UNFREEZING = 1 / 3  # of the phase, after which every layer learns


class Optimizer:
    """AdamW and its schedule, as one thing to step."""

    def __init__(
        self, module: nn.Module, phase: PhaseSpec, weight_decay: float, total_steps: int, hardware: Hardware
    ) -> None:
        groups = _groups(module, phase, weight_decay)
        warmup = max(1, round(total_steps * phase.warmup_fraction))
        deepest = max(group["depth"] for group in groups)
        self._adamw = torch.optim.AdamW(groups, lr=phase.learning_rate, fused=True)
        self._schedule = LambdaLR(
            self._adamw,
            [_shape(_start(group["depth"], deepest, phase, total_steps), warmup, total_steps) for group in groups],
        )
        self._prepared = hardware.prepare(self._adamw)

    @property
    def learning_rate(self) -> float:
        """The learning rate that the next step will use where it is highest."""
        return max(float(rate) for rate in self._schedule.get_last_lr())

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._adamw.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move the weights and the schedule.

        A step whose gradients overflowed in float16 moves no weights: the fused kernel sees to it without asking the
        GPU. The schedule goes on all the same, and ends where the phase does.
        """
        self._prepared.step()
        self._schedule.step()

    def moments(self) -> dict[str, Tensor]:
        """Both moments and the step count of each parameter that has been moved, by its index and their name."""
        states = self._adamw.state_dict()["state"]
        return {f"{index}.{name}": tensor for index, state in states.items() for name, tensor in state.items()}

    def schedule(self) -> dict[str, Any]:
        """Where the schedule stands, for JSON."""
        return {name: value for name, value in self._schedule.state_dict().items() if name != _FUNCTIONS}

    def restore(self, moments: dict[str, Tensor], schedule: dict[str, Any]) -> None:
        """Go on from what `moments` and `schedule` gave."""
        states: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for key, tensor in moments.items():
            index, _, name = key.partition(".")
            states[int(index)][name] = tensor
        groups = self._adamw.state_dict()["param_groups"]
        for group, rate in zip(groups, schedule["_last_lr"], strict=True):
            group["lr"] = rate
        self._adamw.load_state_dict({"state": dict(states), "param_groups": groups})
        self._schedule.load_state_dict({**schedule, _FUNCTIONS: [None] * len(groups)})


def depths_of(module: nn.Module) -> dict[str, int]:
    """How many layers lie above each parameter that learns: 0 for the head, most for the embeddings.

    What an encoder has beside embeddings and layers, such as a last normalisation, has the depth of its topmost layer.
    """
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    layers = {name: int(found[1]) for name in names if _of_encoder(name) and (found := _LAYER.search(name))}
    count = max(layers.values(), default=-1) + 1
    return {name: _depth(name, layers.get(name), count) for name in names}


def _of_encoder(name: str) -> bool:
    return name.startswith("encoder.")


def _depth(name: str, layer: int | None, count: int) -> int:
    if not _of_encoder(name):
        return 0
    if layer is not None:
        return count - layer
    return count + 1 if _EMBEDDING.search(name) else 1


def _groups(module: nn.Module, phase: PhaseSpec, weight_decay: float) -> list[dict[str, Any]]:
    """One group for each depth, parted by weight decay: none on biases and normalisation, which have one dimension."""
    depths = depths_of(module)
    members: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in module.named_parameters():
        if name in depths:
            members[depths[name], parameter.ndim > 1].append(parameter)
    return [
        {
            "params": parameters,
            "depth": depth,
            "lr": phase.learning_rate * (phase.layer_decay**depth if depth else phase.head_factor),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in members.items()
    ]


def _start(depth: int, deepest: int, phase: PhaseSpec, total_steps: int) -> int:
    """The step at which a depth begins to learn: at once, or one depth after the other."""
    if not phase.gradual_unfreezing or deepest == 0:
        return 0
    return round(total_steps * _UNFREEZING * depth / deepest)


def _shape(start: int, warmup: int, total: int) -> Callable[[int], float]:
    """Learning rate at a step, as a share of its peak: nothing before the start, linear warm-up, linear decay."""

    def share(step: int) -> float:
        if step < start:
            return 0.0
        rising = (step - start + 1) / warmup
        falling = (total - step) / max(1, total - warmup)
        return max(0.0, min(1.0, rising, falling))

    return share
