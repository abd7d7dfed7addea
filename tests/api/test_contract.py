"""The contract field by field: every field is there, of the type that api.md promises, and nothing is missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from models_store.specs import HeadName
from tests.api.checks import problem_of
from tests.fixtures.models import TASKS, TrainedModel
from tests.fixtures.receiver import Receiver
from tests.fixtures.servers import Service, wait_for

Shape = dict[str, Any]
Trained = dict[str, TrainedModel]


def time(value: Any) -> bool:
    return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() == timedelta(0)


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def optional(kind: Any) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value, kind)


def one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value in values


def matching(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind: a type, a predicate, [kind of every item], or {key: kind}."""
    if isinstance(kind, dict):
        return isinstance(value, dict) and all(key in value and fits(value[key], kind[key]) for key in kind)
    if isinstance(kind, list):
        return isinstance(value, list) and bool(value) and all(fits(item, kind[0]) for item in value)
    if isinstance(kind, type):
        return type(value) is kind
    return bool(kind(value))


def check(value: Any, shape: Shape) -> None:
    """Name the fields that do not fit, rather than say that something does not."""
    assert isinstance(value, dict), value
    wrong = {
        key: value.get(key, "absent") for key, kind in shape.items() if key not in value or not fits(value[key], kind)
    }
    assert not wrong, wrong


ULID = "[0-9a-hjkmnp-tv-z]{26}"
SPLIT: Shape = {"rows": int, "source": one_of("uploaded", "auto")}
DATASET: Shape = {
    "id": matching(f"ds_{ULID}"),
    "object": one_of("dataset"),
    "name": str,
    "task": one_of("classification", "tagging", "similarity"),
    "format": one_of("csv", "json", "conll"),
    "size_bytes": int,
    "sha256": matching("[0-9a-f]{64}"),
    "columns": dict,
    "scheme": optional(one_of("bio", "iob1", "bioes", "io", "plain")),
    "labels": list,
    "splits": {"train": SPLIT, "validation": SPLIT, "test": SPLIT},
    "warnings": list,
    "created_at": time,
}
PROGRESS: Shape = {
    "fraction": number,
    "epoch": optional(int),
    "epochs": optional(int),
    "step": optional(int),
    "steps": optional(int),
    "examples_per_second": optional(number),
    "eta_seconds": optional(int),
}
HYPERPARAMETERS: Shape = {
    "head_epochs": int,
    "head_learning_rate": float,
    "full_epochs": int,
    "full_learning_rate": float,
    "batch_size": int,
    "max_length": lambda value: value == "auto" or type(value) is int,
}
SPEC: Shape = {
    "dataset_id": matching(f"ds_{ULID}"),
    "model": str,
    "base_model": str,
    "strategy": one_of("hybrid", "finetune", "frozen"),
    "head": one_of(*HeadName),
    "seed": int,
    "hyperparameters": HYPERPARAMETERS,
    "export": {"precision": one_of("auto", "fp32", "int8", "fp16")},
    "promote": one_of("always", "never", "if_better"),
}
RESULT: Shape = {
    "head": str,
    "heads": list,
    "calibration": optional(dict),
    "metrics": {"validation": dict, "test": dict},
    "phases": [{"name": one_of("head", "full"), "epochs": int, "seconds": number, "metrics": dict}],
}
JOB: Shape = {
    "id": matching(f"job_{ULID}"),
    "object": one_of("job"),
    "status": one_of("queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled"),
    "phase": one_of("prepare", "head", "full", "evaluate", "export", None),
    "progress": PROGRESS,
    "dataset_id": matching(f"ds_{ULID}"),
    "task": one_of("classification", "tagging", "similarity"),
    "model": {"name": str, "version": optional(int)},
    "spec": SPEC,
    "result": optional(RESULT),
    "error": optional({"code": str, "message": str}),
    "attempt": int,
    "metadata": dict,
    "webhook_url": optional(str),
    "created_at": time,
    "started_at": optional(time),
    "finished_at": optional(time),
}
EVENT: Shape = {
    "id": int,
    "object": one_of("job.event"),
    "created_at": time,
    "level": one_of("info", "warning", "error"),
    "type": one_of("phase", "metrics", "message", "status"),
    "message": str,
    "data": dict,
}
DELIVERY: Shape = {
    "id": matching(f"msg_{ULID}"),
    "object": one_of("webhook.delivery"),
    "job_id": matching(f"job_{ULID}"),
    "type": matching("job[.](running|paused|succeeded|failed|cancelled)"),
    "url": str,
    "payload": str,
    "status": one_of("pending", "delivered", "given_up"),
    "attempts": int,
    "next_attempt_at": optional(time),
    "last_status": optional(int),
    "last_error": optional(str),
    "created_at": time,
    "delivered_at": optional(time),
}
VERSION: Shape = {
    "object": one_of("model.version"),
    "version": int,
    "job_id": matching(f"job_{ULID}"),
    "metrics": {"validation": dict, "test": dict},
    "created_at": time,
}
MODEL: Shape = {
    "object": one_of("model"),
    "name": str,
    "task": one_of("classification", "tagging", "similarity"),
    "aliases": {"production": int},
    "alias_details": {
        "production": {
            "version": int,
            "canary": optional({"version": int, "weight": float}),
            "shadow": optional(int),
            "updated_at": time,
            "previous": optional(int),
        }
    },
    "versions": [lambda version: fits(version, VERSION)],
}
TOKEN: Shape = {"text": str, "start": int, "end": int, "tag": str, "score": float}
ENTITY: Shape = {"label": str, "text": str, "start": int, "end": int, "score": float}

