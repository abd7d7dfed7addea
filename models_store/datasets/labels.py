"""Rows with several labels: reading them, and telling that a file has them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from models_store.datasets.report import excerpt
from models_store.errors import InvalidInputError, Problem, ProblemList, quoted
from models_store.tasks import Row, TaskName

MAX_LABEL_CHARACTERS = 200
MAX_SEPARATOR_CHARACTERS = 3
USUAL_SEPARATORS = ("|", ";", ",", "/", "+")

Place = tuple[str, int, str]


def labels_of(row: Row) -> Sequence[str]:
    """The labels of a row, be it one or several; none for a row of another kind."""
    label = row.get("label", ())
    return (label,) if isinstance(label, str) else label


def check_separator(separator: str | None, task: TaskName) -> None:
    """Check the ``label_separator`` form field.

    Raises:
        InvalidInputError: The task has one label a row, or this cannot part labels.
    """
    if separator is None:
        return
    message = None
    if task is not TaskName.CLASSIFICATION:
        message = f"label_separator is for classification: a row of {task.value} never has several labels"
    elif not 1 <= len(separator) <= MAX_SEPARATOR_CHARACTERS or not (separator.isprintable() or separator == "\t"):
        message = f"label_separator has 1 to {MAX_SEPARATOR_CHARACTERS} printable characters, such as | or ;"
    if message:
        raise InvalidInputError(message, [Problem("invalid_label_separator", message, column="label_separator")])


def label_problem(label: str, place: Place) -> Problem | None:
    """What is wrong with one label, if anything."""
    if "\0" in label:
        return Problem("nul_byte", "the field holds a NUL byte", *place, value=excerpt(label))
    if len(label) > MAX_LABEL_CHARACTERS:
        message = f"{quoted(label)} has {len(label)} characters; a label has {MAX_LABEL_CHARACTERS} at most"
        return Problem("label_too_long", message, *place, value=excerpt(label))
    return None


def label_set(value: str | Sequence[str], separator: str | None, place: Place, problems: ProblemList) -> list[str]:
    """The labels of a row, each once and in alphabetical order; a label repeated in its row says nothing more."""
    given = value
    if isinstance(value, str):
        value = value.split(separator) if value.strip() else []
    labels = sorted({part.strip() for part in value})
    for label in labels:
        if not label:
            message = "one of the row's labels is empty"
            problems.add(Problem("empty_label", message, *place, value=excerpt(given)))
        elif (problem := label_problem(label, place)) is not None:
            problems.add(problem)
    return labels


def suspected_separator(labels: Collection[str]) -> str | None:
    """What seems to part several labels inside one.

    Most of the different labels hold it, and what it parts are the same few names again and again, which tells
    ``angry|late`` from ``Paris, France``.
    """
    for separator in USUAL_SEPARATORS:
        joint = [label for label in labels if separator in label]
        parts = {part.strip() for label in labels for part in label.split(separator)}
        if len(joint) > 1 and 2 * len(joint) >= len(labels) >= len(parts):
            return separator
    return None
