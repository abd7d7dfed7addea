"""Which arithmetic a model is served in: the faster one, if its answers are as good; measured, never assumed.

Dynamic quantisation to 8 bits halves the time of an answer on CPUs with the instructions for it (VNNI, AMX). It costs
nothing on most models and several points on a few: hence each is compared with its own original, on validation rows.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from models_store.agreement import agreement
from models_store.precision import ONNX_FILES, Precision
from models_store.predictor import CONFIG_FILE, DEFAULT_OPTIONS, Predictor
from models_store.reports import PrecisionFigures, PrecisionReport
from models_store.specs import PrecisionName
from models_store.tasks import Prediction, Row
from worker.training.data import Split
from worker.training.pacing import counted_on
from worker.training.scoring import logits_of

TOLERANCE = 0.005  # of the metric that may be lost
AGREEMENT = 0.99  # of the answers must be the same
COMPARED_ROWS = 2_000  # at most
_ROUNDS = 15  # timed of each
_WARM_UP = 3
_QUANTISED = ["MatMul", "Attention"]  # embeddings are looked up, which 8 bits would only make coarser


def quantise(folder: Path) -> None:
    """Write the 8-bit model beside the one in single precision: weights by column, activations as they come."""
    quantize_dynamic(
        folder / ONNX_FILES[Precision.FP32],
        folder / ONNX_FILES[Precision.INT8],
        op_types_to_quantize=_QUANTISED,
        per_channel=True,
        weight_type=QuantType.QInt8,
        # The fused graph's shapes are not all inferred; what has none is a float.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def choose(
    folder: Path, original: Predictor, asked: PrecisionName, split: Split, threads: int
) -> Generator[int, None, tuple[Predictor, PrecisionReport]]:
    """Quantise, compare, and leave in the folder what will be served, with single precision beside it.

    Args:
        folder: Of the exported model.
        original: That model.
        asked: What the job asks for.
        split: Rows to compare by.
        threads: Of the 8-bit predictor; what is timed has one.

    Yields:
        The number of rows done so far, those of both models together.

    Returns:
        The predictor of what is served, and what was measured (``yield from``).
    """
    if asked == "fp32":
        return original, PrecisionReport(
            asked=asked, served=Precision.FP32.value, reason="single precision was asked for"
        )
    quantise(folder)
    quantised = Predictor.load(folder, threads, Precision.INT8)
    rows = split.rows[:COMPARED_ROWS]
    answers: dict[Precision, list[Prediction]] = {}
    scores: dict[Precision, float] = {}
    for precision, predictor in ((Precision.FP32, original), (Precision.INT8, quantised)):
        work = counted_on(_answers(predictor, rows), before=len(answers) * len(rows))
        answers[precision], scores[precision] = yield from work
    milliseconds = _time(folder, split)
    figures = {
        precision.value: PrecisionFigures(
            score=scores[precision],
            milliseconds=milliseconds[precision],
            size_bytes=(folder / ONNX_FILES[precision]).stat().st_size,
        )
        for precision in scores
    }
    same = agreement(original.task, answers[Precision.FP32], answers[Precision.INT8])
    served, reason = _verdict(asked, scores, milliseconds, same)
    report = PrecisionReport(
        asked=asked,
        served=served.value,
        reason=reason,
        metric=original.task.primary_metric,
        agreement=same,
        rows=len(rows),
        figures=figures,
    )
    available = [Precision.FP32, *([Precision.INT8] if served is Precision.INT8 else [])]
    if served is Precision.FP32:
        (folder / ONNX_FILES[Precision.INT8]).unlink()
    _note(folder, served, available)
    return (quantised if served is Precision.INT8 else original), report


def _answers(predictor: Predictor, rows: Sequence[Row]) -> Generator[int, None, tuple[list[Prediction], float]]:
    """The answers to the rows, and what they score (``yield from``); yields how many are done."""
    examples = [predictor.task.example(row) for row in rows]
    encoded = predictor.encode(examples)
    logits = yield from logits_of(predictor, encoded)
    parts = zip(logits, examples, encoded, strict=True)
    score = predictor.task.score(logits, rows, encoded)[predictor.task.primary_metric]
    return [predictor.decode(values, example, e, DEFAULT_OPTIONS) for values, example, e in parts], score


def _time(folder: Path, split: Split) -> dict[Precision, float]:
    """Milliseconds of one text of middling length on one thread: the median, both taking turns."""
    windows = sorted(split.windows, key=len)
    text = [windows[len(windows) // 2].encoded]
    alone = {precision: Predictor.load(folder, 1, precision) for precision in Precision}
    seconds: dict[Precision, list[float]] = {precision: [] for precision in alone}
    for turn in range(_WARM_UP + _ROUNDS):
        for precision, runner in alone.items():
            started = time.perf_counter()
            runner.infer(text)
            if turn >= _WARM_UP:
                seconds[precision].append(time.perf_counter() - started)
    return {precision: 1000 * statistics.median(values) for precision, values in seconds.items()}


def _verdict(
    asked: PrecisionName, scores: dict[Precision, float], milliseconds: dict[Precision, float], same: float
) -> tuple[Precision, str]:
    """What is served, and why."""
    if asked == "int8":
        return Precision.INT8, "8 bits were asked for"
    lost = scores[Precision.FP32] - scores[Precision.INT8]
    ratio = milliseconds[Precision.FP32] / milliseconds[Precision.INT8]
    if lost > TOLERANCE:
        return Precision.FP32, f"8 bits would lose {100 * lost:.1f} points"
    if same < AGREEMENT:
        return Precision.FP32, f"8 bits would change {100 * (1 - same):.1f} % of the answers"
    if ratio <= 1:
        return Precision.FP32, "8 bits are no faster on this machine"
    return Precision.INT8, f"8 bits are {ratio:.1f} times as fast and as good"


def _note(folder: Path, served: Precision, available: Sequence[Precision]) -> None:
    """Write down what `Predictor.load` takes unless it is told otherwise, and what else there is."""
    path = folder / CONFIG_FILE
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"precision": served.value, "precisions": [precision.value for precision in available]}
    path.write_text(json.dumps(config, ensure_ascii=False, indent=2), encoding="utf-8")
