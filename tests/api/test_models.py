"""``/models``: what they show, which version a name means, and what goes when one is deleted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from api.services import Services
from models_store import jobs
from models_store.registry import NewVersion
from tests.api.checks import Answer, problem_of
from tests.fixtures.models import QUICK, TASKS, TrainedModel
from tests.fixtures.servers import Service
from tests.models_store.samples import claim, submit

Trained = dict[str, TrainedModel]
TEXT = {"inputs": "where is my parcel"}


def services(client: TestClient) -> Services:
    found: Services = client.app.state.services  # type: ignore[attr-defined]
    return found


def publish(client: TestClient, **fields: Any) -> Path:
    """The next version of `intent`; the folder of its artifact, which holds a file and no model."""
    job = submit(services(client).db, model="intent", **fields)
    key = f"models/{job.id}.1"
    with services(client).store.staging() as folder:
        (folder / "file").write_text("content", encoding="utf-8")
        services(client).store.publish(folder, key, {})
    mine = claim(services(client).db, job.id)
    jobs.succeed(services(client).db, mine, result={}, version=NewVersion(key, "linear", {"validation": {}}, 7))
    return services(client).store.path(key)


def set_alias(client: TestClient | httpx.Client, alias: str, version: Any, model: str = "intent") -> Answer:
    return client.put(f"/models/{model}/aliases/{alias}", json={"version": version})


def test_a_model_shows_its_versions_and_aliases(service: Service, trained_models: Trained) -> None:
    model = service.client.get("/models/tiny-tagging").json()
    job = trained_models["tagging"].job

    assert (model["object"], model["task"], model["aliases"]) == ("model", "tagging", {"production": 1})
    (version,) = model["versions"]
    assert (version["version"], version["job_id"]) == (1, job["id"])
    assert version["metrics"] == job["result"]["metrics"]
    assert service.client.get("/models/tiny-tagging/versions/1").json() == version
    assert model in service.client.get("/models", params={"limit": 100}).json()["data"]


# ---- reports --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TASKS)
def test_a_version_has_the_report_that_its_training_wrote(service: Service, trained_models: Trained, kind: str) -> None:
    job = trained_models[kind].job

    answer = service.client.get(f"/models/tiny-{kind}/versions/1/report")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    assert (body["object"], body["task"], body["head"]) == ("model.report", job["task"], job["result"]["head"])
    assert body["splits"]["validation"]["metrics"] == job["result"]["metrics"]["validation"]
    assert body["spec"] == job["spec"]
    assert body["dataset_sha256"] == trained_models[kind].dataset["sha256"]
    (folder,) = (service.home / "artifacts" / "models").glob(f"{job['id']}.*")
    assert body == json.loads((folder / "report.json").read_bytes())
    assert {"report.json", "README.md"} <= set(json.loads((folder / "manifest.json").read_bytes())["files"])


def test_a_version_older_than_reports_says_so(client: TestClient) -> None:
    publish(client)

    body = problem_of(client.get("/models/intent/versions/1/report"), 404)

    assert body["type"] == "urn:thawline:error:report_not_found"
    assert "version 1 of 'intent' has no report" in body["detail"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("nobody/versions/1", "model_not_found"),
        ("intent/versions/2", "version_not_found"),
    ],
)
def test_there_is_no_report_of_what_does_not_exist(client: TestClient, path: str, code: str) -> None:
    publish(client)

    assert problem_of(client.get(f"/models/{path}/report"), 404)["type"] == f"urn:thawline:error:{code}"


def test_a_report_that_was_altered_is_not_shown(client: TestClient, service: Service, trained_models: Trained) -> None:
    (trained,) = (service.home / "artifacts" / "models").glob(f"{trained_models['classification'].job['id']}.*")
    folder = publish(client)
    shutil.rmtree(folder)
    shutil.copytree(trained, folder)
    assert client.get("/models/intent/versions/1/report").status_code == 200
    report = folder / "report.json"
    report.write_text(report.read_text(encoding="utf-8").replace("money", "honey"), encoding="utf-8")

    body = problem_of(client.get("/models/intent/versions/1/report"), 503)

    assert body["type"] == "urn:thawline:error:artifact_corrupt"


# ---- aliases --------------------------------------------------------------------------------------------------------


def test_an_alias_is_set_and_moved(client: TestClient) -> None:
    publish(client)
    publish(client)

    first = set_alias(client, "staging", 1)
    moved = set_alias(client, "staging", 2)

    assert (first.status_code, moved.status_code) == (200, 200)
    assert first.json()["aliases"] == {"production": 2, "staging": 1}
    assert moved.json()["aliases"] == {"production": 2, "staging": 2}
    assert client.get("/models/intent").json() == moved.json()


def test_predictions_follow_an_alias_at_once(client: TestClient, service: Service, trained_models: Trained) -> None:
    (trained,) = (service.home / "artifacts" / "models").glob(f"{trained_models['classification'].job['id']}.*")
    for folder in (publish(client), publish(client)):
        shutil.rmtree(folder)
        shutil.copytree(trained, folder)

    def answering(reference: str) -> int:
        answer = client.post(f"/predict/{reference}", json=TEXT)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["version"])

    assert answering("intent") == 2
    for version in (1, 2, 1):
        set_alias(client, "staging", version)
        assert answering("intent@staging") == version
    set_alias(client, "production", 1)
    assert answering("intent") == 1


def test_an_alias_points_at_no_version_that_is_not_there(client: TestClient) -> None:
    publish(client)

    body = problem_of(set_alias(client, "staging", 2), 404)

    assert body["type"] == "urn:thawline:error:version_not_found"
    assert client.get("/models/intent").json()["aliases"] == {"production": 1}


@pytest.mark.parametrize("version", [0, -1, "1", True, 1.5, None, 2**31])
def test_a_version_is_a_whole_number(client: TestClient, version: Any) -> None:
    publish(client)

    body = problem_of(set_alias(client, "staging", version), 422)

    assert [error["column"] for error in body["errors"]] == ["version"]


def test_a_body_with_more_than_the_version_is_refused(client: TestClient) -> None:
    publish(client)

    answer = client.put("/models/intent/aliases/staging", json={"version": 1, "force": True})

    assert [error["column"] for error in problem_of(answer, 422)["errors"]] == ["force"]


@pytest.mark.parametrize("alias", ["Staging", "3", "9lives", "-a", "a%20b", "a@b", "stägïng", "a" * 64])
def test_a_name_that_no_reference_could_hold_is_no_alias(client: TestClient, alias: str) -> None:
    # `model@3` means a version: an alias that looks like one could never be asked for.
    publish(client)

    for answer in (set_alias(client, alias, 1), client.delete(f"/models/intent/aliases/{alias}")):
        assert [error["column"] for error in problem_of(answer, 422)["errors"]] == ["alias"]


def test_a_deleted_alias_leaves_its_version(client: TestClient) -> None:
    publish(client)

    deleted = client.delete("/models/intent/aliases/production")

    assert (deleted.status_code, deleted.content) == (204, b"")
    model = client.get("/models/intent").json()
    assert (model["aliases"], [version["version"] for version in model["versions"]]) == ({}, [1])
    for answer in (client.delete("/models/intent/aliases/production"), client.post("/predict/intent", json=TEXT)):
        body = problem_of(answer, 404)
        assert body["type"] == "urn:thawline:error:alias_not_found"
        assert "ask for intent@1" in body["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/models/nobody/aliases/staging"),
        ("DELETE", "/models/nobody/aliases/staging"),
        ("DELETE", "/models/nobody"),
    ],
)
def test_a_model_that_is_not_there_cannot_be_changed(client: TestClient, method: str, path: str) -> None:
    body = problem_of(client.request(method, path, json={"version": 1}), 404)

    assert body["type"] == "urn:thawline:error:model_not_found"


# ---- deletion -------------------------------------------------------------------------------------------------------


def test_a_version_is_deleted_once_no_alias_points_at_it(client: TestClient) -> None:
    first = publish(client)
    problem_of(client.delete("/models/intent/versions/1"), 409)
    assert first.is_dir()
    second = publish(client)  # production points here now

    answer = client.delete("/models/intent/versions/1")

    assert (answer.status_code, answer.content) == (204, b"")
    assert (first.exists(), second.is_dir()) == (False, True)
    problem_of(client.get("/models/intent/versions/1"), 404)
    problem_of(client.delete("/models/intent/versions/1"), 404)


def test_a_deleted_model_takes_its_versions_and_their_files_along(client: TestClient) -> None:
    folders = [publish(client), publish(client, promote="never")]
    assert all(folder.is_dir() for folder in folders)

    answer = client.delete("/models/intent")

    assert (answer.status_code, answer.content) == (204, b"")
    assert not any(folder.exists() for folder in folders)
    assert client.get("/models").json()["data"] == []
    for again in (
        client.delete("/models/intent"),
        client.get("/models/intent"),
        client.get("/models/intent/versions/1"),
        client.post("/predict/intent", json=TEXT),
    ):
        problem_of(again, 404)


def test_a_model_is_kept_while_a_job_for_it_is_open(client: TestClient) -> None:
    folder = publish(client)
    job = submit(services(client).db, model="intent")

    body = problem_of(client.delete("/models/intent"), 409)

    assert body["type"] == "urn:thawline:error:model_in_use"
    assert job.id in body["detail"]
    assert folder.is_dir()
    assert client.get("/models/intent").status_code == 200

    client.post(f"/jobs/{job.id}/cancel")
    assert client.delete("/models/intent").status_code == 204
    assert client.get(f"/jobs/{job.id}").status_code == 200  # the history stays


# ---- a version that waits for its promotion -------------------------------------------------------------------------


def test_a_model_trained_without_promotion_answers_once_somebody_promotes_it(
    service: Service, trained_models: Trained
) -> None:
    dataset_id = trained_models["classification"].dataset["id"]
    asked = service.submit(dataset_id, "quiet", base_model="tiny", hyperparameters=QUICK, promote="never")
    assert (asked.status_code, asked.json()["spec"]["promote"]) == (202, "never")
    assert service.wait_for_job(asked.json()["id"])["model"] == {"name": "quiet", "version": 1}

    def ask(reference: str) -> httpx.Response:
        return service.client.post(f"/predict/{reference}", json=TEXT)

    refused = problem_of(ask("quiet"), 404)
    assert refused["type"] == "urn:thawline:error:alias_not_found"
    assert "quiet@1" in refused["detail"]
    assert ask("quiet@1").status_code == 200

    assert set_alias(service.client, "production", 1, model="quiet").json()["aliases"] == {"production": 1}
    assert ask("quiet").json()["version"] == 1

    (folder,) = (service.home / "artifacts" / "models").glob(f"{asked.json()['id']}.*")
    assert service.client.delete("/models/quiet").status_code == 204
    assert not folder.exists()
    problem_of(ask("quiet"), 404)
