"""JSON to dataclasses. Fields that only a newer server knows stay in ``raw``; nothing is refused for them."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from thawline.errors import UnexpectedAnswer

T = TypeVar("T")


def loaded(content: str | bytes) -> Any:
    """The value of a JSON document.

    Raises:
        UnexpectedAnswer: It is none.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer("the answer is not JSON") from error


def member(body: Any, name: str) -> Any:
    """A member of a JSON object.

    Raises:
        UnexpectedAnswer: It is no object, or has no such member.
    """
    if not isinstance(body, Mapping) or name not in body:
        raise UnexpectedAnswer(f"the answer has no {name!r}")
    return body[name]


def parse(record: type[T], body: Any, **given: Any) -> T:
    """An instance of a dataclass from a JSON object.

    Args:
        record: The dataclass; its field ``raw``, where it has one, keeps the whole object.
        body: What came.
        given: Fields that do not come from the object.

    Raises:
        UnexpectedAnswer: It is no object, or has not all fields that are needed.
    """
    if not isinstance(body, Mapping):
        raise UnexpectedAnswer(f"expected a JSON object for {record.__name__}")
    values = dict(given)
    kind: Any = record
    for name, hint, needed in _fields(kind):
        if name in body:
            values[name] = _converted(hint, body[name])
        elif name == "raw":
            values[name] = body
        elif needed and name not in values:
            raise UnexpectedAnswer(f"the answer has no {name!r}")
    return record(**values)


@functools.cache
def _fields(record: Any) -> list[tuple[str, Any, bool]]:
    """Name, type and need of each field that comes from JSON."""
    names = {field.name: field for field in dataclasses.fields(record) if not field.name.startswith("_")}
    hints = get_type_hints(record)
    nothing = dataclasses.MISSING
    return [
        (name, hints[name], field.default is nothing and field.default_factory is nothing)
        for name, field in names.items()
    ]


def _converted(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _converted(next(kind for kind in arguments if kind is not type(None)), value)
    if origin is tuple:
        return tuple(_converted(arguments[0], item) for item in value)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {key: _converted(arguments[1], item) for key, item in value.items()}
    if hint is datetime:
        try:
            return datetime.fromisoformat(value)
        except (TypeError, ValueError) as error:
            raise UnexpectedAnswer(f"{value!r} is no time") from error
    return parse(hint, value) if dataclasses.is_dataclass(hint) and isinstance(hint, type) else value
