"""What the tests of files that are answered whole share: a model that is quick, and the steps of its work."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models_store import predictions
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.leases import Turn
from models_store.predictions import FilePrediction, Question
from models_store.predictions.answering import answer
from models_store.tables import PredictionStatus
from models_store.tasks import Prediction, PredictOptions, TaskName
from models_store.tasks.classification import ClassificationTask
from tests.models_store.samples import SAMPLE_TASKS, publish

ROWS = 12
CSV = ("text,n\n" + "".join(f"text {i},{i}\n" for i in range(ROWS))).encode()


class Echo:
    """Stands in for a `Predictor`: the label of a text is its end, and it may be told to die."""

    task = ClassificationTask(("a", "b"))
    answered: list[str]
    most = 1_000_000

    def __init__(self) -> None:
        self.answered = []

    def predict(self, examples: list[str], _: PredictOptions, *, tick: Callable[[], None]) -> list[Prediction]:
        tick()
        if len(self.answered) + len(examples) > self.most:
            raise MemoryError
        self.answered += examples
        return [{"label": text.split()[-1], "score": 1.0} for text in examples]


def submit(
    db: Database,
    store: ArtifactStore,
    content: bytes = CSV,
    task: TaskName = TaskName.CLASSIFICATION,
    **question: Any,
) -> FilePrediction:
    stream = io.BytesIO(content)
    config = SAMPLE_TASKS[task].to_config()
    return predictions.submit(db, store, publish(db), config, stream, "f.csv", Question(**question), most_unpacked=None)


def claimed(db: Database) -> Turn:
    turn = predictions.TURNS.claim(db)
    assert turn is not None
    return turn


def output(db: Database, store: ArtifactStore, row: FilePrediction) -> Path:
    return predictions.output_path(store, predictions.get(db, row.id))


def answered(db: Database, store: ArtifactStore, content: bytes, **question: Any) -> Path:
    """The file of answers."""
    row = submit(db, store, content, **question)
    status = answer(db, store, claimed(db), most_unpacked=None)
    assert status == PredictionStatus.SUCCEEDED, predictions.get(db, row.id).error_message
    return output(db, store, row)


def failed(db: Database, store: ArtifactStore, content: bytes, **question: Any) -> FilePrediction:
    """What is told of a file that cannot be answered."""
    row = submit(db, store, content, **question)
    assert answer(db, store, claimed(db), most_unpacked=None) == PredictionStatus.FAILED
    return predictions.get(db, row.id)
