"""Uploads that are too large to be read while their caller waits, over HTTP, with a real process that reads them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from migrations import upgrade
from models_store.settings import Settings
from tests.fixtures.servers import wait_for

GOOD = "text,label\n" + "".join(f"example {i},{'ab'[i % 2]}\n" for i in range(1000))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    upgrade(f"sqlite:///{tmp_path / 'thawline.db'}")
    settings = Settings(_env_file=None, home=tmp_path, validate_at_once_bytes=1000, max_unpacked_bytes=3_000_000)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


def sent(client: TestClient, content: str) -> dict[str, Any]:
    answer = client.post("/datasets", data={"task": "classification"}, files={"file": ("train.csv", content)})
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/datasets/{body['id']}"
    assert body["status"] == "validating"
    return body


def ended(client: TestClient, dataset_id: str) -> dict[str, Any]:
    """The data set once it has been read."""

    def over() -> dict[str, Any] | None:
        body: dict[str, Any] = client.get(f"/datasets/{dataset_id}").json()
        return None if body["status"] == "validating" else body

    found: dict[str, Any] | None = wait_for(over, seconds=60, what="the end of a validation")
    assert found is not None
    return found


def readers() -> list[psutil.Process]:
    """The processes of this test that read uploads."""
    return [one for one in psutil.Process().children() if "models_store.datasets.validating" in one.cmdline()]


def test_a_large_upload_is_read_by_a_process_of_its_own(client: TestClient) -> None:
    body = sent(client, GOOD)

    ready = ended(client, body["id"])

    assert (ready["status"], ready["splits"]["train"]["rows"]) == ("ready", 900)
    assert client.get(f"/datasets/{body['id']}/preview").json()["data"][0]["text"] == "example 0"
    again = client.post("/datasets", data={"task": "classification"}, files={"file": ("train.csv", GOOD)})
    assert (again.status_code, again.json()["id"]) == (200, body["id"])


def test_what_is_wrong_is_told_afterwards(client: TestClient) -> None:
    body = sent(client, GOOD + " ,a\n")

    invalid = ended(client, body["id"])

    assert (invalid["status"], invalid["error_count"]) == ("invalid", 1)
    assert invalid["errors"][0]["line"] == 1002
    answer = client.post("/jobs", json={"dataset_id": body["id"], "model": "m"})
    assert (answer.status_code, "invalid" in answer.json()["detail"]) == (409, True)
    assert client.get(f"/datasets/{body['id']}/preview").status_code == 409
    assert client.delete(f"/datasets/{body['id']}").status_code == 204


def test_a_reader_that_is_killed_is_followed_by_another(client: TestClient) -> None:
    body = sent(client, GOOD)

    wait_for(readers, seconds=30, what="a process that reads the upload")[0].kill()

    assert ended(client, body["id"])["status"] == "ready"


def test_an_archive_that_unpacks_to_more_than_it_may_is_invalid(client: TestClient) -> None:
    packed = gzip.compress(("text,label\n" + "x,a\ny,b\n" * 1_000_000).encode())
    answer = client.post("/datasets", data={"task": "classification"}, files={"file": ("train.csv.gz", packed)})
    assert answer.status_code == 202  # packed, it may stand for much more

    invalid = ended(client, answer.json()["id"])

    assert (invalid["status"], invalid["errors"][0]["code"]) == ("invalid", "too_large")


def test_a_large_file_is_not_tried_while_its_sender_waits(client: TestClient) -> None:
    answer = client.post("/datasets/validate", data={"task": "classification"}, files={"file": ("train.csv", GOOD)})
    assert answer.status_code == 413
    assert "validates them as a job" in answer.json()["detail"]
