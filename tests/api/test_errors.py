"""Errors: whatever goes wrong, the answer is a problem document that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from structlog.testing import capture_logs

from api.errors import STATUS_OF_ERROR
from models_store import errors, jobs
from tests.api.checks import problem_of
from tests.fixtures.servers import Service
from tests.models_store.samples import add_dataset

JSON = {"Content-Type": "application/json"}


def concrete_errors() -> list[type[errors.ThawlineError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ThawlineError)]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/web/nothing.js", 404),
        ("GET", "/jobs/", 404),
        ("POST", "/jobs/", 404),
        ("POST", "/predict/m/", 404),
        ("GET", "/datasets/ds_x", 404),
        ("GET", "/datasets/ds_x/preview", 404),
        ("GET", "/jobs/job_x", 404),
        ("GET", "/jobs/job_x/events", 404),
        ("GET", "/models/nobody", 404),
        ("GET", "/models/nobody/versions/1", 404),
        ("DELETE", "/datasets/ds_x", 404),
        ("DELETE", "/models/nobody/versions/1", 404),
        ("POST", "/jobs/job_x/cancel", 404),
        ("PUT", "/jobs", 405),
        ("GET", "/predict/m", 405),
        ("DELETE", "/datasets", 405),
        ("GET", "/datasets?limit=0", 422),
        ("GET", "/jobs?limit=101", 422),
        ("GET", "/models?limit=many", 422),
        ("GET", "/jobs?status=sleeping", 422),
        ("GET", "/datasets?task=translation", 422),
        ("GET", "/datasets/ds_x/preview?split=dev", 422),
        ("GET", "/jobs/job_x/events?after=-1", 422),
        ("GET", "/jobs/job_x/events?after=99999999999999999999", 422),
        ("GET", "/models/m/versions/0", 422),
        ("GET", "/models/m/versions/99999999999", 422),
        ("GET", "/models/m/versions/one", 422),
    ],
)
def test_every_error_is_a_problem_document(service: Service, method: str, path: str, status: int) -> None:
    answer = service.client.request(method, path)

    problem_of(answer, status)
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"dataset_id": "ds_x", ', "not JSON"),
        (b"", "required"),
        (b"[]", "expected a JSON object"),
        (b"null", "expected a JSON object"),
        (b'{"model": "\xff"}', "pars"),
        (b"[" * 100_000, "pars"),
    ],
    ids=["cut short", "nothing", "a list", "null", "not UTF-8", "nested too deeply"],
)
@pytest.mark.parametrize("path", ["/jobs", "/predict/m"])
def test_a_body_that_is_no_json_object_is_refused(service: Service, path: str, content: bytes, words: str) -> None:
    answer = service.client.post(path, content=content, headers=JSON)

    assert words in problem_of(answer, answer.status_code)["detail"]
    assert answer.status_code in (400, 422)


def test_malformed_json_is_told_with_its_place(service: Service) -> None:
    body = problem_of(service.client.post("/jobs", content=b'{"model": }', headers=JSON), 422)

    assert body["detail"] == "the body is not JSON: Expecting value at character 11"
    assert [error["code"] for error in body["errors"]] == ["json_invalid"]


@pytest.mark.parametrize(
    ("path", "sent", "wanted"),
    [
        ("/jobs", "text/plain", "application/json"),
        ("/jobs", "application/x-www-form-urlencoded", "application/json"),
        ("/predict/m", "text/plain", "application/json"),
        ("/datasets", "application/json", "multipart/form-data"),
        ("/datasets", "text/csv", "multipart/form-data"),
    ],
)
def test_a_body_of_another_kind_says_which_kind_is_wanted(service: Service, path: str, sent: str, wanted: str) -> None:
    body = problem_of(service.client.post(path, content=b'{"inputs": "x"}', headers={"Content-Type": sent}), 415)

    assert wanted in body["detail"]


@pytest.mark.parametrize(
    ("body", "column"),
    [
        ({}, "dataset_id"),
        ({"colour": 1}, "colour"),
        ({"hyperparameters": {"colour": 1}}, "hyperparameters.colour"),
        ({"hyperparameters": {"max_length": "long"}}, "hyperparameters.max_length"),
        ({"hyperparameters": {"full_learning_rate": 0}}, "hyperparameters.full_learning_rate"),
        ({"hyperparameters": {"batch_size": 0}}, "hyperparameters.batch_size"),
        ({"hyperparameters": {"head_epochs": "3"}}, "hyperparameters.head_epochs"),
        ({"model": "Not A Name"}, "model"),
        ({"strategy": "magic"}, "strategy"),
        ({"head": 7}, "head"),
        ({"head": "zork"}, "head"),
        ({"promote": True}, "promote"),
        ({"metadata": {"team": 7}}, "metadata.team"),
        ({"metadata": {"team": "x" * 513}}, "metadata.team"),
        ({"export": []}, "export"),
        ({"seed": -1}, "seed"),
        ({"seed": None}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": "7"}, "seed"),
    ],
)
def test_a_wrong_field_is_named_as_it_was_written(service: Service, body: dict[str, Any], column: str) -> None:
    given = {"dataset_id": "ds_x", "model": "m"} if body else {"model": "m"}
    answer = problem_of(service.client.post("/jobs", json={**given, **body}), 422)

    assert {error["column"] for error in answer["errors"]} == {column}
    assert column in answer["detail"]


@pytest.mark.parametrize("field", ["hyperparameters", "export", "metadata"])
def test_what_should_be_an_object_says_so(service: Service, field: str) -> None:
    answer = service.client.post("/jobs", json={"dataset_id": "ds_x", "model": "m", field: []})

    assert problem_of(answer, 422)["detail"] == f"{field}: expected a JSON object"


def test_half_a_surrogate_pair_can_be_talked_about(service: Service) -> None:
    # JSON can escape it and UTF-8 cannot hold it, so that an answer which quotes it must escape it, too.
    for content in (b'{"\\ud800": 1}', b'{"model": "\\ud800"}', b'{"seed": "\\ud800"}'):
        problem_of(service.client.post("/jobs", content=content, headers=JSON), 422)


def test_several_wrong_fields_are_told_at_once(service: Service) -> None:
    body = problem_of(service.client.post("/jobs", json={"model": "A B", "seed": "x", "colour": 1}), 422)

    assert body["error_count"] == 4
    assert {error["column"] for error in body["errors"]} == {"dataset_id", "model", "seed", "colour"}


def test_a_missing_job_field_is_told_before_the_data_set_is_looked_for(service: Service) -> None:
    assert problem_of(service.client.post("/jobs", json={"dataset_id": "ds_x"}), 422)["errors"][0]["column"] == "model"


# ---- faults ---------------------------------------------------------------------------------------------------------


def test_every_error_of_the_domain_has_a_status_or_is_internal() -> None:
    internal = {errors.ThawlineError, errors.LeaseLostError, errors.ConfigurationError}

    untold = {kind for kind in concrete_errors() if not issubclass(kind, tuple(STATUS_OF_ERROR))}

    assert untold == internal


def test_an_unexpected_error_is_a_500_that_gives_nothing_away(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(jobs, "get", broken)
    with capture_logs() as logs:
        answer = client.get("/jobs/job_x")

    body = problem_of(answer, 500)
    assert "hunter2" not in answer.text
    assert "request_id" in body["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert [str(entry["exc_info"]) for entry in logs] == ["password=hunter2"]  # the operator finds it, the caller not
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/jobs", "/datasets", "/models"])
def test_a_database_that_is_away_is_503(client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise PoolTimeoutError("QueuePool limit reached")

    monkeypatch.setattr(client.app.state.services.db, "reading", exhausted)  # type: ignore[attr-defined]

    assert "database" in problem_of(client.get(path), 503)["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/jobs?model=%00", None),
        ("GET", "/jobs?after=%00", None),
        ("GET", "/jobs/%00", None),
        ("GET", "/datasets/%00", None),
        ("GET", "/models/a%00", None),
        ("POST", "/predict/a%00", {"inputs": "x"}),
        ("POST", "/jobs", {"dataset_id": "ds_\0", "model": "m"}),
    ],
)
def test_a_nul_character_breaks_no_database(client: TestClient, method: str, path: str, body: object) -> None:
    answer = client.request(method, path, json=body)

    assert answer.status_code in (200, 404, 422), answer.text


def test_metadata_comes_back_as_it_was_sent(client: TestClient) -> None:
    dataset_id = add_dataset(client.app.state.services.db)  # type: ignore[attr-defined]
    metadata = {"who": "Zoë 👩‍👩‍👧", "what": 'a "quote", a \\, a \n'}

    job = client.post("/jobs", json={"dataset_id": dataset_id, "model": "m", "metadata": metadata}).json()

    assert client.get(f"/jobs/{job['id']}").json()["metadata"] == metadata
