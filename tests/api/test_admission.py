"""Admission: a bounded number of texts, from before the model is loaded, and an honest word on when to come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.admission import Admission
from api.main import create_app
from api.throughput import Throughput
from models_store.artifacts import ArtifactStore
from models_store.errors import ArtifactCorruptError, OverloadedError
from models_store.predictor import Predictor
from models_store.settings import Settings
from tests.api.checks import problem_of
from tests.api.conftest import AppFactory
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import Service
from tests.models_store.samples import publish


def no_backlog() -> float:
    return 0.0


def test_texts_beyond_the_limit_are_refused_and_their_places_given_back() -> None:
    admission = Admission(3, no_backlog)

    with admission.permit("m", 2):
        with pytest.raises(OverloadedError), admission.permit("m", 2):
            pass
        with admission.permit("m", 1):
            pass
    with pytest.raises(ValueError, match="broken"), admission.permit("m", 3):
        raise ValueError("broken")

    with admission.permit("m", 3):
        pass


def test_a_call_without_texts_takes_a_place_too() -> None:
    admission = Admission(2, no_backlog)

    with admission.permit("m", 0), admission.permit("m", 0), pytest.raises(OverloadedError), admission.permit("m", 0):
        pass


def test_the_throughput_is_that_of_all_runners_and_of_late() -> None:
    throughput = Throughput()

    for _ in range(2000):
        throughput.learn(20, 0.02, runners=2)
    assert throughput.seconds_for(1000) == pytest.approx(0.5)
    for _ in range(50):
        throughput.learn(2000, 0.2, runners=2)
    assert throughput.seconds_for(1000) == pytest.approx(0.05, rel=0.2)


def test_a_model_that_is_full_leaves_room_for_the_others() -> None:
    admission = Admission(2, lambda: 7.2)

    with admission.permit("slow", 2):
        with pytest.raises(OverloadedError) as refused, admission.permit("slow", 1):
            pass
        with admission.permit("quick", 2):
            pass
    assert refused.value.retry_after == 8


def test_many_models_together_are_bounded_too() -> None:
    admission = Admission(2, no_backlog)

    with ExitStack() as held:
        for name in "abcd":
            held.enter_context(admission.permit(name, 2))
        with pytest.raises(OverloadedError), admission.permit("e", 1):
            pass
    with admission.permit("e", 2):
        pass


def test_the_windows_of_a_long_text_take_places_too() -> None:
    admission = Admission(4, no_backlog)

    with admission.permit("m", 1), admission.more("m", 2):
        with admission.permit("m", 1), pytest.raises(OverloadedError), admission.more("m", 1):
            pass
        # A text that fits needs no further place, however full it is.
        with admission.permit("m", 1), admission.more("m", 0):
            pass
    with admission.permit("m", 1), admission.more("m", 3):
        pass


def test_while_a_model_loads_calls_do_not_pile_up(start_app: AppFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    client = start_app(predict_queue_items=4)
    publish(client.app.state.services.db)  # type: ignore[attr-defined]
    loading, go_on = threading.Event(), threading.Event()

    def held(store: ArtifactStore, key: str) -> Path:
        loading.set()
        assert go_on.wait(20)
        raise ArtifactCorruptError("broken")

    def ask(texts: int, model: str = "intent") -> Any:
        return client.post(f"/predict/{model}", json={"inputs": ["x"] * texts})

    monkeypatch.setattr(ArtifactStore, "verified_path", held)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, 3)
        assert loading.wait(20)
        second = pool.submit(ask, 2)
        try:
            refused = second.result(10)  # it does not wait for the load
        finally:
            go_on.set()

    problem_of(refused, 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert first.result().status_code == 503
    for _ in range(2):  # whatever became of a call, its places are free again
        problem_of(ask(4, "nobody"), 404)
        problem_of(ask(5), 422)
        problem_of(ask(4), 503)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Models that take 4 ms for each text; hands back how to wait until one runs a full batch."""
    full = threading.Event()
    infer = Predictor.infer

    def slowly(predictor: Predictor, batch: Sequence[Any], *others: Any) -> Any:
        if len(batch) > 32:
            full.set()
        time.sleep(0.004 * len(batch))
        return infer(predictor, batch, *others)

    monkeypatch.setattr(Predictor, "infer", slowly)
    return lambda: full.wait(20)


def test_the_wait_that_is_foretold_is_about_the_wait(
    service: Service, trained_models: dict[str, TrainedModel], slow: Callable[[], bool]
) -> None:
    model = trained_models["classification"].name
    settings = Settings(_env_file=None, home=service.home, predict_runners=1, predict_queue_items=500)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client, ThreadPoolExecutor(16) as pool:

        def ask(texts: int) -> Any:
            return client.post(f"/predict/{model}", json={"inputs": ["parcel"] * texts})

        list(pool.map(ask, [1] * 100))  # each waits for fifteen others, which says nothing about the work
        started = time.monotonic()
        answered = pool.submit(ask, 500)
        assert slow()
        refused = ask(500)
        assert answered.result().status_code == 200
        seconds = time.monotonic() - started

    problem_of(refused, 429)
    assert seconds / 2 <= int(refused.headers["retry-after"]) <= 2 * seconds + 1
