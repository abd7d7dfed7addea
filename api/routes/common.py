"""What the routes share."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import BaseModel, Field
from starlette.datastructures import FormData

from api.schemas import ProblemOut
from models_store.errors import InvalidInputError, Problem

Limit = Annotated[int, Field(ge=1, le=100, description="Items to list", examples=[20])]
BINARY = {"type": "string", "format": "binary"}  # what generators of clients know; contentMediaType is not
MEDIA_TYPES = {
    "jsonl": "application/jsonl",
    "csv": "text/csv; charset=utf-8",
    "conll": "text/plain; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
SecondsQuery = Annotated[
    float | None,
    Query(gt=0, allow_inf_nan=False, description="seconds that the caller will wait, at most", examples=[0.5]),
]


async def known_parameters(request: Request) -> None:
    """A dependency of every route: a query parameter that is misspelt, or sent twice, is refused and not passed over.

    Raises:
        InvalidInputError: Names each of them.
    """
    if not request.query_params:
        return
    operation = request.app.openapi()["paths"].get(request.scope["route"].path, {}).get(request.method.lower())
    if operation is None:  # a page, not a call
        return
    known = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
    problems = []
    for name in request.query_params:
        if name not in known:
            message = f"unknown query parameter {name!r}; known are: {', '.join(known) or 'none'}"
            problems.append(Problem("unknown_parameter", message, column=name))
        elif len(request.query_params.getlist(name)) > 1:
            problems.append(Problem("repeated_parameter", f"{name!r} was sent more than once", column=name))
    if problems:
        raise InvalidInputError(problems[0].message, problems, code="invalid_request")


class PageQuery(BaseModel):
    """Which part of a list."""

    limit: Limit = 20
    after: Annotated[str | None, Field(max_length=64, description="List what follows this id")] = None


MEANINGS = {
    400: "Something in the request is wrong",
    401: "The API key is missing or wrong",
    404: "It does not exist",
    409: "It is not in a state for this",
    413: "It is larger than the service takes",
    422: "Something in the request is wrong; `errors` names each thing",
    429: "The service has too much to do; try again after the seconds in `Retry-After`",
    500: "The model failed",
    503: "A part of the service does not answer, or took too long; try again",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for the OpenAPI document."""
    return {status: {"model": ProblemOut, "description": MEANINGS[status]} for status in statuses}


def check_form(form: FormData, fields: Collection[str]) -> None:
    """Refuse what would be passed over in silence: unknown fields, and all but the last of a field sent twice."""
    problems = []
    for field in sorted(set(form)):
        if field not in fields:
            known = ", ".join(sorted(fields))
            problems.append(Problem("unknown_field", f"unknown form field {field!r}; known are {known}", column=field))
        elif len(form.getlist(field)) > 1:
            problems.append(Problem("repeated_field", f"form field {field!r} was sent more than once", column=field))
    if problems:
        raise InvalidInputError(problems[0].message, problems)


def parse_columns(text: str | None) -> dict[str, Any]:
    """The form field ``columns``.

    Raises:
        InvalidInputError: It is no JSON object.
    """
    if not text:
        return {}
    try:
        columns = json.loads(text)
    except ValueError:
        columns = None
    if not isinstance(columns, dict):
        message = 'columns must be a JSON object such as {"text": "body", "label": "topic"}'
        raise InvalidInputError(message, [Problem("invalid_columns", message, column="columns")])
    return columns
