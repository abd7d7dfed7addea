"""Loaded models: loaded once, unloaded without harm, and never after they were deleted."""

from __future__ import annotations

import asyncio
import gc
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from api import loading, steps
from api.loading import LoadedModel
from api.main import create_app
from api.predictors import Choice, PredictorPool
from models_store import registry
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.errors import ArtifactCorruptError, NotFoundError
from models_store.predictor import Predictor
from models_store.settings import Settings
from models_store.tables import ModelVersion
from models_store.tasks import PredictOptions
from tests.api.checks import problem_of
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import Service, wait_for

ASK = PredictOptions()
TEXTS = ["where is my parcel", "the refund please"]


@pytest.fixture
def versions(service: Service, trained_models: dict[str, TrainedModel]) -> dict[str, ModelVersion]:
    """The versions that the service published, with their true artifacts."""
    db = Database(f"sqlite:///{service.home / 'thawline.db'}")
    with db.reading() as session:
        found = {kind: registry.resolve(session, model.name) for kind, model in trained_models.items()}
    db.dispose()
    return found


@pytest.fixture
def store(service: Service) -> ArtifactStore:
    return ArtifactStore(service.home / "artifacts")


@pytest.fixture
def scores(store: ArtifactStore, versions: dict[str, ModelVersion]) -> Any:
    """What the classification model answers when it is asked without a pool."""
    answers = Predictor.load(store.path(versions["classification"].artifact)).predict(TEXTS)
    return pytest.approx([answer["score"] for answer in answers], abs=1e-4)


async def ask(running: PredictorPool, version: ModelVersion) -> list[dict[str, Any]]:
    wanted = Choice(version)
    inputs = await steps.encode((await running.get(wanted)).predictor, TEXTS, TEXTS)
    results = await running.run(wanted, inputs.windows, 20)
    return await steps.decode(inputs, results.outcomes, ASK)


@contextmanager
def pool(store: ArtifactStore, **settings: Any) -> Iterator[PredictorPool]:
    chosen = Settings(_env_file=None, home=store.root, predict_runners=1, **settings)
    running = PredictorPool(store, chosen)
    yield running
    running.close()


class Gate:
    """Holds the next call of a method of the predictor until the test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        original: Callable[..., Any] = getattr(Predictor, method)

        def held(predictor: Predictor, batch: Sequence[Any], *others: Any) -> Any:
            if not self.reached.is_set():
                self.reached.set()
                assert self.open.wait(20)
            return original(predictor, batch, *others)

        monkeypatch.setattr(Predictor, method, held)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 20)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The artifacts that were loaded, in order."""
    loaded: list[str] = []
    original = Predictor.load

    def load(folder: Path, threads: int = 0, *others: Any) -> Predictor:
        if threads == 1:  # the wide one is another
            loaded.append(folder.name)
        return original(folder, threads, *others)

    monkeypatch.setattr(Predictor, "load", load)
    return loaded


def test_parallel_calls_share_one_load(
    store: ArtifactStore, versions: dict[str, ModelVersion], loads: list[str], scores: Any
) -> None:
    loads.clear()

    async def ask_together(running: PredictorPool) -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*(ask(running, versions["classification"]) for _ in range(10)))

    with pool(store) as running:
        answers = asyncio.run(ask_together(running))

    assert len(loads) == 1
    for answer in answers:
        assert [one["score"] for one in answer] == scores


def test_the_least_recently_used_model_goes_first(
    store: ArtifactStore, versions: dict[str, ModelVersion], loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "usable_cores", lambda: 1)  # none has a wide engine, which would count, too
    first, second, third = (versions[kind] for kind in ("classification", "tagging", "graded"))
    sizes = [(store.path(v.artifact) / "model.onnx").stat().st_size for v in (first, second, third)]
    room = sizes[0] + max(sizes[1:])  # for two

    async def use(running: PredictorPool) -> None:
        for version in (first, second, first, third, first, second):
            await running.get(Choice(version))

    with pool(store, model_cache_bytes=room) as running:
        asyncio.run(use(running))

    order = [f"{version.job_id}.1" for version in (first, second, third, second)]
    assert loads == order  # the third put the second out, not the first, which was used in between


def test_a_model_larger_than_the_budget_is_served_all_the_same(
    store: ArtifactStore, versions: dict[str, ModelVersion], scores: Any
) -> None:
    with pool(store, model_cache_bytes=1) as running:
        answers = asyncio.run(ask(running, versions["classification"]))

    assert [answer["score"] for answer in answers] == scores