LABEL_SCORE: Shape = {"label": str, "score": float}

# What api.md shows for each kind of task, with exactly these keys.
ASKED: dict[str, tuple[dict[str, Any], Shape]] = {
    "classification": ({"inputs": ["where is my parcel"]}, {"label": str, "score": float}),
    "several": ({"inputs": ["where is my parcel"]}, {"label": str, "score": float, "labels": [LABEL_SCORE]}),
    "tagging": ({"inputs": ["Ada met Bob."]}, {"entities": list, "tokens": [TOKEN]}),
    "similarity": ({"inputs": [{"text": "lamp", "text_pair": "lamp"}]}, {"label": str, "score": float}),
    "graded": ({"inputs": [{"text": "lamp", "text_pair": "lamp"}]}, {"score": float}),
}


@pytest.mark.parametrize("kind", TASKS)
def test_a_data_set(service: Service, trained_models: Trained, kind: str) -> None:
    dataset = trained_models[kind].dataset

    check(dataset, DATASET)
    assert service.client.get(f"/datasets/{dataset['id']}").json() == dataset
    if kind == "graded":
        assert dataset["labels"] == []
    else:
        assert fits(dataset["labels"], [{"label": str, "count": int}])
    assert (
        dataset["columns"]
        == {
            "classification": {"text": "text", "label": "label"},
            "several": {"text": "text", "label": "labels"},
            "tagging": {"token": "1", "tag": "2"},
            "similarity": {"text": "question1", "text_pair": "question2", "label": "is_duplicate"},
            "graded": {"text": "sentence1", "text_pair": "sentence2", "score": "score"},
        }[kind]
    )


@pytest.mark.parametrize("kind", TASKS)
def test_a_finished_job(service: Service, trained_models: Trained, kind: str) -> None:
    job = trained_models[kind].job

    check(job, JOB)
    check(job["result"], RESULT)
    assert service.job(job["id"]) == job
    names = {
        "classification": {"accuracy", "f1_macro"},
        "several": {"f1_micro", "f1_macro", "accuracy"},
        "tagging": {"precision", "recall", "f1"},
        "similarity": {"accuracy", "f1_macro", "f1"},
        "graded": {"spearman", "pearson"},
    }[kind]
    assert names <= set(job["result"]["metrics"]["validation"])


def test_a_job_that_waits(service: Service, trained_models: Trained) -> None:
    job = service.submit(trained_models["classification"].dataset["id"], "waits").json()
    service.client.post(f"/jobs/{job['id']}/cancel")

    check(job, JOB)
    assert job["status"] == "queued"
    assert job["progress"]["fraction"] == 0
    assert (job["started_at"], job["finished_at"], job["phase"]) == (None, None, None)
    assert (job["attempt"], job["result"], job["error"]) == (0, None, None)
    assert job["model"] == {"name": "waits", "version": None}


def test_an_event(service: Service, trained_models: Trained) -> None:
    job_id = trained_models["graded"].job["id"]
    events = service.client.get(f"/jobs/{job_id}/events").json()["data"]

    for event in events:
        check(event, EVENT)
    assert [event["id"] for event in events] == sorted({event["id"] for event in events})
    assert events[0]["data"] == {"status": "queued"}
    assert events[-1]["data"] == {"status": "succeeded", "version": 1}


def test_a_delivery_of_a_webhook(service: Service, trained_models: Trained, receiver: Receiver) -> None:
    dataset_id = trained_models["classification"].dataset["id"]
    long = {"full_epochs": 200, "patience": 1000}
    answer = service.submit(dataset_id, "called", base_model="tiny", hyperparameters=long, webhook_url=receiver.url)
    job_id = answer.json()["id"]
    wait_for(lambda: receiver.calls, what="a call")
    service.client.post(f"/jobs/{job_id}/cancel")

    deliveries = service.client.get(f"/jobs/{job_id}/webhooks").json()["data"]

    assert deliveries[0]["type"] == "job.running"
    for delivery in deliveries:
        check(delivery, DELIVERY)
        assert set(delivery) == set(DELIVERY)
    service.wait_for_job(job_id)


