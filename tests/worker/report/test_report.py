"""The report that a run leaves: whole, in agreement with the run's result, and true to the model's own answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from models_store.datasets import read_split
from models_store.predictor import Predictor
from models_store.reports import CARD_FILE, REPORT_FILE, Report
from tests.worker.conftest import Workshop
from worker import pipeline
from worker.request import PipelineRequest
from worker.training.events import Calibrated, EpochFinished, Finished

KINDS = ("classification", "tagging", "similarity", "graded")
LABELS = {"classification": ["delivery", "money"], "tagging": ["DATE", "PERSON"], "similarity": ["no", "yes"]}


def run(request: PipelineRequest) -> tuple[list[Any], Finished, Report]:
    events = list(pipeline.run(request))
    finished = events[-1]
    assert isinstance(finished, Finished)
    return events, finished, Report.model_validate_json((request.output_dir / REPORT_FILE).read_bytes())


def answers(request: PipelineRequest) -> tuple[list[Any], list[Any]]:
    """The validation rows, and what the finished model answers to them."""
    predictor = Predictor.load(request.output_dir, threads=1)
    rows = list(read_split(request.dataset_dir, "validation"))
    return rows, predictor.predict([predictor.task.example(row) for row in rows])


@pytest.mark.parametrize("kind", KINDS)
def test_every_task_leaves_a_report_and_a_card(workshop: Workshop, kind: str) -> None:
    request = workshop.pipeline_request(kind, test=True)

    events, finished, report = run(request)

    # What the run told is what the report holds.
    epochs = [e for e in events if isinstance(e, EpochFinished)]
    points = [(phase.name, point.epoch, point.validation_loss) for phase in report.phases for point in phase.curve]
    assert points == [(e.phase, e.epoch, e.validation_loss) for e in epochs]
    assert [(name, epoch) for name, epoch, _ in points] == [("head", 0), ("head", 1), ("full", 0), ("full", 1)]
    assert {name: split.metrics for name, split in report.splits.items()} == finished.result["metrics"]
    assert report.spec == request.spec.model_dump(mode="json")
    assert {name: size.rows for name, size in report.rows.items()} == {"train": 80, "validation": 24, "test": 24}
    assert set(report.durations) == {"prepare", "head", "full", "export", "evaluate"}
    assert len(report.dataset_sha256) == 64
    # What it says of the rows is what can be said of them.
    split = report.splits["validation"]
    assert split == report.splits["test"]  # the sample's test rows are its validation rows
    if kind in LABELS:
        assert [c.label for c in split.classes or []] == LABELS[kind]
        assert split.confusion is not None
        assert split.confusion.labels == LABELS[kind]
        assert split.reliability is not None
        assert split.errors is not None
        assert len(split.worst_errors) == min(split.errors, 50)
    else:
        assert split.scores is not None
        assert sum(group.count for group in split.scores.deciles) == 24

    card = ModelCard.load(request.output_dir / "README.md")
    assert card.data.model_name == "model"
    assert not any(word in card.text for word in ("toaster", "parcel", "Carol"))  # words of the rows


@pytest.mark.parametrize("kind", ["classification", "similarity"])
def test_the_figures_are_those_of_the_answers_that_the_model_gives(workshop: Workshop, kind: str) -> None:
    request = workshop.pipeline_request(kind, strategy="frozen")

    _, _, report = run(request)

    rows, predictions = answers(request)
    split = report.splits["validation"]
    labels = LABELS[kind]
    counts = [[0] * len(labels) for _ in labels]
    for row, prediction in zip(rows, predictions, strict=True):
        counts[labels.index(row["label"])][labels.index(prediction["label"])] += 1
    assert split.confusion is not None
    assert split.confusion.counts == counts
    wrong = {
        (number, row["text"], row["label"], prediction["label"])
        for number, (row, prediction) in enumerate(zip(rows, predictions, strict=True))
        if row["label"] != prediction["label"]
    }
    assert {(e.row, e.text, e.true, e.predicted) for e in split.worst_errors} == wrong
    assert [e.score for e in split.worst_errors] == sorted((e.score for e in split.worst_errors), reverse=True)


def test_the_worst_scores_are_those_that_are_furthest_off(workshop: Workshop) -> None:
    request = workshop.pipeline_request("graded", strategy="frozen")

    _, _, report = run(request)

    rows, predictions = answers(request)
    off = [abs(row["score"] - prediction["score"]) for row, prediction in zip(rows, predictions, strict=True)]
    worst = report.splits["validation"].worst_errors
    assert worst[0].score == pytest.approx(max(off), abs=1e-5)
    assert worst[0].row == off.index(max(off))
    assert (worst[0].text, worst[0].text_pair) == (rows[worst[0].row]["text"], rows[worst[0].row]["text_pair"])


def test_the_gain_is_what_the_second_phase_added(workshop: Workshop) -> None:
    _, finished, report = run(workshop.pipeline_request())

    assert report.gain is not None
    assert report.gain.metric == report.primary_metric == "accuracy"
    assert report.gain.frozen == finished.result["phases"][0]["metrics"]["accuracy"]
    assert report.gain.final == finished.result["metrics"]["validation"]["accuracy"]
    assert report.gain.gain == report.gain.final - report.gain.frozen


def test_an_ensemble_is_told_member_by_member(workshop: Workshop) -> None:
    request = workshop.pipeline_request(ensemble=2)
    _, _, report = run(request)

    told = [(phase.member, phase.name) for phase in report.phases]
    assert told == [(1, "head"), (1, "full"), (2, "head"), (2, "full")]
    frozen = [phase.metrics["accuracy"] for phase in report.phases if phase.name == "head"]
    assert report.gain is not None
    assert report.gain.frozen == pytest.approx(sum(frozen) / 2)
    card = (request.output_dir / CARD_FILE).read_text(encoding="utf-8")
    assert "The mean of 2 models with linear heads" in card
    assert "full, member 2" in card


@pytest.mark.parametrize("kind", ["classification", "several"])
def test_the_calibration_error_has_one_meaning(workshop: Workshop, kind: str) -> None:
    _, _, report = run(workshop.pipeline_request(kind, head="linear"))

    assert report.calibration is not None
    reliability = report.splits["validation"].reliability
    assert reliability is not None
    assert report.calibration.ece_after == pytest.approx(reliability.ece, abs=1e-3)


@pytest.mark.parametrize("strategy", ["frozen", "finetune"])
def test_a_single_phase_has_no_gain(workshop: Workshop, strategy: str) -> None:
    assert run(workshop.pipeline_request(strategy=strategy))[2].gain is None


def test_the_calibration_error_on_test_rows_is_told_beside_the_flattering_one(workshop: Workshop) -> None:
    events, finished, report = run(workshop.pipeline_request(test=True, strategy="frozen"))

    (told,) = [event for event in events if isinstance(event, Calibrated)]
    assert report.calibration is not None
    assert report.calibration.temperature == told.temperature
    assert report.calibration.ece_after == told.ece_after
    reliability = report.splits["test"].reliability
    assert reliability is not None
    # These test rows are the validation rows, so both errors are the same, one from torch and one from the file.
    assert report.calibration.ece_test == reliability.ece == pytest.approx(told.ece_after, abs=1e-3)
    assert finished.result["calibration"]["ece_test"] == reliability.ece


def test_without_test_rows_there_is_no_such_error(workshop: Workshop) -> None:
    report = run(workshop.pipeline_request(strategy="frozen"))[2]

    assert report.calibration is not None
    assert report.calibration.ece_test is None
    assert set(report.splits) == {"validation"}


def test_rows_that_are_longer_than_a_window_are_counted(workshop: Workshop) -> None:
    request = workshop.pipeline_request(
        "tagging", strategy="frozen", hyperparameters={"head_epochs": 1, "batch_size": 8, "max_length": 8}
    )

    report = run(request)[2]

    assert (report.max_length, report.stride) == (8, 6)
    assert {name: (size.windowed, size.truncated) for name, size in report.rows.items()} == {
        "train": (27, 0), "validation": (8, 0),
    }  # fmt: skip


def test_a_report_is_plain_json(workshop: Workshop) -> None:
    request = workshop.pipeline_request(strategy="frozen")
    run(request)
    path: Path = request.output_dir / REPORT_FILE

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)["object"] == "model.report"
