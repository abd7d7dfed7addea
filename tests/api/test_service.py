"""The service as a whole: its probes, its figures, its limits, and its advice where something is amiss."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from api.main import create_app
from migrations import upgrade
from models_store.database import Database
from models_store.settings import Settings
from models_store.tables import TrainingJob
from tests.api.checks import problem_of
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import Service, Valkey, wait_for

Trained = dict[str, TrainedModel]
CSV = "text,label\n" + "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(12))
KEY = "a-long-random-secret"
STATUSES = {"queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled"}
PATIENCE = 10  # seconds that a caller may be kept waiting by a part that is silent


def figures(service: Service) -> dict[str, float]:
    """What /metrics tells, by name and labels: ``{'thawline_jobs{status=queued}': 2.0, …}``."""
    text = service.client.get("/metrics").text
    return {
        sample.name + (f"{{{','.join(f'{k}={v}' for k, v in sample.labels.items())}}}" if sample.labels else ""): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@contextmanager
def api_alone(home: Path, **environment: str) -> Iterator[Service]:
    """The API without a worker, on a database of its own."""
    upgrade(f"sqlite:///{home / 'thawline.db'}")
    api = Service(
        home, {f"THAWLINE_{name}": value for name, value in environment.items()}, [sys.executable, "-m", "api"]
    )
    api.start(ready=False)
    try:
        wait_for(lambda: is_alive(api), what="the API")
        yield api
    finally:
        api.stop()
        api.client.close()


def is_alive(api: Service) -> bool:
    try:
        return api.client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


# ---- probes ---------------------------------------------------------------------------------------------------------


def test_a_running_service_is_alive_and_ready(service: Service) -> None:
    assert service.client.get("/healthz").json() == {"status": "ok"}
    ready = service.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ok", "checks": {"database": "ok", "broker": "ok", "models": "ok"}}


def test_without_a_broker_the_api_is_alive_but_not_ready(tmp_path: Path) -> None:
    with api_alone(tmp_path) as api:
        assert api.client.get("/healthz").status_code == 200
        ready = api.client.get("/readyz")

    assert ready.status_code == 503
    checks = {"database": "ok", "broker": "THAWLINE_BROKER_URL is not set", "models": "ok"}
    assert ready.json()["checks"] == checks


def exchange(service: Service, method: str, path: str) -> tuple[list[bytes], bytes]:
    """Head and body of an answer as they came over the wire; a client would throw the body of a HEAD away."""
    request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(request.encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    return head.splitlines(), body


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/readyz", 200), ("/openapi.json", 200), ("/", 200), ("/jobs/job_x", 404)]
)
def test_head_answers_as_get_does_but_without_a_body(service: Service, path: str, status: int) -> None:
    def steady(head: list[bytes]) -> list[bytes]:
        return [line for line in head if not line.lower().startswith((b"date:", b"x-request-id:"))]

    got, content = exchange(service, "GET", path)
    head, nothing = exchange(service, "HEAD", path)

    assert head[0].startswith(f"HTTP/1.1 {status} ".encode())
    assert steady(head) == steady(got)  # with the length that the body would have had
    assert content
    assert nothing == b""


@pytest.mark.parametrize("path", ["/datasets", "/models", "/jobs"])
def test_a_database_without_tables_says_how_to_make_them(database_url: str, tmp_path: Path, path: str) -> None:
    advice = "the database has no tables; run `thawline migrate`"
    settings = Settings(_env_file=None, home=tmp_path, database_url=database_url)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        assert problem_of(client.get(path), 503)["detail"] == advice
        ready = client.get("/readyz")
        assert client.get("/healthz").status_code == 200

    # Anybody may ask: nothing of the statement, and nothing of where the database is.
    assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
    assert ready.json()["checks"]["database"] == advice


# ---- a broker that hangs --------------------------------------------------------------------------------------------


@contextmanager
def stopped(valkey: Valkey) -> Iterator[None]:
    """The broker neither answers nor closes its connections, as behind a network that swallows everything."""
    assert valkey.process is not None
    os.kill(valkey.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(valkey.process.pid, signal.SIGCONT)


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


@pytest.mark.parametrize("connected", [False, True], ids=["a new connection", "an open connection"])
def test_a_broker_that_hangs_keeps_nobody_waiting_and_the_job_is_stored(
    tmp_path: Path, valkey: Valkey, *, connected: bool
) -> None:
    with api_alone(tmp_path, BROKER_URL=valkey.url) as api:
        dataset_id = api.client.post(
            "/datasets", data={"task": "classification"}, files={"file": ("t.csv", CSV.encode())}
        ).json()["id"]
        if connected:
            assert api.submit(dataset_id, "before").status_code == 202

        with stopped(valkey):
            answer, waited = timed(lambda: api.submit(dataset_id, "meanwhile"))
            ready, waited_too = timed(lambda: api.client.get("/readyz"))
            assert api.job(answer.json()["id"])["status"] == "queued"

        assert answer.status_code == 202
        assert waited < PATIENCE
        assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "ok")
        assert waited_too < PATIENCE
        assert enqueued(api, answer.json()["id"]) is False  # so that the sweep sends it again

        assert api.client.get("/readyz").status_code == 200  # the broker is back, as whoever asks it finds out
        after = api.submit(dataset_id, "after").json()["id"]
        assert enqueued(api, after) is True


def enqueued(api: Service, job_id: str) -> bool:
    db = Database(f"sqlite:///{api.home / 'thawline.db'}")
    with db.reading() as session:
        sent = session.get_one(TrainingJob, job_id).enqueued_at is not None
    db.dispose()
    return sent


# ---- figures --------------------------------------------------------------------------------------------------------


def test_figures_tell_of_loaded_models_and_of_each_stage_of_a_prediction(
    service: Service, trained_models: Trained
) -> None:
    labels = "model=tiny-classification,stage={},version=1"
    stages = [
        f"thawline_predict_stage_seconds_count{{{labels.format(stage)}}}" for stage in ("tokenise", "queue", "infer")
    ]
    texts = "thawline_predict_batch_texts_sum{model=tiny-classification,version=1}"
    service.client.post("/predict/tiny-classification", json={"inputs": "loaded"})
    before = figures(service)

    answer = service.client.post("/predict/tiny-classification", json={"inputs": ["my parcel", "my refund"]})

    assert answer.status_code == 200
    wanted = dict(zip(stages, (1, 2, 1), strict=True))  # a call, texts, at least one batch

    def told() -> dict[str, float] | None:
        # The runner notes its times after it has handed the answer over.
        now = figures(service)
        return now if all(now[stage] >= before[stage] + more for stage, more in wanted.items()) else None

    after = wait_for(told, seconds=20, what="the stages of the prediction being told")
    assert after[texts] >= before[texts] + 2
    assert after["thawline_loaded_models"] >= 1
    assert after["thawline_loaded_bytes"] > 1000
    assert "thawline_predict_waiting_texts{model=tiny-classification}" not in after  # none waits


def test_figures_tell_of_jobs_by_status_and_of_waiting_messages(tmp_path: Path, valkey: Valkey) -> None:
    with api_alone(tmp_path, BROKER_URL=valkey.url) as api:
        empty = figures(api)
        files = {"file": ("t.csv", CSV.encode())}
        dataset_id = api.client.post("/datasets", data={"task": "classification"}, files=files).json()["id"]
        waiting = [api.submit(dataset_id, "m").json()["id"] for _ in range(3)]
        api.client.post(f"/jobs/{waiting[0]}/cancel")
        full = figures(api)

        valkey.kill()
        without_broker = figures(api)
        valkey.start()

    assert {status: empty[f"thawline_jobs{{status={status}}}"] for status in STATUSES} == dict.fromkeys(STATUSES, 0)
    assert empty["thawline_broker_messages"] == 0
    assert full["thawline_jobs{status=queued}"] == 2
    assert full["thawline_jobs{status=cancelled}"] == 1
    assert full["thawline_broker_messages"] == 3  # a message is only a hint: that of the cancelled job still waits
    assert without_broker["thawline_jobs{status=queued}"] == 2  # the other figures are told all the same


# ---- limits and advice ----------------------------------------------------------------------------------------------


def test_bodies_that_are_too_large_are_refused_with_the_limit(tmp_path: Path) -> None:
    with api_alone(tmp_path, API_KEY=KEY, MAX_UPLOAD_BYTES="2000", MAX_REQUEST_BYTES="1000") as api:
        api.client.headers["Authorization"] = f"Bearer {KEY}"

        def endless() -> Iterator[bytes]:  # no Content-Length: the limit must be noticed while reading
            for _ in range(100):
                yield b" " * 100

        upload = api.client.post("/datasets", files={"file": ("t.csv", b"x" * 4000)}, data={"task": "classification"})
        assert "THAWLINE_MAX_UPLOAD_BYTES" in problem_of(upload, 413)["detail"]
        for content in (b" " * 2000, endless()):
            refused = problem_of(api.client.post("/jobs", content=content), 413)
            assert "THAWLINE_MAX_REQUEST_BYTES" in refused["detail"]
            assert "1000 bytes" in refused["detail"]


def test_a_file_that_was_sent_as_plain_text_says_how_to_send_a_file(service: Service) -> None:
    # What `curl -F file=train.csv` sends, without the @.
    wrong: list[dict[str, Any]] = [
        {"file": (None, "train.csv")},
        {"file": ("t.csv", CSV.encode()), "test_file": (None, "test.csv")},
    ]
    for parts in wrong:
        answer = service.client.post("/datasets", data={"task": "classification"}, files=parts)

        (error,) = problem_of(answer, 422)["errors"]
        assert error["column"] == list(parts)[-1]
        assert "-F file=@train.csv" in error["message"]


@pytest.mark.parametrize(
    "path", ["/datasets", "/datasets/ds_x/preview", "/jobs", "/jobs/job_x", "/jobs/job_x/events", "/models", "/readyz"]
)
def test_an_unknown_query_parameter_is_refused_by_its_name(service: Service, path: str) -> None:
    # A misspelt filter that is passed over would list everything, and look like the answer.
    body = problem_of(service.client.get(path, params={"modell": "intent"}), 422)

    assert [error["column"] for error in body["errors"]] == ["modell"]
    assert "modell" in body["detail"]


def test_a_query_parameter_sent_twice_is_refused(service: Service) -> None:
    body = problem_of(service.client.get("/jobs?status=queued&status=failed"), 422)

    assert [error["column"] for error in body["errors"]] == ["status"]


def test_head_of_a_live_stream_ends_at_once(tmp_path: Path) -> None:
    with api_alone(tmp_path) as api:  # without a worker: the job waits, and a GET would go on for as long
        files = {"file": ("t.csv", CSV.encode())}
        dataset_id = api.client.post("/datasets", data={"task": "classification"}, files=files).json()["id"]
        job_id = api.submit(dataset_id, "m").json()["id"]

        answer = api.client.head(f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}, timeout=PATIENCE)

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
