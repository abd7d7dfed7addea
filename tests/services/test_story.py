"""The main story, over HTTP: upload, train, predict, for each kind of task."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.models import TASKS, TrainedModel
from tests.fixtures.servers import Service

pytestmark = pytest.mark.services

INPUTS = {
    "classification": "where is my parcel",
    "several": "refund my parcel",
    "tagging": "Ada met Bob Carol on Monday.",
    "similarity": {"text": "my kettle please", "text_pair": "kettle want today"},
    "graded": {"text": "my kettle please", "text_pair": "kettle want today"},
}


@pytest.mark.parametrize("kind", TASKS)
def test_a_finished_job_has_every_field_of_the_contract(trained_models: dict[str, TrainedModel], kind: str) -> None:
    job = trained_models[kind].job

    assert job["object"] == "job"
    assert job["phase"] is None
    assert job["progress"]["fraction"] == 1.0
    assert job["model"] == {"name": f"tiny-{kind}", "version": 1}
    assert job["error"] is None
    assert [phase["name"] for phase in job["result"]["phases"]] == ["head", "full"]
    assert job["spec"]["hyperparameters"]["weight_decay"] == 0.01  # a default that was filled in
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]


@pytest.mark.parametrize(
    ("kind", "metric", "floor"),
    [
        ("classification", "accuracy", 0.7),
        ("several", "f1_micro", 0.7),
        ("tagging", "f1", 0.8),
        ("similarity", "accuracy", 0.4),
        ("graded", "spearman", -1),
    ],
)
def test_training_learns_what_can_be_learnt(
    trained_models: dict[str, TrainedModel], kind: str, metric: str, floor: float
) -> None:
    # A tiny random encoder hardly learns to compare two texts, so there only the presence of the metric is checked.
    assert trained_models[kind].job["result"]["metrics"]["validation"][metric] >= floor


@pytest.mark.parametrize("kind", TASKS)
def test_a_bare_input_and_a_list_give_the_same_answer(
    service: Service, trained_models: dict[str, TrainedModel], kind: str
) -> None:
    one = service.client.post(f"/predict/tiny-{kind}", json={"inputs": INPUTS[kind]}).json()
    many = service.client.post(f"/predict/tiny-{kind}@1", json={"inputs": [INPUTS[kind]] * 3}).json()

    assert {key: one[key] for key in ("model", "version")} == {"model": f"tiny-{kind}", "version": 1}
    assert len(many["predictions"]) == 3
    for answer in many["predictions"]:
        assert without_scores(answer) == without_scores(one["predictions"][0])


def without_scores(answer: Any) -> Any:
    """An answer's labels, tags and places; scores may differ in the last digits between batch shapes."""
    if isinstance(answer, dict):
        return {key: without_scores(value) for key, value in answer.items() if key != "score"}
    return [without_scores(item) for item in answer] if isinstance(answer, list) else answer
