"""How long a running job takes to heed a cancellation or a pause, at whatever moment of its training that is asked."""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

import httpx

from benchmarks.stack.databases import DATABASES
from benchmarks.stack.parts import wait_for
from benchmarks.stack.service import Stack, running
from benchmarks.stack.small import JOB
from models_store.tables import JobStatus

_ENDS = {"cancel": JobStatus.CANCELLED, "pause": JobStatus.PAUSED}
_LONG = {**JOB, "strategy": "finetune", "hyperparameters": {"full_epochs": 200, "batch_size": 1, "patience": 1000}}
_ROWS = 500  # with which such a job lasts for minutes
_LATEST_SECONDS = 15.0  # after its beginning a job is stopped at the latest: well into its training


def measure(kind: str, calls: int) -> list[dict[str, Any]]:
    """So many jobs one after the other, stopped in each way in turn; a line for each way."""
    draw = random.Random(7)
    took: dict[str, list[float]] = {action: [] for action in _ENDS}
    with running(DATABASES[kind], 1) as stack:
        dataset_id = stack.upload(_ROWS)
        with httpx.Client(base_url=stack.url, timeout=60) as client:
            for number in range(calls):
                action = list(_ENDS)[number % len(_ENDS)]
                took[action].append(_stopped(stack, client, dataset_id, action, draw.uniform(0, _LATEST_SECONDS)))
    return [
        {
            "database": kind,
            "asked for": action,
            "jobs": len(seconds),
            "median, s": f"{statistics.median(seconds):.1f}",
            "worst, s": f"{max(seconds):.1f}",
        }
        for action, seconds in took.items()
        if seconds
    ]


def _stopped(stack: Stack, client: httpx.Client, dataset_id: str, action: str, after: float) -> float:
    """Seconds from the call to the status that it asks for, with the training process gone."""
    answer = client.post("/jobs", json={**_LONG, "dataset_id": dataset_id, "model": "stopped"}).raise_for_status()
    path = f"/jobs/{answer.json()['id']}"

    def has(status: str) -> bool:
        return bool(client.get(path).raise_for_status().json()["status"] == status)

    wait_for(lambda: has(JobStatus.RUNNING), "the beginning of a job")
    time.sleep(after)
    began = time.monotonic()
    client.post(f"{path}/{action}").raise_for_status()
    wait_for(lambda: has(_ENDS[action]) and not stack.trainings(), f"the end of a job after its {action}")
    return time.monotonic() - began
