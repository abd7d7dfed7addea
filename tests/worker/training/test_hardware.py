"""The hardware: what it computes in, what it refuses, and what becomes of gradients that overflow in float16."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from torch import nn

from models_store.specs import PhaseName
from tests.worker.conftest import phase
from worker.training.errors import HardwareError
from worker.training.hardware import Hardware, Precision, best_precision, check_gpus, device_type
from worker.training.optimizer import Optimizer


@pytest.fixture(autouse=True)
def state_put_back() -> Iterator[None]:
    """What accelerate keeps for the whole process, and the hardware of all other tests counts on."""
    kept = [(states, dict(states)) for states in (AcceleratorState._shared_state, PartialState._shared_state)]
    yield
    for states, before in kept:
        states.clear()
        states.update(before)


@pytest.mark.parametrize(
    ("kind", "bfloat16", "expected"),
    [("cuda", True, "bf16"), ("cuda", False, "fp16"), ("cpu", True, "bf16"), ("cpu", False, "no")],
)
def test_the_precision_suits_the_device(kind: str, *, bfloat16: bool, expected: str) -> None:
    assert best_precision(kind, bfloat16=bfloat16) == expected


@pytest.mark.parametrize(
    ("wanted", "gpu", "expected"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_auto_takes_a_gpu_if_there_is_one(wanted: str, *, gpu: bool, expected: str) -> None:
    assert device_type(wanted, gpu=gpu) == expected


def test_a_gpu_that_is_not_there_is_not_replaced_in_silence() -> None:
    with pytest.raises(HardwareError, match="THAWLINE_DEVICE"):
        device_type("cuda", gpu=False)


@pytest.mark.parametrize(("asked", "present"), [(1, 0), (1, 1), (1, 4), (4, 4)])
def test_gpus_that_are_there_can_be_asked_for(asked: int, present: int) -> None:
    check_gpus(asked, present)


@pytest.mark.parametrize(
    ("present", "words"),
    [
        (0, "this worker trains on the CPU, and the job asks for 4 GPUs; ask for gpus: 1,"),
        (1, "this worker has 1 GPU, and the job asks for 4 GPUs; ask for gpus: 1,"),
        (2, "this worker has 2 GPUs, and the job asks for 4 GPUs; ask for gpus: 2,"),
    ],
)
def test_what_to_do_where_there_are_too_few(present: int, words: str) -> None:
    with pytest.raises(HardwareError) as raised:
        check_gpus(4, present)

    assert words in raised.value.message


@pytest.mark.parametrize(("precision", "expected"), [("no", torch.float32), ("bf16", torch.bfloat16)])
def test_one_hardware_follows_another_with_a_precision_of_its_own(precision: Precision, expected: torch.dtype) -> None:
    for other in ("bf16", "no"):
        Hardware("cpu", precision=other)
        layer = nn.Linear(2, 2)
        with Hardware("cpu", precision=precision).autocast():
            assert layer(torch.ones(1, 2)).dtype == expected


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> Hardware:
    """What a GPU without bfloat16 gets: losses scaled up. On a CPU accelerate would leave that out."""
    hardware = Hardware("cpu", precision="fp16")
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1000)
    monkeypatch.setattr(hardware._accelerator, "scaler", scaler)
    monkeypatch.setattr(hardware._accelerator, "native_amp", True)
    return hardware


def step(hardware: Hardware, layer: nn.Linear, optimizer: Optimizer, factor: float) -> float:
    """A step on a loss whose gradient is the factor; returns the clipped gradient, as far as it has one."""
    optimizer.zero_grad()
    hardware.backward(layer.weight.sum() * factor)
    hardware.clip(layer.parameters(), 100.0)
    assert layer.weight.grad is not None
    found = float(layer.weight.grad[0, 0])
    optimizer.step()
    return found


def test_in_float16_a_step_that_overflows_moves_nothing_and_the_next_is_scaled_less(half: Hardware) -> None:
    layer = nn.Linear(1, 1, bias=False)
    spec = phase(PhaseName.FULL, learning_rate=0.5).model_copy(update={"warmup_fraction": 0.0})
    optimizer = Optimizer(layer, spec, weight_decay=0.0, total_steps=4, hardware=half)
    before = layer.weight.detach().clone()

    for _ in range(2):
        step(half, layer, optimizer, 1e38)

    assert torch.equal(layer.weight, before)
    assert half.scaling()["scale"] == 256.0
    assert optimizer.learning_rate == pytest.approx(0.5 * 2 / 3)  # the schedule ends with the phase all the same
    assert step(half, layer, optimizer, 3.0) == pytest.approx(3.0)  # clipped as if it had not been scaled
    assert float(before - layer.weight.detach()) == pytest.approx(0.5 * 2 / 3, rel=1e-3)


def test_how_far_losses_are_scaled_outlives_an_interruption(half: Hardware) -> None:
    state = {**half.scaling(), "scale": 64.0}

    half.restore_scaling(state)

    assert half.scaling() == state
    assert Hardware("cpu", precision="no").scaling() == {}


def test_a_new_optimizer_takes_the_place_of_the_last_one(half: Hardware) -> None:
    for _ in range(3):
        layer = nn.Linear(1, 1)
        Optimizer(layer, phase(PhaseName.FULL), weight_decay=0.0, total_steps=1, hardware=half)

    assert len(half._accelerator._optimizers) == 1  # the others would keep their models in memory
