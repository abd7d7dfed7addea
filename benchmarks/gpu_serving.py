"""How fast a model answers on a GPU, in single precision and in half, beside the CPU.

    python -m benchmarks.gpu_serving [--layers 6] [--width 384] [--seconds 3] [--callers 64] [--device cuda]

Exports a classifier with an encoder of random weights of the size asked for (6 and 384 are all-MiniLM-L6-v2's, 12 and
768 BERT-base's) and runs it through the service's own batching, without HTTP: one text at a time, then callers in
threads who ask for 16 texts each. Texts have 8 to 42 word pieces.
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import onnxruntime as ort

from api.batching import MicroBatcher
from api.calls import Results
from api.engines import Engines
from api.figures import ModelFigures
from benchmarks.large_data import LABELS, write_encoder
from models_store.encoders import EncoderSource
from models_store.execution import Device
from models_store.precision import Precision
from models_store.predictor import Predictor
from models_store.process import usable_cores
from models_store.specs import HeadName
from models_store.tasks import Encoded
from models_store.tasks.classification import ClassificationTask
from worker.training.encoder import load_encoder
from worker.training.export import export_model
from worker.training.model import TaskModel
from worker.training.precision import halve

_TEXTS_A_CALL = 16
_ALONE = 200


def main() -> None:
    """Export, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    arguments = parser.parse_args()
    print(f"onnxruntime {ort.__version__}, {platform.processor()}, {usable_cores()} cores")
    print("| device | precision | one text, ms | p99 | texts/s together |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        _export(Path(folder), arguments.layers, arguments.width)
        gpu = [(Device.CUDA, precision) for precision in (Precision.FP32, Precision.FP16)]
        for device, precision in [(Device.CPU, Precision.FP32), *(gpu if arguments.device == "cuda" else [])]:
            _measure(Predictor.load(Path(folder), 1, precision, device), device, arguments.seconds, arguments.callers)


def _export(folder: Path, layers: int, width: int) -> None:
    (folder / "encoder").mkdir()
    write_encoder(folder / "encoder", layers, width)
    encoder = load_encoder(EncoderSource("encoder", folder / "encoder", None))
    task = ClassificationTask(tuple(LABELS))
    model = TaskModel(encoder.model, task, HeadName.LINEAR, 0.1)
    export_model(model, encoder, task, folder, max_length=128)
    halve(folder)


def _measure(predictor: Predictor, device: Device, seconds: float, callers: int) -> None:
    draw = random.Random(7)
    texts = [_text(draw.randint(8, 42)) for _ in range(512)]
    for text in texts[:64]:
        predictor.infer([text])
    alone = [_timed(predictor, draw.choice(texts)) for _ in range(_ALONE)]
    gpu = device is Device.CUDA
    engines = Engines(
        predictor,
        None,
        1 if gpu else usable_cores(),
        batch_tokens=16_384 if gpu else 512,
        batch_texts=512 if gpu else 64,
    )
    batcher = MicroBatcher(engines, ModelFigures(f"{device}-{predictor.precision}", 1))
    _together(batcher, texts, 1.0, callers)  # meets the shapes
    done = _together(batcher, texts, seconds, callers)
    batcher.close()
    p99 = statistics.quantiles(alone, n=100)[98]
    print(f"| {device} | {predictor.precision} | {statistics.median(alone):.2f} | {p99:.2f} | {done / seconds:,.0f} |")


def _text(length: int) -> Encoded:
    return Encoded([5 + i % 90 for i in range(length)], [0] * length, truncated=False)


def _timed(predictor: Predictor, text: Encoded) -> float:
    started = time.perf_counter()
    predictor.infer([text])
    return 1000 * (time.perf_counter() - started)


def _together(batcher: MicroBatcher, texts: list[Encoded], seconds: float, callers: int) -> int:
    until = time.monotonic() + seconds
    done = [0] * callers

    def call(place: int) -> None:
        draw = random.Random(place)
        while time.monotonic() < until:
            future: Future[Results] = Future()
            batcher.submit(draw.sample(texts, _TEXTS_A_CALL), future.set_result)
            future.result()
            done[place] += _TEXTS_A_CALL

    threads = [threading.Thread(target=call, args=[place]) for place in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done)


if __name__ == "__main__":
    main()
