"""Traces: a caller's trace goes on through the stages of a prediction to the collector."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from api.main import create_app
from api.tracing import trace_id_of
from migrations import upgrade
from models_store.settings import Settings
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import Service

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Span]]]:
    """A collector's address, and the spans that came in."""
    spans: list[Span] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            spans.extend(span for r in request.resource_spans for s in r.scope_spans for span in s.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()
        thread.join()


def test_a_prediction_is_traced_with_its_stages(
    service: Service, trained_models: dict[str, TrainedModel], collector: tuple[str, list[Span]]
) -> None:
    endpoint, spans = collector
    settings = Settings(_env_file=None, home=service.home, otlp_endpoint=endpoint)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        answer = client.post("/predict/tiny-classification", json={"inputs": ["x", "y"]}, headers=TRACEPARENT)
        assert answer.status_code == 200

    by_name = {span.name: span for span in spans}
    request = by_name["POST /predict/{model}"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert {a.key: a.value.int_value for a in request.attributes}["http.response.status_code"] == 200
    stages = [by_name[stage] for stage in ("tokenise", "queue", "infer")]
    assert {stage.parent_span_id for stage in stages} == {request.span_id}
    assert {a.key for a in stages[0].attributes} == {"model", "version", "texts"}
    times = [request.start_time_unix_nano, *(t for s in stages for t in (s.start_time_unix_nano, s.end_time_unix_nano))]
    assert times == sorted(times)


def test_probes_are_not_traced(tmp_path: Path, collector: tuple[str, list[Span]]) -> None:
    upgrade(f"sqlite:///{tmp_path / 'thawline.db'}")
    settings = Settings(_env_file=None, home=tmp_path, otlp_endpoint=collector[0])
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        for path in ("/healthz", "/v2/health/live", "/v2/health/ready"):
            assert client.get(path).status_code in (200, 400, 503)
        assert client.get("/nowhere").status_code == 404

    assert [span.name for span in collector[1]] == ["GET"]


def test_a_collector_that_is_away_hinders_nobody(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'thawline.db'}")
    settings = Settings(_env_file=None, home=tmp_path, otlp_endpoint="http://127.0.0.1:9")
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        assert client.get("/models").status_code == 200


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        (TRACEPARENT["traceparent"], TRACE),
        (f"01-{TRACE}-{PARENT}-01-more", TRACE),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_the_id_of_a_trace(header: str | None, trace_id: str | None) -> None:
    assert trace_id_of(header) == trace_id
