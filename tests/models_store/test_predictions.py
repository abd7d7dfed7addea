"""Files that are answered whole: what is refused at once, cancelled, held on to, and taken up again."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from models_store import predictions, registry
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.errors import ConflictError, InvalidInputError, LeaseLostError
from models_store.leases import Turn
from models_store.predictions import FilePrediction, Question, answering
from models_store.predictions.answering import answer
from models_store.predictor import Predictor
from models_store.tables import PredictionStatus
from models_store.tasks import Prediction, PredictOptions, TaskName
from models_store.tasks.classification import ClassificationTask
from tests.models_store.datasets.corpus import workbook
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


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    model = Echo()
    monkeypatch.setattr(Predictor, "load", lambda *_: model)
    monkeypatch.setattr(ArtifactStore, "verified_path", ArtifactStore._path)
    monkeypatch.setattr(answering, "PART_ROWS", 4)
    return model


def submit(db: Database, store: ArtifactStore, content: bytes = CSV, **question: Any) -> FilePrediction:
    version = publish(db)
    config = SAMPLE_TASKS[TaskName.CLASSIFICATION].to_config()
    stream = io.BytesIO(content)
    return predictions.submit(db, store, version, config, stream, "f.csv", Question(**question), most_unpacked=None)


def claimed(db: Database) -> Turn:
    turn = predictions.TURNS.claim(db)
    assert turn is not None
    return turn


def rows_of(db: Database, store: ArtifactStore, row: FilePrediction) -> list[str]:
    path = predictions.output_path(store, predictions.get(db, row.id))
    return path.read_text(encoding="utf-8").splitlines()


def test_every_row_is_answered_in_its_order(db: Database, store: ArtifactStore, echo: Echo) -> None:
    row = submit(db, store)

    assert answer(db, store, claimed(db), most_unpacked=None) == PredictionStatus.SUCCEEDED

    assert rows_of(db, store, row)[1:3] == ["text 0,0,0,1.0,,", "text 1,1,1,1.0,,"]
    done = predictions.get(db, row.id)
    assert (done.rows, done.rows_done, done.failed_rows) == (ROWS, ROWS, 0)
    assert done.started_at is not None


def test_another_process_goes_on_behind_the_last_part(
    db: Database, store: ArtifactStore, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = submit(db, store)
    echo.most = 9
    with pytest.raises(MemoryError):
        answer(db, store, claimed(db), most_unpacked=None)
    began = predictions.get(db, row.id).started_at
    predictions.TURNS.release(db, Turn(row.id, 1))
    echo.most, echo.answered = ROWS, []
    monkeypatch.setattr(answering, "_examine", None)  # the rows have been counted

    answer(db, store, claimed(db), most_unpacked=None)

    assert echo.answered == [f"text {i}" for i in range(8, ROWS)]
    assert [line.split(",")[0] for line in rows_of(db, store, row)[1:]] == [f"text {i}" for i in range(ROWS)]
    assert predictions.get(db, row.id).started_at == began


def test_one_that_waits_is_cancelled_at_once(db: Database, store: ArtifactStore) -> None:
    row = submit(db, store)

    assert predictions.cancel(db, row.id).status == PredictionStatus.CANCELLED

    assert predictions.TURNS.claim(db) is None
    with pytest.raises(ConflictError, match="has ended"):
        predictions.cancel(db, row.id)
    with pytest.raises(ConflictError, match="no file of answers"):
        predictions.output_path(store, predictions.get(db, row.id))
    predictions.delete(db, store, row.id)
    assert store.all_kept() == []


def test_one_that_runs_is_cancelled_after_the_part_that_it_is_at(
    db: Database, store: ArtifactStore, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = submit(db, store)
    predict = echo.predict

    def cancelled_meanwhile(examples: list[str], options: PredictOptions, **more: Any) -> list[Prediction]:
        if not echo.answered:
            assert predictions.cancel(db, row.id).status == PredictionStatus.RUNNING
        return predict(examples, options, **more)

    monkeypatch.setattr(echo, "predict", cancelled_meanwhile)

    assert answer(db, store, claimed(db), most_unpacked=None) == PredictionStatus.CANCELLED

    assert len(echo.answered) == 4
    with pytest.raises(LeaseLostError):
        answer(db, store, Turn(row.id, 1), most_unpacked=None)


def test_a_version_that_answers_a_file_is_not_deleted(db: Database, store: ArtifactStore) -> None:
    row = submit(db, store)
    newer = publish(db)  # takes `production` over, so that no alias holds the other one

    for forget in (registry.delete_model, lambda s, name: registry.delete_version(s, name, row.version)):
        with db.transaction() as session, pytest.raises(ConflictError, match=f"answering the file of {row.id}"):
            forget(session, newer.model)
    with pytest.raises(ConflictError, match="has not ended"):
        predictions.delete(db, store, row.id)

    predictions.cancel(db, row.id)
    with db.transaction() as session:
        assert registry.delete_version(session, row.model, row.version) == row.artifact


TWO_SHEETS = workbook(train=[("text",), ("x",)], test=[("text",), ("y",)])


@pytest.mark.parametrize(
    ("content", "question", "code"),
    [
        (b"text,n,N\nx,1,2\n", {}, "duplicate_column"),
        (b"colour\nx\n", {}, "missing_column"),
        (b"text,prediction_error\nx,1\n", {}, "column_taken"),
        (CSV, {"columns": {"label": "n"}}, "invalid_columns"),
        (CSV, {"encoding": "rot13"}, "invalid_encoding"),
    ],
)
def test_what_cannot_be_answered_whole_is_refused_at_once(
    db: Database, store: ArtifactStore, content: bytes, question: dict[str, Any], code: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        submit(db, store, content, **question)

    assert [problem.code for problem in refused.value.problems] == [code]
    assert (store.all_kept(), store.staged()) == ([], [])
