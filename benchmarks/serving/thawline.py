"""Thawline as its user meets it: `thawline serve` with a home of its own, and a model from a job."""

from __future__ import annotations

import csv
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.serving.processes import ServerError, free_port, running

MODEL = "benchmark"
MAX_LENGTH = 256  # pieces; above the longest texts of the load, so that nobody reads them in windows or cuts them
# How good the classifier is has no bearing on its speed, so it is trained for moments.
_HYPERPARAMETERS = {"max_length": MAX_LENGTH, "full_epochs": 2}


@dataclass(frozen=True, slots=True)
class Thawline:
    """The running service."""

    home: Path
    port: int

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def train(self, data: Path, rows: int, seed: int) -> Path:
        """Upload rows of a file, run a job on them, and hand back the folder of the version it published.

        Raises:
            ServerError: A call was refused, or the job failed.
        """
        sample = _sample(data, self.home / "sample.csv", rows, seed)
        with httpx.Client(base_url=self.url, timeout=60) as client:
            with sample.open("rb") as file:
                dataset = _checked(client.post("/datasets", data={"task": "classification"}, files={"file": file}))
            request = {
                "dataset_id": dataset["id"],
                "model": MODEL,
                "head": "linear",
                "seed": seed,
                "hyperparameters": _HYPERPARAMETERS,
                "export": {"precision": "int8"},  # with single precision beside it
            }
            job = _checked(client.post("/jobs", json=request))
            while job["status"] in ("queued", "running"):
                time.sleep(0.5)
                job = _checked(client.get(f"/jobs/{job['id']}"))
        if job["status"] != "succeeded":
            raise ServerError(f"the job {job['status']}: {job['error']}")
        (file_of_model,) = self.home.glob("artifacts/models/*/model.onnx")  # the home is new: there is no other
        return file_of_model.parent


@contextmanager
def served(home: Path) -> Iterator[Thawline]:
    """`thawline serve` for as long as the block lasts."""
    port = free_port()
    environment = {
        **os.environ,
        "THAWLINE_HOME": str(home),
        "THAWLINE_PORT": str(port),
        "THAWLINE_LOG_LEVEL": "WARNING",
    }
    service = Thawline(home, port)
    home.mkdir()
    command = [sys.executable, "-m", "api.cli", "serve"]
    with running(command, environment, home / "service.log", f"{service.url}/readyz", cwd=home):
        yield service


def read_texts(data: Path) -> list[str]:
    """The column ``text`` of a CSV file."""
    with data.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def _sample(source: Path, target: Path, rows: int, seed: int) -> Path:
    with source.open(encoding="utf-8", newline="") as file:
        header, *all_rows = csv.reader(file)
    chosen = random.Random(seed).sample(all_rows, min(rows, len(all_rows)))
    with target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *chosen])
    return target


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise ServerError(f"{response.request.method} {response.request.url}: {response.text}")
    body: dict[str, Any] = response.json()
    return body
