"""The benchmark that breaks things: its damaged models, its load, and how it watches the memory."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from benchmarks.serving_faults.burdens import enlarge, slow_down
from benchmarks.serving_faults.home import Running
from benchmarks.serving_faults.load import load
from models_store.execution import Interrupt
from models_store.precision import ONNX_FILES, Precision
from models_store.predictor import Predictor
from models_store.specs import HeadName
from tests.worker.conftest import make_bench, rows_of
from worker.training.export import export_model


@pytest.fixture
def exported(encoders_dir: Path, tmp_path: Path) -> Path:
    """The folder of a model, as it is published."""
    bench = make_bench("classification", encoders_dir, tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()
    model = bench.model(HeadName.LINEAR)
    export_model(model, bench.encoder, bench.task, folder, max_length=bench.encoder.max_length)
    return folder


def logits(folder: Path, interrupt: Interrupt | None = None) -> np.ndarray:
    predictor = Predictor.load(folder, threads=1)
    examples = [predictor.task.example(row) for row in rows_of("classification", 4)]
    return np.stack([predictor.infer([one], interrupt)[0] for one in predictor.encode(examples)])


def test_a_slow_model_gives_the_same_answers_and_can_be_stopped(exported: Path, tmp_path: Path) -> None:
    before, file = logits(exported), exported / ONNX_FILES[Precision.FP32]

    slow_down(file)

    np.testing.assert_array_equal(logits(exported), before)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    # What does not depend on the input would be computed once, when the model is loaded.
    assert "Loop" in [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(Exception, match="terminate"):
        logits(exported, interrupt)


def test_an_oversized_model_gives_the_same_answers(exported: Path) -> None:
    before, file = logits(exported), exported / ONNX_FILES[Precision.FP32]
    size = file.stat().st_size

    enlarge(file)

    np.testing.assert_array_equal(logits(exported), before)
    assert file.stat().st_size > size + 300 * 2**20


@pytest.fixture
def calls() -> Iterator[tuple[str, list[tuple[float, str]]]]:
    """A server that refuses every call, its address, and when it was asked for what."""
    seen: list[tuple[float, str]] = []

    class Refusing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            seen.append((time.monotonic(), self.path))
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(429)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


def test_a_load_with_a_timetable_keeps_to_it(calls: tuple[str, list[tuple[float, str]]]) -> None:
    url, seen = calls
    begun = time.monotonic()

    with load(url, 4, lambda _: "model", per_second=100, patience=0.5) as outcomes:
        while outcomes.statuses["429"] < 40:
            time.sleep(0.01)

    assert all(when >= begun + number / 100 for number, (when, _) in enumerate(sorted(seen)))
    assert {path for _, path in seen} == {"/predict/model?timeout=0.5"}
    assert outcomes.failed == 0


def test_the_memory_is_looked_at_before_during_and_after() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        with httpx.Client() as client, Running(process, client).watched(every=0.01) as seen:
            while len(seen) < 3:
                time.sleep(0.01)
        assert all(memory > 0 for memory in seen)
    finally:
        process.kill()
        process.wait()
