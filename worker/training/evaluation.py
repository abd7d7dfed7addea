"""Loss and metrics of a module over a split, in torch, between epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models_store.specs import Watch
from models_store.tasks import Task
from models_store.windows import Logits
from worker.training.data import Batch, Inputs, Split, collate_targets
from worker.training.errors import DivergedError
from worker.training.hardware import Hardware
from worker.training.memory import in_batches
from worker.training.objectives import Goal, Objective, learnt_task

_LOSS_ROWS = 8192
_GAP = 0.10  # decision 0013
_CHANCE = 2.0  # standard errors; the best of a dozen epochs is ahead of the others by more than one without any merit


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a module is on so many examples: loss, metrics, and of these the one that tells a better epoch."""

    loss: float
    metrics: dict[str, float]
    score: float
    examples: int

    def beats(self, other: Evaluation, watch: Watch) -> bool:
        """A lower loss, or a higher score."""
        return self.loss < other.loss if watch == "loss" else self.score > other.score

    def generalises(self, train_loss: float) -> bool:
        """Whether what is learnt from the training rows holds for others, too: the losses are nearly the same."""
        return self.loss <= (1 + _GAP) * train_loss

    def is_level_with(self, best: Evaluation, watch: Watch) -> bool:
        """As low a loss; or a score that is worse by no more than chance may make it."""
        if watch == "loss":
            return self.loss <= best.loss
        return self.score >= best.score - _CHANCE * standard_error(best.score, best.examples)


def standard_error(score: float, examples: int) -> float:
    """Of a share of right answers; for F1 and correlations it is near enough to tell noise from a difference."""
    share = min(max(score, 0.0), 1.0)
    return math.sqrt(max(share * (1 - share), 1 / examples) / examples)


def evaluate(
    module: nn.Module, inputs: Inputs, task: Task[Any], goal: Goal, hardware: Hardware
) -> Generator[int, None, Evaluation]:
    """Run the module over the split in evaluation mode.

    Yields:
        The number of windows done so far, after each batch.

    Returns:
        Loss and metrics (``yield from``).

    Raises:
        DivergedError: A logit or the loss is not finite.
    """
    split, total = inputs.split, 0.0

    def look(batch: Batch, output: Tensor) -> None:
        nonlocal total
        if split.per_token:
            with torch.inference_mode():
                total += float(goal.objective(output, batch.targets)) * len(batch.indices)
        if not output.isfinite().all():
            raise DivergedError("the model's outputs are no longer finite; try a smaller learning rate")

    merged = yield from merged_logits(module, inputs, hardware, look)
    if split.per_token:
        loss = total / len(split.windows)
    else:
        loss = _loss_of_texts(goal.objective, merged, split, hardware.device)
    if not math.isfinite(loss):
        raise DivergedError(f"the validation loss became {loss}; try a smaller learning rate")
    metrics = learnt_task(module, task).score(merged, split.rows, split.encoded)
    return Evaluation(loss, metrics, metrics[goal.metric], len(split))


def _loss_of_texts(objective: Objective, logits: Sequence[Logits], split: Split, device: torch.device) -> float:
    """The mean loss of the answers to whole texts, of which each counts once."""
    total = 0.0
    for start in range(0, len(split), _LOSS_ROWS):
        part = slice(start, start + _LOSS_ROWS)
        targets = collate_targets(split.targets[part]).to(device)
        with torch.inference_mode():
            total += float(objective(torch.from_numpy(np.stack(logits[part])).to(device), targets)) * len(targets)
    return total / len(split)


def merged_logits(
    module: nn.Module, inputs: Inputs, hardware: Hardware, look: Callable[[Batch, Tensor], None] | None = None
) -> Generator[int, None, list[Logits]]:
    """What the module makes of each example in evaluation mode, its windows put together.

    Args:
        module: Takes the inputs.
        inputs: Of a split.
        hardware: Where the module is.
        look: Sees each batch and its logits, on the device and with their padding.

    Yields:
        The number of windows done so far, after each batch.

    Returns:
        Logits of each example: (n_outputs,), or (length, n_outputs) per token (``yield from``).
    """
    split, done = inputs.split, 0
    logits: list[Logits] = [np.empty(0, dtype=np.float32)] * len(split.windows)
    for batch, output in _outputs(module, inputs, hardware):
        if look is not None:
            look(batch, output)
        for values, index in zip(output.float().cpu().numpy(), batch.indices, strict=True):
            logits[index] = values[: len(split.windows[index])] if split.per_token else values
        done += len(batch.indices)
        yield done
    return split.merge(logits)


def _outputs(module: nn.Module, inputs: Inputs, hardware: Hardware) -> Iterator[tuple[Batch, Tensor]]:
    """Each batch of a split, on the device, with what the module makes of it in evaluation mode."""
    module.eval()

    def forward(batch: Batch) -> tuple[Batch, Tensor]:
        moved = batch.to(hardware.device)
        with torch.inference_mode(), hardware.autocast():
            return moved, module(**moved.inputs)

    for _, (moved, output) in in_batches(inputs, forward):
        yield moved, output
