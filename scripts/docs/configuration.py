"""The page of settings, made of the class that reads them: it cannot name one that is not there, or forget one."""

from __future__ import annotations

import types
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

_INTRODUCTION = """\
# Configuration

Settings are environment variables, or lines of a file `.env` in the folder in which Thawline is started. None is needed
to try it. An empty variable counts as one that is not set. Each process reads them once: start it again after a change.

```text
# .env
THAWLINE_API_KEY=<the output of `openssl rand -hex 32`>
THAWLINE_ALLOWED_HOSTS=thawline.example.org
```

| variable | value | default | meaning |
|---|---|---|---|
"""
_KINDS = {int: "whole number", float: "number", bool: "`true` or `false`", Path: "folder", list: "names, with commas"}
_MIB = 1024 * 1024


def configuration_page(settings: type[BaseSettings]) -> str:
    """The page, a row for each setting in the order of the class."""
    prefix = settings.model_config.get("env_prefix", "")
    rows = [_row(prefix + name.upper(), field) for name, field in settings.model_fields.items()]
    return _INTRODUCTION + "\n".join(rows) + "\n"


def _row(variable: str, field: FieldInfo) -> str:
    cells = [f"`{variable}`", _value(field), _default(field), field.description or "How the log is written"]
    return "| " + " | ".join(cells) + " |"


def _value(field: FieldInfo) -> str:
    kind = _inner(field.annotation)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    words = _KINDS.get(get_origin(kind) or kind, "text")
    limits = [_limit(constraint) for constraint in field.metadata]
    return ", ".join([words, *(limit for limit in limits if limit)])


def _inner(annotation: Any) -> Any:
    """Of `X | None` the X."""
    if get_origin(annotation) in (types.UnionType, Union):
        (annotation,) = [kind for kind in get_args(annotation) if kind is not type(None)]
    return annotation


def _limit(constraint: object) -> str:
    match constraint:
        case Ge(ge=least):
            return f"at least {least}"
        case Gt(gt=least):
            return f"above {least}"
        case Le(le=most):
            return f"at most {most}"
    return ""


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is None or default is PydanticUndefined:
        return "`.thawline` in the checkout" if field.annotation is Path else ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int) and default >= _MIB:
        return f"`{default}` ({default // _MIB:,} MiB)"
    return f"`{default.value if isinstance(default, Enum) else default}`"
