"""Traces, where `THAWLINE_OTLP_ENDPOINT` says where to send them: a span for each request and for each of its stages.

The caller's trace goes on (W3C Trace Context). Its id also stands in the log, with or without a collector.
"""

from __future__ import annotations

import re
import time
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.timings import Timings
from models_store.errors import ConfigurationError

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace_id>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
# Asked all the time, and of no interest.
_QUIET = ("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")
_EXPORT_SECONDS = 3.0  # a collector that is away must not hold up the end of the process


def trace_id_of(traceparent: str | None) -> str | None:
    """The id of the caller's trace, if the header of this name is as it should be."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return match["trace_id"] if match else None


class Tracing:
    """Makes spans and sends them, in a thread of the library's."""

    def __init__(self, exporter: Any = None, *, endpoint: str = "") -> None:
        """Send to an exporter, or over OTLP to the collector at ``endpoint``.

        Raises:
            ConfigurationError: The libraries are not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            message = "THAWLINE_OTLP_ENDPOINT needs the extra `tracing`: pip install 'thawline[tracing]'"
            raise ConfigurationError(message) from error
        self._provider = TracerProvider(resource=Resource.create({"service.name": "thawline-api"}))
        exporter = exporter or OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("thawline")
        self._propagator = TraceContextTextMapPropagator()

    def start(self, scope: Scope) -> Any:
        """A context in which the request's span is the current one."""
        from opentelemetry.trace import SpanKind

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        return self._tracer.start_as_current_span(
            scope["method"],
            self._propagator.extract(carrier),
            SpanKind.SERVER,
            {"http.request.method": scope["method"], "url.path": scope["path"], "url.scheme": scope["scheme"]},
        )

    def stages(self, timings: Timings, **attributes: str | int) -> None:
        """The stages of a prediction as spans within the current one."""
        begin = time.time_ns() - int(1e9 * (time.perf_counter() - timings.started))
        for stage, seconds in (("tokenise", timings.tokenise), ("queue", timings.queue), ("infer", timings.infer)):
            end = begin + int(1e9 * seconds)
            self._tracer.start_span(stage, start_time=begin, attributes=attributes).end(end)
            begin = end

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()


class TracingMiddleware:
    """An ASGI middleware: a span around every request."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] in _QUIET:
            await self._app(scope, receive, send)
            return
        with self._tracing.start(scope) as span:
            structlog.contextvars.bind_contextvars(trace_id=f"{span.get_span_context().trace_id:032x}")

            async def send_noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self._app(scope, receive, send_noted)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attribute("http.route", route)
