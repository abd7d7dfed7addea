"""The loop: what learns in which phase, the best epoch, early stopping, seeds, divergence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models_store.specs import HeadName, PhaseName, PhaseSpec, Watch
from tests.worker.conftest import CPU, LEGAL_PAIRS, Bench, make_bench, phase, run_to_end
from worker.training import loop, pacing, stepper
from worker.training.data import TokenInputs
from worker.training.errors import DivergedError
from worker.training.evaluation import Evaluation, evaluate
from worker.training.events import EpochFinished, Event, PhaseFinished, StageStarted, Step, Working
from worker.training.loop import train
from worker.training.model import TaskModel
from worker.training.resuming import PhaseState


def run(bench: Bench, model: TaskModel, phases: list[PhaseSpec], seed: int = 7) -> list[Event]:
    return list(train(model, phases, bench.data, bench.options(seed)))


def weights(model: TaskModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """The parts of the model (encoder, head) that differ."""
    return {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(("kind", "head"), LEGAL_PAIRS)
def test_every_legal_pair_trains_through_both_phases(
    kind: str, head: HeadName, encoders_dir: Path, tmp_path: Path
) -> None:
    bench = make_bench(kind, encoders_dir, tmp_path)

    events = run(bench, bench.model(head), [phase(PhaseName.HEAD), phase(PhaseName.FULL)])

    assert [event.stage for event in events if isinstance(event, StageStarted)] == ["head", "full"]
    epochs = [event for event in events if isinstance(event, EpochFinished)]
    assert [(event.phase, event.epoch) for event in epochs] == [
        ("head", 0), ("head", 1), ("head", 2), ("full", 0), ("full", 1), ("full", 2),
    ]  # fmt: skip
    assert all(bench.task.primary_metric in event.metrics for event in epochs)


def test_the_encoder_stays_as_it_is_in_phase_one(bench: Bench) -> None:
    model = bench.model()
    before = weights(model)

    run(bench, model, [phase(PhaseName.HEAD, epochs=3, learning_rate=0.01)])

    assert changed(before, weights(model)) == {"head"}


def test_everything_learns_in_phase_two(bench: Bench) -> None:
    model = bench.model()
    before = weights(model)

    run(bench, model, [phase(PhaseName.FULL, epochs=3)])

    assert changed(before, weights(model)) == {"encoder", "head"}


def test_a_phase_ends_with_the_weights_of_its_best_epoch(bench: Bench) -> None:
    model = bench.model(dropout=0.0)
    # A rate that ruins the model: whatever an epoch brings, the state it began with must not be lost.
    events = run(
        bench, model, [phase(PhaseName.HEAD, 5, learning_rate=0.01), phase(PhaseName.FULL, 2, learning_rate=0.05)]
    )

    head, full = [event for event in events if isinstance(event, PhaseFinished)]
    assert full.metrics[bench.task.primary_metric] >= head.metrics[bench.task.primary_metric]
    done, again = run_to_end(evaluate(model, TokenInputs(bench.data.validation, 0), bench.task, bench.goal(model), CPU))
    assert done[-1] == len(bench.data.validation)
    assert again.metrics == pytest.approx(full.metrics)


def scores_by_epoch(monkeypatch: pytest.MonkeyPatch, *scores: float) -> None:
    """Let the epochs of a phase, 0 first, have these validation scores on 100 rows, whatever they learn."""
    told = iter(scores)

    def evaluated(*args: Any) -> Any:
        yield from ()
        return Evaluation(0.5, {"accuracy": (score := next(told))}, score, 100)

    monkeypatch.setattr(loop, "evaluate", evaluated)


def test_patience_ends_a_phase_that_has_become_clearly_worse(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    scores_by_epoch(monkeypatch, 0.5, 0.9, 0.6, 0.7)

    events = run(bench, bench.model(), [phase(PhaseName.FULL, epochs=50, patience=2)])

    (finished,) = [event for event in events if isinstance(event, PhaseFinished)]
    assert (finished.epochs, finished.best_epoch, finished.kept_epoch) == (3, 1, 1)
    assert finished.metrics == {"accuracy": 0.9}


def test_the_end_of_the_schedule_is_kept_unless_it_is_clearly_worse(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores_by_epoch(monkeypatch, 0.5, 0.80, 0.77, 0.70, 0.73)  # the standard error of 0.8 on 100 rows is 0.04

    events = run(bench, bench.model(), [phase(PhaseName.FULL, epochs=4)])

    (finished,) = [event for event in events if isinstance(event, PhaseFinished)]
    assert (finished.best_epoch, finished.kept_epoch, finished.metrics) == (1, 4, {"accuracy": 0.73})


def test_a_phase_in_which_nothing_got_better_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    scores_by_epoch(monkeypatch, 0.5, 0.5, 0.5)  # the last is kept, for it is no worse

    events = run(bench, bench.model(), [phase(PhaseName.FULL, epochs=2)])

    (finished,) = [event for event in events if isinstance(event, PhaseFinished)]
    assert (finished.best_epoch, finished.kept_epoch) == (0, 2)


@pytest.mark.parametrize(("watch", "evaluated"), [("loss", [0, 1, 2, 3]), ("metric", [0, 3])])
def test_where_the_gap_ends_a_phase_each_epoch_is_looked_at(bench: Bench, watch: Watch, evaluated: list[int]) -> None:
    """Elsewhere many validation rows are not, lest they take longer than the training."""
    bench.data = replace(bench.data, validation=bench.split(list(bench.data.validation.rows) * 40))
    watched = phase(PhaseName.HEAD, epochs=3, learning_rate=1e-5).model_copy(update={"watch": watch})

    events = run(bench, bench.model(), [watched])

    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == evaluated


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(bench: Bench, encoders_dir: Path) -> None:
    results = []
    for seed in (7, 7, 8):
        fresh = make_bench("classification", encoders_dir, bench.scratch)
        model = fresh.model()
        run(fresh, model, [phase(PhaseName.HEAD), phase(PhaseName.FULL)], seed)
        results.append(weights(model))

    assert changed(results[0], results[1]) == set()
    assert changed(results[0], results[2]) == {"encoder", "head"}


def test_the_learning_rate_warms_up_and_decays_to_zero(bench: Bench) -> None:
    events = run(bench, bench.model(), [phase(PhaseName.FULL, epochs=10, learning_rate=0.001)])

    rates = [event.learning_rate for event in events if isinstance(event, EpochFinished)][1:]
    assert rates == sorted(rates, reverse=True)
    assert max(rates) <= 0.001
    assert rates[-1] == 0.0


def test_the_mean_of_the_last_epochs_is_a_candidate_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    weight, seen = "head.layers.1.weight", list[Tensor]()
    monkeypatch.setattr(
        Evaluation, "beats", lambda self, other, watch: len(seen) == 6
    )  # none but the last one looked at

    def watched(module: Any, *args: Any) -> Any:
        seen.append(module.get_parameter(weight).detach().clone())
        return evaluate(module, *args)

    monkeypatch.setattr(loop, "evaluate", watched)
    model = bench.model()

    run(bench, model, [phase(PhaseName.FULL, epochs=4).model_copy(update={"averaging": 0.5})])

    ends = seen[3:5]  # of epochs 3 and 4; before them the start
    torch.testing.assert_close(model.get_parameter(weight).detach(), (ends[0] + ends[1]) / 2)
    assert not torch.equal(ends[0], ends[1])


def test_phase_1_runs_the_encoder_over_each_row_once_and_without_dropout(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = bench.model().train(), []
    encode = model.encode

    def counted(input_ids: Tensor, *args: Tensor, **kwargs: Tensor) -> Tensor:
        assert not model.encoder.training
        assert torch.is_inference_mode_enabled()
        rows.append(len(input_ids))
        return encode(input_ids, *args, **kwargs)

    monkeypatch.setattr(model, "encode", counted)

    run(bench, model, [phase(PhaseName.HEAD, epochs=4)])

    assert sum(rows) == len(bench.data.train) + len(bench.data.validation)


def test_a_step_is_a_step_of_the_optimizer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (stepper, pacing):  # every step and every batch is reported
        monkeypatch.setattr(module, "REPORT_SECONDS", 0.0)

    events = run(bench, bench.model(), [phase(PhaseName.HEAD, epochs=2)])

    steps = [(event.epoch, event.step, event.steps) for event in events if isinstance(event, Step)]
    assert steps == [(epoch, step, 4) for epoch in (1, 2) for step in (1, 2, 3, 4)]  # 16 rows, 4 at a time
    assert {event.steps for event in events if isinstance(event, EpochFinished)} == {4}
    beginning = events[: next(i for i, event in enumerate(events) if isinstance(event, EpochFinished))]
    encoded = [event for event in beginning if isinstance(event, Working) and event.total == 26]  # of both splits
    assert encoded[-1].done == 26


def test_gradients_are_clipped_and_small_parameters_do_not_decay(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    norms, decays = [], {}
    step = torch.optim.AdamW.step

    def watched(optimizer: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.nn.utils.get_total_norm(gradients)))
        decays.update({p.ndim > 1: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]})
        return step(optimizer, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)

    list(train(bench.model(), [phase(PhaseName.FULL)], bench.data, bench.options(max_grad_norm=0.01)))

    assert norms
    assert max(norms) <= 0.01 * 1.001
    assert decays == {True: 0.01, False: 0.0}


def test_a_loss_that_explodes_without_becoming_infinite_is_a_divergence(bench: Bench) -> None:
    with pytest.raises(DivergedError, match="rose to"):
        run(bench, bench.model(), [phase(PhaseName.FULL, epochs=8, learning_rate=30.0)])


def test_a_loss_that_is_no_number_is_an_error(encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench("classification", encoders_dir, tmp_path)
    model = bench.model()
    with torch.no_grad():
        next(model.head.parameters()).fill_(float("inf"))

    with pytest.raises(DivergedError, match="finite"):
        run(bench, model, [phase(PhaseName.FULL)])


@pytest.mark.parametrize(
    ("score", "loss", "by_metric", "by_loss"),
    [(0.9, 0.6, True, False), (0.8, 0.4, False, True), (0.8, 0.5, False, False), (0.7, 0.4, False, True)],
)
def test_an_epoch_is_judged_by_the_metric_or_by_the_loss(
    score: float, loss: float, *, by_metric: bool, by_loss: bool
) -> None:
    before, now = Evaluation(0.5, {}, 0.8, 100), Evaluation(loss, {}, score, 100)

    assert (now.beats(before, "metric"), now.beats(before, "loss")) == (by_metric, by_loss)


@pytest.mark.parametrize(("score", "rows", "level"), [(0.73, 100, True), (0.71, 100, False), (0.77, 1000, False)])
def test_a_metric_is_level_within_two_standard_errors(score: float, rows: int, *, level: bool) -> None:
    assert Evaluation(9.9, {}, score, rows).is_level_with(Evaluation(0.1, {}, 0.8, rows), "metric") is level


def test_a_loss_is_level_only_when_it_is_no_higher() -> None:
    best = Evaluation(0.5, {}, 0.8, 100)

    assert best.is_level_with(best, "loss")
    assert not Evaluation(0.501, {}, 0.9, 100).is_level_with(best, "loss")


def test_a_head_that_prepares_another_phase_stops_before_it_learns_its_rows_by_heart(bench: Bench) -> None:
    swapped = {"parcel": "money", "money": "parcel"}
    contradicting = bench.split([{**row, "label": swapped[row["label"]]} for row in bench.data.validation.rows])
    bench.data = replace(bench.data, validation=contradicting)  # the better the head knows its rows, the worse here
    preparing = phase(PhaseName.HEAD, epochs=20, patience=1, learning_rate=0.01).model_copy(update={"watch": "loss"})

    *_, end = run(bench, bench.model(), [preparing])

    assert isinstance(end, PhaseFinished)
    assert end.best_epoch <= 1
    assert end.epochs <= 2


@pytest.mark.parametrize(("loss", "generalises"), [(0.50, True), (0.54, True), (0.56, False), (0.30, True)])
def test_what_is_learnt_generalises_while_both_losses_are_close(loss: float, *, generalises: bool) -> None:
    assert Evaluation(loss, {}, 0.8, 100).generalises(train_loss=0.5) is generalises


@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        ([(0.9, 0.92), (0.7, 0.75), (0.5, 0.6), (0.4, 0.5)], 2),  # the gap opens in the third epoch
        ([(0.5, 0.9), (0.3, 0.8)], 1),  # at once: one epoch is better than an untrained head
        ([(0.9, 0.92), (0.8, 0.93), (0.9, 0.94)], 1),  # no gap, but no progress either
        ([(0.9, 1.2)], 0),  # worse than the untrained head
    ],
)
def test_the_epoch_kept_is_the_last_before_the_gap_opens(
    bench: Bench, losses: list[tuple[float, float]], kept: int
) -> None:
    module, preparing = bench.model(), phase(PhaseName.HEAD).model_copy(update={"watch": "loss"})
    start = Evaluation(1.0, {}, 0.5, 100)
    state = PhaseState({}, start, start, start, {}, torch.zeros(()))

    for train_loss, validation_loss in losses:
        state.epochs += 1
        state.judge(Evaluation(validation_loss, {}, 0.5, 100), train_loss, module, preparing)

    assert state.kept_epoch == kept
