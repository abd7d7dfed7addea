"""The progress of a job: always ahead, never past the end."""

from __future__ import annotations

import pytest

from models_store.specs import PhaseName
from tests.worker.conftest import Clock, phase
from worker import progress
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


PAST: list[EpochFinished | PhaseFinished] = [
    *(epoch("head", number) for number in range(5)),
    PhaseFinished(phase="head", epochs=4, best_epoch=4, kept_epoch=4, seconds=1.0, metrics={}),
    *(epoch("full", number) for number in range(3)),
]
RESUMED = Resumed(stage="full", epoch=3, step=5, history=PAST)


def hybrid() -> ProgressMeter:
    return ProgressMeter([phase(PhaseName.HEAD, 4), phase(PhaseName.FULL, 4)], 100, 20)


def test_the_fraction_only_rises_and_ends_at_one() -> None:
    meter = hybrid()
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


def test_a_resumed_run_is_as_far_as_the_one_before_and_estimates_by_its_own_speed(clock: Clock) -> None:
    whole, resumed = hybrid(), hybrid()
    for event in [*PAST, step("full", 3, 5)]:
        whole.update(event)

    clock.now += 30.0  # of getting ready
    told = dict(resumed.update(RESUMED))
    clock.now += 2.0
    after_a_step = resumed.update(step("full", 3, 6))

    assert told["fraction"] == whole.update(started("evaluate"))["fraction"] > 0.5
    assert told["eta_seconds"] is None  # whatever others did, it did not do
    # A step takes two seconds, 14 are left of the phase, and the weights tell what export and evaluation will take.
    assert 28 < after_a_step["eta_seconds"] < 28 + 10


def test_the_estimate_is_by_the_present_phase_however_quick_the_one_before(clock: Clock) -> None:
    meter = hybrid()
    for quick in PAST[:6]:  # phase 1
        meter.update(quick)
        clock.now += 0.1
    for event in (started("full"), epoch("full", 0)):
        meter.update(event)
    clock.now += 50.0

    # 35 steps are left at 10 seconds each.
    assert 350 < meter.update(step("full", 1, 5))["eta_seconds"] < 350 * 1.1


def test_features_computed_again_after_a_resumption_tell_how_long_the_second_phase_will_take(clock: Clock) -> None:
    meter = hybrid()
    meter.update(started("head"))
    clock.now += 12.0
    meter.update(working("head", 60, total=120))  # a forward pass takes 0.2 s
    resumed = Resumed(stage="head", epoch=3, step=5, history=PAST[:3])
    clock.now += 0.1

    meter.update(resumed)
    clock.now += 0.1
    told = meter.update(step("head", 3, 6))

    examples = 4 * 100 / 0.35 + 4 * 20  # of the second phase, in forward passes
    assert told["eta_seconds"] == pytest.approx(0.2 * examples, rel=0.25)


def test_what_was_known_already_took_no_time_and_tells_none(clock: Clock) -> None:
    meter = hybrid()
    meter.update(started("head"))
    first = dict(meter.update(epoch("head", 0)))  # the features were there

    assert first["fraction"] > 0.02
    assert first["eta_seconds"] is None


def test_epochs_that_were_left_out_are_no_speed(clock: Clock) -> None:
    meter = hybrid()
    for event in (started("head"), epoch("head", 0)):
        meter.update(event)
    clock.now += 10.0
    before = meter.update(epoch("head", 1))["eta_seconds"]
    after = meter.update(PAST[5])["eta_seconds"]

    # The second phase is expected to take as long as before; only the three epochs are gone.
    assert after == pytest.approx(before - 30, abs=1)


def test_another_attempt_does_not_fall_behind_what_was_told(clock: Clock) -> None:
    meter = ProgressMeter([phase(PhaseName.FULL, 4)], 100, 20, told=0.5)

    told = [dict(meter.update(event)) for event in (started("prepare"), started("full"), epoch("full", 0))]
    clock.now += 10.0
    told += [dict(meter.update(event)) for event in (step("full", 1, 10), epoch("full", 3))]

    assert [progress["fraction"] for progress in told[:4]] == [0.5] * 4
    assert told[3]["eta_seconds"] > 30  # by what is left in truth: three epochs of 10 seconds
    assert told[4]["fraction"] > 0.5


def test_an_attempt_after_one_whose_model_could_not_be_published_is_not_over_before_it_is() -> None:
    assert ProgressMeter([phase(PhaseName.FULL, 4)], 100, 20, told=1.0).update(started("prepare"))["fraction"] < 1.0


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


def test_a_step_tells_epoch_step_speed_and_what_is_left(clock: Clock) -> None:
    meter = ProgressMeter([phase(PhaseName.FULL, 4)], 100, 20)
    meter.update(epoch("full", 0))
    clock.now += 60.0

    told = dict(meter.update(step("full", 2, 5)))

    assert 0.3 < told.pop("fraction") < 0.4
    assert 100 < told.pop("eta_seconds") < 115  # 25 steps of 4 seconds, and the end
    assert told == {"epoch": 2, "epochs": 4, "step": 5, "steps": 10, "examples_per_second": 50.0}


def test_each_member_of_an_ensemble_is_a_share_of_the_way() -> None:
    meter = ProgressMeter([phase(PhaseName.HEAD, 4), phase(PhaseName.FULL, 4)], 100, 20, members=2)
    finished = [
        PhaseFinished(phase=n, epochs=4, best_epoch=4, kept_epoch=4, seconds=1.0, metrics={}) for n in ("head", "full")
    ]

    fractions = [meter.update(event)["fraction"] for event in finished * 2]

    assert fractions == sorted(fractions)
    assert fractions[1] == pytest.approx(0.48, abs=0.01)  # export and evaluation come once, in the end
    assert fractions[3] == pytest.approx(0.94, abs=0.01)
