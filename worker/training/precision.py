"""Which arithmetic a model is served in: the faster one, if its answers are as good; measured, never assumed.

Dynamic quantisation to 8 bits halves the time of an answer on CPUs with the instructions for it (VNNI, AMX). It costs
nothing on most models and several points on a few: hence each is compared with its own original, on validation rows.
A sentence encoder's vectors are compared as well: what searches by them sees more than its answers to pairs tell.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.onnx_model import OnnxModel

from models_store.agreement import agreement
from models_store.execution import Device, gpu_offered
from models_store.precision import ONNX_FILES, Precision
from models_store.predictor import CONFIG_FILE, DEFAULT_OPTIONS, Predictor
from models_store.reports import PrecisionFigures, PrecisionReport
from models_store.specs import PrecisionName
from models_store.tasks import Prediction, Row
from worker.training.data import Split
from worker.training.pacing import counted_on
from worker.training.scoring import score

TOLERANCE = 0.005  # of the metric that may be lost
AGREEMENT = 0.99  # of the answers must be the same
EMBEDDING_SIMILARITY = 0.98  # mean cosine that a sentence encoder's vectors must keep
COMPARED_ROWS = 2_000  # at most
_EMBEDDED_ROWS = 100  # between two signs of life
_ROUNDS = 15  # timed of each
_WARM_UP = 3
_NAMES = {Precision.INT8: "8-bit arithmetic", Precision.FP16: "half precision"}
_REASONS = {
    "fp32": "single precision was asked for",
    "fp16": "half precision was asked for, which is for GPUs",
}
_QUANTISED = ["MatMul", "Attention"]  # embeddings are looked up, which 8 bits would only make coarser

T = TypeVar("T")
Vectors = NDArray[np.float32]


def quantise(folder: Path) -> None:
    """Write the 8-bit model beside the one in single precision: weights by column, activations as they come.

    It answers alike on every processor, for it is made on one machine and served on others.
    """
    quantize_dynamic(
        folder / ONNX_FILES[Precision.FP32],
        folder / ONNX_FILES[Precision.INT8],
        op_types_to_quantize=_QUANTISED,
        per_channel=True,
        # Weights of 7 bits: with 8, processors without VNNI (AVX2 alone) overflow when they add two products in 16.
        reduce_range=True,
        weight_type=QuantType.QInt8,
        # The fused graph's shapes are not all inferred; what has none is a float.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def halve(folder: Path) -> None:
    """Write the model in half precision beside the other: the encoder's weights and arithmetic, not the head's.

    Heads are a hundredth of the work, and some sum squares that half precision cannot hold.
    """
    model = OnnxModel(onnx.load(folder / ONNX_FILES[Precision.FP32]))
    head = [node.name for node in _nodes(model.model.graph) if node.name.startswith("/head")]
    model.convert_float_to_float16(use_symbolic_shape_infer=True, keep_io_types=True, node_block_list=head)
    _drop_doubles(model.model.graph)
    onnx.save_model(model.model, folder / ONNX_FILES[Precision.FP16])


def _drop_doubles(graph: onnx.GraphProto) -> None:
    """The converter of some versions casts a value anew for each node that reads it, under one and the same name."""
    made: set[str] = set()
    for node in list(graph.node):
        if node.output[0] in made:
            graph.node.remove(node)
        made.update(node.output)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All of a graph, those of its branches among them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def passes(asked: PrecisionName, *, embeds: bool) -> int:
    """How many times `choose` goes through all rows that it compares by: to answer and, where it can, to embed them."""
    models = 1 + (asked in ("auto", "int8")) + _half_wanted(asked) if asked != "fp32" else 0
    return models * (1 + embeds)


def choose(
    folder: Path, original: Predictor, asked: PrecisionName, split: Split, threads: int
) -> Generator[int, None, tuple[Predictor, PrecisionReport]]:
    """Quantise, compare, and leave in the folder what will be served, with single precision beside it.

    Args:
        folder: Of the exported model.
        original: That model.
        asked: What the job asks for.
        split: Rows to compare by.
        threads: Of the predictors that are compared; what is timed on the CPU has one.

    Yields:
        The number of rows done so far, those of all models together.

    Returns:
        The predictor of what is served on the CPU, and what was measured (``yield from``).
    """
    report = PrecisionReport(asked=asked, served=Precision.FP32.value, reason=_REASONS.get(asked, ""))
    if asked == "fp32":
        return original, report
    comparison = _Comparison(folder, original, asked, split, threads)
    yield from comparison.answer_originally()
    served, gpu_served = original, Precision.FP32
    if asked in ("auto", "int8"):
        quantise(folder)
        served, report = yield from comparison.with_(Precision.INT8, Device.CPU)
    if _half_wanted(asked):
        halve(folder)
        device = Device.CUDA if gpu_offered() else Device.CPU
        half, gpu = yield from comparison.with_(Precision.FP16, device)
        gpu_served = half.precision
        report = report.model_copy(update={"gpu": gpu})
    available = [precision for precision in Precision if (folder / ONNX_FILES[precision]).is_file()]
    _note(folder, served.precision, gpu_served, available)
    return served, report


def _half_wanted(asked: PrecisionName) -> bool:
    return asked == "fp16" or (asked == "auto" and gpu_offered())


class _Comparison:
    """The model in single precision, beside which others are put."""

    def __init__(self, folder: Path, original: Predictor, asked: PrecisionName, split: Split, threads: int) -> None:
        self._folder = folder
        self._original = original
        self._asked = asked
        self._split = split
        self._threads = threads
        self._rows = split.rows[:COMPARED_ROWS]
        self._done = 0
        self._answers: list[Prediction] = []  # of the original
        self._score = 0.0
        self._vectors: Vectors | None = None

    def answer_originally(self) -> Generator[int, None, None]:
        """Answer the rows with the original, once for all comparisons."""
        self._answers, self._score = yield from self._counted(_answers(self._original, self._rows))
        self._vectors = yield from self._embed(self._original)

    def with_(self, precision: Precision, device: Device) -> Generator[int, None, tuple[Predictor, PrecisionReport]]:
        """Compare with another precision, whose file is there; it is removed if it is not to be served."""
        other = Predictor.load(self._folder, self._threads, precision, device)
        answers, reached = yield from self._counted(_answers(other, self._rows))
        vectors = yield from self._embed(other)
        # Half precision is for GPUs: without one there is nothing to be timed.
        timed = device is Device.CUDA or precision is not Precision.FP16
        milliseconds = _time(self._folder, self._split, precision, device) if timed else None
        same = agreement(self._original.task, self._answers, answers)
        near = None if self._vectors is None or vectors is None else _similarity(self._vectors, vectors)
        scores = {Precision.FP32: self._score, precision: reached}
        served, reason = _verdict(self._asked, precision, scores, milliseconds, same, near)
        report = PrecisionReport(
            asked=self._asked,
            served=served.value,
            reason=reason,
            metric=self._original.task.primary_metric,
            agreement=same,
            embedding_similarity=near,
            rows=len(self._rows),
            figures={
                one.value: PrecisionFigures(
                    score=scores[one],
                    milliseconds=milliseconds[one] if milliseconds else None,
                    size_bytes=(self._folder / ONNX_FILES[one]).stat().st_size,
                )
                for one in scores
            },
        )
        if served is not precision:
            (self._folder / ONNX_FILES[precision]).unlink()
        return (other if served is precision else self._original), report

    def _embed(self, predictor: Predictor) -> Generator[int, None, Vectors | None]:
        if predictor.embedding_width is None:
            return None
        return (yield from self._counted(_vectors(predictor, self._rows)))

    def _counted(self, work: Generator[int, None, T]) -> Generator[int, None, T]:
        """One more pass through the rows."""
        result = yield from counted_on(work, before=self._done)
        self._done += len(self._rows)
        return result


def _answers(predictor: Predictor, rows: Sequence[Row]) -> Generator[int, None, tuple[list[Prediction], float]]:
    """The answers to the rows, and what they score (``yield from``); yields how many are done."""
    scored = yield from score(predictor, rows)
    parts = zip(scored.logits, scored.examples, scored.encoded, strict=True)
    answers = [predictor.decode(values, example, e, DEFAULT_OPTIONS) for values, example, e in parts]
    return answers, scored.metrics[predictor.task.primary_metric]


def _vectors(predictor: Predictor, rows: Sequence[Row]) -> Generator[int, None, Vectors]:
    """Of both texts of each pair, one below the other (``yield from``); yields how many rows are done."""
    vectors: list[NDArray[np.float32]] = []
    for start in range(0, len(rows), _EMBEDDED_ROWS):
        part = rows[start : start + _EMBEDDED_ROWS]
        texts = [text for row in part for text in predictor.task.example(row)]
        vectors += predictor.embeddings(predictor.encode_texts(texts))
        yield start + len(part)
    return np.stack(vectors)


def _similarity(original: Vectors, other: Vectors) -> float:
    """Mean cosine of vectors (texts, width) of unit length; one that is no number is like none, and counts as 0."""
    cosines = np.sum(original * other, axis=-1, dtype=np.float64)
    return float(np.where(np.isfinite(cosines), cosines, 0.0).mean())


def _time(folder: Path, split: Split, precision: Precision, device: Device) -> dict[Precision, float]:
    """Milliseconds of one text of middling length on one thread: the median, both taking turns."""
    windows = sorted(split.windows, key=len)
    text = [windows[len(windows) // 2].encoded]
    alone = {one: Predictor.load(folder, 1, one, device) for one in (Precision.FP32, precision)}
    seconds: dict[Precision, list[float]] = {one: [] for one in alone}
    for turn in range(_WARM_UP + _ROUNDS):
        for one, runner in alone.items():
            started = time.perf_counter()
            runner.infer(text)
            if turn >= _WARM_UP:
                seconds[one].append(time.perf_counter() - started)
    return {one: 1000 * statistics.median(values) for one, values in seconds.items()}


def _verdict(
    asked: PrecisionName,
    other: Precision,
    scores: dict[Precision, float],
    milliseconds: dict[Precision, float] | None,
    same: float,
    near: float | None,
) -> tuple[Precision, str]:
    """What is served, and why."""
    bits = _NAMES[other]
    if asked == other.value:
        return other, f"{bits} was asked for"
    lost = scores[Precision.FP32] - scores[other]
    if lost > TOLERANCE:
        return Precision.FP32, f"{bits} would lose {100 * lost:.1f} points"
    if same < AGREEMENT:
        return Precision.FP32, f"{bits} would change {100 * (1 - same):.1f} % of the answers"
    if near is not None and near < EMBEDDING_SIMILARITY:
        return Precision.FP32, f"{bits} would change the embeddings: their cosine with the original's is {near:.3f}"
    ratio = milliseconds[Precision.FP32] / milliseconds[other] if milliseconds else 0.0
    if ratio <= 1:
        return Precision.FP32, f"{bits} is no faster on this machine"
    return other, f"{bits} is {ratio:.1f} times as fast and as good"


def _note(folder: Path, served: Precision, gpu_served: Precision, available: Sequence[Precision]) -> None:
    """Write down what `Predictor.load` takes unless it is told otherwise, and what else there is."""
    path = folder / CONFIG_FILE
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {
        "precision": served.value,
        "gpu_precision": gpu_served.value,
        "precisions": [precision.value for precision in available],
    }
    path.write_text(json.dumps(config, ensure_ascii=False, indent=2), encoding="utf-8")
