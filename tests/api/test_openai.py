"""Embeddings, asked by OpenAI's own client: of sentence encoders, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from api.predictions import PredictionService
from models_store import jobs
from models_store.artifacts import MANIFEST, ArtifactStore
from models_store.database import Database
from models_store.errors import OverloadedError
from models_store.predictor import CONFIG_FILE, Predictor
from models_store.registry import NewVersion
from models_store.settings import Settings
from models_store.tasks import TaskName
from tests.api.conftest import AppFactory
from tests.fixtures.models import EMBEDS, TrainedModel
from tests.fixtures.servers import Service
from tests.models_store.samples import claim, publish, submit

pytestmark = pytest.mark.usefixtures("trained_models")
MODEL = f"tiny-{EMBEDS}"
TEXTS = ["my kettle", "kettle today please", "the invoice is late", "lamp " * 200]


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{service.port}/v1", api_key="any", max_retries=0) as asking:
        yield asking


def artifact_of(service: Service, trained: TrainedModel) -> Path:
    store = ArtifactStore(Settings(_env_file=None, home=service.home).artifacts_dir)
    (key,) = (key for key in store.keys("models") if trained.job["id"] in key)
    return store.path(key)


@pytest.fixture
def predictor(service: Service, trained_models: dict[str, TrainedModel]) -> Predictor:
    """The same model, loaded by hand."""
    return Predictor.load(artifact_of(service, trained_models[EMBEDS]), threads=1)


def test_the_vectors_are_those_of_the_model(client: openai.OpenAI, predictor: Predictor) -> None:
    answer = client.embeddings.create(model=MODEL, input=TEXTS)

    encoded = predictor.encode_texts(TEXTS)
    vectors = np.array([item.embedding for item in answer.data])
    np.testing.assert_allclose(vectors, predictor.embed(encoded), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert [item.index for item in answer.data] == [0, 1, 2, 3]
    assert answer.model == f"{MODEL}@1"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(len(e) for e in encoded)


def test_both_encodings_hold_the_same_numbers(client: openai.OpenAI) -> None:
    # The client asks for base64 unless told otherwise, and unpacks it.
    packed = client.embeddings.create(model=MODEL, input=TEXTS[0]).data[0].embedding
    plain = client.embeddings.create(model=MODEL, input=TEXTS[0], encoding_format="float").data[0].embedding

    np.testing.assert_allclose(packed, plain, atol=1e-7)


def test_vectors_tell_what_the_model_learnt(client: openai.OpenAI) -> None:
    texts = [f"my {noun} please" for noun in ("kettle", "lamp", "invoice")] + [
        f"{noun} is today" for noun in ("kettle", "lamp", "invoice")
    ]
    vectors = np.array([item.embedding for item in client.embeddings.create(model=MODEL, input=texts).data])

    cosines = vectors[:3] @ vectors[3:].T

    assert np.trace(cosines) / 3 > (cosines.sum() - np.trace(cosines)) / 6


def test_many_texts_keep_their_order(client: openai.OpenAI) -> None:
    texts = ["kettle " * (1 + n % 7) + "parcel " * (n % 5) for n in range(1024)]

    together = client.embeddings.create(model=MODEL, input=texts).data

    for n in (0, 13, 500, 1023):
        alone = client.embeddings.create(model=f"{MODEL}@production", input=texts[n]).data[0].embedding
        np.testing.assert_allclose(together[n].embedding, alone, atol=1e-4)


def test_the_width_may_be_named_and_nothing_else(client: openai.OpenAI, predictor: Predictor) -> None:
    width = predictor.embedding_width
    assert width

    assert len(client.embeddings.create(model=MODEL, input="x", dimensions=width, user="me").data[0].embedding) == width
    with pytest.raises(openai.BadRequestError, match=f"have {width} dimensions") as caught:
        client.embeddings.create(model=MODEL, input="x", dimensions=width - 1)
    assert caught.value.param == "dimensions"


def test_the_models_that_can_embed_are_listed(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]

    assert MODEL in listed
    assert {"tiny-classification", "tiny-tagging"}.isdisjoint(listed)
    assert client.models.retrieve(MODEL).owned_by == "thawline"
    with pytest.raises(openai.BadRequestError, match="only similarity models"):
        client.models.retrieve("tiny-tagging")


@pytest.mark.parametrize(
    ("fields", "words", "param"),
    [
        ({"input": [1, 2, 3]}, "token ids", "input"),
        ({"input": [[1, 2], [3]]}, "token ids", "input"),
        ({"input": ""}, "input is empty", "input"),
        ({"input": ["x", " "]}, "input 1 is empty", "input"),
        ({"input": ["x", 7]}, "input 1 is not a text", "input"),
        ({"input": []}, "nothing to embed", "input"),
        ({"input": ["x"] * 1025}, "at most 1024", None),
        ({"model": "tiny-classification"}, "only similarity models have embeddings", "model"),
        ({"encoding_format": "hex"}, "encoding_format", "encoding_format"),
        ({"extra_body": {"colour": 1}}, "colour", "colour"),
    ],
)
def test_refusals_say_what_to_send(
    client: openai.OpenAI, fields: dict[str, Any], words: str, param: str | None
) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as caught:
        client.embeddings.create(**{"model": MODEL, "input": "x", **fields})

    assert caught.value.type == "invalid_request_error"
    assert caught.value.param == param


def test_a_model_that_is_not_there_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.embeddings.create(model="nobody", input="x")


def test_half_a_surrogate_pair_is_refused(service: Service) -> None:
    content = b'{"model": "%s", "input": "a \\ud83d b"}' % MODEL.encode()
    answer = service.client.post("/v1/embeddings", content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert "surrogate" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [(b"{", {"Content-Type": "application/json"}, 400), (b"{}", {"Content-Type": "text/plain"}, 415)],
)
def test_errors_have_the_shape_of_the_protocol(
    service: Service, content: bytes, headers: dict[str, str], status: int
) -> None:
    answers = [service.client.post("/v1/embeddings", content=content, headers=headers), service.client.get("/v1/x")]

    assert [answer.status_code for answer in answers] == [status, 404]
    for answer in answers:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.fixture
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Nothing below depends on the kind of database."""
    return f"sqlite:///{tmp_path_factory.mktemp('db') / 'test.db'}"


