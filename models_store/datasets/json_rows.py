"""JSON Lines, or one JSON array of objects → records with the physical line they start at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from models_store.datasets.labels import Place
from models_store.datasets.source import SourceFile
from models_store.errors import Problem, ProblemList

_BLANKS = re.compile(r"[ \t\r\n]*")


def json_records(source: SourceFile) -> Iterator[tuple[int, Any]]:
    """Each object of the file, and its line.

    Raises:
        UnreadableFileError: The file is not UTF-8 or not JSON; the message says where.
    """
    text = "".join(source.lines())
    decoder = json.JSONDecoder()
    position = _skip(text, 0)
    listed = text.startswith("[", position)
    position = _skip(text, position + listed)
    line, counted = 1, 0
    while position < len(text) and not (listed and text[position] == "]"):
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise source.unreadable("malformed_json", f"{error.msg} at column {error.colno}", error.lineno) from error
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
            raise source.unreadable("malformed_json", "no row looks like this", line) from error
        yield line, value
        position = _skip(text, position)
        if listed and text.startswith(",", position):
            position = _skip(text, position + 1)
        elif listed and not text.startswith("]", position):
            last = text.count("\n", 0, position) + 1
            raise source.unreadable("malformed_json", "the array goes on without a comma, or never ends", last)
    if listed and (position == len(text) or _skip(text, position + 1) < len(text)):
        raise source.unreadable("malformed_json", "the file does not end where its array does", text.count("\n") + 1)


def _skip(text: str, position: int) -> int:
    """The next position that is not blank."""
    match = _BLANKS.match(text, position)
    return match.end() if match else position


def field_values(
    source: SourceFile,
    line: int,
    record: Any,
    columns: Mapping[str, str],
    problems: ProblemList,
    *,
    lists: bool,
) -> dict[str, str | list[str]] | None:
    """The fields of one object as texts, and labels, where ``lists`` are allowed, as lists of texts."""
    if not isinstance(record, dict):
        problems.add(Problem("not_an_object", "every row is an object in braces", source.name, line))
        return None
    before = problems.count
    values = {
        field: _plain(record.get(column), (source.name, line, column), problems, lists=lists and field == "label")
        for field, column in columns.items()
    }
    return values if problems.count == before else None


def mixes_labels(
    values: Mapping[str, str | list[str]],
    source: SourceFile,
    line: int,
    columns: Mapping[str, str],
    problems: ProblemList,
    *,
    several: bool,
) -> bool:
    """Whether a row has a list of labels where the first has one label, or the other way round."""
    label = values.get("label", "")
    if label == "" or isinstance(label, list) == several:  # a label that is missing is told as such
        return False
    kinds = ("a list of labels", "one label")
    message = f"{kinds[not several]} in the first row, {kinds[several]} here; write every label as a list"
    problems.add(Problem("mixed_labels", message, source.name, line, columns["label"]))
    return True


def _plain(value: Any, place: Place, problems: ProblemList, *, lists: bool = False) -> str | list[str]:
    """A value as the text that a CSV file would hold: numbers as JSON writes them, ``null`` as nothing at all."""
    if isinstance(value, str):
        if not is_text(value):
            message = "the text holds half of a surrogate pair (an escape such as \\ud83d), which is no character"
            problems.add(Problem("invalid_text", message, *place))
        return value
    if lists and isinstance(value, list):
        return [str(_plain(part, place, problems)) for part in value]
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "an object"
        problems.add(Problem("not_a_text", f"{place[2]} is or holds {kind} where a text is expected", *place))
        return ""
    return "" if value is None else json.dumps(value)


def is_text(value: str) -> bool:
    """Whether the characters can be written as UTF-8; JSON can escape half a surrogate pair."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
