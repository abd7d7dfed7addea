"""The process that answers a file: ``python -m models_store.predictions.answering``.

Answers are written in parts that appear whole, so that another process goes on where one has died. In the end the file
is read once more and written with them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import func

from models_store.artifacts import ArtifactStore
from models_store.characters import is_text
from models_store.database import Database, db_now
from models_store.datasets.formats import Opened, open_sheet, open_single
from models_store.datasets.quoting import quoting
from models_store.datasets.readers.sheet import Cell
from models_store.datasets.report import Report
from models_store.datasets.source import SourceFile
from models_store.errands import Errand, run
from models_store.errors import InvalidInputError, ThawlineError
from models_store.leases import PASSING, Turn
from models_store.logging import get_logger
from models_store.predictions.answered import Answered
from models_store.predictions.columns import input_columns
from models_store.predictions.files import OUTPUT, TURNS, UPLOADED, OutputFormat
from models_store.predictions.parts import Part, finished_parts, write_part
from models_store.predictions.pulse import CancelledError, Pulse
from models_store.predictions.reading import Record, count, records
from models_store.predictions.values import as_text
from models_store.predictions.writing import assemble
from models_store.predictor import Predictor
from models_store.process import usable_cores
from models_store.tables import FilePrediction, PredictionStatus
from models_store.tasks import Prediction, PredictOptions, Task, TaskName

PART_ROWS = 500
PART_CHARACTERS = 200_000  # of the texts; whichever comes first
MAX_TEXT_CHARACTERS = 1_000_000  # of a row: minutes of work
_SHOWN_ERRORS = 100
_SHOWN_CHARACTERS = 300
_PARTS = "parts"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of a row.

    Attributes:
        example: As the task has parsed it.
        characters: Of the texts.
        wrong: Why it cannot be asked, where it cannot.
    """

    example: Any
    characters: int
    wrong: str | None = None


def answer(db: Database, store: ArtifactStore, turn: Turn, *, most_unpacked: int | None) -> PredictionStatus:
    """Answer a file to its end, from where the last attempt was.

    Raises:
        LeaseLostError: Somebody else has it; nothing was written.
    """
    try:
        row = Pulse(db, turn).beat(started_at=func.coalesce(FilePrediction.started_at, db_now()))
        _answer(db, store, turn, row, most_unpacked)
    except CancelledError:
        return _end(db, turn, PredictionStatus.CANCELLED)
    except InvalidInputError as error:
        errors = [problem.to_json() for problem in error.problems[:_SHOWN_ERRORS]]
        return _fail(db, turn, error.code, error.message, errors)
    except PASSING:
        raise
    except ThawlineError as error:
        return _fail(db, turn, error.code, error.message)
    except Exception as error:  # would come again with every attempt
        log.exception("a file cannot be answered", id=turn.id)
        return _fail(db, turn, "internal_error", _told(error))
    return PredictionStatus.SUCCEEDED