@pytest.mark.parametrize("kind", TASKS)
def test_a_model_and_its_version(service: Service, trained_models: Trained, kind: str) -> None:
    model = service.client.get(f"/models/tiny-{kind}").json()

    check(model, MODEL)
    assert model["name"] == f"tiny-{kind}"
    assert model["versions"][-1] == service.client.get(f"/models/tiny-{kind}/versions/1").json()


@pytest.mark.parametrize("kind", TASKS)
def test_a_prediction_has_exactly_the_promised_fields(service: Service, trained_models: Trained, kind: str) -> None:
    request, shape = ASKED[kind]
    body = service.client.post(f"/predict/tiny-{kind}", json=request).json()

    assert set(body) == {"model", "version", "task", "predictions"}
    assert (body["model"], body["version"], body["task"]) == (f"tiny-{kind}", 1, trained_models[kind].job["task"])
    (prediction,) = body["predictions"]
    check(prediction, shape)
    assert set(prediction) == set(shape)


def test_an_entity(service: Service, trained_models: Trained) -> None:
    body = service.client.post("/predict/tiny-tagging", json={"inputs": ["Ada met Bob on Monday."]}).json()

    assert body["predictions"][0]["entities"]
    for entity in body["predictions"][0]["entities"]:
        check(entity, ENTITY)
        assert set(entity) == set(ENTITY)


# ---- lists ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "key", "order"), [("/datasets", "id", -1), ("/jobs", "id", -1), ("/models", "name", 1)]
)
def test_walking_through_a_list_in_pages_shows_everything_once(
    service: Service, trained_models: Trained, path: str, key: str, order: int
) -> None:
    whole = service.client.get(path, params={"limit": 100}).json()
    keys: list[Any] = []
    after: dict[str, Any] = {}
    while True:
        page = service.client.get(path, params={"limit": 3, **after}).json()
        assert set(page) == {"object", "data", "has_more"}
        assert page["object"] == "list"
        keys += [item[key] for item in page["data"]]
        if not page["has_more"]:
            break
        assert len(page["data"]) == 3
        after = {"after": keys[-1]}

    assert len(keys) >= 4
    assert keys == [item[key] for item in whole["data"]]
    assert keys == sorted(keys, reverse=order < 0)
    assert whole["has_more"] is False


def test_lists_are_narrowed(service: Service, trained_models: Trained) -> None:
    def listed(path: str, **params: str) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = service.client.get(path, params={"limit": "100", **params}).json()["data"]
        return data

    assert {d["task"] for d in listed("/datasets", task="tagging")} == {"tagging"}
    assert {j["status"] for j in listed("/jobs", status="succeeded")} == {"succeeded"}
    assert [j["id"] for j in listed("/jobs", model="tiny-graded")] == [trained_models["graded"].job["id"]]
    assert listed("/jobs", model="nobody") == []
    succeeded = listed("/jobs", status="succeeded")
    assert listed("/jobs", status="succeeded", after=succeeded[1]["id"]) == succeeded[2:]


def test_a_page_of_events(service: Service, trained_models: Trained) -> None:
    path = f"/jobs/{trained_models['graded'].job['id']}/events"
    whole = service.client.get(path).json()["data"]

    page = service.client.get(path, params={"limit": 2, "after": whole[0]["id"]}).json()
    last = service.client.get(path, params={"after": whole[-1]["id"]}).json()

    assert page == {"object": "list", "data": whole[1:3], "has_more": True}
    assert last == {"object": "list", "data": [], "has_more": False}


# ---- the documentation ----------------------------------------------------------------------------------------------


