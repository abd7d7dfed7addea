"""`head: auto`: every candidate is tried, the best goes on, and the simplest wins where the difference is noise."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models_store.specs import HEADS_OF_TASK, HeadName
from models_store.tasks import TaskName
from tests.worker.conftest import CPU, Bench, run_to_end
from worker.training import selection
from worker.training.checkpoints import Checkpoints
from worker.training.errors import DivergedError
from worker.training.evaluation import standard_error
from worker.training.events import HeadTried, Working
from worker.training.features import FeatureStore
from worker.training.heads import HEADS
from worker.training.model import TaskModel
from worker.training.selection import choose_head

LINEAR, OTHER = HeadName.LINEAR, HeadName.DENSE_CNN


class Constant(nn.Module):
    """A head that cannot learn anything."""

    needs = "summary"
    reads = "together"

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return self.bias + torch.zeros_like(hidden_states[:, 0, :1])


def choose(
    bench: Bench, *candidates: HeadName, budget: float = math.inf
) -> tuple[TaskModel, list[Any], list[HeadTried]]:
    model = bench.model(candidates[0])
    store = FeatureStore(bench.data.pad_id, CPU, bench.scratch)
    work = choose_head(model, candidates, bench.data, bench.options(7), store, budget=budget)
    events, ranking = run_to_end(work)
    return model, events, ranking


@pytest.mark.parametrize("bench", ["classification", "tagging", "labelled pairs", "graded pairs"], indirect=True)
def test_every_candidate_is_tried_and_one_of_them_is_in_the_model(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "TRIAL_STEPS", 8)
    candidates = HEADS_OF_TASK[bench.task.name]

    model, events, ranking = choose(bench, *candidates)

    assert {trial.head for trial in ranking} == {head.value for head in candidates}
    assert [event.head for event in events if isinstance(event, HeadTried)] == [head.value for head in candidates]
    assert ranking[0].head == model.head_name
    assert type(model.head) is HEADS[bench.task.name, model.head_name]
    assert {event.stage for event in events if isinstance(event, Working)} == {"prepare"}
    assert {trial.metric for trial in ranking} == {bench.task.primary_metric}


def test_a_head_that_learns_is_preferred_to_one_that_cannot(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, (TaskName.CLASSIFICATION, LINEAR), Constant)

    model, _, ranking = choose(bench, LINEAR, OTHER)

    assert model.head_name == OTHER
    assert ranking[0].score > ranking[1].score + 0.2


def test_what_an_earlier_attempt_chose_is_not_tried_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "TRIAL_STEPS", 8)
    results = []
    for _ in range(2):
        model = bench.model(LINEAR)
        store = FeatureStore(bench.data.pad_id, CPU, bench.scratch)
        checkpoints = Checkpoints(tmp_path / "heads", "this one")
        work = choose_head(model, (LINEAR, OTHER), bench.data, bench.options(7), store, checkpoints, budget=math.inf)
        results.append((*run_to_end(work), model))

    (first, ranking, chosen), (second, remembered, same) = results
    assert [event for event in first if isinstance(event, HeadTried)]
    assert second == []
    assert remembered == ranking
    assert same.head_name == chosen.head_name
    weights = [model.head.state_dict() for model in (chosen, same)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_simplest_wins_ties(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for head in (LINEAR, OTHER):
        monkeypatch.setitem(HEADS, (TaskName.CLASSIFICATION, head), Constant)

    model, _, ranking = choose(bench, LINEAR, OTHER)

    assert model.head_name == LINEAR
    assert ranking[0].score == ranking[1].score


@pytest.mark.parametrize(("lead", "chosen"), [(0.9, LINEAR), (1.1, OTHER)])
def test_only_a_lead_of_more_than_a_standard_error_counts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, lead: float, chosen: HeadName
) -> None:
    error = standard_error(0.5, len(bench.data.train))
    scores = {LINEAR: 0.5, OTHER: 0.5 + lead * error}

    def try_nothing(name: HeadName, *args: Any) -> Generator[Any, None, HeadTried]:
        yield from ()
        return HeadTried(head=name.value, metric="accuracy", score=scores[name], seconds=0.0)

    monkeypatch.setattr(selection, "_try", try_nothing)

    assert choose(bench, LINEAR, OTHER)[0].head_name == chosen


def test_a_standard_error_is_never_nothing() -> None:
    assert standard_error(0.9, 100) == pytest.approx(0.03)
    assert standard_error(1.2, 100) == pytest.approx(0.01)  # a correlation, and one right in a hundred
    assert standard_error(0.0, 100) == pytest.approx(0.01)


def test_a_head_that_diverges_loses_and_the_job_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*args: Any, **kwargs: Any) -> Iterator[Any]:
        raise DivergedError("the training loss became nan")

    monkeypatch.setattr(selection, "fit", diverge)

    model, _, ranking = choose(bench, LINEAR, OTHER)

    assert model.head_name == LINEAR
    assert [trial.score for trial in ranking] == [0.0, 0.0]


def test_what_the_budget_cannot_pay_is_not_tried(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, candidates = selection._samples(bench.data, 7), HEADS_OF_TASK[TaskName.SIMILARITY]

    def tried(epochs: int) -> list[HeadName]:
        options = bench.options(7, full_epochs=epochs)
        return selection._affordable(candidates, samples, bench.data, options, selection.HYBRID_BUDGET)

    assert tried(1) == [HeadName.SIAMESE]  # it is chosen where nothing can be paid
    assert HeadName.LINEAR in tried(40)
    assert HeadName.BIMPM not in tried(40)
    assert tried(100_000) == list(candidates)


def test_heads_that_are_left_out_are_told_and_one_alone_needs_no_trial(bench: Bench) -> None:
    model, events, ranking = choose(bench, LINEAR, OTHER, budget=0.0)

    assert model.head_name == LINEAR
    assert ranking == []
    (told,) = events
    assert told.data == {"heads": [OTHER.value]}


def folds_of(bench: Bench) -> Generator[Any, None, list[selection.Fold]]:
    store = FeatureStore(bench.data.pad_id, CPU, bench.scratch)
    return selection._folds(bench.model(), selection._samples(bench.data, 7), bench.options(7), store)


def test_a_small_validation_split_does_not_decide(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folds = run_to_end(folds_of(bench))

    held_out = [row["text"] for _, part in folds for row in part.split.rows]
    assert len(folds) == selection.FOLDS
    assert sorted(held_out) == sorted(row["text"] for row in bench.data.train.rows)
    for known, part in folds:
        assert len(known.split) + len(part.split) == len(bench.data.train)

    monkeypatch.setattr(selection, "FEW_ROWS", len(bench.data.validation))
    _, folds = run_to_end(folds_of(bench))
    assert [part.split.rows for _, part in folds] == [bench.data.validation.rows]


def test_large_splits_are_tried_on_a_part_of_their_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "TRIAL_ROWS", 6)

    _, folds = run_to_end(folds_of(bench))

    assert sum(len(part.split) for _, part in folds) == 6


def test_the_same_seed_gives_the_same_ranking(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "TRIAL_STEPS", 8)
    scores = [[trial.score for trial in choose(bench, LINEAR, OTHER)[2]] for _ in range(2)]

    assert scores[0] == scores[1]
