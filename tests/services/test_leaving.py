"""A server that is told to stop: it says so first, takes what comes meanwhile, and answers all that it took."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import Service, wait_for

TEXT = {"inputs": "where is my parcel"}


@pytest.fixture
def leaving(service: Service, trained_models: dict[str, TrainedModel], tmp_path: Path) -> Iterator[Service]:
    """A second API on the state of the shared service, which a test may stop."""
    api = Service(
        service.home,
        {"THAWLINE_BROKER_URL": f"redis+socket://{service.home / 'broker.sock'}", "THAWLINE_DRAIN_SECONDS": "1"},
        command=[*service.command[:-1], "api"],
    )
    api.start()
    yield api
    api.stop()
    api.client.close()


def test_no_request_is_lost(leaving: Service) -> None:
    outcomes: Counter[str] = Counter()
    stopping = threading.Event()

    def ask_until_refused() -> None:
        with httpx.Client(base_url=leaving.client.base_url, timeout=30) as client:
            while True:
                try:
                    answer = client.post("/predict/tiny-classification", json=TEXT)
                except httpx.ConnectError:  # nobody listens any more: the server never had this one
                    return
                outcomes[str(answer.status_code)] += 1
                if stopping.is_set():
                    outcomes["after the signal"] += 1

    callers = [threading.Thread(target=ask_until_refused) for _ in range(8)]
    for caller in callers:
        caller.start()
    wait_for(lambda: outcomes["200"] > 50, what="calls being answered")
    assert leaving.process is not None
    stopping.set()
    leaving.process.send_signal(signal.SIGTERM)
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive()

    assert set(outcomes) == {"200", "after the signal"}  # no other status, and no connection that broke
    assert leaving.process.wait(20) in (0, -signal.SIGTERM)


def test_it_says_so_before_it_stops(leaving: Service) -> None:
    assert leaving.process is not None
    leaving.process.send_signal(signal.SIGTERM)
    ready = wait_for(
        lambda: answer if (answer := leaving.client.get("/readyz")).status_code == 503 else None,
        what="the server saying that it leaves",
    )
    answer = leaving.client.post("/predict/tiny-classification", json=TEXT)

    assert ready.json()["checks"]["server"] == "it is about to stop"
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"


def test_a_second_service_in_the_same_home_is_refused(service: Service) -> None:
    second = subprocess.run(
        service.command,
        env={**os.environ, "THAWLINE_HOME": str(service.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 2
    assert "another `thawline serve` runs" in second.stderr
    assert service.client.get("/readyz").status_code == 200


def test_a_port_that_somebody_has_is_told_before_anything_starts(service: Service, tmp_path: Path) -> None:
    second = subprocess.run(
        service.command,
        env={**os.environ, "THAWLINE_HOME": str(tmp_path), "THAWLINE_PORT": str(service.port)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 2
    assert f"port {service.port}" in second.stderr
    assert "ready" not in second.stdout
