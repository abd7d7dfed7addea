"""Errors as the protocols of others write them, by the first part of the path; ours are RFC 9457 documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from api.protocols.oip import OipErrorOut
from api.protocols.openai import OpenAIError, OpenAIErrorOut


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong.

    Attributes:
        status: The HTTP status.
        detail: What to tell the caller.
        code: Of our own errors their stable name.
        place: Where in the request, if it is known.
    """

    status: int
    detail: str
    code: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a protocol tells of errors.

    Attributes:
        body: Makes the body.
        schema: What it is, for the OpenAPI document.
    """

    body: Callable[[Failure], BaseModel]
    schema: type[BaseModel]


def dialect_of(path: str) -> Dialect | None:
    """The dialect that is spoken under a path; None where it is ours."""
    return _DIALECTS.get(path.split("/", 2)[1] if path.startswith("/") else "")


def rendered(dialect: Dialect, failure: Failure) -> tuple[int, dict[str, Any]]:
    """Status and body. What we call unprocessable is a bad request elsewhere."""
    unprocessable = failure.status == HTTPStatus.UNPROCESSABLE_ENTITY
    return HTTPStatus.BAD_REQUEST if unprocessable else failure.status, dialect.body(failure).model_dump()


def _oip(failure: Failure) -> OipErrorOut:
    return OipErrorOut(error=failure.detail)


def _openai(failure: Failure) -> OpenAIErrorOut:
    error = OpenAIError(
        message=failure.detail, type=_type(failure.status), param=failure.place, code=failure.code or None
    )
    return OpenAIErrorOut(error=error)


def _type(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"


_DIALECTS = {"v1": Dialect(_openai, OpenAIErrorOut), "v2": Dialect(_oip, OipErrorOut)}
