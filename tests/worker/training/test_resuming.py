"""Resuming: a run that was interrupted anywhere ends with the same weights and figures as one that was not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models_store.artifacts import children
from models_store.specs import HeadName, PhaseName
from tests.worker.conftest import Bench, make_bench, phase
from tests.worker.training.test_families import FAMILIES, bench_of
from worker.training import checkpoints as checkpoints_module
from worker.training import pacing, stepper
from worker.training.checkpoints import Checkpoints
from worker.training.errors import StoppedError
from worker.training.events import EpochFinished, Event, PhaseFinished, Resumed, StageStarted, Step, Working
from worker.training.loop import train

# Three epochs of four steps in each phase, with everything in phase 2 that has a state.
HEAD = phase(PhaseName.HEAD, epochs=3)
FULL = phase(PhaseName.FULL, epochs=3).model_copy(
    update={"layer_decay": 0.8, "gradual_unfreezing": True, "averaging": 0.7}
)


@pytest.fixture(autouse=True)
def every_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (stepper, pacing):
        monkeypatch.setattr(module, "REPORT_SECONDS", 0.0)


class Runs:
    """The same training, again and again, each time with a model that was just loaded."""

    def __init__(self, kind: str, head: HeadName, encoders_dir: Path, folder: Path, encoder: str = "tiny") -> None:
        self._kind, self._head, self._encoders_dir, self._encoder = kind, head, encoders_dir, encoder
        self.folder = folder
        self.stop = threading.Event()
        self.interval = 60.0

    def start(self, fingerprint: str = "this one", *, keeps: bool = True) -> tuple[Bench, Iterator[Event]]:
        self.stop.clear()
        bench = make_bench(self._kind, self._encoders_dir, self.folder, self._encoder)
        folder = self.folder / "checkpoints" if keeps else None
        checkpoints = Checkpoints(folder, fingerprint, interval=self.interval, asked=self.stop)
        self.model = bench.model(self._head)
        return bench, train(self.model, [HEAD, FULL], bench.data, bench.options(), checkpoints=checkpoints)

    def to_end(self, *, keeps: bool = True) -> tuple[list[Event], dict[str, Tensor]]:
        _, events = self.start(keeps=keeps)
        return list(events), {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def until(self, asked_at: Callable[[Event], bool], left_at: Callable[[Event], bool]) -> list[Event]:
        """Ask for a checkpoint at one event, and drop the run at a later one, as a killed process would."""
        seen = []
        _, events = self.start()
        for event in events:
            seen.append(event)
            if self.stop.is_set() and left_at(event):
                return seen
            if asked_at(event):
                self.stop.set()
        raise AssertionError("the run was not interrupted")


@pytest.fixture
def runs(request: pytest.FixtureRequest, encoders_dir: Path, tmp_path: Path) -> Runs:
    kind, head = getattr(request, "param", ("classification", HeadName.LINEAR))
    return Runs(kind, head, encoders_dir, tmp_path)


def at_step(stage: str, epoch: int, step: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Step) and (event.phase, event.epoch, event.step) == (stage, epoch, step)


def at_evaluation(event: Event) -> bool:
    return isinstance(event, Working)


def at_anything(_: Event) -> bool:
    return True


def at_end_of_epoch(stage: str, epoch: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, EpochFinished) and (event.phase, event.epoch) == (stage, epoch)


def figures(events: list[Event]) -> list[EpochFinished | PhaseFinished]:
    """Everything that a report is made of, but for the time that it took."""
    found = [event for event in events if isinstance(event, EpochFinished | PhaseFinished)]
    return [event.model_copy(update={"seconds": 0.0}) for event in found]


def assert_same_end(runs: Runs, expected: tuple[list[Event], dict[str, Tensor]], place: tuple[str, int, int]) -> None:
    """Resume, and compare with the run that was never interrupted."""
    events, weights = runs.to_end()

    (resumed,) = [event for event in events if isinstance(event, Resumed)]
    assert (resumed.stage, resumed.epoch, resumed.step) == place
    assert figures([*resumed.history, *events]) == figures(expected[0])
    assert {name for name in weights if not torch.equal(weights[name], expected[1][name])} == set()
    assert all(event.seconds > 0 for event in events if isinstance(event, EpochFinished))


@pytest.mark.parametrize(
    ("asked_at", "left_at", "place"),
    [
        (at_step("head", 2, 1), at_anything, ("head", 2, 2)),
        (at_step("head", 3, 3), at_anything, ("head", 3, 4)),  # all steps done, the evaluation is not
        (at_step("full", 1, 1), at_anything, ("full", 1, 2)),
        (at_step("full", 2, 3), at_evaluation, ("full", 2, 4)),
        (at_step("full", 2, 4), at_end_of_epoch("full", 2), ("full", 3, 0)),
        (at_step("full", 3, 4), at_end_of_epoch("full", 3), ("full", 4, 0)),  # the mean of the weights is to come
    ],
)
def test_an_interrupted_run_ends_as_one_that_was_not(
    runs: Runs,
    asked_at: Callable[[Event], bool],
    left_at: Callable[[Event], bool],
    place: tuple[str, int, int],
) -> None:
    expected = runs.to_end(keeps=False)

    runs.until(asked_at, left_at)

    assert_same_end(runs, expected, place)


@pytest.mark.parametrize(
    "runs",
    [("tagging", HeadName.BILSTM_CRF), ("graded pairs", HeadName.SIM_TRANSFORMER)],
    indirect=True,
)
def test_every_kind_of_head_is_resumed(runs: Runs) -> None:
    expected = runs.to_end(keeps=False)

    runs.until(at_step("head", 2, 2), at_anything)
    runs.until(at_step("full", 1, 3), at_anything)  # resumes, and is interrupted once more
    runs.until(at_step("full", 2, 2), at_anything)

    assert_same_end(runs, expected, ("full", 2, 3))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_encoders_is_resumed(family: str, tmp_path: Path) -> None:
    bench_of(family, "classification", tmp_path)  # puts the encoder there, to be loaded by each run
    runs = Runs("classification", HeadName.LINEAR, tmp_path, tmp_path, family)
    expected = runs.to_end(keeps=False)

    runs.until(at_step("full", 2, 2), at_anything)

    assert_same_end(runs, expected, ("full", 2, 3))


def test_a_run_whose_training_was_over_is_not_trained_again(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = runs.to_end(keeps=False)
    monkeypatch.setattr(checkpoints_module, "_WORTH_KEEPING", 0.0)  # however quick, it is worth one
    runs.to_end()
    kept = children(runs.folder / "checkpoints")

    events, weights = runs.to_end()

    assert len(kept) == 1  # the interval had not passed: there was no other reason
    assert children(runs.folder / "checkpoints") == kept  # and what was found is not written again

    assert not [event for event in events if isinstance(event, StageStarted | Step)]
    (resumed,) = events
    assert isinstance(resumed, Resumed)
    assert (resumed.stage, resumed.epoch, resumed.step) == ("export", None, None)
    assert figures(list(resumed.history)) == figures(expected[0])
    assert {name for name in weights if not torch.equal(weights[name], expected[1][name])} == set()


def test_a_quick_training_does_not_pay_for_a_checkpoint(runs: Runs) -> None:
    runs.to_end()

    assert children(runs.folder / "checkpoints") == []


def test_a_run_that_was_asked_to_stop_tells_nothing_that_its_checkpoint_does_not_know(runs: Runs) -> None:
    def asked(events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            if at_step("full", 1, 4)(event):  # the last of its epoch: an evaluation and the end of the epoch follow
                runs.stop.set()
            yield event

    told: list[Event] = []
    _, events = runs.start()

    with pytest.raises(StoppedError):
        told.extend(asked(events))  # extends as far as it comes
    again, _ = runs.to_end()

    (resumed,) = [event for event in again if isinstance(event, Resumed)]
    assert (resumed.epoch, resumed.step) == (2, 0)
    assert figures(list(resumed.history)) == figures(told)


def test_a_run_of_something_else_begins_at_the_beginning(runs: Runs) -> None:
    runs.until(at_step("full", 1, 1), at_anything)

    _, events = runs.start("another spec")

    first, second = next(events), next(events)
    assert first.kind == "message"
    assert first.level == "warning"
    assert "another spec, data set or version" in first.message
    assert isinstance(second, StageStarted)
    assert second.stage == "head"
