"""What only a GPU can show; left out where there is none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models_store.specs import HEADS_OF_TASK, HeadName, PhaseName
from models_store.tasks import Row
from tests.worker.conftest import TASKS, Bench, make_bench, phase, run_to_end
from worker.training.checkpoints import Checkpoints
from worker.training.data import TokenInputs
from worker.training.errors import StoppedError
from worker.training.events import EpochFinished, Event, PhaseFinished, Resumed
from worker.training.hardware import Hardware, Precision
from worker.training.loop import train
from worker.training.model import TaskModel
from worker.training.options import TrainingOptions
from worker.training.stepper import Stepper

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

_MEMORY = 2**26  # bytes that a test leaves to torch
PHASES = [phase(PhaseName.HEAD, epochs=3), phase(PhaseName.FULL, epochs=3)]


@pytest.fixture(autouse=True)
def the_next_test_finds_the_cpu_again() -> Iterator[None]:
    yield
    Hardware("cpu")  # accelerate remembers the last one


def options_of(bench: Bench, precision: Precision | None = None) -> TrainingOptions:
    return replace(bench.options(), hardware=Hardware("cuda", precision=precision))


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
@pytest.mark.parametrize(("kind", "head"), [(kind, HEADS_OF_TASK[task.name][-1]) for kind, task in TASKS.items()])
def test_every_task_is_learnt(
    kind: str, head: HeadName, precision: Precision, encoders_dir: Path, tmp_path: Path
) -> None:
    bench = make_bench(kind, encoders_dir, tmp_path)

    events = list(train(bench.model(head), PHASES, bench.data, options_of(bench, precision)))

    assert [event.phase for event in events if isinstance(event, PhaseFinished)] == ["head", "full"]
    losses = [event.train_loss for event in events if isinstance(event, EpochFinished) and event.train_loss is not None]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_an_interrupted_run_ends_as_one_that_was_not(precision: Precision, encoders_dir: Path, tmp_path: Path) -> None:
    """Dropout draws from the GPU's generator, and half precision scales its losses: a checkpoint has both."""

    def start(folder: Path | None) -> tuple[TaskModel, Iterator[Event]]:
        bench = make_bench("classification", encoders_dir, tmp_path)
        model = bench.model()
        checkpoints = Checkpoints(folder, "this one", interval=60.0, asked=asked)
        return model, train(model, PHASES, bench.data, options_of(bench, precision), checkpoints=checkpoints)

    asked = threading.Event()
    expected, events = start(None)
    list(events)
    _, events = start(tmp_path / "checkpoints")
    for event in events:
        if isinstance(event, EpochFinished) and (event.phase, event.epoch) == ("full", 1):
            asked.set()
            break
    with pytest.raises(StoppedError):
        list(events)
    asked.clear()
    model, events = start(tmp_path / "checkpoints")
    (resumed,) = [event for event in events if isinstance(event, Resumed)]

    assert (resumed.stage, resumed.epoch) == ("full", 2)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, expected.state_dict()[name], rtol=1e-3, atol=1e-5)


def test_a_batch_that_does_not_fit_is_found_out_before_the_first_step(
    encoders_dir: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = make_bench("classification", encoders_dir, tmp_path)
    rows: list[Row] = [{"text": "please help " * 200, "label": label} for label in ("money", "parcel")]
    data = replace(bench.data, train=bench.split(rows * 2048))
    options = options_of(bench)
    options = replace(options, values=options.values.model_copy(update={"batch_size": 4096}))
    model = bench.model().to(options.device)
    objective, inputs = bench.goal(model).objective, TokenInputs(data.train, data.pad_id)
    stepper = Stepper(model, phase(PhaseName.FULL), objective, inputs, options, np.random.default_rng(7))
    torch.cuda.set_per_process_memory_fraction(_MEMORY / torch.cuda.get_device_properties(0).total_memory)
    request.addfinalizer(lambda: torch.cuda.set_per_process_memory_fraction(1.0))
    random_before = torch.cuda.get_rng_state()

    told = list(stepper.probe())

    assert all("is computed" in message.message for message in told)
    assert 0 < told[-1].data["rows"] < 4096
    assert torch.equal(torch.cuda.get_rng_state(), random_before)
    again, loss = run_to_end(stepper.gradients(list(range(4096))))
    assert again == []  # it fits now
    assert np.isfinite(float(loss))
