"""Temperature scaling: the right number, honest figures, no decision changed, and the file applies it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models_store.predictor import Predictor
from models_store.specs import HeadName
from models_store.tasks.base import softmax
from models_store.tasks.metrics import expected_calibration_error
from tests.worker.conftest import CPU, Bench, make_bench, run_to_end
from worker.training.calibration import calibrate, fit_temperature
from worker.training.data import TokenInputs
from worker.training.events import Calibrated
from worker.training.export import PARITY_TOLERANCE, check_parity, export_model


@pytest.mark.parametrize("true", [1.5, 4.0])
def test_the_temperature_that_made_the_answers_is_found(true: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=6.0, size=(20_000, 4))
    shares = softmax(logits / true).cumsum(axis=1)
    targets = (rng.random((20_000, 1)) > shares).sum(axis=1)

    assert fit_temperature(logits, targets) == pytest.approx(true, rel=0.05)


def test_rows_that_are_all_right_do_not_make_the_model_surer() -> None:
    assert fit_temperature(np.eye(3), np.arange(3)) == pytest.approx(1.0, abs=1e-6)


def test_rows_that_are_all_wrong_end_at_the_bound() -> None:
    assert fit_temperature(np.eye(2) * 5, np.asarray([1, 0])) == pytest.approx(20.0, rel=1e-3)


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    sure = np.asarray([[0.9, 0.1]] * 10)

    assert expected_calibration_error(sure, np.asarray([0] * 9 + [1])) == pytest.approx(0.0, abs=1e-9)
    assert expected_calibration_error(sure, np.asarray([0] * 5 + [1] * 5)) == pytest.approx(0.4)
    assert expected_calibration_error(np.asarray([[1.0, 0.0]]), np.asarray([0])) == 0.0  # the last interval is closed


@pytest.mark.parametrize(
    "bench", ["classification", "several labels", "tagging", "pos", "labelled pairs"], indirect=True
)
def test_a_model_that_is_too_sure_is_cooled_and_decides_as_before(bench: Bench, tmp_path: Path) -> None:
    model = bench.model().eval()
    with torch.no_grad():  # an untrained model that shouts
        model.head.layers[-1].weight *= 50  # type: ignore[index, union-attr]
    inputs = TokenInputs(bench.data.validation, bench.data.pad_id)
    batch = inputs.collate(list(range(len(bench.data.validation)))).inputs
    with torch.inference_mode():
        before = model(**batch)

    progress, found = run_to_end(calibrate(model, inputs, bench.task, CPU))

    assert isinstance(found, Calibrated)
    assert progress[-1] == len(bench.data.validation)
    assert found.temperature > 1.5
    assert found.ece_after < found.ece_before
    with torch.inference_mode():
        after = model(**batch)
    torch.testing.assert_close(after * found.temperature, before, rtol=1e-4, atol=1e-4)

    (tmp_path / "out").mkdir()
    export_model(model, bench.encoder, bench.task, tmp_path / "out", max_length=bench.encoder.max_length)
    predictor = Predictor.load(tmp_path / "out", threads=1)
    assert check_parity(model, predictor, bench.data.validation) <= PARITY_TOLERANCE


@pytest.mark.parametrize(("kind", "head"), [("graded pairs", HeadName.LINEAR), ("tagging", HeadName.CRF)])
def test_answers_that_are_no_probabilities_of_labels_are_left_alone(
    encoders_dir: Path, tmp_path: Path, kind: str, head: HeadName
) -> None:
    bench = make_bench(kind, encoders_dir, tmp_path)
    model = bench.model(head)

    _, found = run_to_end(calibrate(model, TokenInputs(bench.data.validation, 0), bench.task, CPU))

    assert found is None
    assert float(model.temperature) == 1.0
