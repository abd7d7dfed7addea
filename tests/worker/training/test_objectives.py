"""The losses: means over what has a target, finite whatever the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional

from models_store.tasks import Target, Task
from models_store.tasks.base import IGNORED_TARGET
from tests.worker.conftest import CPU, HYPERPARAMETERS, TASKS
from worker.training.data import collate_targets
from worker.training.objectives import (
    CrossEntropy,
    MultiLabel,
    balanced_weights,
    focused,
    goal_of,
    graded,
    objective_of,
    watched_metric,
)


def test_tokens_without_a_target_count_for_nothing() -> None:
    logits = torch.randn(2, 3, 4)
    targets = torch.tensor([[1, IGNORED_TARGET, 2], [IGNORED_TARGET, 0, IGNORED_TARGET]])

    expected = functional.cross_entropy(
        torch.stack([logits[0, 0], logits[0, 2], logits[1, 1]]), torch.tensor([1, 2, 0])
    )

    torch.testing.assert_close(CrossEntropy()(logits, targets), expected)


@pytest.mark.parametrize("objective", [CrossEntropy(), CrossEntropy(torch.ones(4), gamma=0.5)])
def test_a_batch_without_any_target_has_no_loss_and_no_gradient(objective: CrossEntropy) -> None:
    # Sentences of nothing but characters that the tokenizer drops: the built-in mean would be 0 / 0.
    logits = torch.randn(2, 3, 4, requires_grad=True)

    loss = objective(logits, torch.full((2, 3), IGNORED_TARGET))
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


# ---- class weights --------------------------------------------------------------------------------------------------

BALANCED = HYPERPARAMETERS.model_copy(update={"class_weights": "balanced"})


def objective(kind: str, targets: list[Target], **changes: Any) -> Any:
    values = HYPERPARAMETERS.model_copy(update=changes)
    return objective_of(nn.Identity(), TASKS[kind], values, targets, CPU.device)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = [0] * 7 + [1] * 2 + [2]

    weights = balanced_weights(CrossEntropy.class_counts(list(labels), 3))

    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(3), y=labels))


def test_weights_of_several_labels_balance_each_by_itself() -> None:
    targets: list[Target] = [[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]

    weights = balanced_weights(MultiLabel.class_counts(targets, 2))

    for label in range(2):
        column = [int(target[label]) for target in targets if isinstance(target, list)]
        np.testing.assert_allclose(weights[:, label], compute_class_weight("balanced", classes=np.arange(2), y=column))


def test_words_are_counted_and_the_other_pieces_are_not() -> None:
    targets: list[Target] = [[IGNORED_TARGET, 0, IGNORED_TARGET, 0], [IGNORED_TARGET, 0, 2]]
    assert CrossEntropy.class_counts(targets, 3).tolist() == [3, 0, 1]


def test_a_class_that_is_absent_has_a_weight_like_any_other() -> None:
    assert balanced_weights(np.asarray([3, 0, 1])).tolist() == pytest.approx([4 / 6, 1.0, 2.0])
    assert balanced_weights(np.asarray([0, 0])).tolist() == [1.0, 1.0]
    # A label that no row has, and one that all have.
    assert balanced_weights(np.asarray([[4, 0], [0, 4]])).tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_weighed_losses_are_those_of_torch_but_for_the_mean() -> None:
    logits, targets = torch.randn(6, 2), torch.tensor([0, 0, 0, 0, 0, 1])
    weighed = objective("classification", targets.tolist(), class_weights="balanced")
    weights = torch.tensor([6 / 10, 6 / 2])

    # Over the training rows the weights add up to the number of rows, which makes it torch's weighted mean.
    torch.testing.assert_close(weighed(logits, targets), functional.cross_entropy(logits, targets, weight=weights))
    # And means over batches are the mean over all rows.
    parts = torch.stack([weighed(logits[:3], targets[:3]), weighed(logits[3:], targets[3:])])
    torch.testing.assert_close(parts.mean(), weighed(logits, targets))


def test_weighed_losses_of_several_labels() -> None:
    targets: list[Target] = [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    logits, truth = torch.randn(4, 3), collate_targets(targets)

    weighed = objective("several labels", targets, class_weights="balanced")(logits, truth)

    positive, negative = torch.tensor([4 / 6, 2.0, 1.0]), torch.tensor([2.0, 4 / 6, 1.0])
    expected = functional.binary_cross_entropy_with_logits(
        logits, truth, weight=torch.where(truth > 0, positive, negative)
    )
    torch.testing.assert_close(weighed, expected)


# ---- focal loss -----------------------------------------------------------------------------------------------------


def test_the_focal_loss_of_one_label() -> None:
    logits, targets = torch.randn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    truth = torch.softmax(logits, dim=1)[torch.arange(5), targets]

    found = objective("classification", targets.tolist(), loss="focal", focal_gamma=1.5)(logits, targets)

    torch.testing.assert_close(found, (-((1 - truth) ** 1.5) * truth.log()).mean())


def test_the_focal_loss_of_several_labels() -> None:
    logits, targets = torch.randn(4, 3), (torch.rand(4, 3) > 0.5).float()
    p = torch.sigmoid(logits)
    truth = torch.where(targets > 0, p, 1 - p)

    found = objective("several labels", targets.tolist(), loss="focal")(logits, targets)

    torch.testing.assert_close(found, (-((1 - truth) ** 2) * truth.log()).mean())


def test_without_focus_the_focal_loss_is_cross_entropy() -> None:
    logits, targets = torch.randn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    found = objective("classification", targets.tolist(), loss="focal", focal_gamma=0.0)(logits, targets)
    torch.testing.assert_close(found, functional.cross_entropy(logits, targets))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_focal_loss_has_a_gradient_where_there_is_nothing_left_to_learn(gamma: float) -> None:
    losses = torch.tensor([0.0, 1e-30, 50.0], requires_grad=True)
    focused(losses, gamma).sum().backward()
    assert losses.grad is not None
    assert torch.isfinite(losses.grad).all()


# ---- what a better epoch is told by ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "plain", "balanced"),
    [
        ("classification", "accuracy", "f1_macro"),
        ("several labels", "f1_micro", "f1_macro"),
        ("labelled pairs", "accuracy", "f1_macro"),
        ("pos", "accuracy", "f1_macro"),
        ("tagging", "f1", "f1"),
        ("graded pairs", "spearman", "spearman"),
    ],
)
def test_where_classes_count_alike_they_do_so_in_the_choice_of_the_epoch(kind: str, plain: str, balanced: str) -> None:
    task: Task[Any] = TASKS[kind]
    assert watched_metric(task, HYPERPARAMETERS) == plain
    assert watched_metric(task, BALANCED) == balanced
    assert goal_of(nn.Identity(), task, HYPERPARAMETERS, [], CPU.device).metric == plain
