"""How long the API takes to tell of jobs when there are many of them."""

from __future__ import annotations

import statistics
import time

import httpx

from benchmarks.queueing.history import fill
from benchmarks.stack.databases import DATABASES
from benchmarks.stack.service import running


def measure(kind: str, jobs: int, calls: int) -> list[tuple[str, float, float]]:
    """Each call of interest, with its median and its 95th percentile in milliseconds; one call at a time."""
    with running(DATABASES[kind], 0) as stack:
        ids = fill(stack.db, jobs)
        some, deep = ids[len(ids) // 3], ids[len(ids) // 10]
        paths = {
            "GET /jobs": "/jobs",
            "GET /jobs?limit=100": "/jobs?limit=100",
            "GET /jobs?status=queued": "/jobs?status=queued",
            "GET /jobs?status=succeeded": "/jobs?status=succeeded",
            "GET /jobs?status=failed": "/jobs?status=failed",
            "GET /jobs?model=…": "/jobs?model=model-7",
            "GET /jobs?status=failed&model=…": "/jobs?status=failed&model=model-7",
            "GET /jobs?status=succeeded&model=… (no such model)": "/jobs?status=succeeded&model=nobody",
            "GET /jobs?after=… (nine tenths down)": f"/jobs?after={deep}",
            "GET /jobs?status=succeeded&after=…": f"/jobs?status=succeeded&after={deep}",
            "GET /jobs/{id}": f"/jobs/{some}",
            "GET /jobs/{id}/events": f"/jobs/{some}/events",
            "GET /metrics": "/metrics",
        }
        with httpx.Client(base_url=stack.url, timeout=60) as client:
            return [(name, *_percentiles(client, path, calls)) for name, path in paths.items()]


def _percentiles(client: httpx.Client, path: str, calls: int) -> tuple[float, float]:
    client.get(path).raise_for_status()  # the first one compiles the query
    took = []
    for _ in range(calls):
        began = time.perf_counter()
        client.get(path).raise_for_status()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took), statistics.quantiles(took, n=20, method="inclusive")[-1]
