"""Where models run: a GPU that cannot be used is told, never passed over."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import pytest

from models_store.errors import UnavailableError
from models_store.execution import GPU_UNAVAILABLE, Device, executor_for, gpu_offered


@pytest.mark.skipif(gpu_offered(), reason="this onnxruntime knows GPUs")
def test_without_the_right_onnxruntime_there_is_no_gpu(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="extra `gpu`"):
        executor_for(tmp_path / "model.onnx", 1, Device.CUDA)


def test_onnxruntimes_silent_way_back_to_the_cpu_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnTheCpuAfterAll:
        def __init__(self, *_: object, **__: object) -> None: ...

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", OnTheCpuAfterAll)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)

    with pytest.raises(UnavailableError, match="could not use the GPU"):
        executor_for(tmp_path / "model.onnx", 1, Device.CUDA)


def test_a_gpu_that_is_full_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 65536")

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", full)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)

    with pytest.raises(UnavailableError, match="no memory left") as told:
        executor_for(tmp_path / "model.onnx", 1, Device.CUDA)

    assert told.value.code != GPU_UNAVAILABLE  # which would send all models to the CPU for good
