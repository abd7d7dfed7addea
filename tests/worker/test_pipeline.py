"""The pipeline: from rows to files that answer, told stage by stage; and no model that differs from the trained one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from models_store.predictor import Predictor
from models_store.specs import HEADS_OF_TASK
from models_store.tasks import TaskName
from tests.worker.conftest import SHORT, Workshop
from worker import pipeline
from worker.request import PipelineRequest
from worker.training import checkpoints
from worker.training.errors import ParityError
from worker.training.events import EVENTS, Event, Finished, MemberStarted, Message, Resumed, StageStarted, Step
from worker.training.export import PARITY_TOLERANCE, export_model

INPUTS = {
    "classification": "where is my parcel",
    "several": "refund my parcel",
    "tagging": "Ada met Bob Carol on Monday.",
    "similarity": {"text": "my kettle please", "text_pair": "kettle want today"},
    "graded": {"text": "my kettle please", "text_pair": "kettle want today"},
}
METRICS = {
    "classification": {"accuracy", "f1_macro"},
    "several": {"f1_micro", "f1_macro", "accuracy"},
    "tagging": {"f1", "precision", "recall", "accuracy"},
    "similarity": {"accuracy", "f1_macro", "precision", "recall", "f1"},
    "graded": {"spearman", "pearson"},
}
LABELS = {
    "classification": {"delivery", "money"},
    "several": {"delivery", "money", "urgent"},
    "tagging": {"O", "B-DATE", "I-DATE", "B-PERSON", "I-PERSON"},  # I-DATE may come, though no row has it
    "similarity": {"no", "yes"},
    "graded": set(),  # a score has none
}


def run(request: PipelineRequest) -> tuple[list[Event], Finished]:
    """All events, of which the last must be `Finished`."""
    events = list(pipeline.run(request))
    finished = events[-1]
    assert isinstance(finished, Finished)
    return events, finished


def stages(events: list[Event]) -> list[str]:
    return [event.stage for event in events if isinstance(event, StageStarted)]


def messages(events: list[Event], level: str) -> list[Message]:
    return [event for event in events if isinstance(event, Message) and event.level == level]


@pytest.mark.parametrize("kind", list(INPUTS))
def test_every_task_goes_through_all_stages_and_ends_in_a_model_that_answers(workshop: Workshop, kind: str) -> None:
    request = workshop.pipeline_request(kind, test=True)

    events, finished = run(request)

    assert stages(events) == ["head", "full", "export", "evaluate"]
    assert [event for event in events if isinstance(event, Finished)] == [finished]
    # Each event travels between processes as JSON.
    assert [EVENTS.validate_json(event.model_dump_json()) for event in events] == events

    result = finished.result
    assert result["head"] == HEADS_OF_TASK[TaskName(finished.manifest["task"]["task"])][0]
    assert {split: set(values) for split, values in result["metrics"].items()} == {
        "validation": METRICS[kind],
        "test": METRICS[kind],
    }
    assert (
        result["metrics"]["test"] == result["metrics"]["validation"]
    )  # the sample's test rows are its validation rows
    assert [(phase["name"], phase["epochs"]) for phase in result["phases"]] == [("head", 1), ("full", 1)]
    for phase in result["phases"]:
        assert set(phase) == {
            "name", "member", "epochs", "best_epoch", "kept_epoch", "averaged", "seconds", "metrics"
        }  # fmt: skip
        assert set(phase["metrics"]) == METRICS[kind]

    assert sorted(path.name for path in request.output_dir.iterdir()) == [
        "README.md", "golden.json", "model.json", "model.onnx", "report.json", "tokenizer.json",
    ]  # fmt: skip
    assert list(request.scratch_dir.iterdir()) == []
    predictor = Predictor.load(request.output_dir, threads=1)
    (answer,) = predictor.predict([predictor.task.parse(INPUTS[kind])])
    assert answer_labels(answer) <= LABELS[kind]


def answer_labels(answer: Any) -> set[str]:
    if "tokens" in answer:
        return {token["tag"] for token in answer["tokens"]}
    chosen = {entry["label"] for entry in answer.get("labels", [])}
    return chosen | ({answer["label"]} if "label" in answer else set())


@pytest.mark.parametrize("kind", ["tagging", "graded"])
def test_the_manifest_says_what_the_model_is_and_how_it_came_to_be(workshop: Workshop, kind: str) -> None:
    request = workshop.pipeline_request(kind, strategy="frozen", seed=11)

    _, finished = run(request)

    manifest = json.loads(json.dumps(finished.manifest))  # it becomes a file
    assert manifest["kind"] == "model"
    assert manifest["task"] == request.dataset_schema
    assert set(manifest["labels"] or []) == LABELS[kind]
    assert manifest["base_encoder"] == "tiny"
    assert manifest["spec"] == request.spec.model_dump(mode="json")
    assert manifest["spec"]["seed"] == 11
    assert manifest["metrics"] == finished.result["metrics"]
    assert manifest["metrics"]["test"] is None  # no test rows were uploaded
    assert 0 <= manifest["parity_max_difference"] <= PARITY_TOLERANCE
    assert manifest["libraries"]["torch"] == torch.__version__
    assert {"transformers", "tokenizers", "onnx", "onnxruntime", "thawline"} <= set(manifest["libraries"])


@pytest.mark.parametrize(("strategy", "phase"), [("frozen", "head"), ("finetune", "full")])
def test_a_strategy_of_one_phase_runs_only_that(workshop: Workshop, strategy: str, phase: str) -> None:
    events, finished = run(workshop.pipeline_request(strategy=strategy))

    assert stages(events) == [phase, "export", "evaluate"]
    assert [done["name"] for done in finished.result["phases"]] == [phase]


CUT_AT_8 = {"head_epochs": 1, "batch_size": 8, "max_length": 8}


def test_rows_that_are_read_in_windows_are_told_and_counted_for_each_split(workshop: Workshop) -> None:
    # Every third sentence of the sample has seven words, which with both ends make nine word pieces.
    request = workshop.pipeline_request("tagging", strategy="frozen", hyperparameters=CUT_AT_8)

    events, finished = run(request)

    assert [(told.message, told.data) for told in messages(events, "info") if "windows" in told.message] == [
        (
            f"{long} of {rows} {split} rows are longer than 8 word pieces and are read in windows",
            {"split": split, "windowed": long, "max_length": 8, "stride": 6},
        )
        for split, rows, long in (("train", 80, 27), ("validation", 24, 8))
    ]
    assert not [warning for warning in messages(events, "warning") if "cut" in warning.message]
    assert (
        finished.result["long_texts"]
        == finished.manifest["long_texts"]
        == {
            "max_length": 8,
            "stride": 6,
            "train": {"windowed": 27, "truncated": 0},
            "validation": {"windowed": 8, "truncated": 0},
        }
    )
    # Later texts are read the same way: no word is left without a tag.
    predictor = Predictor.load(request.output_dir, threads=1)
    (answer,) = predictor.predict([predictor.task.parse("ada " * 70)])
    assert "truncated" not in answer
    assert all(token["score"] > 0 for token in answer["tokens"])


def test_pairs_that_are_cut_give_a_warning_for_each_split(workshop: Workshop) -> None:
    # A pair of the sample has six words, which with the three special tokens make nine word pieces.
    request = workshop.pipeline_request("similarity", strategy="frozen", hyperparameters=CUT_AT_8)

    events, finished = run(request)

    assert [(warning.message, warning.data) for warning in messages(events, "warning") if "cut" in warning.message] == [
        (
            f"{rows} of {rows} {split} rows are longer than 8 word pieces and were cut",
            {"split": split, "truncated": rows, "max_length": 8},
        )
        for split, rows in (("train", 80), ("validation", 24))
    ]
    assert finished.result["long_texts"]["train"] == {"windowed": 0, "truncated": 80}
    assert finished.result["long_texts"]["stride"] is None
    # The model cuts later pairs at the same place, and says so.
    predictor = Predictor.load(request.output_dir, threads=1)
    fitting, too_long = predictor.predict(
        [predictor.task.parse({"text": "ada " * n, "text_pair": "bob"}) for n in (4, 5)]
    )
    assert "truncated" not in fitting
    assert too_long["truncated"] is True


def test_rows_that_fit_give_no_warning(workshop: Workshop) -> None:
    events, _ = run(workshop.pipeline_request(strategy="frozen"))

    assert not [warning for warning in messages(events, "warning") if "longer" in warning.message]


@pytest.mark.parametrize("learns", [True, False])
def test_a_model_that_learnt_nothing_is_not_to_be_relied_on(workshop: Workshop, learns: bool) -> None:
    values = {**SHORT, "head_epochs": 60, "head_learning_rate": 0.01 if learns else 1e-9}

    events, finished = run(workshop.pipeline_request(strategy="frozen", head="linear", hyperparameters=values))

    warned = [warning for warning in messages(events, "warning") if "do not rely" in warning.message]
    assert bool(warned) != learns
    assert bool(finished.result["phases"][0]["best_epoch"]) == learns


def test_a_length_that_cannot_be_had_is_told(workshop: Workshop) -> None:
    request = workshop.pipeline_request(strategy="frozen", hyperparameters={**SHORT, "max_length": 4000})

    events, finished = run(request)

    (told,) = [warning for warning in messages(events, "warning") if "max_length 4000" in warning.message]
    assert told.data == {"max_length": finished.result["long_texts"]["max_length"]}


def test_a_model_whose_file_differs_from_what_was_trained_is_never_finished(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export_and_go_on_learning(model: Any, *args: Any, **kwargs: Any) -> None:
        export_model(model, *args, **kwargs)
        with torch.no_grad():
            model.head.layers[-1].bias += 0.01

    monkeypatch.setattr(pipeline, "export_model", export_and_go_on_learning)
    events: list[Event] = []

    with pytest.raises(ParityError, match="differ"):
        events.extend(pipeline.run(workshop.pipeline_request(strategy="frozen")))  # extends as far as it comes

    assert stages(events) == ["head", "export"]
    assert not [event for event in events if isinstance(event, Finished)]


def test_an_ensemble_is_trained_exported_and_reported_as_one_model(workshop: Workshop) -> None:
    request = workshop.pipeline_request(ensemble=2)

    events, finished = run(request)

    assert [phase["name"] for phase in finished.result["phases"]] == ["head", "full"] * 2
    assert [event.member for event in events if isinstance(event, MemberStarted)] == [2]
    alone = run(workshop.pipeline_request())[1]
    assert set(finished.result["metrics"]["validation"]) == set(alone.result["metrics"]["validation"])
    predictor = Predictor.load(request.output_dir, threads=1)
    assert len(predictor.predict(["where is my parcel"])) == 1


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("stage", ["export", "evaluate"])
def test_a_run_that_was_stopped_when_its_training_was_over_trains_nothing_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, stage: str, members: int
) -> None:
    monkeypatch.setattr(checkpoints, "_WORTH_KEEPING", 0.0)  # a training of half a minute would be one too long
    request = workshop.pipeline_request(ensemble=members)
    request = request.model_copy(update={"checkpoint_dir": workshop.settings.checkpoints_dir / "job"})
    for event in pipeline.run(request):
        if isinstance(event, StageStarted) and event.stage == stage:
            break

    events, finished = run(request)

    assert [event.stage for event in events if isinstance(event, Resumed)] == ["export"] * members
    assert stages(events) == ["export", "evaluate"]
    assert not [event for event in events if isinstance(event, Step)]
    assert [phase["name"] for phase in finished.result["phases"]] == ["head", "full"] * members
