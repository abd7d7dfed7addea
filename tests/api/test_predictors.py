"""Loaded models: loaded once, unloaded without harm, and never after they were deleted."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from api.batching import Throughput
from api.predictors import Choice, LoadedModel, PredictorPool
from models_store import registry
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.errors import ArtifactCorruptError, NotFoundError, UnavailableError
from models_store.precision import Precision
from models_store.predictor import Predictor
from models_store.settings import Settings
from models_store.tables import ModelVersion
from models_store.tasks import PredictOptions
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
    return await running.predict(wanted, await running.encode(wanted, TEXTS), ASK)


@contextmanager
def pool(store: ArtifactStore, **settings: Any) -> Iterator[PredictorPool]:
    chosen = Settings(_env_file=None, home=store.root, predict_runners=1, **settings)
    running = PredictorPool(store, chosen, Throughput())
    yield running
    running.close()


class Gate:
    """Holds a method of the predictor until the test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        original: Callable[..., Any] = getattr(Predictor, method)

        def held(predictor: Predictor, batch: Sequence[Any]) -> Any:
            self.reached.set()
            assert self.open.wait(20)
            return original(predictor, batch)

        monkeypatch.setattr(Predictor, method, held)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 20)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The artifacts that were loaded, in order."""
    loaded: list[str] = []
    original = Predictor.load

    def load(folder: Path, threads: int = 0, precision: Precision | None = None) -> Predictor:
        loaded.append(folder.name)
        return original(folder, threads, precision)

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
    store: ArtifactStore, versions: dict[str, ModelVersion], loads: list[str]
) -> None:
    first, second, third = (versions[kind] for kind in ("classification", "tagging", "graded"))
    room = first.size_bytes + max(second.size_bytes, third.size_bytes)  # for two

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
    tokenising = Gate(monkeypatch, "encode")

    async def overlap(running: PredictorPool) -> list[dict[str, Any]]:
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
    loading, go_on = threading.Event(), threading.Event()
    original = Predictor.load

    def held(folder: Path, threads: int = 0, precision: Precision | None = None) -> Predictor:
        loading.set()
        assert go_on.wait(20)
        return original(folder, threads, precision)

    def no_runner_is_left() -> bool:
        return not any(thread.name.startswith("runner-") for thread in set(threading.enumerate()) - before)

    async def delete_meanwhile(running: PredictorPool) -> None:
        asked = asyncio.create_task(ask(running, version))
        assert await asyncio.to_thread(loading.wait, 20)
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
    store: ArtifactStore, versions: dict[str, ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    running_now = Gate(monkeypatch, "infer")
    version = versions["classification"]

    async def too_slow(running: PredictorPool) -> UnavailableError:
        with pytest.raises(UnavailableError) as given_up:
            await ask(running, version)
        running_now.open.set()
        assert len(await ask(running, version)) == 2  # the next one is answered
        return given_up.value

    with pool(store, predict_timeout_seconds=0.2) as running:
        given_up = asyncio.run(too_slow(running))

    assert given_up.code == "deadline_exceeded"


def test_an_altered_model_is_not_served_and_a_repaired_one_is(
    store: ArtifactStore, versions: dict[str, ModelVersion], tmp_path: Path
) -> None:
    version = versions["classification"]
    copy = ArtifactStore(tmp_path)
    shutil.copytree(store.root / version.artifact, tmp_path / version.artifact)
    weights = tmp_path / version.artifact / "model.onnx"
    right = weights.read_bytes()
    weights.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))

    async def ask_twice(running: PredictorPool) -> int:
        with pytest.raises(ArtifactCorruptError, match=r"model\.onnx"):
            await ask(running, version)
        weights.write_bytes(right)
        return len(await ask(running, version))

    with pool(copy) as running:
        assert asyncio.run(ask_twice(running)) == 2
