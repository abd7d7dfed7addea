"""The short way of a prediction answers as the long way does, whatever is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from models_store.settings import Settings
from tests.api.checks import problem_of
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import Service

SHORT = {"Content-Type": "application/json"}
LONG = {"Content-Type": "application/json; charset=utf-8"}  # the same to everybody but the short way

BODIES = [
    b'{"inputs": "where is my parcel"}',
    b'{"inputs": ["where is my parcel", "refund"], "top_k": 2}',
    b'{"inputs": []}',
    b'{"inputs": ["a", 3]}',
    b'{"inputs": 3}',
    b'{"inputs": "a \\ud83d b"}',
    b'{"inputs": "a", "top_k": 0}',
    b'{"inputs": "a", "top_k": true}',
    b'{"inputs": "a", "inputs": "where is my parcel"}',
    b'{"inputs": NaN}',
    b'{"inputs": "a", "input": "b"}',
    b"{}",
    b"[]",
    b'{"inputs": ',
    b"",
    b"\xff\xfe",
    b'{"inputs": "' + b"long " * 3000 + b'"}',
    b'{"inputs": ["x"' + b', "x"' * 2000 + b"]}",
]


def ask(service: Service, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], Any]:
    answer = service.client.post(path, content=body, headers=headers)
    told = answer.json()
    told.pop("request_id", None)
    changing = ("date", "x-request-id", "server-timing", "content-length")
    return answer.status_code, {k: v for k, v in answer.headers.items() if k not in changing}, told


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:40]))
@pytest.mark.parametrize(
    "model", ["tiny-classification", "tiny-classification@1", "nobody", "a b", "%40", "tiny%2Dgraded"]
)
def test_both_ways_say_the_same(
    service: Service, trained_models: dict[str, TrainedModel], body: bytes, model: str
) -> None:
    assert ask(service, f"/predict/{model}", body, SHORT) == ask(service, f"/predict/{model}", body, LONG)


@pytest.mark.parametrize("path", ["/predict/", "/predict/a/b", "/predict//", "/predict/a%2Fb"])
def test_what_is_no_model_is_no_model_either_way(service: Service, path: str) -> None:
    body = b'{"inputs": "a"}'
    assert ask(service, path, body, SHORT) == ask(service, path, body, LONG)


def test_where_the_time_went_is_told_either_way(service: Service, trained_models: dict[str, TrainedModel]) -> None:
    for headers in (SHORT, LONG):
        answer = service.client.post("/predict/tiny-classification", content=BODIES[0], headers=headers)
        stages = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
        assert list(stages) == ["tokenise", "queue", "infer"]
        assert all(0 <= float(milliseconds) < 10_000 for milliseconds in stages.values())


def test_requests_of_both_ways_are_counted_as_one_route(
    service: Service, trained_models: dict[str, TrainedModel]
) -> None:
    def counted() -> float:
        name = 'thawline_http_requests_total{method="POST",route="/predict/{model}",status="200"} '
        return sum(float(line.split()[-1]) for line in service.client.get("/metrics").text.splitlines() if name in line)

    before = counted()
    for headers in (SHORT, LONG):
        service.client.post("/predict/tiny-classification", content=BODIES[0], headers=headers)
    assert counted() == before + 2


@pytest.mark.parametrize("headers", [SHORT, LONG], ids=["short", "long"])
def test_a_body_without_an_end_is_refused_either_way(service: Service, headers: dict[str, str]) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 2**20

    answer = service.client.post("/predict/tiny-classification", content=endless(), headers=headers)

    assert problem_of(answer, 413)["type"].endswith("too_large")


@pytest.mark.parametrize("headers", [SHORT, LONG], ids=["short", "long"])
def test_a_database_that_is_away_is_told_either_way(tmp_path: Path, headers: dict[str, str]) -> None:
    settings = Settings(_env_file=None, home=tmp_path)  # without any table
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        problem_of(client.post("/predict/m", content=BODIES[0], headers=headers), 503)