def test_a_model_that_is_unloaded_between_two_steps_of_a_call_still_answers(
    store: ArtifactStore, versions: dict[str, ModelVersion], monkeypatch: pytest.MonkeyPatch, scores: Any
) -> None:
    async def overlap(running: PredictorPool) -> list[dict[str, Any]]:
        await ask(running, versions["classification"])
        tokenising = Gate(monkeypatch, "encode")
        asked = asyncio.create_task(ask(running, versions["classification"]))
        await tokenising.wait()
        unloaded = await running.get(Choice(versions["classification"]))
        await running.get(Choice(versions["graded"]))  # there is room for one: the other is closed
        await asyncio.to_thread(unloaded.batcher.close)
        tokenising.open.set()
        return await asked

    with pool(store, model_cache_bytes=1) as running:
        answers = asyncio.run(overlap(running))

    assert [answer["score"] for answer in answers] == scores


def test_a_model_that_is_unloaded_the_moment_it_was_handed_out_is_loaded_again(
    store: ArtifactStore, versions: dict[str, ModelVersion], monkeypatch: pytest.MonkeyPatch, scores: Any
) -> None:
    with pool(store, model_cache_bytes=1) as running:
        get, calls = running.get, []

        async def get_unluckily(wanted: Choice) -> LoadedModel:
            model = await get(wanted)
            calls.append(wanted)
            if len(calls) == 2:  # the second time is just before the texts are handed over
                await get(Choice(versions["graded"]))
                await asyncio.to_thread(model.batcher.close)
            return model

        monkeypatch.setattr(running, "get", get_unluckily)
        answers = asyncio.run(ask(running, versions["classification"]))

    assert [answer["score"] for answer in answers] == scores
    assert len(calls) == 3


