"""Exceptions → RFC 9457 problem documents: one table from the domain's errors to HTTP.

Where another protocol is spoken (`api.protocols`), the document is written as that protocol writes its errors.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError, ProgrammingError, SQLAlchemyError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from api.protocols.errors import Failure, dialect_of, rendered
from models_store.database import DATABASE_AWAY, explain
from models_store.errors import (
    ArtifactCorruptError,
    ConflictError,
    InvalidInputError,
    ModelFailedError,
    NotFoundError,
    OverloadedError,
    Problem,
    ThawlineError,
    TooLargeError,
    UnavailableError,
)
from models_store.logging import get_logger
from models_store.registry import ALIAS
from models_store.specs import MODEL_NAME, ExportOptions, Hyperparameters, JobRequest

log = get_logger(__name__)

STATUS_OF_ERROR: dict[type[ThawlineError], HTTPStatus] = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    InvalidInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ModelFailedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    OverloadedError: HTTPStatus.TOO_MANY_REQUESTS,
    ArtifactCorruptError: HTTPStatus.SERVICE_UNAVAILABLE,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}

Handler = Callable[[Request, Exception], Awaitable[Response]]
_PATTERNS = {
    MODEL_NAME: "a model's name has small letters, digits, dots, hyphens and underscores, 63 at most, and begins and "
    "ends with a letter or a digit, such as support-intent",
    f"^{ALIAS}$": "an alias has small letters, digits, hyphens and underscores, 63 at most, and begins with a letter",
}
_KNOWN_FIELDS = [*JobRequest.model_fields, *Hyperparameters.model_fields, *ExportOptions.model_fields]
_NO_OBJECT = ("model_type", "model_attributes_type", "dict_type")  # pydantic speaks of dictionaries and instances


class ErrorResponse(JSONResponse):
    """An error body."""

    def render(self, content: Any) -> bytes:
        """ASCII only: a message may quote a half of a surrogate pair, which UTF-8 cannot hold."""
        return json.dumps(content).encode()


class ProblemResponse(ErrorResponse):
    """An error body of our own."""

    media_type = "application/problem+json"


def problem(
    request: Request,
    status: int,
    detail: str,
    *,
    code: str | None = None,
    headers: dict[str, str] | None = None,
    **members: Any,
) -> ErrorResponse:
    """A problem document about this request, or what stands for one in the protocol that the request speaks."""
    if (dialect := dialect_of(request.url.path)) is not None:
        first: dict[str, object] = next(iter(members.get("errors", [])), {})
        place = str(first["column"]) if "column" in first else None
        status, content = rendered(dialect, Failure(status, detail, code, place))
        return ErrorResponse(content, status_code=status, headers=headers)
    body = {
        "type": f"urn:thawline:error:{code}" if code else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "request_id": request.scope.get("state", {}).get("request_id"),
        **members,
    }
    return ProblemResponse(body, status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(ThawlineError, _domain_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    for away in (*DATABASE_AWAY, ProgrammingError):  # the latter where the tables were never made
        app.add_exception_handler(away, _database_error)
    app.add_exception_handler(DataError, _unstorable)


async def _domain_error(request: Request, error: Exception) -> ErrorResponse:
    assert isinstance(error, ThawlineError)  # noqa: S101
    status = next((s for kind, s in STATUS_OF_ERROR.items() if isinstance(error, kind)), None)
    if status is None:
        return unexpected(request, error)
    members: dict[str, Any] = {}
    if isinstance(error, InvalidInputError):
        members = {"errors": [p.to_json() for p in error.problems], "error_count": error.error_count}
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, OverloadedError) else None
    return problem(request, status, error.message, code=error.code, headers=headers, **members)


def handler_of(request: Request, error: Exception) -> Handler | None:
    """What answers to an exception, as the framework would find it; None where nothing foresaw it."""
    known = request.app.exception_handlers
    return next((known[kind] for kind in type(error).__mro__ if kind in known), None)


async def _invalid_request(request: Request, error: Exception) -> ErrorResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    if (wanted := _other_media_type(request, error.body)) is not None:
        detail = f"send the body as {wanted}, with the Content-Type to match"
        return problem(request, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, code="unsupported_media_type")
    problems = [_problem_of(dict(e), error.body) for e in error.errors()]
    detail = "; ".join(f"{p.column}: {p.message}" if p.column else p.message for p in problems[:5])
    return problem(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        detail,
        code="invalid_request",
        errors=[p.to_json() for p in problems],
        error_count=len(problems),
    )


def _other_media_type(request: Request, body: object) -> str | None:
    """What the body should have been; None where its kind was right."""
    if isinstance(body, bytes):  # FastAPI decodes nothing but JSON
        return "application/json"
    kind = request.headers.get("content-type", "").lower()
    form_missing = isinstance(body, FormData) and not kind.startswith("multipart/form-data")
    return "multipart/form-data" if form_missing else None


def _problem_of(error: dict[str, Any], body: object) -> Problem:
    kind = str(error["type"])
    where, *path = tuple(error["loc"])
    if kind == "json_invalid":
        return Problem(kind, f"the body is not JSON: {error['ctx']['error']} at character {int(path[0]) + 1}")
    message = str(error["msg"])
    if kind in _NO_OBJECT:
        message = "expected a JSON object"
    elif kind == "extra_forbidden":
        close = difflib.get_close_matches(str(path[-1]), _KNOWN_FIELDS, 1)
        message = f"there is no such field; did you mean {close[0]}?" if close else "there is no such field"
    elif kind == "string_pattern_mismatch":
        message = _PATTERNS.get(error["ctx"]["pattern"], message)
    elif "Expected UploadFile" in message:
        message = "this must be a file, not text; with curl: -F file=@train.csv"
    return Problem(kind, message, column=".".join(_fields(path, body if where == "body" else None)) or None)


def _fields(path: list[Any], body: object) -> list[str]:
    """The path without what pydantic adds below a plain value: the branches of a union."""
    fields = []
    for part in path:
        fields.append(str(part))
        if isinstance(body, dict):
            body = body.get(part, {})
        elif isinstance(body, list) and isinstance(part, int) and part < len(body):
            body = body[part]
        if isinstance(body, str | int | float | bool):
            break
    return fields


async def _http_error(request: Request, error: Exception) -> ErrorResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    headers = dict(error.headers) if error.headers else None
    code = "too_large" if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else None
    return problem(request, error.status_code, str(error.detail), code=code, headers=headers)


async def _database_error(request: Request, error: Exception) -> ErrorResponse:
    assert isinstance(error, SQLAlchemyError)  # noqa: S101
    log.error("database error", error=str(error), path=request.url.path)
    return problem(request, HTTPStatus.SERVICE_UNAVAILABLE, explain(error), code="unavailable")


async def _unstorable(request: Request, error: Exception) -> ErrorResponse:
    detail = "the request holds a value that the database cannot take, such as a NUL character"
    return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail, code="invalid_input", errors=[], error_count=0)


def unexpected(request: Request, error: Exception) -> ErrorResponse:
    """The answer to an exception that nobody foresaw."""
    log.error("unexpected error", path=request.url.path, exc_info=error)
    detail = "an unexpected error; the server's log has it under this request_id"
    return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="internal_error")
