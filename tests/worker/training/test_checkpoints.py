"""Checkpoints: whole or not used, two at most, and never in the way of the training."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models_store.artifacts import MANIFEST, children
from tests.worker.conftest import Clock, run_to_end
from worker.training import checkpoints as module
from worker.training.checkpoints import Checkpoint, Checkpoints
from worker.training.errors import StoppedError
from worker.training.events import Message


def numbered(number: int) -> Checkpoint:
    return Checkpoint(
        {"number": number, "big": 2**127 + 1, "fraction": 0.1 + 0.2},
        {"module": {"weight": torch.full((3, 4), number / 3).T}, "empty": {}},
    )


def found(checkpoints: Checkpoints) -> tuple[list[Message], int | None]:
    """What is told, and the number of the checkpoint that is to be used."""
    told, newest = run_to_end(checkpoints.newest())
    return told, newest.state["number"] if newest else None


def filled(folder: Path, count: int, fingerprint: str = "mine") -> Checkpoints:
    checkpoints = Checkpoints(folder, fingerprint)
    for number in range(1, count + 1):
        assert list(checkpoints.save(numbered(number))) == []
    return checkpoints


def test_what_was_saved_is_found_bit_by_bit(tmp_path: Path) -> None:
    _, newest = run_to_end(filled(tmp_path / "new" / "folder", 1).newest())

    expected = numbered(1)
    assert newest.state == expected.state
    assert torch.equal(newest.tensors["module"]["weight"], expected.tensors["module"]["weight"])
    assert newest.tensors["empty"] == {}


def test_the_newest_is_used_and_only_the_one_before_is_kept(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path, 4)

    assert found(checkpoints) == ([], 4)
    assert [path.name for path in children(tmp_path)] == ["00000003", "00000004"]


def cut(folder: Path) -> None:
    path = folder / "module.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def alter(folder: Path) -> None:
    path = folder / "module.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        alter,
        lambda folder: (folder / "state.json").write_text('{"number": 7}'),
        lambda folder: (folder / "module.safetensors").unlink(),
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text("[]"),
    ],
    ids=["cut short", "a flipped bit", "another state", "a file lacks", "no manifest", "no manifest worth the name"],
)
def test_of_a_damaged_one_the_one_before_is_used(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    checkpoints = filled(tmp_path, 2)
    damage(tmp_path / "00000002")

    told, number = found(checkpoints)

    assert number == 1
    assert [(message.level, message.message.partition(":")[0]) for message in told] == [
        ("warning", "checkpoint 2 is not used")
    ]
    # The damaged one does not take the place of a whole one.
    assert list(checkpoints.save(numbered(3))) == []
    assert found(checkpoints) == ([], 3)
    shutil.rmtree(tmp_path / "00000002")
    assert found(checkpoints) == ([], 1)


def test_what_another_run_left_is_not_used(tmp_path: Path) -> None:
    filled(tmp_path, 2, "another spec")

    told, number = found(Checkpoints(tmp_path, "mine"))

    assert number is None
    assert len(told) == 2
    assert children(tmp_path) == []


def test_one_that_was_not_finished_is_no_checkpoint(tmp_path: Path) -> None:
    half = tmp_path / ".writing-1"
    half.mkdir()
    (half / "module.safetensors").write_bytes(b"half")

    assert found(Checkpoints(tmp_path, "mine")) == ([], None)
    assert children(tmp_path) == []


def test_parts_of_a_run_have_checkpoints_of_their_own(tmp_path: Path) -> None:
    both = Checkpoints(tmp_path, "mine")
    for number, name in enumerate(("member-0", "member-1")):
        list(both.scope(name).save(numbered(number)))

    assert [found(both.scope(f"member-{i}"))[1] for i in (0, 1)] == [0, 1]


def test_a_disk_that_is_full_is_told_of_once_and_does_not_stop_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    checkpoints = Checkpoints(tmp_path / "file" / "folder", "mine")  # no folder can be made there

    told = [list(checkpoints.save(numbered(number))) for number in (1, 2)]

    assert [len(messages) for messages in told] == [1, 0]
    assert told[0][0].level == "warning"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_one_is_due_after_the_interval_and_a_little_earlier_between_epochs(tmp_path: Path, clock: Clock) -> None:
    checkpoints = Checkpoints(tmp_path, "mine", interval=60.0)

    seen = []
    for _ in range(7):
        seen.append((checkpoints.due(), checkpoints.due(at_rest=True)))
        clock.now += 10.0

    assert seen == [(False, False)] * 2 + [(False, True)] * 4 + [(True, True)]


def test_a_trained_model_is_worth_one_if_the_run_took_half_a_minute_in_all(tmp_path: Path, clock: Clock) -> None:
    checkpoints = Checkpoints(tmp_path, "mine", interval=600.0)
    clock.now += 29.0
    first = checkpoints.scope("member-0")
    assert not first.due_at_end()
    list(first.save(numbered(1)))

    clock.now += 1.0

    assert first.due_at_end()  # although another was written a second ago
    assert not first.due(at_rest=True)
    second = checkpoints.scope("member-1")
    assert found(second) == ([], None)
    assert second.due_at_end()


def test_writing_takes_a_fiftieth_of_the_time_at_most(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path, "mine", interval=60.0)
    write = checkpoints._write

    def slowly(*args: object) -> None:
        clock.now += 4.0
        write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoints, "_write", slowly)
    list(checkpoints.save(numbered(1)))

    clock.now += 199.0
    assert not checkpoints.due()
    assert not checkpoints.due(at_rest=True)
    clock.now += 1.0
    assert checkpoints.due()


def test_one_that_is_asked_for_is_due_at_once_and_then_nothing_goes_on(tmp_path: Path) -> None:
    asked = threading.Event()
    checkpoints = Checkpoints(tmp_path, "mine", asked=asked).scope("training")
    assert not checkpoints.due()
    asked.set()

    assert checkpoints.due()
    list(checkpoints.save(numbered(1)))

    for due in (checkpoints.due, checkpoints.due_at_end):
        with pytest.raises(StoppedError):
            due()


def test_without_a_folder_nothing_is_due_found_or_written(clock: Clock) -> None:
    asked = threading.Event()
    asked.set()
    checkpoints = Checkpoints(asked=asked)
    clock.now += 1e6

    assert not checkpoints.scope("training").due()
    assert not checkpoints.due_at_end()
    assert list(checkpoints.save(numbered(1))) == []
    assert found(checkpoints) == ([], None)
