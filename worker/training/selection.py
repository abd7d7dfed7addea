"""``head: auto``: try every head that fits on the frozen encoder's outputs, and rank them.

The outputs are computed once for all heads that read alike, which makes a trial cheap beside fine-tuning; heads whose
trial would not be cheap are left out. Where the validation split is small, a few rows would decide; the heads are then
compared by cross-validation over the training rows.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch

from models_store.specs import HeadName, PhaseName, PhaseSpec
from worker.training.checkpoints import Checkpoint, Checkpoints
from worker.training.data import Split, TrainingData
from worker.training.errors import DivergedError
from worker.training.evaluation import standard_error
from worker.training.events import Event, HeadTried, Message, PhaseFinished, Working
from worker.training.features import FeatureInputs, FeatureStore
from worker.training.loop import fit
from worker.training.model import TaskModel
from worker.training.objectives import watched_metric
from worker.training.options import TrainingOptions
from worker.training.pacing import paced
from worker.training.team import Team

TRIAL_ROWS = 2_000  # of each split; more would not change the order
TRIAL_STEPS = 80
TRIAL_BATCH = 32
HYBRID_BUDGET = 0.25  # of what phase 2 costs, for all trials together
FEW_ROWS = 500  # a validation split smaller than this does not decide alone
FOLDS = 3
_LEARNING_RATE = 1e-3  # for what a head can make of the features in few steps; phase 1 itself may be gentler

# Forward and backward over an example, against those of a small encoder (6 layers, 384 wide; docs/decisions/0009).
_COSTS = {
    HeadName.LINEAR: 0.004,
    HeadName.SIAMESE: 0.007,
    HeadName.CRF: 0.025,
    HeadName.HIGHWAY_LSTM: 0.08,
    HeadName.BILSTM: 0.10,
    HeadName.DENSE_CNN: 0.10,
    HeadName.BILSTM_CRF: 0.10,
    HeadName.BIMPM_LITE: 0.12,
    HeadName.SIM_TRANSFORMER: 0.14,
    HeadName.BIMPM: 0.18,
}

Fold = tuple[FeatureInputs, FeatureInputs]


def choose_head(
    model: TaskModel,
    candidates: Sequence[HeadName],
    data: TrainingData,
    options: TrainingOptions,
    features: FeatureStore,
    checkpoints: Checkpoints | None = None,
    *,
    budget: float = HYBRID_BUDGET,
) -> Generator[Event, None, list[HeadTried]]:
    """Try the heads, unless an earlier attempt has done so, and put the chosen one into the model.

    The first whose score is within a standard error of the best is chosen. Where the budget leaves but one head there
    is nothing to compare, and nothing is tried.

    Args:
        model: Gets the head.
        candidates: In the order of preference.
        data: Both splits.
        options: How to train.
        features: Keeps the encoder's outputs.
        checkpoints: Where the ranking is kept.
        budget: What all trials together may cost, against a second phase.

    Returns:
        All trials, the chosen head's first, then by score (``yield from``).
    """
    ranking: list[HeadTried] = []
    if options.team.is_main:
        samples = _samples(data, options.seed)
        tried = _affordable(candidates, samples, data, options, budget)
        if left := [name.value for name in candidates if name not in tried]:
            message = f"not tried, for it would take long beside so short a training: {', '.join(left)}"
            yield Message(message=message, data={"heads": left})
        if len(tried) > 1:
            ranking = yield from _ranking(model, tried, samples, data, options, features, checkpoints or Checkpoints())
    told = options.team.share([trial.model_dump() for trial in ranking])
    ranking = [HeadTried.model_validate(trial) for trial in told]
    torch.manual_seed(options.seed)
    chosen = HeadName(ranking[0].head) if ranking else candidates[0]
    model.put_head(data.task, chosen, options.values.dropout)
    return ranking


def _ranking(
    model: TaskModel,
    candidates: Sequence[HeadName],
    samples: tuple[Split, Split],
    data: TrainingData,
    options: TrainingOptions,
    features: FeatureStore,
    checkpoints: Checkpoints,
) -> Generator[Event, None, list[HeadTried]]:
    """That of an earlier attempt, or a new one."""
    if (found := (yield from checkpoints.newest())) is not None:
        return [HeadTried.model_validate(trial) for trial in found.state["ranking"]]
    ranking = yield from _rank(model, candidates, samples, data, options, features)
    yield from checkpoints.save(Checkpoint({"ranking": [trial.model_dump() for trial in ranking]}))
    return ranking


def _rank(
    model: TaskModel,
    candidates: Sequence[HeadName],
    samples: tuple[Split, Split],
    data: TrainingData,
    options: TrainingOptions,
    features: FeatureStore,
) -> Generator[Event, None, list[HeadTried]]:
    """All trials; the chosen head's first, then by score."""
    model.to(options.device)
    names = [name.value for name in candidates]
    yield Message(
        message=f"trying {len(names)} heads on the frozen encoder: {', '.join(names)}", data={"trying": names}
    )
    trials: list[HeadTried] = []
    for name in candidates:
        trial = yield from _try(name, samples, model, data, options, features)
        trials.append(trial)
        yield trial
    best = max(trial.score for trial in trials)
    margin = standard_error(best, len(samples[1]) if _decides(samples[1]) else len(samples[0]))
    chosen = next(trial for trial in trials if trial.score >= best - margin)
    return sorted(trials, key=lambda trial: (trial is not chosen, -trial.score))


