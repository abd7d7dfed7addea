"""A new model against the version in production: on the new rows, whatever labels the old one knows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_store.artifacts import ArtifactStore
from models_store.datasets import read_split
from models_store.predictor import Predictor
from models_store.reports import Comparison, Report, SplitReport
from models_store.tasks import Row, task_from_config
from tests.worker.conftest import TASKS, Workshop, make_bench, rows_of, run_to_end
from worker import pipeline
from worker.comparing import compare
from worker.request import Incumbent
from worker.training.events import Finished
from worker.training.export import export_model


@pytest.fixture
def incumbent_of(encoders_dir: Path, tmp_path: Path) -> Callable[[str], Incumbent]:
    """A published version of each kind of task, untrained: what it is worth does not matter here."""

    def publish(kind: str) -> Incumbent:
        bench = make_bench(kind, encoders_dir, tmp_path)
        output = tmp_path / "staged"
        output.mkdir()
        export_model(bench.model(), bench.encoder, bench.task, output, max_length=64, stride=32)
        store = ArtifactStore(tmp_path / "artifacts")
        store.publish(output, "models/old.1", {})
        return Incumbent(version=4, folder=store.path("models/old.1"))

    return publish


def compared(incumbent: Incumbent, kind: str, rows: list[Row]) -> tuple[list[Any], Comparison]:
    """Events and result of a comparison with a new model that is right in half the rows."""
    task, split = TASKS[kind], _Rows(rows)
    figures = {"test": SplitReport(metrics={task.primary_metric: 0.5}, errors=None, worst_errors=[])}
    events, comparison = run_to_end(compare(incumbent, task, figures, {"test": split}, 1))  # type: ignore[dict-item]
    assert isinstance(comparison, Comparison)
    return events, comparison


class _Rows:
    """Of a split, all that a comparison looks at."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows


@pytest.mark.parametrize("kind", list(TASKS))
def test_the_old_version_gets_the_score_that_its_own_answers_deserve(
    incumbent_of: Callable[[str], Incumbent], kind: str
) -> None:
    incumbent, rows = incumbent_of(kind), rows_of(kind)

    events, comparison = compared(incumbent, kind, rows)

    old = Predictor.load(incumbent.folder, threads=1)
    encoded = old.encode([old.task.example(row) for row in rows])
    score = old.task.score(old.logits(encoded), rows, encoded)[old.task.primary_metric]
    assert comparison.model_dump() == {
        "compared_with": 4, "metric": old.task.primary_metric, "new": 0.5, "old": pytest.approx(score),
        "split": "test", "rows": 16, "obstacle": None,
    }  # fmt: skip
    assert f"{score:.4f} of version 4" in events[-1].message


STRANGE: dict[str, list[Row]] = {
    "classification": [{"text": "help", "label": "unheard of"}],
    "several labels": [{"text": "help", "label": ["unheard of"]}],
    "tagging": [{"tokens": ["Ada", "Bob"], "tags": ["B-UNHEARD", "I-UNHEARD"]}],
    "pos": [{"tokens": ["Ada", "Bob"], "tags": ["X", "X"]}],
    "labelled pairs": [{"text": "a", "text_pair": "b", "label": "unheard of"}],
}


@pytest.mark.parametrize("kind", list(STRANGE))
def test_labels_that_the_old_version_does_not_know_are_wrong_answers(
    incumbent_of: Callable[[str], Incumbent], kind: str
) -> None:
    _, comparison = compared(incumbent_of(kind), kind, STRANGE[kind] * 3)

    assert (comparison.old, comparison.obstacle) == (0.0, None)


def test_a_scale_that_differs_changes_no_ranks(incumbent_of: Callable[[str], Incumbent]) -> None:
    incumbent, rows = incumbent_of("graded pairs"), rows_of("graded pairs")

    scores = [
        compared(incumbent, "graded pairs", [{**row, "score": factor * row["score"]} for row in rows])[1].old
        for factor in (1, 20)
    ]

    assert scores[0] is not None
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("classification", "several labels"),
        ("several labels", "classification"),
        ("tagging", "pos"),
        ("labelled pairs", "graded pairs"),
        ("graded pairs", "labelled pairs"),
    ],
)
def test_answers_of_another_kind_cannot_be_compared(
    incumbent_of: Callable[[str], Incumbent], old: str, new: str
) -> None:
    events, comparison = compared(incumbent_of(old), new, rows_of(new))

    assert (comparison.old, comparison.new) == (None, 0.5)
    assert comparison.obstacle is not None
    assert "of another kind" in comparison.obstacle
    assert [(event.level, "cannot be compared" in event.message) for event in events] == [("warning", True)]


def altered(folder: Path) -> None:
    weights = folder / "model.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")


def cut_short(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")


@pytest.mark.parametrize("harm", [altered, cut_short, shutil.rmtree])
def test_files_that_are_damaged_or_gone_are_an_obstacle_and_no_failure(
    incumbent_of: Callable[[str], Incumbent], harm: Callable[[Path], None]
) -> None:
    incumbent = incumbent_of("classification")
    harm(incumbent.folder)

    events, comparison = compared(incumbent, "classification", rows_of("classification"))

    assert comparison.old is None
    assert comparison.obstacle is not None
    assert "version 4" in comparison.obstacle
    assert events[-1].level == "warning"


def test_an_old_version_that_misbehaves_does_not_cost_the_new_one_its_job(
    incumbent_of: Callable[[str], Incumbent], monkeypatch: pytest.MonkeyPatch
) -> None:
    incumbent = incumbent_of("classification")
    monkeypatch.setattr(Predictor, "logits", lambda *_: 1 / 0)

    assert compared(incumbent, "classification", rows_of("classification"))[1].obstacle == "division by zero"


# ---- in the pipeline ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", [True, False])
def test_a_run_tells_what_came_of_it_everywhere(
    workshop: Workshop, incumbent_of: Callable[[str], Incumbent], test: bool
) -> None:
    request = workshop.pipeline_request(test=test, strategy="frozen", promote="if_better")
    request.incumbent = incumbent_of("classification")

    events = list(pipeline.run(request))

    finished = events[-1]
    assert isinstance(finished, Finished)
    split = "test" if test else "validation"
    told = finished.result["promotion"]
    assert (told["compared_with"], told["split"], told["rows"], told["metric"]) == (4, split, 24, "accuracy")
    assert told["new"] == finished.result["metrics"][split]["accuracy"]
    rows = list(read_split(request.dataset_dir, split))
    assert rows[0]["label"] in task_from_config(request.dataset_schema).to_config()["labels"]
    assert told["old"] == 0.0  # it knows other labels than these rows have
    assert finished.manifest["comparison"] == told
    report = Report.model_validate_json((request.output_dir / "report.json").read_bytes())
    assert json.loads(json.dumps(told)) == report.model_dump()["comparison"]


def test_without_an_incumbent_there_is_nothing_to_tell(workshop: Workshop) -> None:
    *_, finished = pipeline.run(workshop.pipeline_request(strategy="frozen"))

    assert isinstance(finished, Finished)
    assert finished.result["promotion"] is None
    assert finished.manifest["comparison"] is None
