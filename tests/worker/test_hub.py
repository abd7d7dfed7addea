"""Encoders from the hub: fetched once and by their commit, safe files alone, and no half of one is ever used."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import worker.hub
from models_store.encoders import EncoderCatalogue, EncoderSource
from models_store.settings import Settings
from tests.fixtures.hub import COMMIT, REPOSITORY, WEIGHTS, Hub
from tests.fixtures.servers import free_port
from tests.worker.conftest import Workshop
from worker import pipeline
from worker.hub import fetch
from worker.process import TrainingProcess
from worker.training.errors import EncoderError
from worker.training.events import Event, Failed, Finished, Message, Working

FILES = ["config.json", WEIGHTS, "tokenizer.json"]


@pytest.fixture
def source(hub: Hub, tmp_path: Path) -> EncoderSource:
    """The encoder, not fetched yet."""
    return EncoderCatalogue(tmp_path / "encoders", tmp_path / "cache", {"remote": hub.revision}).find("remote")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def messages(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Message)]


def test_a_job_trains_on_it_and_the_next_one_needs_no_network(
    workshop: Workshop, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.settings = Settings(
        _env_file=None, home=workshop.settings.home, device="cpu", hub_encoders={"remote": hub.revision}
    )
    request = workshop.pipeline_request(base_model="remote", strategy="frozen")

    with TrainingProcess(request.model_dump_json(), request.scratch_dir) as process:
        events = []
        while not process.ended:
            if (event := process.next_event(60)) is not None:
                events.append(event)

    finished = events[-1]
    assert isinstance(finished, Finished), finished
    assert any(
        message.startswith(f"fetching base_model remote ({REPOSITORY}@5c38ec7) once: ") for message in messages(events)
    )
    assert f"fetched base_model remote ({REPOSITORY}@5c38ec7)" in messages(events)
    assert finished.manifest["base_encoder"] == "remote"
    assert finished.manifest["base_encoder_source"] == f"{REPOSITORY}@{COMMIT}"
    card = (request.output_dir / "README.md").read_text()
    assert f"base_model: {REPOSITORY}" in card.replace('"', "")
    report = json.loads((request.output_dir / "report.json").read_text())
    assert report["base_encoder_source"] == f"{REPOSITORY}@{COMMIT}"

    hub.requests.clear()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    again = workshop.pipeline_request(base_model="remote", strategy="frozen")
    running = pipeline.run(again)
    assert messages([next(running)]) == ["training on cpu"]  # the encoder is loaded
    assert hub.requests == []


def test_three_files_are_fetched_and_nothing_else(hub: Hub, source: EncoderSource) -> None:
    (hub_home := source.folder.parents[3] / "huggingface").mkdir()
    (hub_home / "token").write_text("hf_somebody_logged_in_here")

    list(fetch(source))

    assert content(source.folder) == {name: hub.files[name] for name in FILES}
    assert sorted(hub.asked()) == sorted([COMMIT, *FILES])
    assert [path.name for path in source.folder.parent.iterdir() if path != source.folder] == [f"{COMMIT}.lock"]
    for _, _, headers in hub.requests:
        assert "authorization" not in headers
        assert "torch" not in headers["user-agent"]  # the library's telemetry
    assert [path.name for path in hub_home.iterdir()] == ["token"]


def test_only_the_token_that_was_set_for_it_is_sent_and_to_the_hub_alone(
    hub: Hub, source: EncoderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_for_this")

    list(fetch(source))

    sent = {(path.startswith("/storage/"), headers.get("authorization")) for _, path, headers in hub.requests}
    assert sent == {(False, "Bearer hf_for_this"), (True, None)}


def test_an_encoder_that_is_here_is_not_looked_up(hub: Hub, source: EncoderSource, encoders_dir: Path) -> None:
    source.folder.mkdir(parents=True)

    assert list(fetch(source)) == []
    assert list(fetch(EncoderSource("tiny", encoders_dir / "tiny", None))) == []
    assert hub.requests == []


# ---- what can go wrong ----------------------------------------------------------------------------------------------


def restricted(method: str, path: str) -> tuple[int, dict[str, str]] | None:
    """Anybody may see what a gated repository holds, but not have it."""
    return (403, {"X-Error-Code": "GatedRepo"}) if "/resolve/" in path else None


def cut_off(method: str, path: str) -> tuple[int, dict[str, str]] | None:
    """A file that ends too early, and nobody says so."""
    return (200, {}) if path.startswith("/storage/") else None


FAULTS: dict[str, tuple[Callable[[Hub], object], str]] = {
    "another commit": (lambda hub: setattr(hub, "commit", "0" * 40), "answered with another commit, 0000"),
    "gated": (lambda hub: setattr(hub, "before", restricted), r"access is restricted.*\(HF_TOKEN\)"),
    "down": (lambda hub: setattr(hub, "before", lambda *_: (500, {})), "from http://127.0.0.1:.* failed: .*500"),
    "pickle": (lambda hub: hub.files.pop(WEIGHTS), f"no {WEIGHTS}, and pytorch_model.bin is not loaded"),
    "shards": (
        lambda hub: hub.files.update({f"{WEIGHTS}.index.json": hub.files.pop(WEIGHTS)}),
        "in several files; only a single",
    ),
    "no tokenizer": (lambda hub: hub.files.pop("tokenizer.json"), "has no tokenizer.json"),
    "cut off": (lambda hub: setattr(hub, "before", cut_off), "Consistency check failed"),
    "damaged": (lambda hub: hub.hashes.update({WEIGHTS: "0" * 64}), f"{WEIGHTS} arrived damaged"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_went_wrong_is_said_and_nothing_is_left_that_could_be_used(
    hub: Hub, source: EncoderSource, fault: str
) -> None:
    inject, words = FAULTS[fault]
    inject(hub)

    with pytest.raises(EncoderError, match=rf"base_model 'remote' \({REPOSITORY}@{COMMIT}\): .*{words}"):
        list(fetch(source))

    assert not source.folder.exists()


def test_a_commit_or_a_repository_that_does_not_exist(hub: Hub, source: EncoderSource) -> None:
    def fetch_from(**changes: str) -> None:
        list(fetch(replace(source, hub=replace(hub.revision, **changes))))

    with pytest.raises(EncoderError, match=f"{REPOSITORY} has no commit {'0' * 40}"):
        fetch_from(commit="0" * 40)
    with pytest.raises(EncoderError, match="no such repository, or it is private"):
        fetch_from(repo="acme/other")


def test_a_hub_that_is_out_of_reach(source: EncoderSource, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("HF_ENDPOINT", address)

    with pytest.raises(EncoderError, match=f"from {address} failed: ConnectError"):
        list(fetch(source))


def test_a_process_that_ends_without_a_word_is_no_success(
    source: EncoderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.hub, "guarded", lambda _: [sys.executable, "-c", ""])

    with pytest.raises(EncoderError, match="ended without a word"):
        list(fetch(source))


def test_a_connection_that_breaks_is_made_again(hub: Hub, source: EncoderSource) -> None:
    broken: list[str] = []

    def once(method: str, path: str) -> int | None:
        if method == "GET" and path == f"/storage/{WEIGHTS}" and not broken:
            broken.append(path)
            return 1000
        return None

    hub.before = once
    list(fetch(source))

    assert broken
    assert content(source.folder) == {name: hub.files[name] for name in FILES}


def test_a_fetch_that_was_interrupted_is_begun_again(hub: Hub, source: EncoderSource) -> None:
    reached, gone_on = threading.Event(), threading.Event()

    def hang(method: str, path: str) -> None:
        if method == "GET" and path == f"/storage/{WEIGHTS}":
            reached.set()
            gone_on.wait(300)

    hub.before = hang
    events = iter(fetch(source))
    assert any(isinstance(event, Working) for event in events)  # the small files are there: a sign of life
    assert reached.wait(300)
    events.close()  # type: ignore[attr-defined]
    gone_on.set()
    assert not source.folder.exists()

    list(fetch(source))

    assert content(source.folder) == {name: hub.files[name] for name in FILES}


def test_of_two_workers_one_fetches_and_the_other_waits(hub: Hub, source: EncoderSource) -> None:
    both = threading.Barrier(2)

    def hold(method: str, path: str) -> None:
        if path.startswith("/api/"):
            both.wait(300)  # neither can be done before the other has begun

    hub.before = hold
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda _: list(fetch(source)), range(2)))

    assert sorted(name for name in hub.asked() if name in hub.files) == FILES  # each once
    assert content(source.folder) == {name: hub.files[name] for name in FILES}
    assert not any(isinstance(event, Failed) for events in told for event in events)