def test_a_model_that_reads_its_pairs_together_says_why_not(start_app: AppFactory, db: Database) -> None:
    publish(db, "together", TaskName.SIMILARITY)
    app = start_app()

    error = app.post("/v1/embeddings", json={"model": "together", "input": "x"}).json()["error"]

    assert error["code"] == "no_embeddings"
    assert "head linear" in error["message"]
    assert "siamese" in error["message"]
    assert app.get("/v1/models").json() == {"object": "list", "data": []}


def test_a_model_from_before_there_were_embeddings_says_so(
    start_app: AppFactory, db: Database, tmp_path: Path, service: Service, trained_models: dict[str, TrainedModel]
) -> None:
    store = ArtifactStore(Settings(_env_file=None, home=tmp_path).artifacts_dir)
    with store.staging() as staged:
        for path in artifact_of(service, trained_models[EMBEDS]).iterdir():
            if path.name != MANIFEST:
                (staged / path.name).write_bytes(path.read_bytes())
        config = json.loads((staged / CONFIG_FILE).read_text())
        del config["embedding"]
        (staged / CONFIG_FILE).write_text(json.dumps(config))
        store.publish(staged, "models/job_old.1", {})
    mine = claim(db, submit(db, model="old", task=TaskName.SIMILARITY).id)
    jobs.succeed(db, mine, result={}, version=NewVersion("models/job_old.1", "siamese", {}, 1))
    app = start_app()

    error = app.post("/v1/embeddings", json={"model": "old", "input": "x"}).json()["error"]

    assert "before models had embeddings" in error["message"]
    assert app.get("/v1/models").json()["data"] == []
    assert app.get("/v1/models/old").json()["error"] == error


def test_an_overload_is_told_with_the_time_to_wait(start_app: AppFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise OverloadedError("full", 3)

    monkeypatch.setattr(PredictionService, "embed", fail)

    answer = start_app().post("/v1/embeddings", json={"model": "m", "input": "x"})

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert answer.json()["error"]["type"] == "rate_limit_error"


def test_the_key_goes_where_the_client_puts_it(start_app: AppFactory) -> None:
    app = start_app(api_key="secret")

    assert app.get("/v1/models").json()["error"]["code"] == "api_key_needed"
    assert app.get("/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_a_call_for_vectors_is_counted_and_timed_like_every_other(service: Service) -> None:
    counted = f'thawline_predict_calls_total{{model="{MODEL}",outcome="answered",version="1"}}'

    def calls() -> float:
        after = service.client.get("/metrics").text.partition(counted)[2].partition("\n")[0]
        return float(after or 0)

    before = calls()

    answer = service.client.post("/v1/embeddings", json={"model": MODEL, "input": TEXTS})

    assert answer.status_code == 200
    assert calls() == before + 1
    stages = [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")]
    assert stages == ["tokenise", "queue", "infer"]


def test_the_caller_says_how_long_it_waits(service: Service) -> None:
    answer = service.client.post("/v1/embeddings?timeout=0.000001", json={"model": MODEL, "input": TEXTS})

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "deadline_exceeded"
