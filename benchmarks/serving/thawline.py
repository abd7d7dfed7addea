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
from models_store.precision import ONNX_FILES, Precision
from models_store.specs import PrecisionName

MODEL = "benchmark"
MAX_LENGTH = 256  # pieces; above the longest texts of the load, so that nobody reads them in windows or cuts them
# By which `auto` chooses the precision: of few, a single answer that changes is more than it allows for.
_VALIDATION_ROWS = 1_000
# How good the classifier is has no bearing on its speed, so it is trained for moments.
_HYPERPARAMETERS = {"max_length": MAX_LENGTH, "full_epochs": 2}


@dataclass(frozen=True, slots=True)
class Published:
    """A model that a job published.

    Attributes:
        model: Its name.
        folder: Where its files lie.
        served: What it is served in unless a call says otherwise.
        reason: Why, in the job's words.
    """

    model: str
    folder: Path
    served: Precision
    reason: str

    def has(self, precision: Precision) -> bool:
        """Whether a call can ask for this one."""
        return (self.folder / ONNX_FILES[precision]).is_file()


@dataclass(frozen=True, slots=True)
class Thawline:
    """The running service."""

    home: Path
    port: int

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def train(self, data: Path, rows: int, seed: int, model: str, precision: PrecisionName) -> Published:
        """Upload rows of a file, run a job on them, and hand back what it published.

        Raises:
            ServerError: A call was refused, or the job failed.
        """
        samples = sample_files(data, self.home, rows, seed)
        with httpx.Client(base_url=self.url, timeout=60) as client:
            files = {field: (path.name, path.read_bytes()) for field, path in samples.items()}
            dataset = _checked(client.post("/datasets", data={"task": "classification"}, files=files))
            request = {
                "dataset_id": dataset["id"],
                "model": model,
                "head": "linear",
                "seed": seed,
                "hyperparameters": _HYPERPARAMETERS,
                "export": {"precision": precision},
            }
            job = _checked(client.post("/jobs", json=request))
            while job["status"] in ("queued", "running"):
                time.sleep(0.5)
                job = _checked(client.get(f"/jobs/{job['id']}"))
        if job["status"] != "succeeded":
            raise ServerError(f"the job {job['status']}: {job['error']}")
        (file_of_model,) = self.home.glob(f"artifacts/models/{job['id']}.*/model.onnx")
        chosen = job["result"]["precision"]
        return Published(model, file_of_model.parent, Precision(chosen["served"]), chosen["reason"])


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


def sample_files(source: Path, folder: Path, rows: int, seed: int) -> dict[str, Path]:
    """Files of rows drawn at random, for training and (where there are any left) validation, by the upload's fields."""
    with source.open(encoding="utf-8", newline="") as file:
        header, *all_rows = csv.reader(file)
    drawn = random.Random(seed).sample(all_rows, min(rows + _VALIDATION_ROWS, len(all_rows)))
    samples = {}
    for field, chosen in (("file", drawn[:rows]), ("validation_file", drawn[rows:])):
        if chosen:
            samples[field] = folder / f"{field}.csv"
            with samples[field].open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([header, *chosen])
    return samples


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise ServerError(f"{response.request.method} {response.request.url}: {response.text}")
    body: dict[str, Any] = response.json()
    return body
