"""Several processes for one job: they train what one would have trained, tell it once, and end together."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from torch.distributed.elastic.multiprocessing import ProcessFailure

from tests.fixtures.servers import wait_for
from tests.worker.conftest import LONG, Workshop
from tests.worker.test_child import is_gone
from worker.launch import first_failure
from worker.process import TrainingProcess
from worker.request import PipelineRequest
from worker.training.events import EpochFinished, Event, Failed, Finished, Message, Resumed, Step

PROCESSES = 2
LEARNING_RATE = 0.001


@pytest.fixture(autouse=True)
def one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def start(request: PipelineRequest, processes: int = PROCESSES) -> TrainingProcess:
    return TrainingProcess(request.model_dump_json(), request.scratch_dir, processes)


def told_by(process: TrainingProcess) -> Iterator[Event]:
    while not process.ended:
        if (event := process.next_event(60)) is not None:
            yield event


def wait_until(process: TrainingProcess, reached: Callable[[Event], bool]) -> list[Event]:
    """Everything that is told up to an event."""
    seen = []
    for event in told_by(process):
        seen.append(event)
        if reached(event):
            return seen
    raise AssertionError(f"{process.describe_end()}: {seen}\n{process.log_tail()}")


def in_full_phase(event: Event) -> bool:
    # An epoch that is over within half a second tells of no step.
    return isinstance(event, Step | EpochFinished) and event.phase == "full" and event.epoch > 0


def members(process: TrainingProcess) -> dict[str, psutil.Process]:
    """The training processes behind the launcher, by their rank."""
    children = psutil.Process(process.pid).children()
    return {child.environ()["RANK"]: child for child in children if "worker.child" in child.cmdline()}


def weights(folder: Path) -> NDArray[np.float32]:
    """All of a finished model's numbers in a row."""
    tensors = (numpy_helper.to_array(tensor) for tensor in onnx.load(str(folder / "model.onnx")).graph.initializer)
    return np.concatenate([tensor.ravel() for tensor in tensors if tensor.dtype == np.float32])


def without_dropout(encoders_dir: Path, folder: Path) -> Path:
    """The encoders, of which the tiny one does nothing at random."""
    shutil.copytree(encoders_dir / "tiny", folder / "tiny")
    config = folder / "tiny" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}))
    return folder


def test_two_processes_train_what_one_would_have(workshop: Workshop, encoders_dir: Path, tmp_path: Path) -> None:
    request = workshop.pipeline_request(
        "tagging",  # whose head has yet to be chosen
        ensemble=2,
        hyperparameters={
            "head_epochs": 1, "full_epochs": 2, "dropout": 0.0, "full_learning_rate": LEARNING_RATE,
            "batch_size": 5,  # no two equal parts, and perhaps a last one that is too small for two
        },
    )  # fmt: skip
    encoders = replace(request.encoders, folder=without_dropout(encoders_dir, tmp_path / "encoders"))
    request = request.model_copy(update={"encoders": encoders})
    told, ends = [], []
    for processes in (1, PROCESSES):
        output = tmp_path / f"output-{processes}"
        output.mkdir()
        with start(request.model_copy(update={"output_dir": output}), processes) as process:
            told.append([event for event in told_by(process) if not isinstance(event, Step)])
            ends.append(process.describe_end())
            assert isinstance(told[-1][-1], Finished), process.log_tail()

    assert ends == ["the training process exited with status 0"] * 2
    one, two = told
    assert [type(event) for event in two] == [type(event) for event in one]
    places = [[(e.phase, e.epoch, e.steps) for e in events if isinstance(e, EpochFinished)] for events in told]
    assert places[0] == places[1]
    assert "training on 2 × cpu" in [event.message for event in two if isinstance(event, Message)]
    alone, together = (weights(tmp_path / f"output-{processes}") for processes in (1, PROCESSES))
    # Of steps that are a learning rate long: rounding makes little of them, in bfloat16 too, and other batches a lot.
    assert float(np.abs(alone - together).mean()) < 0.1 * LEARNING_RATE


def test_sigterm_leaves_a_checkpoint_to_go_on_from_and_sigkill_leaves_nobody(
    workshop: Workshop, tmp_path: Path
) -> None:
    request = workshop.pipeline_request(strategy="finetune", hyperparameters=LONG)
    request = request.model_copy(update={"checkpoint_dir": tmp_path / "checkpoints"})
    with start(request) as process:
        wait_until(process, in_full_phase)
        psutil.Process(process.pid).terminate()
        rest = list(told_by(process))
        assert process.describe_end() == "the training process was ended by SIGTERM"
    assert not [event for event in rest if isinstance(event, Failed | Finished)]

    with start(request) as process:
        events = wait_until(process, in_full_phase)
        started = members(process)
        assert set(started) == {"0", "1"}
        psutil.Process(process.pid).kill()
        for child in started.values():
            wait_for(partial(is_gone, child), seconds=10, what="the end of a training process")
        assert "SIGKILL" in process.describe_end()
    (resumed,) = [event for event in events if isinstance(event, Resumed)]
    assert resumed.stage == "full"
    assert (resumed.epoch or 0, resumed.step or 0) > (1, 0)


def test_a_process_that_is_killed_ends_the_others_and_is_what_the_job_tells_of(workshop: Workshop) -> None:
    with start(workshop.pipeline_request(strategy="finetune", hyperparameters=LONG)) as process:
        wait_until(process, in_full_phase)
        members(process)["1"].kill()
        rest = list(told_by(process))
        end = process.describe_end()

    assert not [event for event in rest if isinstance(event, Failed)]  # so that it is attempted again
    assert end == "the training process was killed (SIGKILL), perhaps for using too much memory"


def test_a_job_that_asks_for_more_gpus_than_there_are_fails_before_it_trains(workshop: Workshop) -> None:
    request = workshop.pipeline_request(gpus=PROCESSES)

    with start(request, request.spec.gpus) as process:
        _, *rest = told_by(process)

    (failed,) = rest
    assert isinstance(failed, Failed)
    assert failed.code == "hardware_missing"
    assert "trains on the CPU, and the job asks for 2 GPUs; ask for gpus: 1" in failed.message


def failure(exitcode: int, timestamp: int) -> ProcessFailure:
    failed = ProcessFailure(0, 0, exitcode, "no file")
    failed.timestamp = timestamp
    return failed


@pytest.mark.parametrize(
    ("exitcodes", "first"),
    [
        ([1], 0),
        ([1, 1], 0),
        ([1, -signal.SIGKILL], 1),  # whoever was left alone is noticed in the same second
        ([-signal.SIGTERM, 1], 1),
        ([-signal.SIGTERM, -signal.SIGSEGV], 1),
        ([-signal.SIGABRT, -signal.SIGKILL], 1),  # the library aborts a process that has lost another
        ([1, -signal.SIGABRT], 1),
    ],
)
def test_which_failure_the_others_came_from(exitcodes: list[int], first: int) -> None:
    failures = {rank: failure(code, 100 + (code == -signal.SIGTERM)) for rank, code in enumerate(exitcodes)}

    assert first_failure(failures)[0] == first
