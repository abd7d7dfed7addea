"""Exceptions → RFC 9457 problem documents: one table from the domain's errors to HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from models_store.errors import (
    ArtifactCorruptError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    Problem,
    ThawlineError,
    UnavailableError,
)
from models_store.logging import get_logger

log = get_logger(__name__)

STATUS_OF_ERROR: dict[type[ThawlineError], HTTPStatus] = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    InvalidInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    OverloadedError: HTTPStatus.TOO_MANY_REQUESTS,
    ArtifactCorruptError: HTTPStatus.SERVICE_UNAVAILABLE,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class ProblemResponse(JSONResponse):
    """An error body."""

    media_type = "application/problem+json"


def problem(
    request: Request,
    status: int,
    detail: str,
    *,
    code: str | None = None,
    headers: dict[str, str] | None = None,
    **members: Any,
) -> ProblemResponse:
    """A problem document about this request."""
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
    app.add_exception_handler(OperationalError, _database_error)
    app.add_exception_handler(Exception, _unexpected)


async def _domain_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, ThawlineError)  # noqa: S101
    status = next((s for kind, s in STATUS_OF_ERROR.items() if isinstance(error, kind)), None)
    if status is None:
        return await _unexpected(request, error)
    members: dict[str, Any] = {}
    if isinstance(error, InvalidInputError):
        members = {"errors": [p.to_json() for p in error.problems], "error_count": error.error_count}
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, OverloadedError) else None
    return problem(request, status, error.message, code=error.code, headers=headers, **members)


async def _invalid_request(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    problems = [
        Problem(str(e["type"]), str(e["msg"]), column=".".join(str(part) for part in e["loc"][1:]) or None)
        for e in error.errors()
    ]
    detail = "; ".join(f"{p.column}: {p.message}" if p.column else p.message for p in problems[:5])
    return problem(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        detail,
        code="invalid_request",
        errors=[p.to_json() for p in problems],
        error_count=len(problems),
    )


async def _http_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    headers = dict(error.headers) if error.headers else None
    return problem(request, error.status_code, str(error.detail), headers=headers)


async def _database_error(request: Request, error: Exception) -> ProblemResponse:
    log.error("database error", error=str(error), path=request.url.path)
    return problem(request, HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer", code="unavailable")


async def _unexpected(request: Request, error: Exception) -> ProblemResponse:
    log.error("unexpected error", path=request.url.path, exc_info=error)
    detail = "an unexpected error; the server's log has it under this request_id"
    return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="internal_error")
