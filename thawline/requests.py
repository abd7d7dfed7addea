"""Requests and their answers, and which exception an answer means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from thawline.errors import (
    ConfigurationError,
    Conflict,
    Error,
    InvalidData,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Refused,
    Unavailable,
    UnexpectedAnswer,
)
from thawline.parsing import loaded, parse
from thawline.records import Problem
from thawline.uploads import Upload

_BUSY = frozenset({429, 502, 503, 504})
_UNDONE = frozenset({429, 503})  # whoever answers this has done nothing; behind a proxy's 502 something may have been
NAME_COLUMNS = "name the columns with columns={'text': …, 'label': …}"
WRONG_ROWS = "correct the rows, or leave them out with on_error='skip'"
_NEXT_STEPS = {
    401: "give api_key=… or set THAWLINE_API_KEY to the service's key",
    403: "give api_key=… or set THAWLINE_API_KEY to the service's key",
    404: "client.datasets(), .jobs() and .models() list what there is",
}
_KINDS: dict[int, type[Refused]] = {401: NotAllowed, 403: NotAllowed, 404: NotFound, 409: Conflict}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be asked.

    Attributes:
        method, path: Of HTTP; the path is below the service's URL.
        params: The query; what is None is left out.
        body: The JSON body.
        form, files: A multipart body.
        timeout: Seconds to wait for the answer, if not the client's.
        repeatable: Whether it does no harm to ask again when nobody knows if the first one was understood.
        sends_data: Whether it is the data that is wrong if the service says that the request is.
        wrong_rows: What to do about rows that are wrong.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    form: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Upload] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    repeatable: bool = False
    sends_data: bool = False
    wrong_rows: str | None = None

    @property
    def may_repeat(self) -> bool:
        """Whether it may be asked again although the first one may have been understood."""
        return self.repeatable or self.method in ("GET", "PUT")


@dataclass(frozen=True)
class Answer:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""

    @property
    def is_error(self) -> bool:
        """Whether it tells why the request came to nothing."""
        return self.status >= 300

    def json(self) -> Any:
        """The body.

        Raises:
            UnexpectedAnswer: It is not JSON.
        """
        return loaded(self.content)


def segment(name: str) -> str:
    """A name as a part of a path.

    Raises:
        ConfigurationError: It would be another path.
    """
    if name in ("", ".", "..") or "/" in name:
        raise ConfigurationError(f"{name!r} is no name, and no id")
    return quote(name, safe="@")


def error_of(answer: Answer, request: Request) -> Error:
    """The exception that an error answer means."""
    body = _problem_document(answer)
    code = str(body.get("type", "")).removeprefix("urn:thawline:error:")
    details: dict[str, Any] = {
        "status": answer.status,
        "code": code or None,
        "request_id": body.get("request_id") or answer.headers.get("x-request-id"),
    }
    message = str(body.get("detail") or f"the service answered {answer.status}")
    if answer.status == 404 and code in ("", "about:blank"):  # not one of the things that are asked for by name
        told = f"{request.method} {request.path} is not known there"
        return UnexpectedAnswer(told, "is this the URL of a Thawline service, and nothing too much behind its port?")
    if answer.status in _BUSY:
        return Unavailable(f"the service is busy or not whole: {message}", "try again later")
    if answer.status in _KINDS:
        return _KINDS[answer.status](message, _NEXT_STEPS.get(answer.status), **details)
    if answer.status in (400, 413, 415, 422):
        problems = [parse(Problem, item) for item in body.get("errors") or ()]
        is_of_data = request.sends_data and (not problems or any(map(_is_of_data, problems)))
        kind = InvalidData if is_of_data else InvalidRequest
        is_unnamed = request.wrong_rows and any(problem.code == "missing_column" for problem in problems)
        is_of_rows = code == "invalid_dataset" and any(problem.line for problem in problems)
        hint = NAME_COLUMNS if is_unnamed else request.wrong_rows if is_of_rows else None
        return kind(message, problems, hint, problem_count=body.get("error_count"), **details)
    if answer.status >= 500 and body:
        return Refused(message, f"the service's log says more of request {details['request_id']}", **details)
    if not body:
        told = f"{request.method} {request.path} was answered {answer.status}"
        return UnexpectedAnswer(told)
    return Refused(message, **details)


def _is_of_data(problem: Problem) -> bool:
    """Whether it is said of what was sent, and not of how."""
    return bool(problem.file or problem.line or (problem.column or "inputs").startswith(("inputs", "file")))


def may_be_asked_again(answer: Answer, request: Request) -> bool:
    """Whether an error answer is one that passes by itself, and asking again does no harm."""
    if answer.status not in _BUSY or _problem_document(answer).get("type") == "urn:thawline:error:deadline_exceeded":
        return False
    return answer.status in _UNDONE or request.may_repeat


def retry_after(answer: Answer) -> float:
    """Seconds that the service wants to be left alone (RFC 9110, 10.2.3); 0 where it does not say."""
    value = answer.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _problem_document(answer: Answer) -> Mapping[str, Any]:
    """The body of an error; empty where a proxy, or another program, has answered in words of its own."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
