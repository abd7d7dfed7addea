"""Files that are answered whole: what is refused at once, cancelled, held on to, and taken up again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from python_calamine import CalamineWorkbook

from models_store import predictions, registry
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.errors import ConflictError, InvalidInputError, LeaseLostError
from models_store.leases import Turn
from models_store.predictions import answering, pulse
from models_store.predictions.answering import answer
from models_store.tables import PredictionStatus
from models_store.tasks import Prediction, PredictOptions, TaskName
from tests.models_store.answers import CSV, ROWS, Echo, claimed, failed, output, submit
from tests.models_store.datasets.corpus import workbook, zipped
from tests.models_store.samples import publish


def test_every_row_is_answered_in_its_order(db: Database, store: ArtifactStore, echo: Echo) -> None:
    row = submit(db, store)

    assert answer(db, store, claimed(db), most_unpacked=None) == PredictionStatus.SUCCEEDED

    assert output(db, store, row).read_text(encoding="utf-8").splitlines()[1:3] == [
        "text 0,0,0,1.0,,",
        "text 1,1,1,1.0,,",
    ]
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
    assert [line.split(",")[0] for line in output(db, store, row).read_text(encoding="utf-8").splitlines()[1:]] == [
        f"text {i}" for i in range(ROWS)
    ]
    assert predictions.get(db, row.id).started_at == began


def test_deaths_are_forgotten_where_rows_were_answered(db: Database, store: ArtifactStore, echo: Echo) -> None:
    row = submit(db, store)
    predictions.TURNS.release(db, claimed(db), died=True)
    assert predictions.get(db, row.id).deaths == 1
    echo.most = 9
    with pytest.raises(MemoryError):
        answer(db, store, claimed(db), most_unpacked=None)
    assert predictions.get(db, row.id).deaths == 0


def test_what_nobody_has_thought_of_ends_it_with_a_reason(
    db: Database, store: ArtifactStore, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/somewhere")

    monkeypatch.setattr(answering, "assemble", full)

    told = failed(db, store, CSV)

    assert (told.error_code, told.error_message) == ("internal_error", "OSError: No space left on device")


def test_long_texts_are_written_down_after_fewer_rows(
    db: Database, store: ArtifactStore, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "PART_CHARACTERS", 50)
    monkeypatch.setattr(answering, "MAX_TEXT_CHARACTERS", 60)
    rows = [f"{'x' * length} a" for length in (10, 60, 41, 3, 3, 3, 3)]
    row = submit(db, store, ("text\n" + "".join(f"{text}\n" for text in rows)).encode())
    sizes: list[int] = []
    predict = echo.predict

    def noted(examples: list[str], options: PredictOptions, **more: Any) -> list[Prediction]:
        sizes.append(len(examples))
        return predict(examples, options, **more)

    monkeypatch.setattr(echo, "predict", noted)
    answer(db, store, claimed(db), most_unpacked=None)

    assert sizes == [2, 4]
    assert "has 62 characters, more than 60" in output(db, store, row).read_text()


def test_one_text_that_takes_long_is_cancelled_on_the_way(
    db: Database, store: ArtifactStore, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = submit(db, store)
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 0)

    def long(_: list[str], __: PredictOptions, *, tick: Callable[[], None]) -> list[Prediction]:
        predictions.cancel(db, row.id)
        tick()
        raise AssertionError("it went on")

    monkeypatch.setattr(echo, "predict", long)

    assert answer(db, store, claimed(db), most_unpacked=None) == PredictionStatus.CANCELLED
    assert predictions.get(db, row.id).rows_done == 0


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


@pytest.mark.parametrize(
    ("content", "question", "code"),
    [
        (b"text,n,N\nx,1,2\n", {}, "duplicate_column"),
        (b"colour\nx\n", {}, "missing_column"),
        (b"text,prediction_error\nx,1\n", {}, "column_taken"),
        (b"", {}, "empty_file"),
        (CSV, {"columns": {"label": "n"}}, "invalid_columns"),
        (CSV, {"columns": {"text": "nope"}}, "unknown_column"),
        (CSV, {"columns": {"text": "n", "text_pair": "n"}, "task": TaskName.SIMILARITY}, "invalid_columns"),
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


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (workbook(train=[("text",), ("x",)], test=[("text",), ("y",)]), "unclear_splits"),
        (zipped({"f.xlsx": workbook(one=[("colour",), ("red",)])}), "missing_column"),
    ],
)
def test_a_workbook_is_looked_into_by_the_process_that_answers(
    db: Database, store: ArtifactStore, echo: Echo, monkeypatch: pytest.MonkeyPatch, content: bytes, code: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(CalamineWorkbook, "from_path", None)
        row = submit(db, store, content)

    assert answer(db, store, claimed(db), most_unpacked=None) == PredictionStatus.FAILED
    assert [error["code"] for error in predictions.get(db, row.id).errors or []] == [code]


def test_the_columns_of_a_workbook_are_told_once_they_are_known(db: Database, store: ArtifactStore, echo: Echo) -> None:
    row = submit(db, store, workbook(one=[("Text", "n"), ("x", 1), ("y", 2.5)]))
    assert (row.columns, row.format) == ({}, "csv")

    answer(db, store, claimed(db), most_unpacked=None)

    assert predictions.get(db, row.id).columns == {"text": "Text"}
    assert output(db, store, row).read_text().splitlines()[1:] == ["x,1,x,1.0,,", "y,2.5,y,1.0,,"]


@pytest.mark.parametrize(
    ("content", "task", "message"),
    [
        (CSV, TaskName.CLASSIFICATION, "no column 'nope'"),
        (b"Ada B-PER\nmet O\n", TaskName.TAGGING, "CoNLL cannot be answered"),
    ],
)
def test_a_column_that_is_missing_is_told_by_its_name(
    db: Database, store: ArtifactStore, content: bytes, task: TaskName, message: str
) -> None:
    columns = {"text": "nope"} if content == CSV else {}

    with pytest.raises(InvalidInputError, match=message):
        submit(db, store, content, task=task, columns=columns)


def test_one_of_a_pair_may_be_named_and_the_other_be_known(db: Database, store: ArtifactStore) -> None:
    row = submit(db, store, b"sentence1,b\nx,y\n", task=TaskName.SIMILARITY, columns={"text_pair": "b"})

    assert row.columns == {"text": "sentence1", "text_pair": "b"}
