"""A home with one trained model, whose versions are published again under other names, and an API that serves it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from benchmarks.serving_faults.burdens import enlarge, slow_down
from migrations import upgrade
from models_store import datasets, jobs, registry
from models_store.artifacts import ArtifactStore, seal
from models_store.database import Database
from models_store.process import guarded
from models_store.registry import NewVersion
from models_store.specs import JobRequest, resolve_spec
from models_store.tables import ModelVersion
from models_store.tasks import task_from_config

BURDENS = {"slow": slow_down, "oversized": enlarge}
_START_SECONDS = 60.0
_TRAIN_SECONDS = 900.0


@dataclass
class Home:
    """Where the state lies, and the version that all others are copies of."""

    folder: Path
    original: ModelVersion = field(init=False)

    def __post_init__(self) -> None:
        upgrade(self._url)
        self.store = ArtifactStore(self.folder / "artifacts")
        self.db = Database(self._url)

    @property
    def _url(self) -> str:
        return f"sqlite:///{self.folder / 'thawline.db'}"

    def train(self, train: Path, validation: Path) -> None:
        """Train a small classifier through the service itself."""
        with running(self, "serve") as api:
            files = {"file": train.open("rb"), "validation_file": validation.open("rb")}
            dataset = api.client.post("/datasets", data={"task": "classification"}, files=files).json()
            spec = {"dataset_id": dataset["id"], "model": "original", "strategy": "frozen", "head": "linear"}
            job = api.client.post("/jobs", json={**spec, "export": {"precision": "int8"}}).json()
            until = time.monotonic() + _TRAIN_SECONDS
            while (job := api.client.get(f"/jobs/{job['id']}").json())["status"] in ("queued", "running"):
                if time.monotonic() > until:
                    raise TimeoutError("the training takes too long")
                time.sleep(1)
            if job["status"] != "succeeded":
                raise RuntimeError(job["error"])
        with self.db.reading() as session:
            self.original = registry.resolve(session, "original")

    def publish(self, name: str, *, damage: str | None = None) -> int:
        """The original once more, as a version of another model; ``damage`` is what befalls its files."""
        request = JobRequest(dataset_id=self.original.dataset_id, model=name)
        task = task_from_config(datasets.get(self.db, request.dataset_id).schema_)
        queued = jobs.submit(self.db, request, resolve_spec(request, task, 100, ["minilm-l6"]), max_attempts=1)
        claim = jobs.claim(self.db, queued.id, worker="benchmark", lease_seconds=60)
        assert claim is not None
        key = f"models/{queued.id}.1"
        target = self.store.root / key
        shutil.copytree(self.store.root / self.original.artifact, target)
        _damage(target, damage)
        new = NewVersion(key, "linear", self.original.metrics, self.original.size_bytes)
        return jobs.succeed(self.db, claim, result={"head": "linear"}, version=new).version


def _damage(folder: Path, damage: str | None) -> None:
    """Change the files of a version; of some, the manifest says that they are right."""
    weights = folder / "model.int8.onnx"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "altered":
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 0xFF
        weights.write_bytes(content)
    elif damage == "missing":
        (folder / "tokenizer.json").unlink()
    elif damage == "wrong":
        content = bytearray(weights.read_bytes())
        for place in range(len(content) // 2, len(content) // 2 + 200_000):
            content[place] = (content[place] + 64) % 256
        weights.write_bytes(content)
        _seal_again(folder)
    elif damage in BURDENS:
        BURDENS[damage](weights)
        _seal_again(folder)


def _seal_again(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    aside = folder.with_name("aside")
    folder.rename(aside)
    seal(aside, folder, {})


@dataclass
class Running:
    """A server of ours."""

    process: subprocess.Popen[bytes]
    client: httpx.Client

    @property
    def url(self) -> str:
        """Its address."""
        return str(self.client.base_url)

    @property
    def rss(self) -> float:
        """Its memory in MiB."""
        return float(psutil.Process(self.process.pid).memory_info().rss / 2**20)

    @contextmanager
    def watched(self, every: float = 1.0) -> Iterator[list[float]]:
        """Its memory in MiB while the block runs: at the beginning, every so many seconds, and at the end."""
        seen, over = [self.rss], threading.Event()

        def watch() -> None:
            while not over.wait(every):
                seen.append(self.rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield seen
        finally:
            over.set()
            watcher.join()
            seen.append(self.rss)

    def cpu_seconds(self) -> float:
        """What it has used of the processors."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


@contextmanager
def running(home: Home, command: str = "api", **settings: object) -> Iterator[Running]:
    """``thawline api`` (or ``serve``) on a free port, until it answers; told to stop at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = {f"THAWLINE_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {**os.environ, "THAWLINE_HOME": str(home.folder), "THAWLINE_PORT": str(port), **names}
    line = guarded([sys.executable, "-m", "api.cli", command], signal.SIGTERM)
    with (home.folder / "server.log").open("ab") as log:
        process = subprocess.Popen(line, env=environment, stdout=log, stderr=log)
    path = "/readyz" if command == "serve" else "/healthz"
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        _wait(client, path, process)
        yield Running(process, client)
    if process.poll() is None:
        process.terminate()
    process.wait(120)


def _wait(client: httpx.Client, path: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if client.get(path).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError("the server did not start; see server.log in its home")