def test_the_openapi_document_names_every_call_of_the_contract(service: Service) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]

    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == {
        ("POST", "/datasets"), ("GET", "/datasets"), ("GET", "/datasets/{dataset_id}"),
        ("GET", "/datasets/{dataset_id}/preview"), ("DELETE", "/datasets/{dataset_id}"),
        ("POST", "/datasets/validate"), ("GET", "/datasets/{dataset_id}/statistics"),
        ("GET", "/datasets/{dataset_id}/skipped"), ("GET", "/datasets/{dataset_id}/export"),
        ("POST", "/predictions"), ("GET", "/predictions"), ("GET", "/predictions/{prediction_id}"),
        ("DELETE", "/predictions/{prediction_id}"), ("GET", "/predictions/{prediction_id}/file"),
        ("POST", "/predictions/{prediction_id}/cancel"),
        ("POST", "/jobs"), ("GET", "/jobs"), ("GET", "/jobs/{job_id}"), ("POST", "/jobs/{job_id}/cancel"),
        ("POST", "/jobs/plan"),
        ("POST", "/jobs/{job_id}/pause"), ("POST", "/jobs/{job_id}/resume"), ("POST", "/jobs/{job_id}/retry"),
        ("GET", "/jobs/{job_id}/events"), ("GET", "/jobs/{job_id}/webhooks"),
        ("GET", "/models"), ("GET", "/models/{name}"), ("DELETE", "/models/{name}"),
        ("GET", "/models/{name}/versions/{version}"), ("DELETE", "/models/{name}/versions/{version}"),
        ("GET", "/models/{name}/versions/{version}/card"),
        ("GET", "/models/{name}/versions/{version}/report"),
        ("GET", "/models/{name}/versions/{version}/export"),
        ("GET", "/models/{name}/aliases/{alias}"), ("PUT", "/models/{name}/aliases/{alias}"),
        ("DELETE", "/models/{name}/aliases/{alias}"), ("POST", "/models/{name}/aliases/{alias}/rollback"),
        ("POST", "/predict/{model}"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),
        ("GET", "/v2"), ("GET", "/v2/health/live"), ("GET", "/v2/health/ready"),
        *((method, f"/v2/models/{{model}}{version}{what}")
          for version in ("", "/versions/{version}")
          for method, what in (("GET", ""), ("GET", "/ready"), ("POST", "/infer"))),
        ("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("GET", "/v1/models/{model}"),
    }  # fmt: skip
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(ids) == len(set(ids))
    for methods in paths.values():
        assert all(operation["description"] for operation in methods.values())


def test_the_report_is_documented_field_by_field(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    operation = document["paths"]["/models/{name}/versions/{version}/report"]["get"]
    schemas = document["components"]["schemas"]

    assert operation["responses"]["200"]["content"] == {
        "application/json": {"schema": {"$ref": "#/components/schemas/Report"}}
    }
    assert {"phases", "splits", "calibration", "gain", "heads", "rows"} <= set(schemas["Report"]["properties"])
    assert {"classes", "confusion", "reliability", "worst_errors"} <= set(schemas["SplitReport"]["properties"])


ERRORS = {"/v1": ("application/json", "OpenAIErrorOut"), "/v2": ("application/json", "OipErrorOut")}


def test_documented_errors_are_problem_documents(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    problem = document["components"]["schemas"]["ProblemOut"]["required"]

    assert set(problem) == {"type", "title", "status", "detail", "instance", "request_id"}
    for path, methods in document["paths"].items():
        kind, schema = ERRORS.get(path[:3], ("application/problem+json", "ProblemOut"))
        for operation in methods.values():
            assert kind == "application/problem+json" or "422" not in operation["responses"]
            for status, answer in operation["responses"].items():
                if status.startswith("4"):
                    (content,) = answer["content"].items()
                    assert content[0] == kind, operation["operationId"]
                    assert content[1]["schema"] == {"$ref": f"#/components/schemas/{schema}"}


def test_every_schema_that_is_referred_to_is_there(service: Service) -> None:
    document = service.client.get("/openapi.json")

    assert set(re.findall(r'"#/components/schemas/(\w+)"', document.text)) <= set(
        document.json()["components"]["schemas"]
    )


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/"])
def test_pages_ask_no_other_host(service: Service, path: str) -> None:
    answer = service.client.get(path)
    used = re.findall(r"""(?:src|href|url|spec-url)\s*[=:]\s*["']([^"']+)["']""", answer.text)

    assert answer.headers["content-type"].startswith("text/html")
    assert used
    for target in used:
        assert target.startswith("/"), target
        assert not target.startswith("//"), target
        assert service.client.get(target).status_code == 200, target
    assert not re.search(r"https?://", answer.text)


def test_metrics_count_requests_by_route_and_not_by_path(service: Service) -> None:
    problem_of(service.client.get("/jobs/job_counted"), 404)
    service.client.get("/somewhere/random-17")

    metrics = service.client.get("/metrics")

    assert metrics.headers["content-type"].startswith("text/plain")
    assert re.search(
        r'thawline_http_requests_total\{method="GET",route="/jobs/\{job_id\}",status="404"\} [1-9]', metrics.text
    )
    assert 'thawline_http_request_seconds_bucket{le="0.001",method="GET",route="/jobs/{job_id}"}' in metrics.text
    assert "job_counted" not in metrics.text
    assert "random-17" not in metrics.text