def _told(error: Exception) -> str:
    """The kind of an unexpected error, and what it says, but no path of this machine."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {text}"[:_SHOWN_CHARACTERS]


def _fail(
    db: Database, turn: Turn, code: str, message: str, errors: list[dict[str, object]] | None = None
) -> PredictionStatus:
    return _end(db, turn, PredictionStatus.FAILED, error_code=code, error_message=message, errors=errors)


def _end(db: Database, turn: Turn, status: PredictionStatus, **values: Any) -> PredictionStatus:
    TURNS.finish(db, turn, status=status, finished_at=db_now(), **values)
    return status


def _answer(db: Database, store: ArtifactStore, turn: Turn, row: FilePrediction, most_unpacked: int | None) -> None:
    folder = store.kept(row.id)
    pulse = Pulse(db, turn)
    with store.attempt(row.id, turn.attempt) as scratch:
        source = SourceFile(row.file_name, folder / UPLOADED, most_unpacked, row.encoding)
        opened = open_single(source, scratch)
        if row.rows is None:  # else an earlier attempt has looked into it
            with quoting([opened]):
                row = _examine(opened, row, pulse)
        parts = finished_parts(folder / _PARTS)
        pulse.beat(rows_done=sum(part.rows for part in parts))
        predictor = Predictor.load(store.verified_path(row.artifact), usable_cores())
        parts += _answer_rest(pulse, row, opened, predictor, parts, folder / _PARTS)
        answered = Answered(opened, parts, TaskName(row.task), pulse)
        assemble(answered, folder / f"{OUTPUT}.{row.format}", OutputFormat(row.format))
    failed = sum(part.failed for part in parts)
    _end(db, turn, PredictionStatus.SUCCEEDED, rows_done=row.rows, failed_rows=failed)
    for part in parts:
        part.path.unlink()


def _examine(opened: Opened, row: FilePrediction, pulse: Pulse) -> FilePrediction:
    """Find the columns that are read, and count the rows.

    Raises:
        InvalidDatasetError: Some rows cannot be told from the others, or there is no such column.
    """
    report = Report()
    sheet = open_sheet(opened, report)
    task = TaskName(row.task)
    columns = input_columns(opened.source, sheet, task, row.columns)
    return pulse.beat(columns=columns, rows=count(opened.source, sheet, report, task, pulse))


def _answer_rest(
    pulse: Pulse, row: FilePrediction, opened: Opened, predictor: Predictor, earlier: Sequence[Part], folder: Path
) -> list[Part]:
    """Answer the rows behind those of the earlier parts, part by part."""
    done = first = sum(part.rows for part in earlier)
    failed = sum(part.failed for part in earlier)
    began = time.monotonic()
    parts = []
    rows = pulse.over(islice(records(open_sheet(opened, Report())), done, None))
    for some in _portions(_asked(predictor.task, row, record) for _, record in rows):
        part = write_part(folder, done, _answers(predictor, some, pulse), predictor.task.name)
        parts.append(part)
        done, failed = done + part.rows, failed + part.failed
        speed = (done - first) / (time.monotonic() - began)
        pulse.beat(rows_done=done, failed_rows=failed, rows_per_second=round(speed, 1), deaths=0)
    return parts


def _portions(asked: Iterable[_Asked]) -> Iterator[list[_Asked]]:
    """What is answered before it is written down: so many rows, or fewer where they are long."""
    some: list[_Asked] = []
    characters = 0
    for one in asked:
        some.append(one)
        characters += one.characters
        if len(some) == PART_ROWS or characters >= PART_CHARACTERS:
            yield some
            some, characters = [], 0
    if some:
        yield some


def _asked(task: Task[Any], row: FilePrediction, record: Record) -> _Asked:
    try:
        cells = {name: _text(record.get(column)) for name, column in row.columns.items()}
        characters = sum(len(text) for cell in cells.values() for text in (cell if isinstance(cell, list) else [cell]))
        if characters > MAX_TEXT_CHARACTERS:
            raise ValueError(f"the text has {characters} characters, more than {MAX_TEXT_CHARACTERS}")
        return _Asked(task.parse(cells if "text_pair" in cells else cells["text"]), characters)
    except ValueError as error:
        return _Asked(None, 0, str(error) or "the row cannot be answered")


def _answers(predictor: Predictor, asked: Sequence[_Asked], pulse: Pulse) -> list[Prediction | str]:
    """The answer to each row, or why there is none."""
    examples = [one.example for one in asked if one.wrong is None]
    predictions = iter(predictor.predict(examples, PredictOptions(), tick=pulse.tick) if examples else [])
    return [next(predictions) if one.wrong is None else one.wrong for one in asked]


def _text(cell: Cell) -> Any:
    """A cell as a task is asked.

    Raises:
        ValueError: There is something else than a text.
    """
    if isinstance(cell, list):
        return [_text(part) for part in cell]
    if isinstance(cell, bytes):
        raise ValueError("there are bytes that are no UTF-8, or a column of bytes and not of text")
    if isinstance(cell, str) and not is_text(cell):
        raise ValueError("the text holds half of a surrogate pair, which is no character")
    text = "" if isinstance(cell, float) and math.isnan(cell) else as_text(cell)
    if "\0" in text:
        raise ValueError("the text holds a NUL byte")
    return text


def work(db: Database, store: ArtifactStore, turn: Turn, errand: Errand) -> PredictionStatus:
    """Answer a file."""
    return answer(db, store, turn, most_unpacked=errand.most_unpacked)


if __name__ == "__main__":
    run(work)
