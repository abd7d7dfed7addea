"""What a training runs on: a device, the arithmetic that suits it, and the processes that share the work.

`accelerate` brings them together. It keeps them once for the whole process, hence one `Hardware` at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradScalerKwargs, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.optim import Optimizer

from worker.training.errors import HardwareError
from worker.training.team import Team

Precision = Literal["no", "bf16", "fp16"]

# Of losses in float16, at first. torch begins at 65,536 and halves it in every step that overflows; on few rows there
# are no steps to waste on that.
_SCALE = 1024.0
_PATIENCE = timedelta(days=7)  # with the main process, which is alone at work in phase 1 and in evaluations


class Hardware:
    """Where and how tensors are computed.

    Attributes:
        device: Of this process.
        precision: Of the model's arithmetic; weights, optimizer, losses and export stay float32.
        team: All processes of the training.
    """

    def __init__(self, wanted: str = "auto", *, gpus: int = 1, precision: Precision | None = None) -> None:
        """Take the device and join the other processes, if torchrun started some.

        Args:
            wanted: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
            gpus: How many the job asks for.
            precision: What suits the device best, unless given.

        Raises:
            HardwareError: The machine lacks what is wanted.
        """
        kind = device_type(wanted, gpu=torch.cuda.is_available())
        check_gpus(gpus, torch.cuda.device_count() if kind == "cuda" else 0)
        self.precision = precision or best_precision(kind, bfloat16=_computes_bfloat16(kind))
        AcceleratorState._reset_state(reset_partial_state=True)  # another one may have had another precision
        self._accelerator = Accelerator(
            cpu=kind == "cpu",
            mixed_precision=self.precision,
            kwargs_handlers=[
                InitProcessGroupKwargs(timeout=_PATIENCE),
                GradScalerKwargs(init_scale=_SCALE),
            ],
        )
        self.device: torch.device = self._accelerator.device
        self.team = Team(self._accelerator.process_index, self._accelerator.num_processes, self.device)

    def autocast(self) -> AbstractContextManager[None]:
        """Arithmetic of the hardware's precision inside the block.

        docs/decisions/0006-whole-schedules-in-bfloat16.md has the measurement.
        """
        return cast("AbstractContextManager[None]", self._accelerator.autocast())

    def prepare(self, optimizer: Optimizer) -> Optimizer:
        """The optimizer, told to skip steps whose gradients overflowed in float16; it takes the place of the last one.

        Elsewhere it stays as it is: accelerate's wrapper would look for optional packages in every step.
        """
        if self._accelerator.scaler is None:
            return optimizer
        self._accelerator.free_memory()  # which holds all that it ever prepared
        return cast("Optimizer", self._accelerator.prepare_optimizer(optimizer))

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradients to those of the parameters, in float16 scaled up until `clip`."""
        self._accelerator.backward(loss)

    def clip(self, parameters: Iterable[nn.Parameter], max_norm: float) -> None:
        """Scale the gradients down again, and to so long a vector at most."""
        self._accelerator.clip_grad_norm_(parameters, max_norm)

    def scaling(self) -> dict[str, Any]:
        """How far losses are scaled, for JSON; empty where they are not."""
        scaler = self._accelerator.scaler
        return dict(scaler.state_dict()) if scaler is not None else {}

    def restore_scaling(self, state: dict[str, Any]) -> None:
        """Go on from what `scaling` gave."""
        if state and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state)


def device_type(wanted: str, *, gpu: bool) -> str:
    """``cpu`` or ``cuda``, given whether there is a GPU.

    Raises:
        HardwareError: There is none, but it is wanted.
    """
    if wanted == "cuda" and not gpu:
        raise HardwareError("this worker has no GPU that torch can use; set THAWLINE_DEVICE to auto or cpu")
    return "cuda" if gpu and wanted != "cpu" else "cpu"


def check_gpus(asked: int, present: int) -> None:
    """Refuse a job that asks for more GPUs than there are; one GPU is asked for by jobs that can do without, too.

    Raises:
        HardwareError: With what to do about it.
    """
    if asked <= max(1, present):
        return
    has = f"has {present} GPU{'s' * (present > 1)}" if present else "trains on the CPU"
    raise HardwareError(
        f"this worker {has}, and the job asks for {asked} GPUs; ask for gpus: {max(1, present)}, "
        f"or start workers only where there are {asked}"
    )


def best_precision(kind: str, *, bfloat16: bool) -> Precision:
    """bfloat16 where the device has instructions for it; else float16 on a GPU, and float32 on a CPU."""
    if bfloat16:
        return "bf16"
    return "fp16" if kind == "cuda" else "no"


def _computes_bfloat16(kind: str) -> bool:
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
