"""The limit: tokenizer and onnxruntime in a loop, without HTTP, batches or queues."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benchmarks.serving.load import Measured
from models_store.precision import ONNX_FILES, Precision
from models_store.tokenizer import TOKENIZER_FILE, load_tokenizer

CORES = len(os.sched_getaffinity(0))
_WARM_UP = 5  # texts


class Loop:
    """A published model, run by ``threads`` threads of ours with ``intra`` threads of onnxruntime each."""

    def __init__(self, published: Path, precision: Precision, *, threads: int, intra: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = intra
        self._session = ort.InferenceSession(
            str(published / ONNX_FILES[precision]), options, providers=["CPUExecutionProvider"]
        )
        self._names = {entry.name for entry in self._session.get_inputs()}
        self._tokenizer = load_tokenizer(published / TOKENIZER_FILE, None)
        self._threads = threads

    def run(self, texts: Sequence[str], seconds: float) -> Measured:
        """Go through the texts for so long."""
        for text in texts[:_WARM_UP]:
            self._infer(text)
        started = time.perf_counter()
        with ThreadPoolExecutor(self._threads) as pool:
            parts = pool.map(lambda number: self._work(texts[number:], started + seconds), range(self._threads))
            times = [one for part in parts for one in part]
        passed = time.perf_counter() - started
        p50, p99 = (float(np.percentile(times, share)) * 1e3 for share in (50, 99))
        return Measured(len(times) / passed, p50, p99, errors=0)

    def _work(self, texts: Sequence[str], until: float) -> list[float]:
        times: list[float] = []
        while (now := time.perf_counter()) < until:
            self._infer(texts[len(times) % len(texts)])
            times.append(time.perf_counter() - now)
        return times

    def _infer(self, text: str) -> None:
        ids = np.asarray([self._tokenizer.encode(text).ids])
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        self._session.run(None, {name: values for name, values in feed.items() if name in self._names})
