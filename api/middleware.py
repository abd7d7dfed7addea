"""Around every request: an id, an allow-list of hosts, limits, safe response headers, and its figures."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from functools import cache

import structlog
from prometheus_client import Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem, unexpected
from api.figures import REQUEST_SECONDS, REQUESTS
from api.security import refusal
from api.tracing import trace_id_of
from models_store.settings import Settings

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
_POLICY = b"content-security-policy"
_PAGE_POLICY = (_POLICY, b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
# The interactive documentation starts itself with an inline script; nothing else may.
_DOCS_POLICY = (
    _POLICY,
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
)
_DOCS = ("/docs", "/redoc")
_READING = ("GET", "OPTIONS")


class RequestMiddleware:
    """A plain ASGI middleware: no task and no copy of the body per request, and headers as the bytes that they are."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._max_upload = settings.max_upload_bytes
        self._max_request = settings.max_request_bytes
        # A page of another site that resolves its own name to 127.0.0.1 must not reach the API (DNS rebinding).
        hosts = ("localhost", "127.0.0.1", "[::1]", settings.host, *settings.allowed_hosts)
        self._hosts = {host.lower() for host in hosts}
        self._key = settings.api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if head := scope["method"] == "HEAD":  # GET without the body (RFC 9110, section 9.3.2)
            scope = {**scope, "method": "GET"}
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}  # the first one counts
        asked = headers.get(b"x-request-id", "")
        request_id = asked if _REQUEST_ID.fullmatch(asked) else secrets.token_hex(13)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if (trace_id := trace_id_of(headers.get(b"traceparent"))) is not None:
            structlog.contextvars.bind_contextvars(trace_id=trace_id)
        started = time.perf_counter()
        status, begun = 500, False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                policy = _DOCS_POLICY if scope["path"] in _DOCS else _PAGE_POLICY
                ours = [(b"x-request-id", request_id.encode()), policy, *_SAFE_HEADERS]
                if scope["app"].state.draining:
                    ours.append((b"connection", b"close"))  # the next request belongs to another process
                message["headers"] = [*message["headers"], *ours]
            await send(message)

        answer: ASGIApp = self._refusal(scope, headers) or self._app
        if head:
            answer = _headers_only(answer)
        try:
            await answer(scope, self._limited(scope, receive), send_with_headers)
        except Exception as error:
            if begun:
                raise
            await unexpected(Request(scope), error)(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            count, duration = _request_figures(scope["method"], route, status)
            count.inc()
            duration.observe(time.perf_counter() - started)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, str]) -> ASGIApp | None:
        """The answer to a request that is not looked into, before any of its body is read."""
        if _hostname(headers.get(b"host", "")) not in self._hosts:
            detail = "this Host is not served here; add it to THAWLINE_ALLOWED_HOSTS"
            return problem(Request(scope), 400, detail, code="unknown_host")
        if scope["method"] not in _READING and headers.get(b"sec-fetch-site") == "cross-site":
            # Without a key, a form on any page that the user's browser has open could upload and delete.
            return problem(Request(scope), 403, "a page of another site may not call this", code="cross_site")
        length = headers.get(b"content-length", "")
        if length.isdecimal() and int(length) > self._limit(scope):
            return problem(Request(scope), 413, self._too_large(scope), code="too_large")
        return refusal(scope, headers.get(b"authorization"), self._key)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Stop reading a body that turns out too long; one that says its length is not even begun."""
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit(scope):
                raise HTTPException(413, self._too_large(scope))
            return message

        return receive_counted

    def _limit(self, scope: Scope) -> int:
        return self._max_upload if _is_upload(scope) else self._max_request

    def _too_large(self, scope: Scope) -> str:
        name = "THAWLINE_MAX_UPLOAD_BYTES" if _is_upload(scope) else "THAWLINE_MAX_REQUEST_BYTES"
        return f"the body is larger than {self._limit(scope)} bytes, the limit of this server ({name})"


@cache
def _request_figures(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), REQUEST_SECONDS.labels(method, route)


def _headers_only(app: ASGIApp) -> ASGIApp:
    """Answer as the application begins to, and end there: a stream would go on without a reader."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_start(message: Message) -> None:
            nonlocal begun
            if not begun:
                begun = True
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def receive_until_begun() -> Message:
            return {"type": "http.disconnect"} if begun else await receive()

        await app(scope, receive_until_begun, send_start)

    return answer


def _is_upload(scope: Scope) -> bool:
    return scope["path"].rstrip("/") in ("/datasets", "/datasets/validate", "/predictions")


def _hostname(host: str) -> str:
    host = host.lower()
    return host.rsplit(":", 1)[0] if re.search(r":\d+$", host) else host
