"""What the endpoint answers is what the worker evaluated: the whole test split, each task, each precision."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store import golden, registry
from models_store.artifacts import MANIFEST, ArtifactStore
from models_store.database import Database
from models_store.datasets import dataset_key, read_split
from models_store.precision import Precision
from models_store.predictor import DEFAULT_OPTIONS, Predictor
from models_store.tasks import Prediction, Row, Task
from models_store.tasks.metrics import correlation_metrics, entity_metrics, label_metrics, multi_label_metrics
from models_store.tokenizer import TOKENIZER_FILE, load_tokenizer
from tests.fixtures.models import QUANTISED, TASKS, TrainedModel
from tests.fixtures.servers import Service
from tests.worker.conftest import run_to_end
from worker.training.data import tokenise
from worker.training.precision import choose
from worker.training.scoring import Scored, score

# Of a score. Threads and what else is in a batch count in the last digits, of which half precision has fewer and where
# 8 bits may round to another step; but 8 bits share their scale with the batch, and then it counts more.
ALONE = {Precision.FP32: 1e-4, Precision.FP16: 1e-3, Precision.INT8: 2e-3}
TOGETHER = ALONE | {Precision.INT8: 0.1}
# Of a metric: two neighbours in rank may change places (0.0005 of 30 rows); in 8 bits a row may be decided otherwise.
METRICS = {Precision.FP32: 1e-3, Precision.FP16: 1e-3, Precision.INT8: 0.05}


def same(one: Prediction, other: Prediction, tolerance: float) -> bool:
    """Whether two answers are equal but for the last digits of their scores, and what is a tie by them."""
    if one.keys() != other.keys() or abs(one.get("score", 0) - other.get("score", 0)) > tolerance:
        return False
    if "labels" in one:  # those likelier than not, in an order that may be a tie
        first, second = ({entry["label"]: entry["score"] for entry in answer["labels"]} for answer in (one, other))
        return all(abs(first.get(label, 0.5) - second.get(label, 0.5)) <= tolerance for label in first | second)
    if "tokens" in one:
        pairs = list(zip(one["tokens"], other["tokens"], strict=True))
        tags_differ = any(a["tag"] != b["tag"] for a, b in pairs)  # and with them the entities
        return all(same(a, b, tolerance) for a, b in pairs) and (
            tags_differ or all(same(a, b, tolerance) for a, b in zip(one["entities"], other["entities"], strict=True))
        )
    differ = {key for key in one if key != "score" and one[key] != other[key]}
    return not differ or (differ <= {"label", "tag"} and max(one["score"], other["score"]) <= 0.5 + tolerance)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("together", [1, 7, 100])
def test_every_test_row_is_answered_as_it_was_evaluated(
    server: Service, trained_models: dict[str, TrainedModel], kind: str, precision: Precision, together: int
) -> None:
    model = trained_models[kind]
    predictor, scored = evaluated(server, model, precision)
    expected = predictor.predict(scored.examples, batch_tokens=1) if together == 1 else decoded(predictor, scored)

    answered = answers(server, model, together, precision=precision.value)

    scale = max(1.0, *(abs(one.get("score", 0)) for one in expected))
    tolerance = scale * (ALONE if together == 1 else TOGETHER)[precision]
    different = [(a, b) for a, b in zip(answered, expected, strict=True) if not same(a, b, tolerance)]
    assert different == []


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("precision", Precision)
def test_the_metrics_of_the_answers_are_those_of_the_evaluation(
    server: Service, trained_models: dict[str, TrainedModel], kind: str, precision: Precision
) -> None:
    model = trained_models[kind]
    predictor, scored = evaluated(server, model, precision)

    answered = answers(server, model, 7, precision=precision.value)

    metrics = metrics_of(predictor.task, _rows(server, model, "test"), answered)
    assert metrics == pytest.approx(scored.metrics, abs=METRICS[precision])


@pytest.mark.parametrize("kind", TASKS)
def test_the_metrics_of_the_answers_are_those_that_the_job_tells(
    service: Service, trained_models: dict[str, TrainedModel], kind: str
) -> None:
    model = trained_models[kind]
    result, served = model.job["result"], Predictor.load(_files(service, model), 1)

    answered = answers(service, model, 7)

    assert served.precision == result["precision"]["served"] == ("int8" if kind == QUANTISED else "fp32")
    metrics = metrics_of(served.task, _rows(service, model, "test"), answered)
    assert metrics == pytest.approx(result["metrics"]["test"], abs=METRICS[served.precision])


# ---- a server of every precision, and what it is compared with ------------------------------------------------------


@pytest.fixture(scope="module")
def server(
    service: Service, trained_models: dict[str, TrainedModel], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A server of copies of the trained models, in every precision: the worker's own step after a training made them.

    Jobs that ask for another precision would train the same weights once more.
    """
    home = tmp_path_factory.mktemp("precise")
    with closing(sqlite3.connect(service.home / "thawline.db")) as db:
        db.execute("VACUUM INTO ?", (str(home / "thawline.db"),))
    store = ArtifactStore(home / "artifacts")
    for model in trained_models.values():
        with store.staging() as folder:
            source = _files(service, model)
            shutil.copytree(source, folder, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True)
            _add_precisions(folder, _rows(service, model, "validation"))
            store.publish(folder, f"models/{source.name}", {})
        data = dataset_key(model.dataset["id"])
        shutil.copytree(service.home / "artifacts" / data, home / "artifacts" / data)
    api = Service(
        home,
        {"THAWLINE_BROKER_URL": f"redis+socket://{service.home / 'broker.sock'}", "THAWLINE_PREDICT_DEVICE": "cpu"},
        command=[*service.command[:-1], "api"],
    )
    api.start()
    yield api
    api.stop()
    api.client.close()