def test_a_version_that_is_deleted_while_it_loads_does_not_stay(
    store: ArtifactStore, versions: dict[str, ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    version, before = versions["classification"], set(threading.enumerate())
    began, go_on = threading.Event(), threading.Event()
    original = Predictor.load

    def held(folder: Path, threads: int = 0, *others: Any) -> Predictor:
        began.set()
        assert go_on.wait(20)
        return original(folder, threads, *others)

    def no_runner_is_left() -> bool:
        return not any(thread.name == "runner" for thread in set(threading.enumerate()) - before)

    async def delete_meanwhile(running: PredictorPool) -> None:
        asked = asyncio.create_task(ask(running, version))
        assert await asyncio.to_thread(began.wait, 20)
        await running.unload(version.artifact)
        go_on.set()
        with pytest.raises(NotFoundError, match="deleted"):
            await asked
        with pytest.raises(NotFoundError, match="deleted"):  # for whoever had looked the name up before
            await running.get(Choice(version))
        await asyncio.to_thread(wait_for, no_runner_is_left)

    monkeypatch.setattr(Predictor, "load", held)
    with pool(store) as running:
        asyncio.run(delete_meanwhile(running))
        assert REGISTRY.get_sample_value("thawline_loaded_models") == 0


def test_an_answer_that_takes_too_long_is_given_up(
    service: Service, versions: dict[str, ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(_env_file=None, home=service.home, predict_timeout_seconds=20)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        path, body = f"/predict/{versions['classification'].model}", {"inputs": TEXTS}
        assert client.post(path, json=body).status_code == 200
        running_now = Gate(monkeypatch, "infer")

        late = client.post(path, json=body, params={"timeout": 0.2})
        running_now.open.set()

        assert problem_of(late, 503)["type"].endswith("deadline_exceeded")
        assert client.post(path, json=body).status_code == 200  # the next one is answered


def test_an_altered_model_is_not_served_and_a_repaired_one_is(
    store: ArtifactStore, versions: dict[str, ModelVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, looked_at = versions["classification"], list[str]()
    verified = ArtifactStore.verified_path

    def noted(store: ArtifactStore, key: str, **options: Any) -> Path:
        looked_at.append(key)
        return verified(store, key, **options)

    monkeypatch.setattr(ArtifactStore, "verified_path", noted)
    copy = ArtifactStore(tmp_path)
    shutil.copytree(store.root / version.artifact, tmp_path / version.artifact)
    weights = tmp_path / version.artifact / "model.onnx"
    right = weights.read_bytes()
    weights.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))

    async def ask_twice(running: PredictorPool) -> int:
        for _ in range(3):  # looked at once: three calls in a row do not read it three times
            with pytest.raises(ArtifactCorruptError, match=r"model\.onnx"):
                await ask(running, version)
        assert len(looked_at) == 1
        running._failed.clear()
        weights.write_bytes(right)
        return len(await ask(running, version))

    with pool(copy) as running:
        assert asyncio.run(ask_twice(running)) == 2


# ---- callers who go away, and texts that fail -----------------------------------------------------------------------


def test_what_a_caller_asked_who_went_away_is_not_run(
    service: Service, trained_models: dict[str, TrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(_env_file=None, home=service.home, predict_runners=1)
    ran: list[int] = []
    infer = Predictor.infer

    def noted(predictor: Predictor, batch: Sequence[Any], *others: Any) -> Any:
        ran.append(len(batch))
        return infer(predictor, batch, *others)

    async def go_away() -> int:
        app = create_app(settings)
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as client:
            url = f"http://127.0.0.1/predict/{trained_models['classification'].name}"
            assert (await client.post(url, json={"inputs": TEXTS})).status_code == 200
            running_now = Gate(monkeypatch, "infer")
            first = asyncio.create_task(client.post(url, json={"inputs": TEXTS[0]}))
            await running_now.wait()
            monkeypatch.setattr(Predictor, "infer", noted)
            status = await _post_and_leave(app, url, b'{"inputs": "my refund"}')
            running_now.open.set()
            assert (await first).status_code == 200
            assert (await client.post(url, json={"inputs": TEXTS[0]})).status_code == 200
            return status

    assert asyncio.run(go_away()) == 499
    assert ran == [1]  # the last one alone


async def _post_and_leave(app: Any, url: str, body: bytes) -> int:
    """Post as a client who closes the connection right after; the status that goes into the figures."""
    told: list[Any] = []
    messages = iter([{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        told.append(message)

    scope = {
        "type": "http", "method": "POST", "path": httpx.URL(url).path, "raw_path": b"", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")], "http_version": "1.1",
        "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    status: int = told[0]["status"]
    return status


def test_a_text_that_the_model_gives_no_number_for_fails_alone(
    service: Service, trained_models: dict[str, TrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(_env_file=None, home=service.home)
    infer = Predictor.infer

    def spoil_long_ones(predictor: Predictor, batch: Sequence[Any], *others: Any) -> Any:
        logits = infer(predictor, batch, *others)
        return [values * np.nan if len(one) > 20 else values for values, one in zip(logits, batch, strict=True)]

    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        path = f"/predict/{trained_models['classification'].name}"
        assert client.post(path, json={"inputs": TEXTS}).status_code == 200
        monkeypatch.setattr(Predictor, "infer", spoil_long_ones)

        some = client.post(path, json={"inputs": [TEXTS[0], "parcel " * 30]})
        none = client.post(path, json={"inputs": "parcel " * 30})
        tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": [TEXTS[0], "parcel " * 30]}
        tensors = client.post(path.replace("/predict/", "/v2/models/") + "/infer", json={"inputs": [tensor]})
        failed = 'thawline_predict_failed_texts_total{model="tiny-classification",version="1"}'
        wait_for(lambda: f"{failed} 3.0" in client.get("/metrics").text, what="the failures being told")

    good, bad = some.json()["predictions"]
    assert good["label"] == "delivery"
    assert (list(bad), bad["error"]["code"]) == (["error"], "model_failed")
    assert problem_of(none, 500)["type"].endswith("model_failed")
    assert tensors.status_code == 500  # a tensor is whole, or it is none
    assert tensors.json()["error"].startswith("row 1: ")


def test_a_model_that_cannot_be_loaded_keeps_nothing_of_those_who_asked(
    store: ArtifactStore, versions: dict[str, ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sent:
        """What a caller holds while it asks."""

    def broken(*_: Any, **__: Any) -> Predictor:
        raise ArtifactCorruptError("broken")

    async def call(running: PredictorPool) -> weakref.ref[Sent]:
        sent = Sent()
        with pytest.raises(ArtifactCorruptError, match="broken"):
            await running.get(Choice(versions["classification"]))
        return weakref.ref(sent)

    async def calls() -> list[weakref.ref[Sent]]:
        with pool(store) as running:
            left = [await call(running) for _ in range(10)]
            gc.collect()
            return [one for one in left if one() is not None]

    monkeypatch.setattr(Predictor, "load", broken)
    assert len(asyncio.run(calls())) <= 1  # of the one whose call tried to load it
