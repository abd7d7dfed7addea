"""The Open Inference Protocol, asked by Triton's own client: the answers of ``/predict`` in tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from fastapi.testclient import TestClient
from tritonclient.utils import InferenceServerException

from api.predictions import PredictionService
from models_store.errors import OverloadedError, UnavailableError
from tests.api.checks import Answer
from tests.api.conftest import AppFactory
from tests.fixtures.models import QUANTISED, TASKS, TrainedModel
from tests.fixtures.servers import Service

pytestmark = [
    pytest.mark.usefixtures("trained_models"),
    # The client leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
TEXTS = ["where is my parcel", "the refund 😀 please", "Ada met Bob on Monday .", "parcel " * 200]
PAIRS = [{"text": "my kettle", "text_pair": text} for text in ("kettle today", "the invoice", "lamp " * 100)]


@pytest.fixture
def client(service: Service) -> Iterator[triton.InferenceServerClient]:
    asking = triton.InferenceServerClient(f"127.0.0.1:{service.port}")
    yield asking
    asking.close()


def of(kind: str) -> list[Any]:
    return PAIRS if kind in ("similarity", "graded") else TEXTS


def inputs_of(items: list[Any], *, binary: bool = True) -> list[triton.InferInput]:
    columns = {"text": items} if isinstance(items[0], str) else {key: [item[key] for item in items] for key in items[0]}
    inputs = []
    for name, values in columns.items():
        inputs.append(triton.InferInput(name, [len(values)], "BYTES"))
        inputs[-1].set_data_from_numpy(np.array(values, dtype=np.object_), binary_data=binary)
    return inputs


def columns_of(result: triton.InferResult) -> dict[str, list[Any]]:
    """Every output as Python values, row by row."""
    found = {}
    for output in result.get_response()["outputs"]:
        rows = result.as_numpy(output["name"]).tolist()
        found[output["name"]] = [row.decode() if isinstance(row, bytes) else row for row in rows]
    return found


def error_of(response: Answer, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    return str(body["error"])


def native(service: Service, kind: str, **options: Any) -> list[dict[str, Any]]:
    answer = service.client.post(f"/predict/tiny-{kind}", json={"inputs": of(kind), **options})
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


# ---- the same answers -----------------------------------------------------------------------------------------------


def alike(value: Any, other: Any) -> bool:
    """Equal, but for what FP32 cannot hold and what a batch of other neighbours changes."""
    if isinstance(value, float):
        return math.isclose(value, other, abs_tol=1e-4)
    if isinstance(value, list):
        return len(value) == len(other) and all(alike(a, b) for a, b in zip(value, other, strict=True))
    if isinstance(value, dict):
        return set(value) == set(other) and all(alike(value[key], other[key]) for key in value)
    return bool(value == other)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("kind", TASKS)
def test_the_answers_are_those_of_predict(
    service: Service, client: triton.InferenceServerClient, kind: str, binary: bool
) -> None:
    if kind == QUANTISED:
        options = {"precision": "fp32"}  # in 8 bits the neighbours in a batch count
        body = service.client.post(f"/predict/tiny-{kind}", params=options, json={"inputs": of(kind)}).json()
        expected = body["predictions"]
    else:
        options, expected = {}, native(service, kind)
    described = [output["name"] for output in client.get_model_metadata(f"tiny-{kind}")["outputs"]]
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in described]

    result = client.infer(f"tiny-{kind}", inputs_of(of(kind), binary=binary), outputs=wanted, parameters=options)

    columns = columns_of(result)
    assert list(columns) == described
    for name, values in columns.items():
        if name in ("labels", "entities", "tokens"):
            assert alike([row[name] for row in expected], [json.loads(value) for value in values])
        elif name == "truncated":
            assert values == [row.get(name, False) for row in expected]
        elif not name.startswith("top_"):
            assert alike([row[name] for row in expected], values)


@pytest.mark.parametrize("kind", ["classification", "similarity"])
def test_top_k_is_a_table(service: Service, client: triton.InferenceServerClient, kind: str) -> None:
    expected = native(service, kind, top_k=5)

    result = client.infer(f"tiny-{kind}", inputs_of(of(kind)), parameters={"top_k": 5})

    assert result.as_numpy("top_labels").shape == (len(of(kind)), 2)
    labels = [[label.decode() for label in row] for row in result.as_numpy("top_labels").tolist()]
    assert labels == [[entry["label"] for entry in row["scores"]] for row in expected]
    scores = [[entry["score"] for entry in row["scores"]] for row in expected]
    np.testing.assert_allclose(result.as_numpy("top_scores"), scores, atol=1e-4)


def test_what_is_not_asked_for_is_not_answered(client: triton.InferenceServerClient) -> None:
    everything = client.infer("tiny-classification", inputs_of(TEXTS))
    wanted = [triton.InferRequestedOutput("score", binary_data=False), triton.InferRequestedOutput("label")]
    chosen = client.infer("tiny-classification", inputs_of(TEXTS), outputs=wanted)

    assert list(columns_of(everything)) == ["label", "score"]
    assert list(columns_of(chosen)) == ["score", "label"]
    assert "data" in chosen.get_output("score")
    assert "data" not in chosen.get_output("label")


def test_the_answer_says_which_version_it_is_of_and_repeats_the_id(client: triton.InferenceServerClient) -> None:
    for model, version in (("tiny-graded", ""), ("tiny-graded@production", ""), ("tiny-graded", "1")):
        body = client.infer(model, inputs_of(PAIRS), model_version=version, request_id="mine").get_response()
        assert (body["model_name"], body["model_version"], body["id"]) == ("tiny-graded", "1", "mine")
    assert "id" not in client.infer("tiny-graded", inputs_of(PAIRS)).get_response()


def test_no_rows_are_no_answers(client: triton.InferenceServerClient) -> None:
    nothing = triton.InferInput("text", [0], "BYTES")
    nothing.set_data_from_numpy(np.array([], dtype=np.object_))

    assert columns_of(client.infer("tiny-classification", [nothing])) == {"label": [], "score": []}


def test_plain_json_is_enough(service: Service) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXTS[0]]}

    answer = service.client.post("/v2/models/tiny-classification/infer", json={"inputs": [tensor]})

    assert answer.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in answer.headers
    assert [output["name"] for output in answer.json()["outputs"]] == ["label", "score"]


def test_the_stages_are_timed(service: Service) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXTS[0]]}

    answer = service.client.post("/v2/models/tiny-classification/infer", json={"inputs": [tensor]})

    assert answer.headers["server-timing"].startswith("tokenise;dur=")


def test_the_caller_says_how_long_it_waits(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="no answer within"):
        client.infer("tiny-classification", inputs_of(TEXTS), timeout=1)  # a microsecond


def test_a_large_call_is_answered_like_a_small_one(client: triton.InferenceServerClient) -> None:
    few = TEXTS[:3]
    many = few * 300  # read and written in a thread

    answers = columns_of(client.infer("tiny-classification", inputs_of(many)))

    small = columns_of(client.infer("tiny-classification", inputs_of(few)))
    assert answers["label"] == small["label"] * 300


# ---- health and metadata --------------------------------------------------------------------------------------------


def test_server_and_model_say_that_they_are_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny-tagging")
    assert client.is_model_ready("tiny-tagging", "1")
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready("tiny-tagging", "7")


def test_metadata_describes_the_service_and_each_model(
    client: triton.InferenceServerClient, trained_models: dict[str, TrainedModel]
) -> None:
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    for kind in trained_models:
        metadata = client.get_model_metadata(f"tiny-{kind}")
        assert (metadata["name"], metadata["versions"]) == (f"tiny-{kind}", ["1"])
        assert [tensor["name"] for tensor in metadata["inputs"]] == list(
            ("text", "text_pair") if of(kind) is PAIRS else ("text",)
        )
        assert {tensor["datatype"] for tensor in metadata["inputs"]} == {"BYTES"}
        assert client.get_model_metadata(f"tiny-{kind}", "1") == metadata


def test_without_a_broker_the_service_is_alive_and_not_ready(start_app: AppFactory) -> None:
    app = start_app()

    assert app.get("/v2/health/live").json() == {"live": True}
    answer = app.get("/v2/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"ready": False})


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "items", "options", "status", "words"),
    [
        ("nobody", TEXTS, {}, "404", "does not exist"),
        ("tiny-graded", PAIRS, {"model_version": "7"}, "404", "no version 7"),
        ("tiny-graded", TEXTS, {}, "400", "takes text and text_pair, not 'text'"),
        ("tiny-tagging", PAIRS, {}, "400", "takes text, not 'text', 'text_pair'"),
        ("tiny-classification", ["fine", ""], {}, "400", "inputs.1: the text is empty"),
        ("tiny-classification", ["x"] * 1025, {}, "400", "1024"),
        ("tiny-classification", TEXTS, {"parameters": {"precision": "int8"}}, "400", "no model in int8"),
        ("tiny-classification", TEXTS, {"parameters": {"colour": 1}}, "400", "parameters.colour"),
        ("tiny-classification", TEXTS, {"priority": 1}, "400", "parameters.priority"),
        ("tiny-tagging", TEXTS, {"parameters": {"top_k": 2}}, "400", "top_k"),
        ("tiny-classification", TEXTS, {"request_compression_algorithm": "gzip"}, "400", "compressed"),
    ],
)
def test_refusals_reach_the_client(
    client: triton.InferenceServerClient, model: str, items: list[Any], options: dict[str, Any], status: str, words: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, inputs_of(items), **options)

    assert caught.value.status() == status
    assert words in caught.value.message()


@pytest.mark.parametrize(
    "change",
    [{"parameters": {"timeout": 10**400}}, {"inputs": [{"name": "text", "shape": [2**63 - 1], "datatype": "BYTES"}]}],
    ids=["timeout", "shape"],
)
def test_numbers_beyond_all_measure_are_refused(service: Service, change: dict[str, Any]) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXTS[0]]}

    answer = service.client.post("/v2/models/tiny-classification/infer", json={"inputs": [tensor]} | change)

    assert error_of(answer, 400)


@pytest.mark.parametrize("name", ["colour", "tokens"])
def test_an_output_that_the_model_has_not_got_is_refused(client: triton.InferenceServerClient, name: str) -> None:
    with pytest.raises(InferenceServerException, match="it has label, score"):
        client.infer("tiny-classification", inputs_of(TEXTS), outputs=[triton.InferRequestedOutput(name)])


def test_columns_of_different_lengths_are_refused(client: triton.InferenceServerClient) -> None:
    first, second = inputs_of(PAIRS)[0], inputs_of(PAIRS[:1])[1]

    with pytest.raises(InferenceServerException, match="differ in their number of rows"):
        client.infer("tiny-graded", [first, second])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_request_is_refused(service: Service, body: bytes) -> None:
    assert error_of(service.client.post("/v2/models/tiny-classification/infer", content=body), 400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nowhere", 404),
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/nobody/ready", 404),
        ("GET", "/v2/models/tiny-graded/versions/one", 400),
        ("GET", "/v2/models/tiny-graded@1/versions/1", 404),
        ("GET", "/v2?colour=red", 400),
        ("PUT", "/v2/models/tiny-graded/infer", 405),
    ],
)
def test_every_error_has_the_shape_of_the_protocol(service: Service, method: str, path: str, status: int) -> None:
    answer = service.client.request(method, path)

    assert error_of(answer, status)
    assert answer.headers["x-request-id"]


def test_other_paths_that_begin_alike_have_our_own_errors(service: Service) -> None:
    assert service.client.get("/v2x").headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("error", "status"), [(OverloadedError("full", 3), 429), (UnavailableError("no answer within 30 s"), 503)]
)
def test_overload_and_outage_are_told(
    start_app: AppFactory, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(PredictionService, "version", fail)
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["x"]}
    app: TestClient = start_app()

    answer = app.post("/v2/models/m/infer", json={"inputs": [tensor]})

    assert error_of(answer, status)
    assert answer.headers.get("retry-after") == ("3" if status == 429 else None)


def test_the_key_is_asked_for_and_the_probes_are_open(start_app: AppFactory) -> None:
    app = start_app(api_key="secret")

    assert app.get("/v2/health/live").status_code == 200
    answer = app.get("/v2")
    assert "Authorization: Bearer" in error_of(answer, 401)
    assert app.get("/v2", headers={"Authorization": "Bearer secret"}).status_code == 200
