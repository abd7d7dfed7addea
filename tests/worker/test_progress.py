"""The progress of a job: always ahead, never past the end."""

from __future__ import annotations

from models_store.specs import PhaseName
from tests.worker.conftest import phase
from worker.progress import ProgressMeter
from worker.training.events import EpochFinished, Event, PhaseFinished, Step


def step(name: str, epoch: int, number: int) -> Step:
    return Step(phase=name, epoch=epoch, epochs=4, step=number, steps=10, examples_per_second=50.0)


def epoch(name: str, number: int) -> EpochFinished:
    return EpochFinished(
        phase=name,
        epoch=number,
        epochs=4,
        train_loss=0.5,
        validation_loss=0.5,
        metrics={"accuracy": 0.5},
        learning_rate=0.001,
        seconds=1.0,
        best=True,
    )


def test_the_fraction_only_rises_and_ends_at_one() -> None:
    meter = ProgressMeter([phase(PhaseName.HEAD, 4), phase(PhaseName.FULL, 4)], 100, 20)
    events: list[Event] = [step("head", 0, 5), epoch("head", 0), step("head", 1, 5), epoch("head", 1)]
    events.append(PhaseFinished(phase="head", epochs=1, best_epoch=1, seconds=1.0, metrics={}))  # stopped early
    events += [epoch("full", 0), step("full", 1, 5), epoch("full", 1), step("full", 4, 9), epoch("full", 4)]

    fractions = [meter.update(event)["fraction"] for event in events] + [meter.finish()["fraction"]]

    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < fractions[-2] < fractions[-1] == 1.0


def test_a_step_tells_epoch_step_speed_and_what_is_left() -> None:
    meter = ProgressMeter([phase(PhaseName.FULL, 4)], 100, 20)

    progress = meter.update(step("full", 2, 5))

    assert {key: progress[key] for key in ("epoch", "epochs", "step", "steps", "examples_per_second")} == {
        "epoch": 2, "epochs": 4, "step": 5, "steps": 10, "examples_per_second": 50.0,
    }  # fmt: skip
    assert progress["eta_seconds"] >= 0
