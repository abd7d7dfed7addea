"""What every error of the API must be, checked in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

_TYPE = re.compile(r"about:blank|urn:thawline:error:[a-z_]+")


class Answer(Protocol):
    """A response, of httpx or of Starlette's test client."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def text(self) -> str: ...
    @property
    def request(self) -> Any: ...
    def json(self) -> Any: ...


def problem_of(response: Answer, status: int) -> dict[str, Any]:
    """The body of an error after it was checked to be a whole RFC 9457 problem document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert _TYPE.fullmatch(body["type"]), body["type"]
    assert (body["title"], body["status"]) == (HTTPStatus(status).phrase, status)
    assert body["detail"]
    assert body["instance"] == response.request.url.path
    assert body["request_id"] == response.headers["x-request-id"]
    if "errors" in body:
        assert body["error_count"] >= len(body["errors"])
        for error in body["errors"]:
            assert {"code", "message"} <= set(error) <= {"file", "line", "column", "code", "message", "value", "row"}
            assert error.get("line", 1) >= 1
    return body
