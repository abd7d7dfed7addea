"""Rows as Label Studio exports them, whole (JSON) or flattened (JSON-MIN)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models_store.datasets.readers.marks import Fault, WrongRowError
from models_store.errors import quoted

_SPAN_KEYS = {"start", "end", "labels"}
_ANNOTATIONS = ("annotations", "completions")


def is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a row is a task with its annotations."""
    return isinstance(record.get("data"), dict) and any(map(_is_annotations, (record.get(key) for key in _ANNOTATIONS)))


def is_flattened(record: Mapping[str, Any]) -> bool:
    """Whether a row is one of JSON-MIN: each control is a key, and a control of which nothing was marked is none."""
    return "annotation_id" in record


def is_cancelled(record: Mapping[str, Any]) -> bool:
    """Whether whoever looked at the task has skipped it."""
    annotations = _annotations(record)
    return bool(annotations) and all(one.get("was_cancelled") for one in annotations)


def text_key(record: Mapping[str, Any], usual: Sequence[str]) -> str:
    """The key of ``data`` under which the text stands: one of the usual names, what was marked, or the only text.

    Raises:
        WrongRowError: It cannot be told.
    """
    data = record.get("data")
    texts: list[str] = [key for key, value in data.items() if isinstance(value, str)] if isinstance(data, dict) else []
    marked = [str(result.get("to_name")) for one in _annotations(record) for result in _results(one)]
    known = next((name for name in (*usual, *marked) if name in texts), None)
    if known is not None:
        return known
    if len(texts) != 1:
        keys = ", ".join(map(quoted, texts[:10])) or "none"
        message = f'which of the row\'s data is the text? It may be: {keys}. Send columns={{"text": "<its name>"}}'
        raise WrongRowError(Fault("missing_text", message, "data", data))
    return texts[0]


def marks(record: Mapping[str, Any]) -> list[Any]:
    """The values of all marks of a task; of several annotators, what all of them say.

    Raises:
        WrongRowError: Nobody has annotated it, two annotators say different things, or the marks are none of a text.
    """
    done = [one for one in _annotations(record) if not one.get("was_cancelled")]
    if not done:
        raise WrongRowError(Fault("missing_label", "nobody has annotated this row", "annotations"))
    decisive = [one for one in done if one.get("ground_truth")] or done
    first, *others = [_marks_of(one) for one in decisive]
    if any(_places(other) != _places(first) for other in others):
        message = (
            f"{len(decisive)} annotations of this row mark different things; keep one, or set its ground_truth to true"
        )
        raise WrongRowError(Fault("contradictory_annotations", message, "annotations"))
    return first


def flattened_marks(record: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    """The controls of a JSON-MIN row with which something was marked, and all marks."""
    controls = [key for key, value in record.items() if _is_marks(value)]
    return controls, [mark for control in controls for mark in record[control]]


def _is_annotations(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and "result" in one for one in value)


def _annotations(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = record.get("annotations") or record.get("completions") or []
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _results(annotation: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = annotation.get("result")
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _marks_of(annotation: Mapping[str, Any]) -> list[Any]:
    """The marks of one annotation; choices, ratings and relations say nothing of words."""
    found = []
    for result in _results(annotation):
        value = result.get("value")
        keys = value if isinstance(value, dict) else ()
        kind = str(result.get("type") or next((key for key in keys if key.endswith("labels")), ""))
        if kind == "labels" or ("value" in result and not isinstance(value, dict)):
            found.append(value)
        elif kind.endswith("labels"):
            message = f"marks of the kind {quoted(kind)} are not understood; export labels of a plain text"
            raise WrongRowError(Fault("invalid_span", message, "annotations", value))
    return found


def _places(given: Sequence[Any]) -> set[tuple[str, ...]]:
    """Marks without what two annotators may have differently, such as ids."""
    return {tuple(repr(mark.get(key)) for key in sorted(_SPAN_KEYS)) for mark in given if isinstance(mark, dict)}


def _is_marks(value: Any) -> bool:
    """Whether these are the marks of a control, right or wrong."""
    return isinstance(value, list) and any(_is_mark(one) for one in value)


def _is_mark(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) == len(_SPAN_KEYS)
    return isinstance(value, dict) and value.keys() >= {"start", "end"}
