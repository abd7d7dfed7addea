"""Golden rows: a few inputs with the logits that a version gave when it was exported.

Whoever loads the version compares: other files, another runtime or a processor whose 8-bit arithmetic overflows would
answer wrongly without any error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models_store.errors import ArtifactCorruptError
from models_store.execution import Device
from models_store.precision import Precision
from models_store.predictor import Predictor
from models_store.tasks import Row

GOLDEN_FILE = "golden.json"
_ROWS = 8
# Of the largest logit. Processors differ in the sixth digit, which may move a value to the next of 256 steps.
_DEVICE_TOLERANCE = {Device.CPU: 0.0, Device.CUDA: 0.02}  # GPUs multiply in TF32
_TOLERANCE = {Precision.FP32: 1e-3, Precision.FP16: 0.02, Precision.INT8: 0.05}


def record(folder: Path, predictors: Mapping[Precision, Predictor], rows: Sequence[Row]) -> None:
    """Write the golden rows of a version: some of ``rows``, from the shortest to the longest."""
    by_length = sorted(_short(next(iter(predictors.values())), rows), key=lambda row: len(json.dumps(row)))
    step = max(1, math.ceil(len(by_length) / _ROWS))
    chosen = [dict(row) for row in by_length[::step]]
    logits = {precision.value: _logits(predictor, chosen) for precision, predictor in predictors.items()}
    content = json.dumps({"rows": chosen, "logits": logits}, ensure_ascii=False)
    (folder / GOLDEN_FILE).write_text(content, encoding="utf-8")


def check(folder: Path, predictor: Predictor) -> None:
    """Compare a loaded version with what it gave when it was exported; versions from before that are not compared.

    Raises:
        ArtifactCorruptError: It answers otherwise.
    """
    if not (folder / GOLDEN_FILE).is_file():
        return
    golden = json.loads((folder / GOLDEN_FILE).read_text(encoding="utf-8"))
    expected = [np.array(values) for values in golden["logits"].get(predictor.precision.value, [])]
    for found, wanted in zip(_logits(predictor, golden["rows"][: len(expected)]), expected, strict=True):
        values = np.array(found)
        allowed = max(_TOLERANCE[predictor.precision], _DEVICE_TOLERANCE[predictor.device]) * (1 + np.abs(wanted).max())
        near = values.shape == wanted.shape and np.abs(values - wanted).max() <= allowed
        if not near:
            model = f"the version's {predictor.precision} model"
            raise ArtifactCorruptError(f"on this machine {model} does not answer as it did when it was exported")


def _short(predictor: Predictor, rows: Sequence[Row]) -> list[Row]:
    """Rows that are read in one window, for loading must not take as long as a document; else the shortest of all."""
    encoded = predictor.encode([predictor.task.example(row) for row in rows])
    windows = [len(predictor.windows(one)) for one in encoded]
    short = [row for row, number in zip(rows, windows, strict=True) if number == 1]
    return short or [rows[windows.index(min(windows))]]


def _logits(predictor: Predictor, rows: Sequence[Row]) -> list[list[float]]:
    """One by one: in 8 bits the texts that are run together share a scale, and so change each other's last digits."""
    encoded = predictor.encode([predictor.task.example(row) for row in rows])
    return [predictor.logits([one])[0].tolist() for one in encoded]
