"""``/models/{name}/aliases``: set with canary and shadow, shown with their history, rolled back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models_store import jobs
from models_store.registry import NewVersion
from tests.api.checks import Answer, problem_of
from tests.api.test_models import services
from tests.fixtures.models import SampleFiles
from tests.fixtures.servers import Service, wait_for
from tests.models_store.samples import claim, submit

PRODUCTION = "/models/intent/aliases/production"


def publish(client: TestClient, number: int = 1) -> None:
    """The next versions of `intent`, without files."""
    for _ in range(number):
        job = submit(services(client).db, model="intent")
        mine = claim(services(client).db, job.id)
        jobs.succeed(services(client).db, mine, result={}, version=NewVersion(f"models/{job.id}.1", "linear", {}, 7))


def put(client: TestClient, **body: Any) -> Answer:
    return client.put(PRODUCTION, json=body)


def test_an_alias_is_shown_with_all_that_it_means(client: TestClient) -> None:
    publish(client, 3)

    answer = put(client, version=2, canary={"version": 3, "weight": 0.1}, shadow=1)

    assert answer.status_code == 200, answer.text
    model = answer.json()
    assert model["aliases"] == {"production": 2}
    detail = model["alias_details"]["production"]
    assert {key: detail[key] for key in ("version", "canary", "shadow", "previous")} == {
        "version": 2, "canary": {"version": 3, "weight": 0.1}, "shadow": 1, "previous": 3,
    }  # fmt: skip
    assert client.get("/models/intent").json() == model
    assert client.get("/models").json()["data"] == [model]

    alias = client.get(PRODUCTION).json()
    assert (alias["object"], alias["model"], alias["alias"]) == ("model.alias", "intent", "production")
    assert {key: alias[key] for key in detail} == detail
    assert alias["shadow_report"] == {
        "version": 1, "since": alias["updated_at"], "compared": 0, "disagreed": 0, "agreement": None,
        "dropped": 0, "failed": 0, "last_error": None, "examples": [],
    }  # fmt: skip
    assert [(change["version"], change["changed_by"].split()[0]) for change in alias["history"]] == [
        (2, "api"), (3, "job"), (2, "job"), (1, "job"),
    ]  # fmt: skip
    assert alias["history"][0]["canary"] == {"version": 3, "weight": 0.1}


def test_what_a_put_leaves_out_is_gone(client: TestClient) -> None:
    publish(client, 3)
    put(client, version=2, canary={"version": 3, "weight": 0.1}, shadow=1)

    put(client, version=2)

    alias = client.get(PRODUCTION).json()
    assert (alias["canary"], alias["shadow"], alias["shadow_report"]) == (None, None, None)


@pytest.mark.parametrize(
    ("body", "status", "column"),
    [
        ({"version": 1, "canary": {"version": 1, "weight": 0.5}}, 422, "canary.version"),
        ({"version": 1, "shadow": 1}, 422, "shadow"),
        ({"version": 1, "canary": {"version": 2, "weight": 0}}, 422, "canary.weight"),
        ({"version": 1, "canary": {"version": 2, "weight": 1}}, 422, "canary.weight"),
        ({"version": 1, "canary": {"version": 2, "weight": "0.1"}}, 422, "canary.weight"),
        ({"version": 1, "canary": {"version": 2, "weight": True}}, 422, "canary.weight"),
        ({"version": 1, "canary": {"version": 2}}, 422, "canary.weight"),
        ({"version": 1, "canary": {"version": 2, "weight": 0.1, "sticky": True}}, 422, "canary.sticky"),
        ({"version": 1, "canary": 2}, 422, "canary"),
        ({"version": 1, "shadow": "2"}, 422, "shadow"),
        ({"version": 1, "canary": {"version": 9, "weight": 0.5}}, 404, None),
        ({"version": 1, "shadow": 9}, 404, None),
    ],
)
def test_what_an_alias_cannot_mean_is_refused(
    client: TestClient, body: dict[str, Any], status: int, column: str | None
) -> None:
    publish(client, 2)

    problem = problem_of(put(client, **body), status)

    assert [error["column"] for error in problem.get("errors", [])] == ([column] if column else [])
    assert client.get("/models/intent").json()["aliases"] == {"production": 2}


def test_a_roll_back_goes_further_back_each_time(client: TestClient) -> None:
    publish(client, 3)

    first = client.post(f"{PRODUCTION}/rollback")

    assert first.status_code == 200, first.text
    assert (first.json()["version"], first.json()["previous"]) == (2, 1)
    assert first.json() == client.get(PRODUCTION).json()
    assert client.post(f"{PRODUCTION}/rollback", json={}).json()["version"] == 1
    body = problem_of(client.post(f"{PRODUCTION}/rollback"), 409)
    assert body["type"] == "urn:thawline:error:nothing_to_roll_back_to"


def test_a_repeated_roll_back_that_names_what_it_leaves_is_refused(client: TestClient) -> None:
    publish(client, 3)
    body = {"from_version": 3}

    assert client.post(f"{PRODUCTION}/rollback", json=body).json()["version"] == 2

    problem = problem_of(client.post(f"{PRODUCTION}/rollback", json=body), 409)
    assert problem["type"] == "urn:thawline:error:alias_changed"
    refused = problem_of(client.post(f"{PRODUCTION}/rollback", json={"version": 3}), 422)
    assert [error["column"] for error in refused["errors"]] == ["version"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/models/nobody/aliases/staging", "model_not_found"),
        ("GET", "/models/intent/aliases/staging", "alias_not_found"),
        ("POST", "/models/nobody/aliases/staging/rollback", "model_not_found"),
        ("POST", "/models/intent/aliases/staging/rollback", "alias_not_found"),
    ],
)
def test_there_is_nothing_to_say_of_what_is_not_there(client: TestClient, method: str, path: str, code: str) -> None:
    publish(client)

    assert problem_of(client.request(method, path), 404)["type"] == f"urn:thawline:error:{code}"


def test_a_canary_and_a_shadow_are_not_deleted(client: TestClient) -> None:
    publish(client, 3)
    put(client, version=1, canary={"version": 2, "weight": 0.1}, shadow=3)

    for version in (1, 2, 3):
        body = problem_of(client.delete(f"/models/intent/versions/{version}"), 409)
        assert body["type"] == "urn:thawline:error:version_in_use"


# ---- the whole story, on a real service -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def train(service: Service, sample_files: dict[str, SampleFiles]) -> Callable[[float], dict[str, Any]]:
    """Trains another version of `story` on the frozen encoder; the job."""
    files = sample_files["classification"]
    dataset_id = service.upload("classification", files.train, files.validation).json()["id"]

    def start(learning_rate: float) -> dict[str, Any]:
        values = {"head_epochs": 60, "head_learning_rate": learning_rate, "batch_size": 8}
        answer = service.submit(
            dataset_id, "story", base_model="tiny", strategy="frozen", head="linear",
            hyperparameters=values, export={"precision": "fp32"}, promote="if_better",
        )  # fmt: skip
        assert answer.status_code == 202, answer.text
        job = service.wait_for_job(answer.json()["id"])
        assert job["status"] == "succeeded", job
        return job

    return start


def answering(service: Service, reference: str, key: str | None = None, **params: str) -> int:
    headers = {"Routing-Key": key} if key is not None else {}
    body = {"inputs": "where is my parcel"}
    answer = service.client.post(f"/predict/{reference}", json=body, headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["version"])


def test_a_version_grows_from_shadow_to_canary_to_production_and_back(
    service: Service, train: Callable[[float], dict[str, Any]]
) -> None:
    # A version that has learnt nothing is promoted, there being no other; a good one takes its place, and keeps it.
    bad = train(1e-9)["result"]["promotion"]
    good = train(0.01)["result"]["promotion"]
    worse = train(1e-9)
    assert (bad["promoted"], bad["compared_with"]) == (True, None)
    assert (good["promoted"], good["compared_with"], good["new"] > good["old"]) == (True, 1, True)
    told = worse["result"]["promotion"]
    assert (told["promoted"], told["compared_with"], told["new"] < told["old"]) == (False, 2, True)
    events = service.client.get(f"/jobs/{worse['id']}/events", params={"limit": 100}).json()["data"]
    assert f"version 3 was not promoted: {told['reason']}" in [event["message"] for event in events]
    assert answering(service, "story") == 2

    alias = "/models/story/aliases/production"
    put = service.client.put(alias, json={"version": 2, "canary": {"version": 3, "weight": 0.3}, "shadow": 1})
    assert put.status_code == 200, put.text

    assert answering(service, "story@3") == 3  # in memory, so that none of its calls goes to another one for a while
    # The canary answers its share, the same keys each time; a version by its number or precision is never shared out.
    keys = [f"user-{number}" for number in range(200)]
    answers = [answering(service, "story", key) for key in keys]
    assert set(answers) == {2, 3}
    assert 30 <= answers.count(3) <= 90  # 60 are expected, within more than four standard deviations
    assert [answering(service, "story@production", key) for key in keys[:20]] == answers[:20]
    canaries = [key for key, version in zip(keys, answers, strict=True) if version == 3]
    assert answering(service, "story@2", canaries[0]) == 2
    assert answering(service, "story", canaries[0], precision="fp32") == 2
    assert {answering(service, "story") for _ in range(60)} == {2, 3}

    def report() -> dict[str, Any]:
        body = service.client.get(alias).json()["shadow_report"]
        assert isinstance(body, dict)
        return body

    # What was asked since the shadow is there, and the canary did not answer, is compared, or told to be dropped.
    asked = answers.count(2) + answers[:20].count(2)
    wait_for(lambda: report()["compared"] + report()["dropped"] >= asked, seconds=20, what="the shadow's figures")
    seen = report()
    assert seen["failed"] == 0, seen
    assert seen["compared"] > 0
    assert seen["agreement"] == pytest.approx(1 - seen["disagreed"] / seen["compared"])
    assert seen["examples"] == []  # texts are stored only where the operator lets them be
    metrics = service.client.get("/metrics").text
    assert 'thawline_shadow_comparisons_total{model="story",shadow="1",version="2"}' in metrics
    assert 'thawline_predict_calls_total{model="story",outcome="answered",version="3"}' in metrics

    # The canary goes first, then the version itself.
    assert service.client.post(f"{alias}/rollback").json()["canary"] is None
    assert {answering(service, "story", key) for key in canaries[:5]} == {2}
    assert service.client.post(f"{alias}/rollback").json()["version"] == 1
    assert answering(service, "story") == 1
    assert problem_of(service.client.post(f"{alias}/rollback"), 409)
    history = service.client.get(alias).json()["history"]
    assert [change["version"] for change in history] == [1, 2, 2, 2, 1]