def _add_precisions(folder: Path, rows: Sequence[Row]) -> None:
    original = Predictor.load(folder, 1, Precision.FP32)
    split = tokenise(original.task, load_tokenizer(folder / TOKENIZER_FILE, original.windowing.truncation), rows)
    run_to_end(choose(folder, original, "int8", split, 1))
    run_to_end(choose(folder, original, "fp16", split, 1))
    golden.record(folder, {one: Predictor.load(folder, 1, one) for one in Precision}, rows)


def evaluated(service: Service, model: TrainedModel, precision: Precision) -> tuple[Predictor, Scored]:
    """What the worker makes of the test rows, as at the end of a job."""
    predictor = Predictor.load(_files(service, model), 1, precision)
    return predictor, run_to_end(score(predictor, _rows(service, model, "test")))[1]


def decoded(predictor: Predictor, scored: Scored) -> list[Prediction]:
    """The answers that an evaluation was made of."""
    parts = zip(scored.logits, scored.examples, scored.encoded, strict=True)
    return [predictor.decode(logits, example, encoded, DEFAULT_OPTIONS) for logits, example, encoded in parts]


def answers(service: Service, model: TrainedModel, together: int, **params: str) -> list[Prediction]:
    """What the endpoint says to the test rows, so many in a call."""
    items = [_item(row) for row in _rows(service, model, "test")]
    found: list[Prediction] = []
    for start in range(0, len(items), together):
        body = {"inputs": items[start : start + together]}
        answer = service.client.post(f"/predict/{model.name}", params=params, json=body)
        assert answer.status_code == 200, answer.text
        found += answer.json()["predictions"]
    return found


def metrics_of(task: Task[Any], rows: Sequence[Row], answered: Sequence[Prediction]) -> dict[str, float]:
    """The task's metrics, from nothing but what callers see."""
    if "tags" in rows[0]:
        tags = [[token["tag"] for token in answer["tokens"]] for answer in answered]
        return entity_metrics([row["tags"] for row in rows], tags)
    if "score" in rows[0]:
        scores = np.array([answer["score"] for answer in answered])
        return correlation_metrics(np.array([row["score"] for row in rows]), scores)
    if isinstance(rows[0]["label"], list):
        labels = task.to_config()["labels"]
        given = [row["label"] for row in rows]
        found = [[entry["label"] for entry in answer["labels"]] for answer in answered]
        truth, predicted = (np.array([[label in one for label in labels] for one in all_]) for all_ in (given, found))
        return multi_label_metrics(truth, predicted)
    positive = getattr(task, "positive", None)  # of pairs, whose F1 is that of one label
    return label_metrics([row["label"] for row in rows], [answer["label"] for answer in answered], positive)


def _item(row: Row) -> Any:
    """A row of a data set as an input of a call."""
    if "tokens" in row:
        return list(row["tokens"])
    return {"text": row["text"], "text_pair": row["text_pair"]} if "text_pair" in row else row["text"]


def _rows(service: Service, model: TrainedModel, split: str) -> list[Row]:
    folder = ArtifactStore(service.home / "artifacts").path(dataset_key(model.dataset["id"]))
    return list(read_split(folder, split))


def _files(service: Service, model: TrainedModel) -> Path:
    db = Database(f"sqlite:///{service.home / 'thawline.db'}")
    with db.reading() as session:
        artifact = registry.resolve(session, model.name).artifact
    db.dispose()
    return ArtifactStore(service.home / "artifacts").path(artifact)
