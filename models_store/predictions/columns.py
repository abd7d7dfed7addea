"""Which columns of a file a model reads, and what is added to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from models_store.datasets.columns import (
    MAX_COLUMNS,
    PAIR_SPELLINGS,
    TEXT_SPELLINGS,
    check_header,
    column_key,
    listed_columns,
)
from models_store.datasets.readers.sheet import Sheet
from models_store.datasets.source import SourceFile
from models_store.errors import InvalidDatasetError, InvalidInputError, Problem, ProblemList, quoted
from models_store.tasks import Prediction, TaskName

ERROR = "prediction_error"
ADDED: dict[TaskName, tuple[str, ...]] = {
    TaskName.CLASSIFICATION: ("predicted_label", "predicted_score", "predicted_labels"),
    TaskName.SIMILARITY: ("predicted_label", "predicted_score"),
    TaskName.TAGGING: ("predicted_entities", "predicted_tags"),
}
_FIELDS = {
    TaskName.CLASSIFICATION: ("text",),
    TaskName.SIMILARITY: ("text", "text_pair"),
    TaskName.TAGGING: ("text",),
}


def input_columns(source: SourceFile, sheet: Sheet, task: TaskName, mapping: Mapping[str, object]) -> dict[str, str]:
    """Our field → the file's column.

    Raises:
        InvalidInputError: The mapping names a field that the model does not read.
        InvalidDatasetError: A column is missing, stands twice, or is called like what is to be added.
    """
    problems = ProblemList()
    header, line = sheet.header, sheet.header_line
    check_header(source, header, problems, line)
    found: dict[str, str] = {}
    for name, column in mapping.items():
        if name not in _FIELDS[task] or not isinstance(column, str):
            message = f"columns: {quoted(name)} cannot be mapped; the model reads {', '.join(_FIELDS[task])}"
            raise InvalidInputError(message, [Problem("invalid_columns", message, column="columns")])
        found[name] = column
    by_key = {column_key(column): column for column in header[:MAX_COLUMNS]}
    if task is TaskName.SIMILARITY:
        for first, second in PAIR_SPELLINGS:
            if not found and first in by_key and second in by_key:
                found = {"text": by_key[first], "text_pair": by_key[second]}
    elif "text" not in found:
        spellings = (*TEXT_SPELLINGS, "tokens") if task is TaskName.TAGGING else TEXT_SPELLINGS
        known = [by_key[spelling] for spelling in spellings if spelling in by_key]
        if known:
            found["text"] = known[0]
    for name in _FIELDS[task]:
        if found.get(name) not in header:
            message = (
                f"no column for {name}: the header has {listed_columns(header)}. Rename the column, or send "
                f'columns={{"{name}": "<your column>"}} with the file'
            )
            problems.add(Problem("missing_column", message, source.name, line, name))
    for name in (*ADDED[task], ERROR):
        if name in header:
            message = f"the column {name} is to be added, and there is one already; rename it"
            problems.add(Problem("column_taken", message, source.name, line, name))
    if problems.count:
        raise InvalidDatasetError(problems)
    return found


def added(task: TaskName, prediction: Prediction | None, error: str | None) -> dict[str, Any]:
    """What is added to a row."""
    answer: dict[str, Any] = prediction or {}
    if task is TaskName.TAGGING:
        tags = [token["tag"] for token in answer["tokens"]] if "tokens" in answer else None
        values: dict[str, Any] = {"predicted_entities": answer.get("entities"), "predicted_tags": tags}
    else:
        values = {"predicted_label": answer.get("label"), "predicted_score": answer.get("score")}
        if task is TaskName.CLASSIFICATION:
            values["predicted_labels"] = answer.get("labels")
    return {**values, ERROR: error}


def as_text(value: Any) -> str:
    """A value as it stands in CSV."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
