"""``/jobs``: starting once, cancelling, and following a job by its events."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.sse import KEEPALIVE_COMMENT
from fastapi.testclient import TestClient
from redis import Redis

import api.news
import api.routes.jobs
from api.news import JobNews
from models_store import jobs
from models_store.announcements import CHANNEL, redis_url
from models_store.database import Database
from models_store.encoders import HubRevision
from tests.api.checks import Answer, problem_of
from tests.api.conftest import AppFactory
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import Service, Valkey, wait_for
from tests.models_store.samples import LONG, add_dataset, claim

Trained = dict[str, TrainedModel]


def database(client: TestClient) -> Database:
    db: Database = client.app.state.services.db  # type: ignore[attr-defined]
    return db


def news_of(client: TestClient) -> JobNews:
    news: JobNews = client.app.state.services.news  # type: ignore[attr-defined]
    return news


def start(client: TestClient, *, key: str | None = None, **fields: Any) -> Answer:
    dataset_id = fields.pop("dataset_id", None) or add_dataset(database(client))
    headers = {"Idempotency-Key": key} if key is not None else {}
    return client.post("/jobs", json={"dataset_id": dataset_id, "model": "m", **fields}, headers=headers)


def count_calls(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[int]:
    """One entry for every call of a function from now on."""
    call, calls = getattr(module, name), []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return call(*arguments, **options)

    monkeypatch.setattr(module, name, counted)
    return calls


# ---- starting -------------------------------------------------------------------------------------------------------


def test_a_job_is_taken_even_while_the_broker_is_away(client: TestClient) -> None:
    # The database is the truth; the sweep sends the message once there is a broker.
    answer = start(client)

    assert answer.status_code == 202
    assert client.get(answer.headers["location"]).json()["status"] == "queued"


def test_a_job_shows_what_was_asked_and_every_default(client: TestClient) -> None:
    spec = start(client, seed=3, strategy="frozen", hyperparameters={"head_epochs": 2}).json()["spec"]

    assert (spec["seed"], spec["strategy"], spec["base_model"]) == (3, "frozen", "minilm-l6")
    assert spec["hyperparameters"]["head_epochs"] == 2
    assert None not in spec["hyperparameters"].values()


def test_a_job_that_asks_for_nothing_special_is_trained_the_usual_way(client: TestClient) -> None:
    spec = start(client).json()["spec"]

    assert (spec["strategy"], spec["head"], spec["base_model"], spec["promote"]) == (
        "hybrid", "linear", "minilm-l6", "always",
    )  # fmt: skip
    assert None not in spec["hyperparameters"].values()


@pytest.mark.parametrize(
    ("kind", "fields", "column"),
    [
        ("graded", {"hyperparameters": {"class_weights": "balanced"}}, "hyperparameters.class_weights"),
        ("tagging", {"head": "crf", "hyperparameters": {"loss": "focal"}}, "hyperparameters.loss"),
        ("several", {"hyperparameters": {"focal_gamma": 1.0}}, "hyperparameters.focal_gamma"),
    ],
)
def test_a_loss_that_the_data_set_or_the_head_cannot_have_is_refused(
    service: Service, trained_models: Trained, kind: str, fields: dict[str, Any], column: str
) -> None:
    body = problem_of(service.submit(trained_models[kind].dataset["id"], "refused", **fields), 422)

    assert [error["column"] for error in body["errors"]] == [column]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": "Bad Name"}, "small letters"),
        ({"hyperparameters": {"head_epoch": 1}}, "did you mean head_epochs?"),
        ({"nonsense": 1}, "there is no such field"),
    ],
)
def test_a_request_that_is_wrong_is_told_in_words(client: TestClient, fields: dict[str, Any], told: str) -> None:
    assert told in problem_of(start(client, **fields), 422)["detail"]


def test_a_job_may_name_an_encoder_on_the_hub_that_the_operator_allows_and_no_other(start_app: AppFactory) -> None:
    client = start_app(hub_encoders={"bge": HubRevision("BAAI/bge-small-en-v1.5", "0" * 40)})

    assert start(client, base_model="bge").json()["spec"]["base_model"] == "bge"
    for name in ("BAAI/bge-small-en-v1.5", f"BAAI/bge-small-en-v1.5@{'0' * 40}", "e5"):
        body = problem_of(start(client, base_model=name), 422)
        assert body["errors"][0]["code"] == "unknown_base_model"
        assert "choose one of: bge, minilm-l6" in body["errors"][0]["message"]


def test_parallel_posts_with_one_key_start_one_job(client: TestClient) -> None:
    dataset_id = add_dataset(database(client))
    together = threading.Barrier(20)

    def post(_: int) -> tuple[int, str]:
        together.wait()
        answer = start(client, dataset_id=dataset_id, key="k")
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(20) as pool:
        answers = set(pool.map(post, range(20)))

    assert len(answers) == 1
    assert {status for status, _ in answers} == {202}
    assert len(client.get("/jobs", params={"limit": 100}).json()["data"]) == 1


def test_a_repeated_post_shows_where_the_job_stands_by_now(client: TestClient) -> None:
    dataset_id = add_dataset(database(client))
    first = start(client, dataset_id=dataset_id, key="k")
    claim(database(client), first.json()["id"])

    again = start(client, dataset_id=dataset_id, key="k")

    assert again.status_code == 202
    assert again.headers["location"] == first.headers["location"]
    assert (again.json()["id"], again.json()["status"]) == (first.json()["id"], "running")


def test_a_repeated_post_is_answered_after_its_data_set_is_gone(client: TestClient) -> None:
    dataset_id = add_dataset(database(client))
    first = start(client, dataset_id=dataset_id, key="k").json()
    client.post(f"/jobs/{first['id']}/cancel")
    assert client.delete(f"/datasets/{dataset_id}").status_code == 204

    assert start(client, dataset_id=dataset_id, key="k").json()["id"] == first["id"]
    problem_of(start(client, dataset_id=dataset_id, key="other"), 404)


def test_a_key_that_was_used_for_another_request_is_refused(client: TestClient) -> None:
    dataset_id = add_dataset(database(client))
    first = start(client, dataset_id=dataset_id, key="k").json()

    body = problem_of(start(client, dataset_id=dataset_id, key="k", seed=8), 422)

    assert body["type"] == "urn:thawline:error:idempotency_key_reused"
    assert first["id"] in body["detail"]


def test_the_order_of_a_requests_fields_is_no_difference(client: TestClient) -> None:
    dataset_id = add_dataset(database(client))
    bodies = [
        {"dataset_id": dataset_id, "model": "m", "seed": 7},  # 7 is the default
        {"model": "m", "dataset_id": dataset_id},
    ]
    ids = {client.post("/jobs", json=body, headers={"Idempotency-Key": "k"}).json()["id"] for body in bodies}

    assert len(ids) == 1


def test_a_key_that_is_too_long_is_refused(client: TestClient) -> None:
    problem_of(start(client, key="k" * 256), 422)


def test_a_models_name_belongs_to_its_task(service: Service, trained_models: Trained) -> None:
    dataset_id = trained_models["classification"].dataset["id"]
    body = problem_of(service.submit(dataset_id, "tiny-tagging"), 409)

    assert body["type"] == "urn:thawline:error:other_task"
    assert "tagging" in body["detail"]


@pytest.mark.parametrize(
    ("fields", "column", "words"),
    [
        ({"head": "bilstm"}, "head", "auto, linear"),
        ({"head": "zork"}, "head", "'auto', 'linear', 'dense_cnn'"),
        ({"base_model": "roberta-enormous"}, "base_model", "minilm-l6, tiny"),
        ({"base_model": "../../etc"}, "base_model", "minilm-l6, tiny"),
        ({"export": {"precision": "fp8"}}, "export.precision", "'auto', 'fp32', 'int8' or 'fp16'"),
        ({"promote": "perhaps"}, "promote", "'always', 'if_better' or 'never'"),
    ],
)
def test_what_cannot_be_had_names_what_can(
    service: Service, trained_models: Trained, fields: dict[str, Any], column: str, words: str
) -> None:
    body = problem_of(service.submit(trained_models["classification"].dataset["id"], "m", **fields), 422)

    assert [error["column"] for error in body["errors"]] == [column]
    assert words in body["detail"]


# ---- cancelling -----------------------------------------------------------------------------------------------------


def test_a_queued_job_is_cancelled_at_once_and_again(client: TestClient) -> None:
    job_id = start(client).json()["id"]

    for _ in range(2):
        answer = client.post(f"/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


def test_a_running_job_shows_that_it_was_asked_to_stop(client: TestClient) -> None:
    job_id = start(client).json()["id"]
    claim(database(client), job_id, lease_seconds=LONG)

    job = client.post(f"/jobs/{job_id}/cancel").json()

    assert (job["status"], job["cancel_requested"]) == ("running", True)


def test_an_ended_job_cannot_be_cancelled(service: Service, trained_models: Trained) -> None:
    body = problem_of(service.client.post(f"/jobs/{trained_models['graded'].job['id']}/cancel"), 409)

    assert "has succeeded already" in body["detail"]


def test_a_data_set_in_use_is_kept(client: TestClient) -> None:
    dataset_id = add_dataset(database(client))
    job = start(client, dataset_id=dataset_id).json()

    body = problem_of(client.delete(f"/datasets/{dataset_id}"), 409)
    assert body["type"] == "urn:thawline:error:dataset_in_use"
    assert job["id"] in body["detail"]

    client.post(f"/jobs/{job['id']}/cancel")
    assert client.delete(f"/datasets/{dataset_id}").status_code == 204
    assert client.get(f"/jobs/{job['id']}").json()["dataset_id"] == dataset_id  # the job's history stays


# ---- events ---------------------------------------------------------------------------------------------------------


def test_events_tell_of_every_phase_in_its_order(service: Service, trained_models: Trained) -> None:
    job_id = trained_models["classification"].job["id"]
    events = service.client.get(f"/jobs/{job_id}/events").json()["data"]

    assert {event["type"] for event in events} == {"status", "phase", "metrics", "message"}
    assert [event["data"]["phase"] for event in events if event["type"] == "phase"] == [
        "prepare", "head", "full", "export", "evaluate",
    ]  # fmt: skip


def stream(service: Service, job_id: str, **headers: str) -> list[dict[str, Any]]:
    """The blocks of an event stream, read until the server ends it."""
    asked = {"Accept": "text/event-stream", **headers}
    blocks = service.client.get(f"/jobs/{job_id}/events", headers=asked).text.split("\n\n")
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks if block.strip()]


def test_a_stream_tells_what_the_list_tells(service: Service, trained_models: Trained) -> None:
    job_id = trained_models["graded"].job["id"]
    listed = service.client.get(f"/jobs/{job_id}/events").json()["data"]

    streamed = stream(service, job_id)

    assert [json.loads(block["data"]) for block in streamed] == listed
    assert [(int(block["id"]), block["event"]) for block in streamed] == [(e["id"], e["type"]) for e in listed]


def test_a_stream_goes_on_where_it_was_cut(service: Service, trained_models: Trained) -> None:
    job_id = trained_models["graded"].job["id"]
    ids = [event["id"] for event in service.client.get(f"/jobs/{job_id}/events").json()["data"]]

    assert [int(block["id"]) for block in stream(service, job_id, **{"Last-Event-ID": str(ids[2])})] == ids[3:]


def test_who_was_told_all_of_a_job_that_is_over_does_not_connect_again(
    service: Service, trained_models: Trained
) -> None:
    path = f"/jobs/{trained_models['graded'].job['id']}/events"
    ids = [event["id"] for event in service.client.get(path).json()["data"]]
    headers = {"Accept": "text/event-stream"}

    first = service.client.get(path, headers=headers)
    again = service.client.get(path, headers={**headers, "Last-Event-ID": str(ids[-1])})

    assert (first.status_code, first.text.count("data: ")) == (200, len(ids))
    assert (again.status_code, again.content) == (204, b"")


def test_a_job_that_is_not_over_has_a_stream_although_nothing_is_new(client: TestClient) -> None:
    job_id = start(client).json()["id"]
    last = client.get(f"/jobs/{job_id}/events").json()["data"][-1]["id"]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(client.get, f"/jobs/{job_id}/events", headers=headers)
        wait_for(lambda: news_of(client)._waiting, what="the stream")
        client.post(f"/jobs/{job_id}/cancel")
        answer = watching.result(30)

    assert (answer.status_code, answer.text.count("data: ")) == (200, 1)


def test_a_live_stream_ends_with_the_job(service: Service, trained_models: Trained) -> None:
    job_id = service.submit(trained_models["classification"].dataset["id"], "cancelled", base_model="tiny").json()["id"]
    statuses, stopped = [], False
    headers = {"Accept": "text/event-stream"}
    with service.client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        for line in answer.iter_lines():  # ends when the server ends it; were it not live, nothing would come yet
            if line.startswith("data: ") and "status" in (data := json.loads(line.removeprefix("data: "))["data"]):
                statuses.append(data["status"])
            if statuses and not stopped:
                service.client.post(f"/jobs/{job_id}/cancel")
                stopped = True

    assert statuses[0] == "queued"
    assert statuses[-1] == "cancelled"
    assert service.job(job_id)["status"] == "cancelled"


def test_a_stream_of_an_unknown_job_is_404(service: Service) -> None:
    problem_of(service.client.get("/jobs/job_x/events", headers={"Accept": "text/event-stream"}), 404)


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "99999999999999999999"])
def test_a_last_event_id_that_is_none_is_refused(service: Service, trained_models: Trained, last: str) -> None:
    path = f"/jobs/{trained_models['graded'].job['id']}/events"

    problem_of(service.client.get(path, headers={"Last-Event-ID": last, "Accept": "text/event-stream"}), 422)


# ---- pausing and trying again ---------------------------------------------------------------------------------------


def test_a_queued_job_is_paused_and_resumed(client: TestClient) -> None:
    job = start(client).json()

    paused = client.post(f"/jobs/{job['id']}/pause")
    resumed = client.post(f"/jobs/{job['id']}/resume")

    assert (paused.status_code, paused.json()["status"], paused.json()["queue_position"]) == (200, "paused", None)
    assert (resumed.status_code, resumed.json()["status"], resumed.json()["queue_position"]) == (200, "queued", 1)
    assert client.get("/jobs", params={"status": "paused"}).json()["data"] == []


def test_a_cancelled_job_is_tried_again_by_another(client: TestClient) -> None:
    job = start(client).json()
    client.post(f"/jobs/{job['id']}/cancel")
    problem_of(client.post(f"/jobs/{job['id']}/pause"), 409)
    problem_of(client.post(f"/jobs/{job['id']}/resume"), 409)

    answers = [client.post(f"/jobs/{job['id']}/retry", headers={"Idempotency-Key": "again"}) for _ in range(2)]

    again = answers[0].json()
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].headers["location"] == f"/jobs/{again['id']}"
    assert (again["retry_of"], again["status"], again["spec"]) == (job["id"], "queued", job["spec"])
    assert answers[1].json()["id"] == again["id"]
    problem_of(client.post(f"/jobs/{again['id']}/retry"), 409)  # it has not ended
    problem_of(client.post("/jobs/job_x/retry"), 404)


def test_places_in_the_queue_follow_urgency_and_age(client: TestClient) -> None:
    ids = {name: start(client, priority=name).json()["id"] for name in ("low", "normal", "high")}

    listed = {job["id"]: job["queue_position"] for job in client.get("/jobs").json()["data"]}

    assert listed == {ids["high"]: 1, ids["normal"]: 2, ids["low"]: 3}
    assert client.get(f"/jobs/{ids['low']}").json()["queue_position"] == 3
    assert client.get(f"/jobs/{ids['low']}").json()["attempts"] == []


# ---- hints ----------------------------------------------------------------------------------------------------------


def listening(
    start_app: AppFactory, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> tuple[TestClient, dict[str, Any]]:
    """An application that hears of news from the broker alone, and a job."""
    monkeypatch.setattr(api.news, "_RARELY_SECONDS", 3600.0)
    app = start_app(broker_url=valkey.url)
    job = start(app).json()
    wait_for(lambda: news_of(app).listens, what="the subscription")
    return app, job


def test_who_watches_a_job_is_woken_by_the_broker(
    start_app: AppFactory, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, job = listening(start_app, valkey, monkeypatch)

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(app.get, f"/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"})
        wait_for(lambda: news_of(app)._waiting, what="the stream")
        app.post(f"/jobs/{job['id']}/cancel")
        told = watching.result(30).text

    assert "cancelled" in told


def test_without_a_broker_who_watches_a_job_looks_again_and_again(start_app: AppFactory) -> None:
    app = start_app()
    job = start(app).json()

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(app.get, f"/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"})
        wait_for(lambda: news_of(app)._waiting, what="the stream")
        app.post(f"/jobs/{job['id']}/cancel")
        assert "cancelled" in watching.result(30).text


def test_a_stream_without_news_is_kept_alive_on_time(start_app: AppFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.news, "_OFTEN_SECONDS", 20.0)  # looking for news is not what it waits for
    monkeypatch.setattr(api.routes.jobs, "_KEEPALIVE_SECONDS", 0.05)
    looks = count_calls(monkeypatch, jobs, "events")
    app = start_app()
    job_id = start(app).json()["id"]

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(app.get, f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"})
        try:
            wait_for(lambda: len(looks) > 3, seconds=10, what="several signs of life")
        finally:  # else the stream would not end
            app.post(f"/jobs/{job_id}/cancel")
        told = watching.result(30).text

    assert told.count(KEEPALIVE_COMMENT.decode()) >= 2


def test_a_hint_that_is_no_text_is_nobodys(
    start_app: AppFactory, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, job = listening(start_app, valkey, monkeypatch)
    with Redis.from_url(redis_url(valkey.url)) as anybody:
        assert anybody.publish(CHANNEL, b"\xff\xfe") == 1

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(app.get, f"/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"})
        wait_for(lambda: news_of(app)._waiting, what="the stream")
        app.post(f"/jobs/{job['id']}/cancel")

        assert "cancelled" in watching.result(30).text
    assert news_of(app).listens
