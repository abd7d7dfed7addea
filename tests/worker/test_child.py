"""The real training process: it answers whatever it is told, and it never outlives its parent."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fixtures.servers import ROOT, wait_for
from tests.worker.conftest import LONG, Workshop
from worker.process import TrainingProcess
from worker.training.events import Event, Failed, Finished, StageStarted

_PARENT = """
import json, pathlib, signal, sys
from worker.process import TrainingProcess
request = sys.stdin.read()
with TrainingProcess(request, pathlib.Path(json.loads(request)["scratch_dir"])) as process:
    while True:
        event = process.next_event(60)
        if getattr(event, "stage", None) == "full":
            break
    print(process.pid, flush=True)
    signal.pause()
"""


def events_of(request_json: str) -> tuple[list[Event], str]:
    """Everything that a training process tells, and how it ended."""
    events = []
    scratch = Path(json.loads(request_json)["scratch_dir"])
    with TrainingProcess(request_json, scratch) as process:
        while not process.ended:
            if (event := process.next_event(60)) is not None:
                events.append(event)
        return events, process.describe_end()


def edited(request_json: str, edit: Callable[[dict[str, Any]], Any]) -> str:
    request = json.loads(request_json)
    edit(request)
    return json.dumps(request)


def test_a_request_is_worked_on_to_its_end(workshop: Workshop) -> None:
    request = workshop.pipeline_request(strategy="frozen")

    events, end = events_of(request.model_dump_json())

    assert isinstance(events[0], StageStarted)
    assert isinstance(events[-1], Finished)
    assert (request.output_dir / "model.onnx").is_file()
    assert "status 0" in end


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (lambda request: request.pop("spec"), "training_failed", "spec"),
        (lambda request: request["spec"].update(base_model="unheard-of"), "unknown_base_model", "unheard-of"),
    ],
    ids=["a field lacks", "no such encoder"],
)
def test_a_malformed_request_is_told_as_a_failure_and_not_by_silence(
    workshop: Workshop, edit: Callable[[dict[str, Any]], Any], code: str, words: str
) -> None:
    events, end = events_of(edited(workshop.pipeline_request().model_dump_json(), edit))

    failed = events[-1]
    assert isinstance(failed, Failed)
    assert failed.code == code
    assert words in failed.message
    assert [event for event in events if isinstance(event, Failed | Finished)] == [failed]
    assert "status 0" in end  # it ended as it said


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a feature of the Linux kernel")
def test_a_training_process_dies_with_its_parent(workshop: Workshop) -> None:
    request = workshop.pipeline_request(hyperparameters=LONG)
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(request.model_dump_json())
        parent.stdin.close()
        child = psutil.Process(int(parent.stdout.readline()))
        assert "worker.child" in child.cmdline()
        child.suspend()  # so that it cannot find out by itself that nobody reads its events any more

        parent.send_signal(signal.SIGKILL)
        parent.wait(10)

    try:
        wait_for(lambda: is_gone(child), seconds=10, what="the end of the training process")
    finally:
        if not is_gone(child):
            child.kill()


def is_gone(process: psutil.Process) -> bool:
    """Dead, whether or not whoever inherited it has already taken note."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
