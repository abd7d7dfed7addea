"""Webhooks over HTTP: what URLs are taken, and what was sent."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from models_store import jobs
from models_store.jobs import Answer
from tests.api.checks import Answer as Response
from tests.api.checks import problem_of
from tests.api.conftest import AppFactory
from tests.api.test_jobs import database, start
from tests.fixtures.receiver import SECRET
from tests.models_store.samples import LONG, add_dataset, claim

URL = "https://hooks.example.org/thawline?token=1"


@pytest.fixture
def hooked(start_app: AppFactory) -> TestClient:
    """An application that may send webhooks."""
    return start_app(webhook_secret=SECRET)


def listed(client: TestClient, job_id: str, **params: Any) -> Any:
    return client.get(f"/jobs/{job_id}/webhooks", params=params).json()


# ---- asking for them ------------------------------------------------------------------------------------------------


def test_a_job_shows_its_webhook(hooked: TestClient) -> None:
    job = start(hooked, webhook_url=URL).json()

    assert job["webhook_url"] == URL
    assert hooked.get(f"/jobs/{job['id']}").json()["webhook_url"] == URL
    assert start(hooked).json()["webhook_url"] is None
    assert start(hooked, webhook_url=None).json()["webhook_url"] is None


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.org/", "url_scheme"),
        ("file:///etc/passwd", "url_scheme"),
        ("example.org/hooks", "url_parsing"),
        ("/hooks", "url_parsing"),
        ("", "url_parsing"),
        ("https://", "url_parsing"),
        ("https://example.org:99999/", "url_parsing"),
        ("https://example.org/" + "a" * 2048, "url_too_long"),
        ("https://user:hunter2@example.org/", "url_credentials"),
        ("https://hunter2@example.org/", "url_credentials"),
        (7, "url_type"),
        (["https://example.org/"], "url_type"),
    ],
)
def test_what_is_no_url_to_call_is_refused_by_name(hooked: TestClient, url: Any, code: str) -> None:
    answer = start(hooked, webhook_url=url)

    (error,) = problem_of(answer, 422)["errors"]
    assert (error["column"], error["code"]) == ("webhook_url", code)
    assert "hunter2" not in answer.text
    assert hooked.get("/jobs").json()["data"] == []


def test_the_same_key_with_another_url_is_another_request(hooked: TestClient) -> None:
    dataset_id = add_dataset(database(hooked))
    first = start(hooked, key="k", dataset_id=dataset_id, webhook_url=URL).json()

    assert start(hooked, key="k", dataset_id=dataset_id, webhook_url=URL).json()["id"] == first["id"]
    body = problem_of(start(hooked, key="k", dataset_id=dataset_id, webhook_url=URL + "2"), 422)
    assert body["type"] == "urn:thawline:error:idempotency_key_reused"


def not_configured(answer: Response) -> bool:
    body = problem_of(answer, 422)
    assert "THAWLINE_WEBHOOK_SECRET" in body["detail"]
    assert [error["column"] for error in body["errors"]] == ["webhook_url"]
    return bool(body["type"] == "urn:thawline:error:webhook_not_configured")


def test_without_a_secret_there_are_no_webhooks(client: TestClient) -> None:
    assert not_configured(start(client, webhook_url=URL))
    assert client.get("/jobs").json()["data"] == []
    assert start(client).status_code == 202


def test_a_retry_keeps_the_webhook_and_needs_the_secret_too(hooked: TestClient, start_app: AppFactory) -> None:
    job = start(hooked, webhook_url=URL).json()
    hooked.post(f"/jobs/{job['id']}/cancel")

    assert not_configured(start_app().post(f"/jobs/{job['id']}/retry"))  # the same database, no secret
    again = hooked.post(f"/jobs/{job['id']}/retry")

    assert again.status_code == 202
    assert again.json()["webhook_url"] == URL


# ---- what was sent --------------------------------------------------------------------------------------------------


def test_the_deliveries_of_a_job(hooked: TestClient) -> None:
    db, job_id = database(hooked), start(hooked, webhook_url=URL).json()["id"]
    assert listed(hooked, job_id) == {"object": "list", "data": [], "has_more": False}
    jobs.fail(db, claim(db, job_id), code="broken", message="broken")
    first = jobs.claim_delivery(db, lease_seconds=LONG)
    assert first is not None
    jobs.settle(db, first, Answer(status=204))

    told, waits = listed(hooked, job_id)["data"]

    assert (told["id"], told["object"], told["job_id"]) == (first.id, "webhook.delivery", job_id)
    assert (told["type"], told["url"], told["payload"]) == ("job.running", URL, first.payload)
    assert (told["status"], told["attempts"], told["last_status"]) == ("delivered", 1, 204)
    assert (told["last_error"], told["next_attempt_at"]) == (None, None)
    assert told["delivered_at"] is not None
    assert (waits["type"], waits["status"], waits["attempts"]) == ("job.failed", "pending", 0)
    assert waits["next_attempt_at"] is not None
    assert waits["delivered_at"] is None


def test_the_deliveries_come_in_pages(hooked: TestClient) -> None:
    db, job_id = database(hooked), start(hooked, webhook_url=URL).json()["id"]
    for _ in range(3):
        jobs.release(db, claim(db, job_id), reason="a deploy", spend_attempt=False)
    whole = listed(hooked, job_id)["data"]

    page = listed(hooked, job_id, limit=2)
    rest = listed(hooked, job_id, limit=2, after=page["data"][-1]["id"])

    assert (page["data"], page["has_more"]) == (whole[:2], True)
    assert (rest["data"], rest["has_more"]) == (whole[2:], False)
    problem_of(hooked.get(f"/jobs/{job_id}/webhooks", params={"limit": 0}), 422)


def test_an_unknown_job_has_no_list(hooked: TestClient) -> None:
    problem_of(hooked.get("/jobs/job_unknown/webhooks"), 404)


def test_metrics_tell_how_many_are_still_to_be_delivered(hooked: TestClient) -> None:
    claim(database(hooked), start(hooked, webhook_url=URL).json()["id"])

    assert "thawline_webhooks_pending 1.0" in hooked.get("/metrics").text


def test_the_secret_is_shown_nowhere(hooked: TestClient) -> None:
    job_id = start(hooked, webhook_url=URL).json()["id"]
    claim(database(hooked), job_id)

    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/webhooks", f"/jobs/{job_id}/events", "/metrics", "/openapi.json"):
        assert SECRET.removeprefix("whsec_") not in hooked.get(path).text
