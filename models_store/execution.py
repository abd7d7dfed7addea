"""Where a finished model runs: onnxruntime's sessions on the CPU or on a GPU."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models_store.errors import UnavailableError

_CUDA = "CUDAExecutionProvider"
GPU_UNAVAILABLE = "gpu_unavailable"  # the code of an error: there is none, or it cannot be used
_OUT_OF_MEMORY = ("out of memory", "Failed to allocate memory", "Available memory of")  # in onnxruntime's messages
_GPU_MEMORY_BYTES = 4 * 1024**3
# Kernels are chosen and memory is set aside for every new shape: few shapes are met again and again.
_LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)


class Device(StrEnum):
    """What computes."""

    CPU = "cpu"
    CUDA = "cuda"


class Interrupt:
    """Ends an inference that is under way, from another thread: it raises as soon as the operator at hand is done."""

    def __init__(self) -> None:
        self.run_options = ort.RunOptions()

    def set(self) -> None:
        """End it."""
        self.run_options.terminate = True

    def is_set(self) -> bool:
        """Whether it was told to end."""
        return bool(self.run_options.terminate)


class Executor(Protocol):
    """Runs a model."""

    device: Device
    input_names: list[str]

    def padded(self, texts: int, length: int) -> tuple[int, int]:
        """The shape that a batch of so many texts of at most this length is padded to."""

    def run(self, output: str, feed: Mapping[str, NDArray[Any]], interrupt: Interrupt | None) -> NDArray[Any]:
        """One output of the model."""


def gpu_offered() -> bool:
    """Whether the onnxruntime that is installed can use a GPU; whether there is one shows when it tries."""
    return _CUDA in ort.get_available_providers()


def executor_for(path: Path, threads: int, device: Device = Device.CPU) -> Executor:
    """Load an ONNX file.

    Args:
        path: The file.
        threads: CPU threads of one inference; 0 lets onnxruntime decide.
        device: Where to run it.

    Raises:
        UnavailableError: It cannot run there. onnxruntime itself would go on with the CPU, and say so nowhere.
    """
    return _Cuda(path, threads) if device is Device.CUDA else _Cpu(path, threads)


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would steal the cores that the web server and other models need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


class _Cpu:
    """onnxruntime's own kernels."""

    device = Device.CPU

    def __init__(self, path: Path, threads: int) -> None:
        self._session = ort.InferenceSession(str(path), _options(threads), providers=["CPUExecutionProvider"])
        self.input_names = [entry.name for entry in self._session.get_inputs()]

    def padded(self, texts: int, length: int) -> tuple[int, int]:
        return texts, length

    def run(self, output: str, feed: Mapping[str, NDArray[Any]], interrupt: Interrupt | None) -> NDArray[Any]:
        result: NDArray[Any] = self._session.run([output], feed, interrupt.run_options if interrupt else None)[0]
        return result


class _Cuda:
    """CUDA, with inputs and outputs bound to the GPU's memory and a bound to what is set aside there."""

    device = Device.CUDA

    def __init__(self, path: Path, threads: int) -> None:
        if not gpu_offered():
            raise UnavailableError(
                "this onnxruntime knows no GPU: install the extra `gpu` in place of `cpu`", code=GPU_UNAVAILABLE
            )
        ort.preload_dlls()  # CUDA's libraries, where they came as Python packages
        provider = {"gpu_mem_limit": _GPU_MEMORY_BYTES, "arena_extend_strategy": "kSameAsRequested"}
        with _told_if_full():
            self._session = ort.InferenceSession(str(path), _options(threads), providers=[(_CUDA, provider)])
        if _CUDA not in self._session.get_providers():
            raise UnavailableError("onnxruntime could not use the GPU; its log says why", code=GPU_UNAVAILABLE)
        self.input_names = [entry.name for entry in self._session.get_inputs()]

    def padded(self, texts: int, length: int) -> tuple[int, int]:
        place = bisect_left(_LENGTHS, length)
        return 1 << (texts - 1).bit_length(), _LENGTHS[place] if place < len(_LENGTHS) else length

    def run(self, output: str, feed: Mapping[str, NDArray[Any]], interrupt: Interrupt | None) -> NDArray[Any]:
        binding = self._session.io_binding()
        with _told_if_full():
            for name, array in feed.items():
                value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), "cuda", 0)
                binding.bind_ortvalue_input(name, value)
            binding.bind_output(output, "cuda")
            self._session.run_with_iobinding(binding, interrupt.run_options if interrupt else None)
        result: NDArray[Any] = binding.copy_outputs_to_cpu()[0]
        return result


@contextmanager
def _told_if_full() -> Iterator[None]:
    """Say that the GPU's memory ran out: the model is as good as it was, and another time there may be room."""
    try:
        yield
    except Exception as error:
        if any(words in str(error) for words in _OUT_OF_MEMORY):
            raise UnavailableError("the GPU has no memory left for this model", code="gpu_out_of_memory") from error
        raise
