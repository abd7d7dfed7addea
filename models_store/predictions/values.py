"""The values of a file's columns as JSON and as text can hold them."""

from __future__ import annotations

import base64
import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from models_store.characters import escaped, is_text


def json_value(value: Any) -> Any:
    """A value as JSON can hold it.

    NaN is null, infinities are text; bytes are Base64, dates and times ISO 8601, decimals their digits.

    Raises:
        TypeError: It is of none of the kinds that files hold.
    """
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, dict):
        return {str(key): json_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(part) for part in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta | Decimal | UUID):
        return str(value)
    raise TypeError(f"there is a value of the kind {type(value).__name__}, which cannot be written")


def _not_finite(value: float) -> str | None:
    if math.isnan(value):
        return None
    return "Infinity" if value > 0 else "-Infinity"


def as_json(value: Any) -> str:
    """As people read it, unless there is half a character in it, which only an escape can write."""
    plain = json_value(value)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    return text if is_text(text) else json.dumps(plain)


def as_text(value: Any) -> str:
    """A value as it stands in CSV, or in a column of texts: lists and objects as JSON."""
    if value is None:
        return ""
    if isinstance(value, float):
        return json.dumps(value)  # NaN too, which every reader of CSV knows
    plain = json_value(value)
    return escaped(plain) if isinstance(plain, str) else as_json(plain)
