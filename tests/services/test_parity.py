"""What the endpoint answers is what the worker evaluated: every row, each task, each precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models_store import registry
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets import dataset_key, read_split
from models_store.precision import Precision
from models_store.predictor import Predictor
from models_store.tasks import Prediction, Row, Task
from tests.fixtures.models import QUANTISED, TASKS, TrainedModel
from tests.fixtures.servers import Service

# Single precision differs in the sixth digit by what else is in a batch; 8 bits share their scale with the batch.
TOLERANCE = {Precision.FP32: 1e-4, Precision.INT8: 0.05}
CASES = [(kind, Precision.FP32) for kind in TASKS] + [(QUANTISED, Precision.INT8)]


def item_of(task: Task[Any], row: Row) -> Any:
    """A row of a data set as an input of a call."""
    if "tokens" in row:
        return list(row["tokens"])
    return {"text": row["text"], "text_pair": row["text_pair"]} if "text_pair" in row else row["text"]


def same(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two answers are equal but for the last digits of their scores."""
    if isinstance(one, dict):
        keys = one.keys() - ({"label"} if "labels" in one else set())  # the first of the labels
        return one.keys() == other.keys() and all(same(one[key], other[key], tolerance) for key in keys)
    if isinstance(one, list):
        if one and "tag" not in one[0]:  # labels, whose order may change where their scores are as good as equal
            one, other = (sorted(labels, key=lambda entry: entry["label"]) for labels in (one, other))
        return len(one) == len(other) and all(same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    return bool(abs(one - other) <= tolerance) if isinstance(one, float) else bool(one == other)


@pytest.mark.parametrize(("kind", "precision"), CASES)
@pytest.mark.parametrize("together", [1, 7, 100])
def test_every_row_is_answered_as_it_was_evaluated(
    service: Service, trained_models: dict[str, TrainedModel], kind: str, precision: Precision, together: int
) -> None:
    model = trained_models[kind]
    store, rows = ArtifactStore(service.home / "artifacts"), _rows(service, model)
    predictor = Predictor.load(store.path(_artifact(service, model)), 1, precision)
    expected = predictor.predict([predictor.task.example(row) for row in rows])
    items = [item_of(predictor.task, row) for row in rows]

    answered: list[Prediction] = []
    for start in range(0, len(items), together):
        body = {"inputs": items[start : start + together]}
        answer = service.client.post(f"/predict/{model.name}?precision={precision}", json=body)
        assert answer.status_code == 200, answer.text
        answered += answer.json()["predictions"]

    scale = max(1.0, *(abs(one.get("score", 0)) for one in expected))
    different = [
        (a, b) for a, b in zip(answered, expected, strict=True) if not same(a, b, TOLERANCE[precision] * scale)
    ]
    assert different == []


@pytest.mark.parametrize("kind", TASKS)
def test_the_metrics_of_the_job_are_those_of_its_answers(
    service: Service, trained_models: dict[str, TrainedModel], kind: str
) -> None:
    model = trained_models[kind]
    predictor = Predictor.load(ArtifactStore(service.home / "artifacts").path(_artifact(service, model)), 1)
    rows = _rows(service, model)
    encoded = predictor.encode([predictor.task.example(row) for row in rows])

    metrics = predictor.task.score(predictor.logits(encoded), rows, encoded)

    told = model.job["result"]["metrics"]["validation"]
    assert metrics.keys() == told.keys()
    np.testing.assert_allclose([metrics[name] for name in told], list(told.values()), atol=0.02)


def _rows(service: Service, model: TrainedModel) -> list[Row]:
    folder = ArtifactStore(service.home / "artifacts").path(dataset_key(model.dataset["id"]))
    return list(read_split(folder, "validation"))


def _artifact(service: Service, model: TrainedModel) -> str:
    db = Database(f"sqlite:///{service.home / 'thawline.db'}")
    with db.reading() as session:
        artifact = registry.resolve(session, model.name).artifact
    db.dispose()
    return artifact
