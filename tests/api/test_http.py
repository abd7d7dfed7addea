"""The HTTP contract, field by field, against a running service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from migrations import upgrade
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import ROOT, Service

CSV = "text,label\n" + "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(12))


def post(service: Service, content: str | bytes, task: str = "classification", **form: str) -> httpx.Response:
    body = content.encode() if isinstance(content, str) else content
    return service.client.post("/datasets", data={"task": task, **form}, files={"file": ("mine.csv", body)})


def check_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= set(body)
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    return body


# ---- data sets ------------------------------------------------------------------------------------------------------


def test_a_data_set_from_upload_to_deletion(service: Service) -> None:
    created = post(service, CSV, name="letters")
    dataset = created.json()

    assert created.status_code == 201
    assert created.headers["location"] == f"/datasets/{dataset['id']}"
    assert dataset["id"].startswith("ds_")
    assert {key: dataset[key] for key in ("object", "name", "task", "format", "size_bytes", "columns")} == {
        "object": "dataset", "name": "letters", "task": "classification", "format": "csv", "size_bytes": len(CSV),
        "columns": {"text": "text", "label": "label"},
    }  # fmt: skip
    assert dataset["labels"] == [{"label": "a", "count": 6}, {"label": "b", "count": 6}]
    assert dataset["splits"] == {
        "train": {"rows": 10, "source": "uploaded"},
        "validation": {"rows": 2, "source": "auto"},
    }
    assert service.client.get(f"/datasets/{dataset['id']}").json() == dataset
    assert service.client.get("/datasets", params={"limit": 1}).json()["data"] == [dataset]

    preview = service.client.get(f"/datasets/{dataset['id']}/preview", params={"limit": 3, "split": "train"}).json()
    assert preview["has_more"] is True
    assert set(preview["data"][0]) == {"text", "label"}

    assert service.client.delete(f"/datasets/{dataset['id']}").status_code == 204
    check_problem(service.client.get(f"/datasets/{dataset['id']}"), 404)


def test_bad_rows_are_named_and_nothing_is_stored(service: Service) -> None:
    before = service.client.get("/datasets", params={"limit": 1}).json()

    body = check_problem(post(service, 'text,label\n"two\nlines",a\nno label,\nfine,b\n'), 422)

    assert body["error_count"] == 1
    assert body["errors"] == [
        {"file": "mine.csv", "line": 4, "column": "label", "code": "missing_label", "message": "label is empty"}
    ]
    assert service.client.get("/datasets", params={"limit": 1}).json() == before


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "empty_file"),
        ("text,label\n", "no_rows"),
        ("text,label\n" + "x,a\ny,a\n" * 5, "single_class"),
        ("words,label\nx,a\n", "missing_column"),
        (b"text,label\n\xff,a\n", "not_utf8"),
        (b"PK\x03\x04zip", "unsupported_format"),
    ],
)
def test_files_that_cannot_be_used_say_why(service: Service, content: str | bytes, code: str) -> None:
    assert check_problem(post(service, content), 422)["errors"][0]["code"] == code


def test_unknown_fields_are_refused(service: Service) -> None:
    assert "colour" in check_problem(post(service, CSV, colour="red"), 422)["detail"]
    body = check_problem(service.client.post("/jobs", json={"dataset_id": "ds_x", "model": "m", "colour": "red"}), 422)
    assert body["errors"][0]["column"] == "colour"


def test_a_label_that_training_lacks_is_an_error_of_the_validation_file(service: Service) -> None:
    files = {"file": ("t.csv", CSV.encode()), "validation_file": ("v.csv", b"text,label\nnew,zebra\n")}
    body = check_problem(service.client.post("/datasets", data={"task": "classification"}, files=files), 422)

    (problem,) = body["errors"]
    assert (problem["file"], problem["line"], problem["code"]) == ("v.csv", 2, "unknown_label")


# ---- jobs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset_id(service: Service) -> str:
    return str(post(service, CSV).json()["id"])


def test_a_job_is_answered_202_with_its_place_and_every_default(service: Service, dataset_id: str) -> None:
    answer = service.submit(dataset_id, "cancel-me", metadata={"team": "support"})
    job = answer.json()

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert job["metadata"] == {"team": "support"}
    assert (job["attempt"], job["result"], job["error"]) == (0, None, None)
    assert (job["spec"]["strategy"], job["spec"]["head"], job["spec"]["base_model"]) == (
        "hybrid",
        "linear",
        "minilm-l6",
    )
    assert all(value is not None for value in job["spec"]["hyperparameters"].values())
    body = check_problem(service.client.delete(f"/datasets/{dataset_id}"), 409)
    assert job["id"] in body["detail"]
    service.client.post(f"/jobs/{job['id']}/cancel")
    assert service.wait_for_job(job["id"])["status"] == "cancelled"


@pytest.mark.parametrize(
    ("fields", "column"),
    [
        ({"head": "bilstm"}, "head"),
        ({"head": "nonsense"}, "head"),
        ({"base_model": "../../etc"}, "base_model"),
        ({"strategy": "magic"}, "strategy"),
        ({"hyperparameters": {"batch_size": 0}}, "hyperparameters.batch_size"),
        ({"hyperparameters": {"colour": 1}}, "hyperparameters.colour"),
        ({"export": {"precision": "fp16"}}, "export.precision"),
        ({"model": "Not A Name"}, "model"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
    ],
)
def test_a_job_that_cannot_work_is_refused_before_it_starts(
    service: Service, dataset_id: str, fields: dict[str, Any], column: str
) -> None:
    body = check_problem(service.submit(dataset_id, **{"model": "m", **fields}), 422)

    assert column in {problem["column"].removesuffix(".HeadName") for problem in body["errors"]} | {
        problem["column"].rsplit(".", 1)[0] for problem in body["errors"]
    }


@pytest.mark.parametrize(
    "path", ["/jobs/job_nope", "/datasets/ds_nope", "/models/nope", "/jobs/job_nope/events", "/nowhere"]
)
def test_what_does_not_exist_is_404(service: Service, path: str) -> None:
    check_problem(service.client.get(path), 404)


def test_one_idempotency_key_is_one_job(service: Service, dataset_id: str) -> None:
    headers = {"Idempotency-Key": f"key-{dataset_id}"}
    body = {"dataset_id": dataset_id, "model": "once"}

    first, second = (service.client.post("/jobs", json=body, headers=headers) for _ in range(2))
    other = service.client.post("/jobs", json={**body, "seed": 8}, headers=headers)

    assert first.json()["id"] == second.json()["id"]
    assert check_problem(other, 422)["type"].endswith("idempotency_key_reused")
    service.client.post(f"/jobs/{first.json()['id']}/cancel")


def test_events_as_a_list_and_as_a_stream_that_ends_with_the_job(
    service: Service, trained_models: dict[str, TrainedModel]
) -> None:
    job_id = trained_models["classification"].job["id"]
    listed = service.client.get(f"/jobs/{job_id}/events").json()["data"]
    assert {event["type"] for event in listed} == {"status", "phase", "metrics", "message"}
    assert [event["data"]["phase"] for event in listed if event["type"] == "phase"] == [
        "prepare", "head", "full", "export", "evaluate",
    ]  # fmt: skip

    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(listed[2]["id"])}
    with service.client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        ids = [int(line.removeprefix("id: ")) for line in stream.iter_lines() if line.startswith("id: ")]

    assert ids == [event["id"] for event in listed[3:]]


def test_jobs_are_listed_newest_first_in_pages(service: Service, trained_models: dict[str, TrainedModel]) -> None:
    first = service.client.get("/jobs", params={"limit": 2, "status": "succeeded"}).json()
    second = service.client.get(
        "/jobs", params={"limit": 2, "status": "succeeded", "after": first["data"][-1]["id"]}
    ).json()

    ids = [job["id"] for job in first["data"] + second["data"]]
    assert first["has_more"] is True
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 4
    named = service.client.get("/jobs", params={"model": "tiny-tagging"}).json()["data"]
    assert {job["model"]["name"] for job in named} == {"tiny-tagging"}


# ---- models and predictions -----------------------------------------------------------------------------------------


def test_a_model_shows_its_versions_and_aliases(service: Service, trained_models: dict[str, TrainedModel]) -> None:
    model = service.client.get("/models/tiny-tagging").json()
    job = trained_models["tagging"].job

    assert (model["object"], model["task"], model["aliases"]) == ("model", "tagging", {"production": 1})
    (version,) = model["versions"]
    assert (version["version"], version["job_id"]) == (1, job["id"])
    assert version["metrics"] == job["result"]["metrics"]
    assert service.client.get("/models/tiny-tagging/versions/1").json() == version
    assert "tiny-tagging" in {m["name"] for m in service.client.get("/models", params={"limit": 100}).json()["data"]}
    check_problem(service.client.delete("/models/tiny-tagging/versions/1"), 409)


@pytest.mark.parametrize(
    "text",
    [
        "Ada met Bob.",
        "😀 Ada  met\tBob 👩‍👩‍👧 on Monday",
        "阿达在北京 met Bob",
        "آدا met Bob",
        "Ada\u0301 met Bo\u0308b",
    ],
)
def test_offsets_are_characters_of_the_text_as_sent(
    service: Service, trained_models: dict[str, TrainedModel], text: str
) -> None:
    (answer,) = service.client.post("/predict/tiny-tagging", json={"inputs": [text]}).json()["predictions"]

    for span in answer["tokens"] + answer["entities"]:
        assert text[span["start"] : span["end"]] == span["text"]
        assert 0 <= span["score"] <= 1
    assert "".join(token["text"] for token in answer["tokens"]) == "".join(text.split())


def test_tokens_are_taken_as_they_are(service: Service, trained_models: dict[str, TrainedModel]) -> None:
    (answer,) = service.client.post("/predict/tiny-tagging", json={"inputs": [["Ada", "met", "e.g."]]}).json()[
        "predictions"
    ]

    assert [(token["text"], token["start"], token["end"]) for token in answer["tokens"]] == [
        ("Ada", 0, 3), ("met", 4, 7), ("e.g.", 8, 12),
    ]  # fmt: skip


def test_top_k_lists_labels_by_probability(service: Service, trained_models: dict[str, TrainedModel]) -> None:
    body = service.client.post("/predict/tiny-classification", json={"inputs": ["my parcel"], "top_k": 5}).json()
    (answer,) = body["predictions"]

    assert (body["model"], body["version"], body["task"]) == ("tiny-classification", 1, "classification")
    assert answer["scores"][0]["label"] == answer["label"]
    assert sum(entry["score"] for entry in answer["scores"]) == pytest.approx(1.0)


def test_graded_scores_stay_in_the_datas_own_range(service: Service, trained_models: dict[str, TrainedModel]) -> None:
    (answer,) = service.client.post(
        "/predict/tiny-graded", json={"inputs": {"text": "lamp", "text_pair": "lamp"}}
    ).json()["predictions"]

    assert set(answer) == {"score"}
    assert 0.0 <= answer["score"] <= 5.0


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        ("tiny-classification", [""]),
        ("tiny-classification", [7]),
        ("tiny-classification", None),
        ("tiny-tagging", [["Ada", ""]]),
        ("tiny-similarity", ["alone"]),
        ("tiny-similarity", [{"text": "a"}]),
    ],
)
def test_inputs_of_the_wrong_kind_are_refused_with_their_place(
    service: Service, trained_models: dict[str, TrainedModel], model: str, inputs: Any
) -> None:
    body = check_problem(service.client.post(f"/predict/{model}", json={"inputs": inputs}), 422)
    assert body["errors"][0]["column"].startswith("inputs")


def test_a_long_text_says_that_it_was_cut(service: Service, trained_models: dict[str, TrainedModel]) -> None:
    answers = service.client.post("/predict/tiny-classification", json={"inputs": ["parcel " * 200, "parcel"]}).json()
    assert [answer.get("truncated", False) for answer in answers["predictions"]] == [True, False]


def test_a_model_without_a_finished_version_says_so(service: Service, dataset_id: str) -> None:
    job = service.submit(dataset_id, "unfinished").json()
    body = check_problem(service.client.post("/predict/unfinished", json={"inputs": "x"}), 404)
    assert "no finished version" in body["detail"]
    assert job["id"] in body["detail"]
    service.client.post(f"/jobs/{job['id']}/cancel")


@pytest.mark.parametrize("reference", ["tiny-tagging@2", "tiny-tagging@staging", "nobody", "../etc", "tiny-tagging@"])
def test_unknown_references_are_404(service: Service, trained_models: dict[str, TrainedModel], reference: str) -> None:
    check_problem(service.client.post(f"/predict/{httpx.URL(path=reference).path}", json={"inputs": "x"}), 404)


# ---- the service ----------------------------------------------------------------------------------------------------


def test_health_metrics_and_documentation(service: Service) -> None:
    assert service.client.get("/healthz").json() == {"status": "ok"}
    assert service.client.get("/readyz").json()["checks"] == {"database": "ok", "broker": "ok"}
    assert (
        'thawline_http_requests_total{method="GET",route="/healthz",status="200"}'
        in service.client.get("/metrics").text
    )
    operations = [
        operation["operationId"]
        for path in service.client.get("/openapi.json").json()["paths"].values()
        for operation in path.values()
    ]
    assert len(operations) == len(set(operations)) > 15
    for page in ("/docs", "/"):
        answer = service.client.get(page)
        assert answer.status_code == 200
        assert "https://" not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_a_foreign_host_header_is_refused(service: Service) -> None:
    check_problem(service.client.get("/jobs", headers={"Host": "evil.example"}), 400)


@pytest.fixture
def small_api(tmp_path: Path) -> Iterator[Service]:
    """An API alone, with a key and small limits."""
    upgrade(f"sqlite:///{tmp_path / 'thawline.db'}")
    environment = {
        "THAWLINE_API_KEY": "s3cret",
        "THAWLINE_MAX_UPLOAD_BYTES": "2000",
        "THAWLINE_MAX_REQUEST_BYTES": "1000",
    }
    api = Service(tmp_path, environment, [sys.executable, "-m", "api.cli", "api"])
    api.is_ready = lambda: _alive(api)  # type: ignore[method-assign] # without a broker it never gets ready
    api.start()
    yield api
    api.stop()
    api.client.close()


def _alive(api: Service) -> bool:
    try:
        return api.client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_key_is_asked_of_every_call_but_health(small_api: Service) -> None:
    for path in ("/jobs", "/datasets", "/models", "/metrics"):
        assert check_problem(small_api.client.get(path), 401)["title"] == "Unauthorized"
        wrong = small_api.client.get(path, headers={"Authorization": "Bearer wrong"})
        assert wrong.status_code == 401
        right = small_api.client.get(path, headers={"Authorization": "Bearer s3cret"})
        assert right.status_code == 200


def test_too_large_bodies_are_refused(small_api: Service) -> None:
    small_api.client.headers["Authorization"] = "Bearer s3cret"
    check_problem(post(small_api, "text,label\n" + "x,a\n" * 1000), 413)
    check_problem(small_api.client.post("/jobs", content=b" " * 2000), 413)

    def endless() -> Iterator[bytes]:  # no Content-Length: the limit must be noticed while reading
        for _ in range(100):
            yield b" " * 100

    check_problem(small_api.client.post("/jobs", content=endless()), 413)


def test_nobody_listens_beyond_this_machine_without_a_key(tmp_path: Path) -> None:
    environment = {"THAWLINE_HOME": str(tmp_path), "THAWLINE_HOST": "0.0.0.0", "PATH": ""}
    ended = subprocess.run(
        [sys.executable, "-m", "api.cli", "api"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "THAWLINE_API_KEY" in ended.stderr


def test_the_api_loads_neither_torch_nor_its_like() -> None:
    code = "import sys, api.main; print([m for m in ('torch', 'transformers', 'sklearn', 'scipy') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_the_worker_registers_the_task_that_the_api_sends() -> None:
    code = (
        "import sys, worker.app; from models_store.queue import TASK_NAME; "
        "print(TASK_NAME in worker.app.app.tasks, 'torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", "False"]


def test_samples_of_the_repository_upload_without_a_warning(service: Service) -> None:
    for task, suffix in (("classification", "csv"), ("tagging", "conll"), ("similarity", "csv")):
        folder = ROOT / "examples" / task
        answer = service.upload(task, folder / f"train.{suffix}", folder / f"validation.{suffix}")
        assert answer.status_code == 201, answer.text
        assert answer.json()["warnings"] == []
