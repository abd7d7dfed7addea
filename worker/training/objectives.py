"""The losses: logits and targets in, a mean over the examples (or labelled tokens) out.

`objective_of` makes the loss of a training from its task, its options and its training rows. The same loss judges the
validation rows, so that losses compare within a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models_store.specs import ResolvedHyperparameters
from models_store.tasks import Target, Task
from models_store.tasks.base import IGNORED_TARGET, ObjectiveName
from models_store.tasks.tagging import TaggingTask
from models_store.tasks.viterbi import Transitions
from worker.training.heads import Crf

Objective = Callable[[Tensor, Tensor], Tensor]

_TINY = 1e-12  # keeps the gradient of a power finite at 0


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """One label out of several, for a text or for each of its tokens.

    Attributes:
        weights: How much an example of each class counts (n_labels,); all alike without.
        gamma: Focusing parameter of the focal loss; 0 is cross-entropy itself.
    """

    weights: Tensor | None = None
    gamma: float = 0.0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (…, n_labels), targets (…) int64 with `IGNORED_TARGET` where there is no label."""
        known = targets.flatten()
        losses = functional.cross_entropy(
            logits.float().flatten(0, -2), known, ignore_index=IGNORED_TARGET, reduction="none"
        )
        losses = focused(losses, self.gamma)
        if self.weights is not None:
            losses = losses * self.weights[known.clamp(min=0)]
        # Not the built-in mean: of a batch in which no word survived the tokenizer that would be 0 / 0. And not divided
        # by the weights of the batch: means over batches would then not add up to the mean over the split.
        return losses.sum() / (known != IGNORED_TARGET).sum().clamp(min=1)

    @staticmethod
    def class_counts(targets: Sequence[Target], n_outputs: int) -> NDArray[np.int64]:
        """How often each class stands in the targets (n_outputs,)."""
        lists = cast("Iterable[list[int]]", (t if isinstance(t, list) else [t] for t in targets))
        counts = Counter(chain.from_iterable(lists))
        return np.asarray([counts[label] for label in range(n_outputs)], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """Any number of labels: binary cross-entropy of each.

    Attributes:
        weights: How much rows without (first) and with each label count (2, n_labels); all alike without.
        gamma: Focusing parameter of the focal loss; 0 is cross-entropy itself.
    """

    weights: Tensor | None = None
    gamma: float = 0.0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (batch, n_labels), targets (batch, n_labels) of 0 and 1."""
        losses = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
        losses = focused(losses, self.gamma)
        if self.weights is not None:
            losses = losses * torch.where(targets > 0, self.weights[1], self.weights[0])
        return losses.mean()

    @staticmethod
    def class_counts(targets: Sequence[Target], n_outputs: int) -> NDArray[np.int64]:
        """Rows without and with each label (2, n_outputs): each is a choice between two classes by itself."""
        with_label = np.zeros(n_outputs, dtype=np.int64)
        for target in targets:
            with_label += np.asarray(target, dtype=np.int64)
        return np.stack([len(targets) - with_label, with_label])


def graded(logits: Tensor, targets: Tensor) -> Tensor:
    """Logits (batch, 1), targets (batch,) in 0…1: cross-entropy with the score read as a probability."""
    return functional.binary_cross_entropy_with_logits(logits.float().squeeze(-1), targets)


def focused(losses: Tensor, gamma: float) -> Tensor:
    """Cross-entropies times ``(1 - p) ** gamma`` (Lin et al. 2017, arXiv 1708.02002); p is the truth's probability."""
    return losses * (-torch.expm1(-losses)).clamp(min=_TINY) ** gamma if gamma else losses


@dataclass(frozen=True, slots=True)
class Goal:
    """What a training strives for: the loss it makes smaller, and the metric by which it knows a better epoch."""

    objective: Objective
    metric: str


def goal_of(
    module: nn.Module,
    task: Task[Any],
    values: ResolvedHyperparameters,
    targets: Sequence[Target],
    device: torch.device,
) -> Goal:
    """Loss and metric of a training; the arguments are those of `objective_of`."""
    return Goal(objective_of(module, task, values, targets, device), watched_metric(task, values))


def watched_metric(task: Task[Any], values: ResolvedHyperparameters) -> str:
    """The metric that tells a better epoch or head.

    Where every class counts alike in the loss it does so here, too: by the share of right answers alone, an epoch that
    knows nothing but the frequent class would win.
    """
    balanced = values.class_weights == "balanced"
    return _BALANCED_METRICS.get(task.primary_metric, task.primary_metric) if balanced else task.primary_metric


def objective_of(
    module: nn.Module,
    task: Task[Any],
    values: ResolvedHyperparameters,
    targets: Sequence[Target],
    device: torch.device,
) -> Objective:
    """The loss of a model or of a head alone: the CRF's own where it has one, the task's otherwise.

    Args:
        module: What is trained.
        task: Names its loss.
        values: Its options.
        targets: Of the training rows, from which the weights of the classes come.
        device: Where the logits will be.
    """
    if (crf := crf_of(module)) is not None:
        return crf.loss
    if task.objective is ObjectiveName.GRADED:
        return graded
    objective, weights = OBJECTIVES[task.objective], None
    if values.class_weights == "balanced":
        balanced = balanced_weights(objective.class_counts(targets, task.n_outputs))
        weights = torch.tensor(balanced, dtype=torch.float32, device=device)
    return objective(weights, values.focal_gamma if values.loss == "focal" else 0.0)


def balanced_weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights that let every class count alike: n / (k · count), as scikit-learn's ``balanced``.

    Args:
        counts: Examples of each class, along the first axis.

    Returns:
        Weights of the same shape, 1 for a class without examples. Over the examples their mean is 1.
    """
    present = counts > 0
    examples, classes = counts.sum(axis=0), present.sum(axis=0)
    return np.where(present, examples / np.maximum(classes * counts, 1), 1.0)


def learnt_task(module: nn.Module, task: Task[Any]) -> Task[Any]:
    """The task with what the module has learnt of its decoding: a CRF's transitions, or the mean of several."""
    crfs = [part.transitions() for part in module.modules() if isinstance(part, Crf)]
    return replace(task, transitions=Transitions.mean(crfs)) if crfs and isinstance(task, TaggingTask) else task


def crf_of(module: nn.Module) -> Crf | None:
    """The CRF of a head, or of a model's head."""
    return next((part for part in module.modules() if isinstance(part, Crf)), None)


_BALANCED_METRICS = {"accuracy": "f1_macro", "f1_micro": "f1_macro"}

# The losses that have classes to weigh.
OBJECTIVES: dict[ObjectiveName, type[CrossEntropy | MultiLabel]] = {
    ObjectiveName.CROSS_ENTROPY: CrossEntropy,
    ObjectiveName.TOKEN_CROSS_ENTROPY: CrossEntropy,
    ObjectiveName.MULTI_LABEL: MultiLabel,
}
