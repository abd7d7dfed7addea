"""The losses: logits and targets in, a mean over the examples (or labelled tokens) out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from models_store.tasks import Task
from models_store.tasks.base import IGNORED_TARGET, ObjectiveName
from models_store.tasks.tagging import TaggingTask
from worker.training.heads import Crf

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


def objective_of(module: nn.Module, task: Task[Any]) -> Objective:
    """The loss of a model or of a head alone: the CRF's own where it has one, the task's otherwise."""
    crf = crf_of(module)
    return crf.loss if crf is not None else OBJECTIVES[task.objective]


def learnt_task(module: nn.Module, task: Task[Any]) -> Task[Any]:
    """The task with what the module has learnt of its decoding: a CRF's transitions."""
    crf = crf_of(module)
    return replace(task, transitions=crf.transitions()) if crf is not None and isinstance(task, TaggingTask) else task


def crf_of(module: nn.Module) -> Crf | None:
    """The CRF of a head, or of a model's head."""
    return next((part for part in module.modules() if isinstance(part, Crf)), None)


OBJECTIVES: dict[ObjectiveName, Objective] = {
    ObjectiveName.CROSS_ENTROPY: cross_entropy,
    ObjectiveName.TOKEN_CROSS_ENTROPY: token_cross_entropy,
    ObjectiveName.GRADED: graded,
}
