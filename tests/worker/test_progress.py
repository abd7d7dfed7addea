"""The progress of a job: always ahead, never past the end."""

from __future__ import annotations

import pytest

from models_store.specs import PhaseName
from tests.worker.conftest import phase
from worker.progress import ProgressMeter
from worker.training.events import EpochFinished, Event, PhaseFinished, Resumed, StageName, StageStarted, Step, Working


def step(name: str, epoch: int, number: int) -> Step:
    return Step(phase=name, epoch=epoch, epochs=4, step=number, steps=10, examples_per_second=50.0)


def started(stage: StageName) -> StageStarted:
    return StageStarted(stage=stage)


def working(stage: StageName, done: int, total: int = 120) -> Working:
    return Working(stage=stage, done=done, total=total)


def epoch(name: str, number: int) -> EpochFinished:
    return EpochFinished(
        phase=name,
        epoch=number,
        epochs=4,
        steps=10,
        train_loss=0.5,
        validation_loss=0.5,
        metrics={"accuracy": 0.5},
        learning_rate=0.001,
        seconds=1.0,
        best=True,
    )


def test_the_fraction_only_rises_and_ends_at_one() -> None:
    meter = ProgressMeter([phase(PhaseName.HEAD, 4), phase(PhaseName.FULL, 4)], 100, 20)
    events: list[Event] = [started("head"), working("head", 60), epoch("head", 0), step("head", 1, 5), epoch("head", 1)]
    events.append(
        PhaseFinished(phase="head", epochs=1, best_epoch=1, kept_epoch=1, seconds=1.0, metrics={})
    )  # stopped early
    events += [
        started("full"),
        working("full", 10, total=20),
        epoch("full", 0),
        step("full", 1, 5),
        epoch("full", 1),
        step("full", 4, 9),
        epoch("full", 4),
    ]

    fractions = [meter.update(event)["fraction"] for event in events] + [meter.finish()["fraction"]]

    assert fractions == sorted(fractions)
    assert 0 == fractions[0] < fractions[1] < fractions[2] < fractions[-2] < fractions[-1] == 1.0


def test_work_before_the_first_epoch_moves_the_fraction_and_counts_no_steps() -> None:
    meter = ProgressMeter([phase(PhaseName.HEAD, 4)], 100, 20)
    meter.update(started("head"))

    first, second = (dict(meter.update(working("head", done))) for done in (40, 80))
    ready = dict(meter.update(epoch("head", 0)))

    assert 0 < first["fraction"] < second["fraction"] < ready["fraction"]
    assert not {"epoch", "step", "steps"} & (set(first) | set(second))
    assert (ready["epoch"], ready["step"], ready["steps"]) == (0, 0, 10)


def test_a_resumed_run_is_as_far_as_the_one_before_and_estimates_by_its_own_speed() -> None:
    past: list[EpochFinished | PhaseFinished] = [
        *(epoch("head", number) for number in range(5)),
        PhaseFinished(phase="head", epochs=4, best_epoch=4, kept_epoch=4, seconds=1.0, metrics={}),
        *(epoch("full", number) for number in range(3)),
    ]
    whole, resumed = (ProgressMeter([phase(PhaseName.HEAD, 4), phase(PhaseName.FULL, 4)], 100, 20) for _ in range(2))
    for event in past:
        whole.update(event)

    told = resumed.update(Resumed(stage="full", epoch=3, step=5, history=past))
    at_half = dict(whole.update(step("full", 3, 5)))
    resumed.started -= 60.0  # which this attempt took for the half of an epoch

    assert told["fraction"] > 0.5
    assert resumed.update(step("full", 3, 5))["fraction"] == at_half["fraction"]
    assert 60 < resumed.update(step("full", 3, 5))["eta_seconds"] < 300  # an epoch and a half are left


def test_a_finished_epoch_has_done_all_its_steps() -> None:
    meter = ProgressMeter([phase(PhaseName.HEAD, 4)], 100, 20)
    for event in (started("head"), epoch("head", 0), step("head", 1, 3)):
        meter.update(event)

    done = meter.update(epoch("head", 1))
    evaluating = meter.update(working("head", 10, total=20))

    assert (done["epoch"], done["step"], done["steps"]) == (1, 10, 10)
    assert evaluating == done


def test_a_sign_of_life_of_another_stage_moves_nothing() -> None:
    meter = ProgressMeter([phase(PhaseName.HEAD, 4)], 100, 20)
    meter.update(started("prepare"))

    assert meter.update(working("prepare", 5)) == {"fraction": 0.0}


def test_a_step_tells_epoch_step_speed_and_what_is_left() -> None:
    meter = ProgressMeter([phase(PhaseName.FULL, 4)], 100, 20)

    progress = meter.update(step("full", 2, 5))

    assert {key: progress[key] for key in ("epoch", "epochs", "step", "steps", "examples_per_second")} == {
        "epoch": 2, "epochs": 4, "step": 5, "steps": 10, "examples_per_second": 50.0,
    }  # fmt: skip
    assert progress["eta_seconds"] >= 0


def test_each_member_of_an_ensemble_is_a_share_of_the_way() -> None:
    meter = ProgressMeter([phase(PhaseName.HEAD, 4), phase(PhaseName.FULL, 4)], 100, 20, members=2)
    finished = [
        PhaseFinished(phase=n, epochs=4, best_epoch=4, kept_epoch=4, seconds=1.0, metrics={}) for n in ("head", "full")
    ]

    fractions = [meter.update(event)["fraction"] for event in finished * 2]

    assert fractions == sorted(fractions)
    assert fractions[1] == pytest.approx(0.48, abs=0.01)  # export and evaluation come once, in the end
    assert fractions[3] == pytest.approx(0.94, abs=0.01)
