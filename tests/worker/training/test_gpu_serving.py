"""Models on a GPU answer as on a CPU, in single precision and in half; left out where onnxruntime has no GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models_store.execution import Device, Interrupt, gpu_offered
from models_store.precision import Precision
from models_store.predictor import Predictor
from models_store.specs import HeadName
from tests.worker.conftest import LEGAL_PAIRS, make_bench, run_to_end
from worker.training.export import export_model
from worker.training.precision import choose

pytestmark = pytest.mark.skipif(not gpu_offered(), reason="needs onnxruntime-gpu and a GPU")

TOLERANCE = {Precision.FP32: 5e-3, Precision.FP16: 0.05}  # matrix products in TF32, and in half precision


@pytest.mark.parametrize(("kind", "head"), LEGAL_PAIRS)
def test_the_gpu_gives_the_same_logits(kind: str, head: HeadName, encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench(kind, encoders_dir, tmp_path)
    export_model(bench.model(head), bench.encoder, bench.task, tmp_path, max_length=bench.encoder.max_length)
    run_to_end(choose(tmp_path, Predictor.load(tmp_path, 1), "fp16", bench.data.validation, 1))
    processor = Predictor.load(tmp_path, 1, Precision.FP32)
    encoded = processor.encode([bench.task.example(row) for row in bench.data.validation.rows[:7]])
    expected = processor.logits(encoded)

    for precision, tolerance in TOLERANCE.items():
        gpu = Predictor.load(tmp_path, 1, precision, Device.CUDA)
        together = gpu.infer(encoded, Interrupt())  # seven texts and odd lengths: both are padded
        for one, found, wanted in zip(encoded, together, expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=tolerance, rtol=tolerance)
            np.testing.assert_allclose(gpu.infer([one])[0], wanted, atol=tolerance, rtol=tolerance)


def test_half_precision_is_measured_and_served_on_the_gpu(encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench("classification", encoders_dir, tmp_path)
    export_model(bench.model(), bench.encoder, bench.task, tmp_path, max_length=bench.encoder.max_length)

    _, (_, report) = run_to_end(choose(tmp_path, Predictor.load(tmp_path, 1), "auto", bench.data.validation, 1))

    assert report.gpu is not None
    assert all(figures.milliseconds for figures in report.gpu.figures.values())
    assert Predictor.load(tmp_path, 1, device=Device.CUDA).precision.value == report.gpu.served
