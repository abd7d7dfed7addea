"""A name goes over to a new version without a call that waits or fails; one that is broken never takes over."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from migrations import upgrade
from models_store import jobs, registry
from models_store.artifacts import seal
from models_store.database import Database
from models_store.predictor import Predictor
from models_store.registry import NewVersion
from models_store.settings import Settings
from tests.api.checks import problem_of
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import Service, wait_for
from tests.models_store.samples import claim, submit

TEXT = {"inputs": "where is my parcel"}


@dataclass
class Registry:
    """A home whose versions are copies of one trained model."""

    home: Path
    source: Path
    db: Database

    def publish(self, *, broken: bool = False, promote: str = "always") -> int:
        """Another version; a broken one has lost the end of its weights."""
        mine = claim(self.db, submit(self.db, promote=promote).id)
        key = f"models/{mine.job_id}.1"
        shutil.copytree(self.source, self.home / "artifacts" / key)
        if broken:
            weights = self.home / "artifacts" / key / "model.onnx"
            weights.write_bytes(weights.read_bytes()[:-100])
        size = sum(path.stat().st_size for path in self.source.iterdir())
        new = NewVersion(key, "linear", {"test": {"accuracy": 0.9}}, size)
        return jobs.succeed(self.db, mine, result={"head": "linear"}, version=new).version


@pytest.fixture
def models(service: Service, trained_models: dict[str, TrainedModel], tmp_path: Path) -> Iterator[Registry]:
    shared = Database(f"sqlite:///{service.home / 'thawline.db'}")
    with shared.reading() as session:
        artifact = registry.resolve(session, trained_models["classification"].name).artifact
    shared.dispose()
    url = f"sqlite:///{tmp_path / 'thawline.db'}"
    upgrade(url)
    db = Database(url)
    yield Registry(tmp_path, service.home / "artifacts" / artifact, db)
    db.dispose()


@pytest.fixture
def client(models: Registry) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(_env_file=None, home=models.home)), base_url="http://127.0.0.1") as client:
        yield client


def answering(client: TestClient, reference: str = "intent") -> int:
    answer = client.post(f"/predict/{reference}", json=TEXT)
    assert answer.status_code == 200, answer.text
    version: int = answer.json()["version"]
    return version


def test_the_old_version_answers_until_the_new_one_is_loaded(
    models: Registry, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.publish()
    assert answering(client) == 1
    new = models.publish()
    began, go_on = threading.Event(), threading.Event()
    load = Predictor.load

    def held(*arguments: Any, **options: Any) -> Predictor:
        began.set()
        assert go_on.wait(20)
        return load(*arguments, **options)

    monkeypatch.setattr(Predictor, "load", held)
    wait_for(lambda: answering(client) == 1 and began.is_set(), what="the new version being loaded")
    assert [answering(client) for _ in range(5)] == [1] * 5
    go_on.set()

    seen = [answering(client)]
    while seen[-1] != new and len(seen) < 100_000:
        seen.append(answering(client))
    assert seen == sorted(seen)  # once over, never back
    assert set(seen) <= {1, new}
    assert seen[-1] == new


def test_a_broken_version_does_not_take_over(models: Registry, client: TestClient) -> None:
    models.publish()
    assert answering(client) == 1
    models.publish(broken=True)
    failures = 'thawline_model_switch_failures_total{model="intent"} 1.0'

    wait_for(lambda: answering(client) == 1 and failures in client.get("/metrics").text, what="the failure being told")

    assert answering(client) == 1
    problem_of(client.post("/predict/intent@2", json=TEXT), 503)  # for itself only
    assert answering(client) == 1


def test_an_alias_that_is_asked_does_not_go_to_a_broken_version(models: Registry, client: TestClient) -> None:
    models.publish()
    assert answering(client) == 1
    models.publish(broken=True, promote="never")

    refused = client.put("/models/intent/aliases/production", json={"version": 2})

    problem_of(refused, 503)
    assert client.get("/models/intent").json()["aliases"] == {"production": 1}


def test_an_alias_goes_over_at_once_where_it_was_set(models: Registry, client: TestClient) -> None:
    models.publish()
    assert answering(client) == 1
    models.publish(promote="never")

    assert client.put("/models/intent/aliases/production", json={"version": 2}).status_code == 200

    assert answering(client) == 2


def test_a_version_that_answers_otherwise_than_when_it_was_exported_is_not_served(
    models: Registry, client: TestClient
) -> None:
    models.publish()
    golden = models.source / "golden.json"
    assert golden.is_file()
    # Rows and logits that do not belong together, in a manifest that says they do.
    number = models.publish(promote="never")
    _swap_logits(models.home / "artifacts", _artifact(models, number))

    refused = problem_of(client.post("/predict/intent@2", json=TEXT), 503)

    assert "does not answer as it did" in refused["detail"]
    assert answering(client) == 1


def _artifact(models: Registry, number: int) -> str:
    with models.db.reading() as session:
        return registry.get_version(session, "intent", number).artifact


def _swap_logits(store: Path, artifact: str) -> None:
    folder, target = store / "changed", store / artifact
    target.rename(folder)
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    golden = json.loads((folder / "golden.json").read_text())
    golden["logits"]["fp32"] = [[value + 1 for value in row] for row in golden["logits"]["fp32"]]
    (folder / "golden.json").write_text(json.dumps(golden))
    manifest.pop("files")
    seal(folder, target, manifest)


# ---- upkeep ---------------------------------------------------------------------------------------------------------


def loaded(client: TestClient) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("thawline_loaded_models ")).split()[1])


def test_a_model_that_nobody_asks_is_unloaded_and_loaded_again(models: Registry) -> None:
    models.publish()
    settings = Settings(_env_file=None, home=models.home, model_idle_seconds=0.1)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        assert answering(client) == 1
        wait_for(lambda: loaded(client) == 0, what="the model being unloaded")
        assert answering(client) == 1


def test_models_that_are_named_are_there_from_the_start_and_stay(models: Registry) -> None:
    models.publish()
    settings = Settings(
        _env_file=None, home=models.home, model_idle_seconds=1.5, preload_models=["intent", "nobody@staging"]
    )
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        first = client.get("/readyz").json()["checks"]["models"]
        wait_for(lambda: client.get("/readyz").json()["checks"]["models"] == "ok", what="the models being ready")
        assert loaded(client) == 1
        new = models.publish()
        wait_for(lambda: loaded(client) == 2, what="the new version being loaded unasked")
        wait_for(lambda: loaded(client) == 1, what="the old version being unloaded")
        assert answering(client) == new
        assert loaded(client) == 1
    assert first == "ok" or first.startswith("being loaded: ")


def test_of_named_models_that_do_not_fit_together_none_is_loaded_again_and_again(models: Registry) -> None:
    models.publish()
    models.publish(promote="never")
    size = (models.source / "model.onnx").stat().st_size
    named = ["intent@1", "intent@2"]
    settings = Settings(_env_file=None, home=models.home, model_cache_bytes=size, preload_models=named)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        wait_for(lambda: client.get("/readyz").json()["checks"]["models"] == "ok", what="the models being ready")
        before, upkeep = loads(client), client.app.state.services.upkeep  # type: ignore[attr-defined]
        for reference in named:
            assert client.portal is not None
            client.portal.call(partial(upkeep._keep, reference, if_room=True))

        assert loads(client) == before


# ---- canaries -------------------------------------------------------------------------------------------------------


def test_a_canary_answers_once_it_is_loaded_and_nobody_waits_for_it(models: Registry, client: TestClient) -> None:
    models.publish()
    models.publish(promote="never")
    body = {"version": 1, "canary": {"version": 2, "weight": 0.5}}
    assert client.put("/models/intent/aliases/production", json=body).status_code == 200
    assert answering(client) == 1  # whatever was drawn: the canary is not there yet

    wait_for(lambda: answering(client) == 2, what="the canary answering")
    wait_for(lambda: answering(client) == 1, what="the other half of the calls")


def test_a_broken_canary_costs_no_caller_an_answer(models: Registry, client: TestClient) -> None:
    models.publish()
    models.publish(broken=True, promote="never")
    body = {"version": 1, "canary": {"version": 2, "weight": 0.9}}
    assert client.put("/models/intent/aliases/production", json=body).status_code == 200
    failures = 'thawline_model_switch_failures_total{model="intent"}'
    before = client.get("/metrics").text.partition(failures)[2].partition("\n")[0]

    def told() -> bool:
        assert answering(client) == 1
        return client.get("/metrics").text.partition(failures)[2].partition("\n")[0] != before

    wait_for(told, what="the failure being told")
    assert answering(client) == 1


@pytest.mark.parametrize("role", ["canary", "shadow"])
def test_a_canary_or_shadow_without_room_does_not_push_out_what_answers(models: Registry, role: str) -> None:
    models.publish()
    models.publish(promote="never")
    (number,) = {path.stat().st_size for path in models.source.glob("model.onnx")}
    settings = Settings(_env_file=None, home=models.home, model_cache_bytes=number)
    body = {"version": 1, "canary": {"version": 2, "weight": 0.9}} if role == "canary" else {"version": 1, "shadow": 2}
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        assert answering(client) == 1
        assert client.put("/models/intent/aliases/production", json=body).status_code == 200
        started = loads(client)

        def refused() -> bool:
            assert answering(client) == 1
            if role == "shadow":
                report = client.get("/models/intent/aliases/production").json()["shadow_report"]
                return bool(report and report["last_error"] == "no_room")
            return loads(client) > started

        wait_for(refused, what="the other version being refused for want of room")

        assert answering(client) == 1
        assert loads(client) == started + 1  # the one that was refused: the other has never left
        assert answering(client, "intent@2") == 2  # who asks for it by its number gets it


def loads(client: TestClient) -> float:
    """How many models were ever loaded."""
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("thawline_loaded_on_total"))


# ---- deletion -------------------------------------------------------------------------------------------------------


def test_a_version_that_stands_in_for_a_broken_one_is_not_deleted(models: Registry, client: TestClient) -> None:
    models.publish()
    assert answering(client) == 1
    models.publish(broken=True)

    refused = problem_of(client.delete("/models/intent/versions/1"), 409)

    assert "still answers for intent, because version 2 cannot be loaded" in refused["detail"]
    assert answering(client) == 1
    models.publish()
    assert client.delete("/models/intent/versions/1").status_code == 204
    assert answering(client) == 3


def test_figures_of_a_deleted_version_are_told_no_more(models: Registry, client: TestClient) -> None:
    models.publish()
    models.publish()
    assert (answering(client, "intent@1"), answering(client)) == (1, 2)

    def told(version: int) -> bool:
        return f'model="intent",version="{version}"' in client.get("/metrics").text.replace('outcome="answered",', "")

    assert (told(1), told(2)) == (True, True)
    assert client.delete("/models/intent/versions/1").status_code == 204

    assert (told(1), told(2)) == (False, True)
    assert client.delete("/models/intent").status_code == 204
    assert not told(2)


def test_an_alias_that_nobody_has_asked_does_not_go_to_altered_files_either(
    models: Registry, client: TestClient
) -> None:
    models.publish()
    models.publish(broken=True, promote="never")

    problem_of(client.put("/models/intent/aliases/production", json={"version": 2}), 503)

    assert answering(client) == 1