def _affordable(
    candidates: Sequence[HeadName],
    samples: tuple[Split, Split],
    data: TrainingData,
    options: TrainingOptions,
    budget: float,
) -> list[HeadName]:
    """As many candidates as the budget allows, and the first in any case."""
    train, validation = samples
    folds, rows = (1, len(train)) if _decides(validation) else (FOLDS, len(train) * (FOLDS - 1) // FOLDS)
    examples = folds * rows * _epochs(rows)
    left = budget * options.values.full_epochs * data.train.epoch_size
    chosen = list(candidates[:1])
    for name in candidates[1:]:
        cost = examples * _COSTS[name]
        if cost <= left:
            chosen.append(name)
            left -= cost
    return chosen


def _epochs(rows: int) -> int:
    return max(1, round(TRIAL_STEPS * TRIAL_BATCH / max(1, rows)))


def _decides(validation: Split) -> bool:
    return len(validation) >= FEW_ROWS


def _folds(
    model: TaskModel, samples: tuple[Split, Split], options: TrainingOptions, features: FeatureStore
) -> Generator[Event, None, list[Fold]]:
    """What to train a head on and what to judge it by, as the encoder reads it for this head."""
    train, validation = samples
    known = yield from _features(model, train, features)
    if _decides(validation):
        return [(known, (yield from _features(model, validation, features)))]
    parts = np.array_split(np.random.default_rng(options.seed).permutation(len(train)), FOLDS)
    return [
        (known.subset(np.concatenate(parts[:i] + parts[i + 1 :]).tolist()), known.subset(part.tolist()))
        for i, part in enumerate(parts)
    ]


def _samples(data: TrainingData, seed: int) -> tuple[Split, Split]:
    """Enough rows of both splits to compare heads by."""
    rng = np.random.default_rng(seed)
    return _sample(data.train, rng), _sample(data.validation, rng)


def _sample(split: Split, rng: np.random.Generator) -> Split:
    return split if len(split) <= TRIAL_ROWS else split.subset(rng.permutation(len(split))[:TRIAL_ROWS].tolist())


def _features(model: TaskModel, split: Split, features: FeatureStore) -> Generator[Event, None, FeatureInputs]:
    work = features.of(model, split, model.needs)
    return paced(work, lambda done: Working(stage="prepare", done=done, total=len(split.windows)))


def _try(
    name: HeadName,
    samples: tuple[Split, Split],
    model: TaskModel,
    data: TrainingData,
    options: TrainingOptions,
    features: FeatureStore,
) -> Generator[Event, None, HeadTried]:
    """Train the head on each fold and take the mean of its scores; one that diverges scores nothing."""
    started = time.monotonic()
    options = replace(options, values=options.values.model_copy(update={"batch_size": TRIAL_BATCH}), team=Team())
    scores, metric = [], watched_metric(data.task, options.values)
    model.put_head(data.task, name, options.values.dropout)
    folds = yield from _folds(model, samples, options, features)
    for number, (known, held_out) in enumerate(folds):
        torch.manual_seed(options.seed)
        model.put_head(data.task, name, options.values.dropout)
        epochs = _epochs(known.split.epoch_size)
        phase = PhaseSpec(
            name=PhaseName.HEAD,
            trains_encoder=False,
            epochs=epochs,
            learning_rate=_LEARNING_RATE,
            watch="metric",
            patience=epochs,
        )
        rng, score = np.random.default_rng(options.seed), 0.0
        with suppress(DivergedError):
            for event in fit(model.head, phase, known, held_out, data.task, options, rng):
                if isinstance(event, PhaseFinished):
                    score = event.metrics[metric]
                yield Working(stage="prepare", done=number, total=len(folds))
        scores.append(score)
    return HeadTried(
        head=name.value,
        metric=metric,
        score=float(np.mean(scores)),
        seconds=round(time.monotonic() - started, 2),
    )
