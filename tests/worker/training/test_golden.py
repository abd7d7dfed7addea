"""Golden rows: what a version answered when it was exported, asked again by whoever loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models_store import golden
from models_store.errors import ArtifactCorruptError
from models_store.golden import GOLDEN_FILE
from models_store.precision import Precision
from models_store.predictor import Predictor
from tests.worker.conftest import TASKS, make_bench
from worker.training.export import export_model
from worker.training.precision import quantise


@pytest.fixture(params=TASKS)
def exported(request: pytest.FixtureRequest, encoders_dir: Path, tmp_path: Path) -> dict[Precision, Predictor]:
    """A model of each kind in two precisions, with its golden rows beside it in ``tmp_path``."""
    bench = make_bench(request.param, encoders_dir, tmp_path / "bench")
    export_model(bench.model(), bench.encoder, bench.task, tmp_path, max_length=bench.encoder.max_length)
    quantise(tmp_path)
    predictors = {one: Predictor.load(tmp_path, 1, one) for one in (Precision.FP32, Precision.INT8)}
    golden.record(tmp_path, predictors, bench.data.validation.rows)
    return predictors


def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / GOLDEN_FILE).read_text(encoding="utf-8"))
    return found


def test_a_version_that_answers_as_before_passes(exported: dict[Precision, Predictor], tmp_path: Path) -> None:
    assert 1 < len(content(tmp_path)["rows"]) <= 8
    for predictor in exported.values():
        golden.check(tmp_path, predictor)


def test_a_version_that_answers_otherwise_does_not(exported: dict[Precision, Predictor], tmp_path: Path) -> None:
    told = content(tmp_path)
    told["logits"]["fp32"] = [_moved(values) for values in told["logits"]["fp32"]]
    (tmp_path / GOLDEN_FILE).write_text(json.dumps(told), encoding="utf-8")

    with pytest.raises(ArtifactCorruptError, match="fp32 model does not answer as it did"):
        golden.check(tmp_path, exported[Precision.FP32])
    golden.check(tmp_path, exported[Precision.INT8])


def test_a_version_from_before_there_were_golden_rows_is_not_compared(
    exported: dict[Precision, Predictor], tmp_path: Path
) -> None:
    (tmp_path / GOLDEN_FILE).unlink()
    golden.check(tmp_path, exported[Precision.FP32])


def _moved(logits: Any) -> Any:
    return [_moved(value) for value in logits] if isinstance(logits, list) else logits + 0.1


def test_where_all_texts_are_long_the_shortest_is_asked(encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench("classification", encoders_dir, tmp_path / "bench")
    export_model(bench.model(), bench.encoder, bench.task, tmp_path, max_length=8, stride=4)
    rows = [{"text": "my parcel is late " * times, "label": "parcel"} for times in (40, 20, 30)]

    golden.record(tmp_path, {Precision.FP32: Predictor.load(tmp_path, 1)}, rows)

    assert content(tmp_path)["rows"] == [rows[1]]
    golden.check(tmp_path, Predictor.load(tmp_path, 1))
