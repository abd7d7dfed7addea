"""Broker, database, API and workers of one home, started as an operator would start them alone."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.serving.processes import free_port
from benchmarks.stack.databases import DatabaseServer
from benchmarks.stack.parts import TRAINING, Broker, Part, ours, wait_for
from benchmarks.stack.small import ENCODER, build_encoder, write_rows
from migrations import upgrade
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.settings import Settings


class Stack:
    """The running service. `db` and `store` look at what it works on without going through it."""

    def __init__(self, folder: Path, database: DatabaseServer, workers: int, settings: dict[str, str]) -> None:
        self.folder = folder
        self.database = database
        self.broker = Broker(folder)
        self._port = free_port()
        others = {name: value for name, value in os.environ.items() if not name.startswith("THAWLINE_")}
        self.environment = {
            **others,
            "CUDA_VISIBLE_DEVICES": "",
            "THAWLINE_HOME": str(folder),
            "THAWLINE_PORT": str(self._port),
            "THAWLINE_DATABASE_URL": database.url,
            "THAWLINE_BROKER_URL": self.broker.url,
            "THAWLINE_ENCODERS_DIR": str(folder / "encoders"),
            "THAWLINE_TRAINING_THREADS": "1",
            **settings,
        }
        self.settings = Settings(_env_file=None, home=folder, database_url=database.url)
        self.db = Database(self.settings.resolved_database_url)
        self.store = ArtifactStore(self.settings.artifacts_dir)
        self.api = ours("api", "api", self.environment, folder)
        self.workers = [ours(f"worker-{number}", "worker", self.environment, folder) for number in range(workers)]

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def parts(self) -> list[Part]:
        """All processes of the service, in the order in which they are stopped."""
        return [*self.workers, self.api, self.broker]

    def start_api(self, **settings: str) -> None:
        """Start the API, with these settings beside its own, and wait until it answers."""
        self.api.environment = self.environment | settings
        self.api.start()
        wait_for(self._answers, "the API")

    def upload(self, rows: int = 24) -> str:
        """Upload a few rows; the id of the data set."""
        files = {}
        for name, seed in (("file", 1), ("validation_file", 2)):
            path = self.folder / f"{name}.csv"
            write_rows(path, rows, seed)
            files[name] = (path.name, path.read_bytes())
        answer = httpx.post(f"{self.url}/datasets", data={"task": "classification"}, files=files, timeout=60)
        answer.raise_for_status()
        dataset: dict[str, Any] = answer.json()
        return str(dataset["id"])

    def trainings(self) -> list[psutil.Process]:
        """All training processes of this home, whoever their parent is by now."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                if TRAINING in line and any(word.startswith(str(self.folder)) for word in line):
                    found.append(process)
        return found

    def _answers(self) -> bool:
        assert self.api.process is not None
        if self.api.process.poll() is not None:
            raise RuntimeError(self.api.log.read_text(encoding="utf-8", errors="replace")[-2000:])
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200
        return False


@contextlib.contextmanager
def running(kind: type[Any], workers: int, **settings: str) -> Iterator[Stack]:
    """The service on an empty home while the block lasts, with so many workers; then nothing is left of it."""
    with tempfile.TemporaryDirectory(prefix="thawline-stack-") as name, contextlib.ExitStack() as ends:
        folder = Path(name)
        build_encoder(folder / "encoders" / ENCODER)
        database: DatabaseServer = kind(folder)
        ends.callback(database.stop)
        database.start()
        stack = Stack(folder, database, workers, settings)
        upgrade(stack.settings.resolved_database_url)
        ends.callback(stack.db.dispose)
        for part in reversed(stack.parts):
            ends.callback(part.stop)
        stack.broker.start()
        stack.start_api()
        for worker in stack.workers:
            worker.start()
        yield stack
