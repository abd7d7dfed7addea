"""Temperature scaling: make the probabilities as honest on the validation rows as one number can (Guo et al. 2017).

Fine-tuned networks are too sure of themselves, and a head that was trained before its encoder most of all (Tomihari and
Sato 2024). Dividing the logits by a temperature repairs much of it and changes no decision (arXiv 1706.04599).
Where a text may get several labels, each of them is a decision between two: the label's logit against 0.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.tasks import Task
from models_store.tasks.base import IGNORED_TARGET, ObjectiveName, log_sum_exp, softmax
from models_store.tasks.metrics import expected_calibration_error
from worker.training.data import Inputs
from worker.training.ensemble import Ensemble
from worker.training.evaluation import merged_logits
from worker.training.events import Calibrated
from worker.training.hardware import Hardware
from worker.training.model import TaskModel
from worker.training.objectives import crf_of

HIGHEST = 20.0
_STEPS = 60  # of a golden-section search: far finer than the rows can tell
_GOLDEN = (math.sqrt(5) - 1) / 2

Labelled = tuple[NDArray[np.float64], NDArray[np.int64]]


def calibrate(
    model: TaskModel | Ensemble, inputs: Inputs, task: Task[Any], hardware: Hardware
) -> Generator[int, None, Calibrated | None]:
    """Set the model's temperature from labelled rows.

    It never falls below 1: rows on which the model is always right would have it surer without end, and rows that
    steered the training flatter it already.

    Yields:
        The number of windows done so far.

    Returns:
        What was found, or None where answers are no probabilities of labels: graded scores, and CRFs, whose
        probabilities come from their transitions, too.
    """
    if task.objective is ObjectiveName.GRADED or crf_of(model) is not None:
        return None
    logits, targets = yield from _labelled(model, inputs, hardware)
    if not len(targets):
        return None
    temperature = fit_temperature(logits, targets)
    model.temperature.fill_(temperature)
    judged = _given(logits, task)
    before, after = (
        expected_calibration_error(softmax(logits[judged] / t), targets[judged]) for t in (1.0, temperature)
    )
    return Calibrated(temperature=temperature, ece_before=before, ece_after=after, examples=len(targets))


def fit_temperature(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """The temperature in 1…20 with the least negative log-likelihood of targets (n,) under logits (n, n_labels)."""
    low, high = 0.0, math.log(HIGHEST)  # the loss is unimodal in the temperature's logarithm
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if _loss(logits / math.exp(left), targets) <= _loss(logits / math.exp(right), targets):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2) if low > 0 else 1.0


def _given(logits: NDArray[np.float64], task: Task[Any]) -> NDArray[np.bool_]:
    """The decisions whose confidence people see: of several labels those that are given, as in the report."""
    if task.objective is ObjectiveName.MULTI_LABEL and (given := logits[:, 1] >= 0).any():
        return given
    return np.ones(len(logits), dtype=np.bool_)


def _loss(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    return float((log_sum_exp(logits) - logits[np.arange(len(targets)), targets]).mean())


def _labelled(model: TaskModel | Ensemble, inputs: Inputs, hardware: Hardware) -> Generator[int, None, Labelled]:
    """Logits (n, n_labels) and targets (n,) of every example, every word that has a tag, or every label by itself."""
    logits = yield from merged_logits(model, inputs, hardware)
    merged = np.concatenate([np.atleast_2d(values) for values in logits]).astype(np.float64)
    targets = np.concatenate([np.asarray(target).reshape(-1) for target in inputs.split.targets])
    decided, truths = _decisions(merged, targets)
    return decided[truths != IGNORED_TARGET], truths[truths != IGNORED_TARGET]


def _decisions(logits: NDArray[np.float64], targets: NDArray[Any]) -> Labelled:
    """One row a decision: logits (n, n_labels) with indices (n,), or with shares (n × n_labels,) of single labels."""
    if targets.size == logits.size:
        return np.stack([np.zeros(logits.size), logits.reshape(-1)], axis=1), targets.astype(np.int64)
    return logits, targets.astype(np.int64)
