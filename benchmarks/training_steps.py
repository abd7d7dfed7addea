"""What a step of phase 2 costs on the device at hand, and where its time goes.

    python -m benchmarks.training_steps [--device auto] [--layers 6] [--width 384] [--batch 32] [--length 64]
                                        [--steps 100] [--threads 0]

Runs the service's own steps (batch, forward, backward, clipping, AdamW) over generated texts of one length, with an
encoder of random weights of the size asked for; 6 and 384 are all-MiniLM-L6-v2's, 12 and 768 BERT-base's. Prints
examples a second, the arithmetic done a second, and its share of what one large matrix product reaches on the same
device in the same precision; then the time of the kernels by what they are for, from torch's profiler. *Busy* is the
share of the wall clock in which a GPU computed; under the profiler, which makes Python slower, it is a lower bound.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.large_data import LABELS, WORDS, write_encoder
from models_store.encoders import DEFAULT_ENCODER, EncoderSource
from models_store.specs import HeadName, JobRequest, resolve_spec
from models_store.tasks import Row
from models_store.tasks.classification import ClassificationTask
from worker.training.data import TokenInputs, tokenise
from worker.training.encoder import load_encoder
from worker.training.evaluation import Evaluation
from worker.training.hardware import Hardware
from worker.training.model import TaskModel
from worker.training.objectives import goal_of
from worker.training.options import TrainingOptions
from worker.training.resuming import Journal, PhaseState
from worker.training.stepper import Stepper

_WARM_UP = 10  # steps
_PROFILED = 10  # steps; more take the profiler longer to sum up than to do
_TRAINING = 3  # times the arithmetic of a forward pass
_PEAK_SIZE = {"cuda": 8192, "cpu": 2048}
# The first that a kernel's or an operator's name holds says what it is for.
_PURPOSES = {
    "attention": ("attention", "flash", "fmha", "sdpa"),
    "matrix products": ("gemm", "cutlass", "nvjet", "matmul", "aten::mm", "addmm", "bmm", "splitk", "cublas"),
    "optimizer": ("adam", "multi_tensor", "foreach"),
    "normalisation": ("layer_norm", "layernorm", "norm", "softmax"),
    "copies and casts": ("memcpy", "memset", "copy", "cast", "fill", "zero"),
}


def main() -> None:
    """Time, profile, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384, help="a multiple of 32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=64, help="word pieces of every text, a multiple of 8")
    parser.add_argument("--steps", type=int, default=100, help="10 at least")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    hardware = Hardware(arguments.device)
    name = torch.cuda.get_device_name() if hardware.device.type == "cuda" else "CPU"
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {name}, {hardware.precision}; {arguments}")
    with tempfile.TemporaryDirectory() as folder:
        stepper = _prepare(arguments, hardware, Path(folder))
        _seconds(stepper, hardware, _WARM_UP)
        _report(arguments, hardware, _seconds(stepper, hardware, arguments.steps))
        _profile(stepper, hardware)


def _prepare(arguments: argparse.Namespace, hardware: Hardware, folder: Path) -> Stepper:
    """A model of the size asked for, and texts for an epoch of so many steps."""
    write_encoder(folder / "encoder", arguments.layers, arguments.width)
    encoder = load_encoder(EncoderSource("encoder", folder / "encoder", None))
    draw, size = random.Random(7), arguments.batch * arguments.steps
    rows: list[Row] = [
        {"text": " ".join(draw.choices(WORDS, k=arguments.length)), "label": draw.choice(LABELS)} for _ in range(size)
    ]  # each word is one piece or more, and the tokenizer cuts the rest off
    task = ClassificationTask(LABELS)
    split = tokenise(task, encoder.tokenizer(arguments.length), rows)
    asked = {"dataset_id": "", "model": "steps", "hyperparameters": {"batch_size": arguments.batch}}
    spec = resolve_spec(JobRequest.model_validate(asked), task, size, [DEFAULT_ENCODER])
    options = TrainingOptions(spec.hyperparameters, spec.seed, hardware, folder)
    model = TaskModel(encoder.model, task, HeadName.LINEAR, spec.hyperparameters.dropout).to(hardware.device)
    goal = goal_of(model, task, options.values, split.targets, hardware.device)
    (phase,) = (phase for phase in spec.phases() if phase.trains_encoder)
    rng = np.random.default_rng(spec.seed)
    return Stepper(model, phase, goal.objective, TokenInputs(split, encoder.pad_id), options, rng)


def _seconds(stepper: Stepper, hardware: Hardware, steps: int) -> float:
    """Do the last steps of an epoch, and say how long they took."""
    started = time.monotonic()
    unknown = Evaluation(0.0, {}, 0.0, 1)
    losses = torch.zeros((), device=hardware.device)
    state = PhaseState({}, unknown, unknown, unknown, {}, losses, step=stepper.steps - steps)
    for _ in stepper.run_epoch(state, Journal()):
        pass  # it ends with the mean loss, and so with the device's last work
    return time.monotonic() - started


def _report(arguments: argparse.Namespace, hardware: Hardware, seconds: float) -> None:
    examples = arguments.batch * arguments.steps / seconds
    done = examples * _operations(arguments.layers, arguments.width, arguments.length)
    peak = _peak(hardware)
    print(
        f"{examples:,.0f} examples/s, {1000 * seconds / arguments.steps:.1f} ms a step; "
        f"{done / 1e12:.2f} TFLOP/s of {peak / 1e12:.1f}: {100 * done / peak:.1f} %",
        flush=True,
    )


def _operations(layers: int, width: int, length: int) -> float:
    """Floating-point operations of a step for one example.

    A multiplication and an addition for each weight and piece, and for each pair of pieces in attention's two products.
    """
    weights = layers * 12 * width**2
    attention = layers * 2 * length * width
    return _TRAINING * 2 * length * (weights + attention)


def _peak(hardware: Hardware) -> float:
    """Operations a second of one large matrix product in the hardware's precision."""
    size, times = _PEAK_SIZE[hardware.device.type], 10
    with hardware.autocast():
        matrix = torch.randn(size, size, device=hardware.device)
        matrix = matrix @ matrix / size**0.5  # in the precision of the products
        for repeats in (2, times):
            _wait(hardware)
            started = time.monotonic()
            for _ in range(repeats):
                product = torch.mm(matrix, matrix)
            _wait(hardware)
        del product
    return 2.0 * size**3 * times / (time.monotonic() - started)


def _wait(hardware: Hardware) -> None:
    if hardware.device.type == "cuda":
        torch.cuda.synchronize(hardware.device)


def _profile(stepper: Stepper, hardware: Hardware) -> None:
    """Print where the time of some steps goes."""
    on_gpu = hardware.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        seconds = _seconds(stepper, hardware, _PROFILED)
    spent: Counter[str] = Counter()
    for event in profiler.key_averages():
        of_device = event.device_type.name == "CUDA" if on_gpu else True
        if of_device and not event.is_user_annotation:
            spent[_purpose(event.key)] += event.self_device_time_total if on_gpu else event.self_cpu_time_total
    total = sum(spent.values())
    shares = ", ".join(f"{purpose} {100 * time_spent / total:.0f} %" for purpose, time_spent in spent.most_common())
    busy = f"busy {100 * total / 1e6 / seconds:.0f} % of the time; " if on_gpu else ""
    print(f"under the profiler: {busy}{shares}")


def _purpose(key: str) -> str:
    name = key.lower()
    return next((purpose for purpose, parts in _PURPOSES.items() if any(part in name for part in parts)), "other")


if __name__ == "__main__":
    main()
