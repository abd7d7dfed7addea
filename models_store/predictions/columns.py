"""Which columns of a file a model reads, and what is added to it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from models_store.datasets.columns import MAX_COLUMNS, check_header, listed_columns
from models_store.datasets.readers.sheet import Sheet
from models_store.datasets.source import SourceFile
from models_store.errors import InvalidDatasetError, InvalidInputError, Problem, ProblemList, quoted
from models_store.spellings import PAIR_SPELLINGS, TEXT_SPELLINGS, column_key
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
_TOKENS = {TaskName.CLASSIFICATION: (), TaskName.TAGGING: ("tokens",)}  # other spellings than a text's
_SHOWN_CHARACTERS = 100


def check_mapping(mapping: Mapping[str, object], task: TaskName) -> dict[str, str]:
    """The ``columns`` form field, checked.

    Raises:
        InvalidInputError: It names a field that the model does not read, or one column twice.
    """
    found: dict[str, str] = {}
    for name, column in mapping.items():
        message = ""
        if name not in _FIELDS[task] or not isinstance(column, str):
            message = f"columns: {quoted(name)} cannot be mapped; the model reads {', '.join(_FIELDS[task])}"
        elif column in found.values():
            message = f"columns: {quoted(column)} is given twice"
        if message:
            raise InvalidInputError(message, [Problem("invalid_columns", message, column="columns")])
        found[name] = str(column)
    return found


def input_columns(source: SourceFile, sheet: Sheet, task: TaskName, mapping: Mapping[str, str]) -> dict[str, str]:
    """Our field → the file's column.

    Raises:
        InvalidDatasetError: A column is missing, stands twice, or is called like what is to be added.
    """
    problems = ProblemList()
    header, line = sheet.header, sheet.header_line
    if not header:
        problems.add(Problem("empty_file", "the file is empty", source.name))
        raise InvalidDatasetError(problems)
    check_header(source, header, problems, line)
    found = _found(header, task, mapping)
    for name in _FIELDS[task]:
        if name not in found or found[name] not in header:
            message = _missing(name, mapping.get(name), header)
            if task is TaskName.TAGGING and sheet.format in ("csv", "tsv"):
                message += ". CoNLL cannot be answered; send its sentences as JSON Lines with lists of `tokens`"
            code = "unknown_column" if name in mapping else "missing_column"
            problems.add(Problem(code, message, source.name, line, mapping.get(name, name)[:_SHOWN_CHARACTERS]))
    for problem in taken_columns(source, header, task, line):
        problems.add(problem)
    if problems.count:
        raise InvalidDatasetError(problems)
    return found


def taken_columns(source: SourceFile, names: Container[str], task: TaskName, line: int) -> Iterator[Problem]:
    """What is wrong with these names of columns because the answers have the same ones."""
    for name in (*ADDED[task], ERROR):
        if name in names:
            message = f"the column {name} is to be added, and there is one already; rename it"
            yield Problem("column_taken", message, source.name, line, name)


def _found(header: Sequence[str], task: TaskName, mapping: Mapping[str, str]) -> dict[str, str]:
    """The columns that are named, and for the other fields those with a known spelling, of a pair together if any."""
    by_key = {column_key(column): column for column in header[:MAX_COLUMNS]}
    if task is TaskName.SIMILARITY:
        pairs = [{"text": first, "text_pair": second} for first, second in PAIR_SPELLINGS]
    else:
        pairs = [{"text": spelling} for spelling in (*TEXT_SPELLINGS, *_TOKENS[task])]
    for spellings in pairs:
        known = {name: by_key.get(spelling) for name, spelling in spellings.items() if name not in mapping}
        columns = {**mapping, **{name: column for name, column in known.items() if column is not None}}
        if len(columns) == len(spellings) == len(set(columns.values())):
            return {name: columns[name] for name in spellings}
    return dict(mapping)


def _missing(name: str, column: str | None, header: Sequence[str]) -> str:
    if column is not None:
        return f"no column {quoted(column)} (given for {name!r}): the header has {listed_columns(header)}"
    return (
        f"no column for {name}: the header has {listed_columns(header)}. Rename the column, or send "
        f'columns={{"{name}": "<your column>"}} with the file'
    )


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
