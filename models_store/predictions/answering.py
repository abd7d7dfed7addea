"""The process that answers a file: ``python -m models_store.predictions.answering``.

Answers are written in parts that appear whole, so that another process goes on where one has died.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import func

from models_store.artifacts import ArtifactStore, children, fsync
from models_store.database import Database, db_now
from models_store.datasets.formats import Opened, open_sheet, open_single
from models_store.datasets.readers.json_rows import JsonSheet, is_text
from models_store.datasets.readers.sheet import Cell
from models_store.datasets.report import Report
from models_store.datasets.source import SourceFile
from models_store.errands import Errand, run
from models_store.errors import InvalidDatasetError, InvalidInputError, LeaseLostError, ThawlineError
from models_store.leases import Turn
from models_store.predictions.columns import ADDED, ERROR, added, as_text
from models_store.predictions.files import OUTPUT, TURNS, UPLOADED, OutputFormat
from models_store.predictor import Predictor
from models_store.process import usable_cores
from models_store.tables import FilePrediction, PredictionStatus
from models_store.tasks import Prediction, PredictOptions, TaskName

PART_ROWS = 500
_SHOWN_ERRORS = 100
_PARTS = "parts"

Record = dict[str, Any]


class _CancelledError(Exception):
    """Somebody has asked for the end."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the answers that lies on the disk.

    Attributes:
        path: JSON Lines.
        rows: How many it has.
        failed: Of these without an answer.
    """

    path: Path
    rows: int
    failed: int


def answer(db: Database, store: ArtifactStore, turn: Turn, *, most_unpacked: int | None) -> PredictionStatus:
    """Answer a file to its end, from where the last attempt was.

    Raises:
        LeaseLostError: Somebody else has it; nothing was written.
    """
    row = TURNS.beat(db, turn, started_at=func.coalesce(FilePrediction.started_at, db_now()))
    try:
        if row.cancel_requested:
            raise _CancelledError
        _answer(db, store, turn, row, most_unpacked)
    except _CancelledError:
        return _end(db, turn, PredictionStatus.CANCELLED)
    except InvalidInputError as error:
        errors = [problem.to_json() for problem in error.problems[:_SHOWN_ERRORS]]
        return _end(
            db, turn, PredictionStatus.FAILED, error_code=error.code, error_message=error.message, errors=errors
        )
    except LeaseLostError:
        raise
    except ThawlineError as error:
        return _end(db, turn, PredictionStatus.FAILED, error_code=error.code, error_message=error.message)
    return PredictionStatus.SUCCEEDED


def _end(db: Database, turn: Turn, status: PredictionStatus, **values: Any) -> PredictionStatus:
    TURNS.finish(db, turn, status=status, finished_at=db_now(), **values)
    return status


def _answer(db: Database, store: ArtifactStore, turn: Turn, row: FilePrediction, most_unpacked: int | None) -> None:
    folder = store.kept(row.id)
    with store.staging() as scratch:
        source = SourceFile(row.file_name, folder / UPLOADED, most_unpacked, row.encoding)
        opened = open_single(source, scratch)
        total = _count(opened) if row.rows is None else row.rows  # an earlier attempt has counted them
        parts = _finished_parts(folder / _PARTS)
        TURNS.beat(db, turn, rows=total, rows_done=sum(part.rows for part in parts))
        predictor = Predictor.load(store.verified_path(row.artifact), usable_cores())
        parts += _answer_rest(db, turn, row, opened, predictor, parts, folder / _PARTS)
    _assemble(parts, folder / f"{OUTPUT}.{row.format}", OutputFormat(row.format), TaskName(row.task))
    failed = sum(part.failed for part in parts)
    _end(db, turn, PredictionStatus.SUCCEEDED, rows_done=total, failed_rows=failed)
    for part in parts:
        part.path.unlink()


def _count(opened: Opened) -> int:
    """The rows of the file, every one of which can be told from the others.

    Raises:
        InvalidDatasetError: Some cannot.
    """
    report = Report()
    count = sum(1 for _ in _records(opened, report))
    if report.errors.count:
        raise InvalidDatasetError(report.errors)
    return count


def _records(opened: Opened, report: Report) -> Iterator[Record]:
    """The rows with all of their columns."""
    sheet = open_sheet(opened, report)
    if isinstance(sheet, JsonSheet):
        yield from (record for _, record in sheet.records())
        return
    header = list(dict.fromkeys(sheet.header))
    for _, cells in sheet.rows(header):
        yield dict(zip(header, cells, strict=True))


def _finished_parts(folder: Path) -> list[_Part]:
    """What earlier attempts have left, as far as it is without a gap."""
    folder.mkdir(exist_ok=True)
    parts: list[_Part] = []
    start = 0
    for path in children(folder):
        if path.suffix != ".jsonl":
            path.unlink()  # it was being written when its process died
            continue
        first, rows, failed = map(int, path.stem.split("-"))
        if first != start:
            break
        parts.append(_Part(path, rows, failed))
        start += rows
    return parts


def _answer_rest(
    db: Database,
    turn: Turn,
    row: FilePrediction,
    opened: Opened,
    predictor: Predictor,
    earlier: Sequence[_Part],
    folder: Path,
) -> list[_Part]:
    """Answer the rows behind those of the earlier parts, part by part."""
    done = first = sum(part.rows for part in earlier)
    failed = sum(part.failed for part in earlier)
    began = time.monotonic()
    parts = []
    records = islice(_records(opened, Report()), done, None)
    while some := list(islice(records, PART_ROWS)):
        answers = _answers(predictor, row, some)
        part = _write(folder, done, some, answers, predictor.task.name)
        parts.append(part)
        done, failed = done + part.rows, failed + part.failed
        speed = (done - first) / (time.monotonic() - began)
        now = TURNS.beat(db, turn, rows_done=done, failed_rows=failed, rows_per_second=round(speed, 1))
        if now.cancel_requested:
            raise _CancelledError
    return parts


def _answers(predictor: Predictor, row: FilePrediction, records: Sequence[Record]) -> list[Prediction | str]:
    """The answer to each row, or why there is none."""
    outcomes: list[Prediction | str] = []
    examples = []
    for record in records:
        try:
            examples.append(predictor.task.parse(_item(row, record)))
            outcomes.append({})
        except ValueError as error:
            outcomes.append(str(error) or "the row cannot be answered")
    predictions = iter(predictor.predict(examples, PredictOptions()))
    return [outcome if isinstance(outcome, str) else next(predictions) for outcome in outcomes]


def _item(row: FilePrediction, record: Record) -> Any:
    """What the task is asked, from the columns of a row.

    Raises:
        ValueError: There is something else than a text.
    """
    cells = {name: _text(record.get(column)) for name, column in row.columns.items()}
    return cells if "text_pair" in cells else cells["text"]


def _text(cell: Cell) -> Any:
    if isinstance(cell, list):
        return [_text(part) for part in cell]
    text = as_text(cell)
    if not is_text(text):
        raise ValueError("the text holds half of a surrogate pair, which is no character")
    return text


def _write(
    folder: Path, first: int, records: Sequence[Record], answers: Sequence[Prediction | str], task: TaskName
) -> _Part:
    """Write a part, which appears whole or not at all."""
    failed = sum(isinstance(answer, str) for answer in answers)
    name = f"{first:012d}-{len(records)}-{failed}"
    writing = folder / f"{name}.writing"
    with writing.open("w", encoding="ascii") as file:
        for record, found in zip(records, answers, strict=True):
            wrong = found if isinstance(found, str) else None
            more = added(task, None if isinstance(found, str) else found, wrong)
            print(json.dumps({**record, **more}, default=str), file=file)
    fsync(writing)
    path = folder / f"{name}.jsonl"
    writing.rename(path)
    return _Part(path, len(records), failed)


def _assemble(parts: Sequence[_Part], target: Path, form: OutputFormat, task: TaskName) -> None:
    """One file of all parts, which appears whole or not at all."""
    writing = target.with_name(f"{target.name}.writing")
    _WRITERS[form](parts, writing, (*ADDED[task], ERROR))
    fsync(writing)
    writing.rename(target)


def _rows(part: _Part) -> list[Record]:
    with part.path.open(encoding="ascii") as file:
        return [json.loads(line) for line in file]


def _write_jsonl(parts: Sequence[_Part], path: Path, _: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for part in parts:
            for row in _rows(part):
                print(_as_json(row), file=file)


def _as_json(row: Record) -> str:
    """As people read it, unless there is half a character in it, which only an escape can write."""
    text = json.dumps(row, ensure_ascii=False)
    return text if is_text(text) else json.dumps(row)


def _write_csv(parts: Sequence[_Part], path: Path, new: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        header = _header(parts, new)
        writer.writerow(header)
        for part in parts:
            writer.writerows([as_text(row.get(name)) for name in header] for row in _rows(part))


def _header(parts: Sequence[_Part], new: Sequence[str]) -> list[str]:
    """All columns, those of the file first."""
    names = dict.fromkeys(name for part in parts for row in _rows(part) for name in row)
    return [name for name in names if name not in new] + list(new)


def _write_parquet(parts: Sequence[_Part], path: Path, new: Sequence[str]) -> None:
    header = _header(parts, new)
    schema: pa.Schema | None = None
    tables = []
    for part in parts:
        rows = [{name: row.get(name) for name in header} for row in _rows(part)]
        tables.append(pa.Table.from_pylist(rows))
        schema = (
            pa.unify_schemas([schema, tables[-1].schema], promote_options="permissive") if schema else tables[-1].schema
        )
    with pq.ParquetWriter(path, schema or pa.schema([(name, pa.string()) for name in header])) as writer:
        for table in tables:
            writer.write_table(table.cast(schema))


_WRITERS: dict[OutputFormat, Callable[[Sequence[_Part], Path, Sequence[str]], None]] = {
    OutputFormat.JSONL: _write_jsonl,
    OutputFormat.CSV: _write_csv,
    OutputFormat.PARQUET: _write_parquet,
}


def work(db: Database, store: ArtifactStore, turn: Turn, errand: Errand) -> PredictionStatus:
    """Answer a file."""
    return answer(db, store, turn, most_unpacked=errand.most_unpacked)


if __name__ == "__main__":
    run(work)
