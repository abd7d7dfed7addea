"""How long a worker's slot stood idle while a job was waiting, from what the tables tell of the attempts."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from sqlmodel import func, select

from benchmarks.stack.databases import DATABASES
from benchmarks.stack.parts import wait_for
from benchmarks.stack.service import Stack, running
from benchmarks.stack.small import JOB
from models_store.tables import TERMINAL_STATUSES, JobAttempt, TrainingJob

_SECONDS_A_JOB = 120.0
_READY = "worker ready"  # what a worker logs


@dataclass(frozen=True, slots=True)
class Span:
    """A time from one moment to another."""

    start: datetime
    end: datetime

    def seconds_within(self, others: Iterable[Span]) -> float:
        """How long it overlaps others, which do not overlap each other."""
        overlaps = ((min(self.end, other.end) - max(self.start, other.start)).total_seconds() for other in others)
        return sum(max(0.0, overlap) for overlap in overlaps)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same times as spans that do not overlap, in order."""
    result: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start):
        if result and span.start <= result[-1].end:
            result[-1] = Span(result[-1].start, max(result[-1].end, span.end))
        else:
            result.append(span)
    return result


def idle_seconds(work: Sequence[tuple[str, Span]], waiting: Sequence[Span]) -> list[float]:
    """Of each time between two attempts of a worker that has one slot, how long some job was waiting in it.

    Args:
        work: The attempts, each with the name of its worker.
        waiting: Of each job, the time from its being asked for to its first attempt.
    """
    queued = merged(waiting)
    by_worker: dict[str, list[Span]] = defaultdict(list)
    for worker, span in work:
        by_worker[worker].append(span)
    gaps = []
    for spans in by_worker.values():
        spans.sort(key=lambda one: one.start)
        # Before its first attempt a worker is idle since there is a queue, after its last one until there is none.
        starts = [min(queued[0].start, spans[0].start), *(span.end for span in spans)]
        ends = [*(span.start for span in spans), max(queued[-1].end, spans[-1].end)]
        gaps += [Span(start, end).seconds_within(queued) for start, end in zip(starts, ends, strict=True)]
    return gaps


def measure(kind: str, jobs: int, workers: int) -> dict[str, Any]:
    """Ask for all jobs at once, let so many workers do them, and read the gaps from the tables."""
    with running(DATABASES[kind], workers) as stack:
        dataset_id = stack.upload()
        wait_for(lambda: all(_READY in worker.log.read_text() for worker in stack.workers), "the workers")
        began = time.monotonic()
        with httpx.Client(base_url=stack.url, timeout=60) as client:
            for number in range(jobs):
                body = {**JOB, "dataset_id": dataset_id, "model": f"model-{number % 5}"}
                client.post("/jobs", json=body).raise_for_status()
        wait_for(lambda: _ended(stack) == jobs, "the end of all jobs", _SECONDS_A_JOB * jobs)
        seconds = time.monotonic() - began
        with stack.db.reading() as session:
            attempts = session.exec(select(JobAttempt)).all()
            rows = session.exec(select(TrainingJob)).all()
    first = {one.job_id: one.started_at for one in attempts if one.attempt == 1}
    work = [(one.worker, Span(one.started_at, one.ended_at)) for one in attempts if one.ended_at]
    gaps = idle_seconds(work, [Span(row.created_at, first[row.id]) for row in rows])
    slot_seconds = workers * seconds
    return {
        "database": kind,
        "jobs": jobs,
        "workers at work": f"{len({worker for worker, _ in work})} of {workers}",
        "attempts": len(attempts),
        "seconds": f"{seconds:.0f}",
        "median gap, s": f"{statistics.median(gaps):.3f}",
        "worst gap, s": f"{max(gaps):.3f}",
        "slots idle while a job waited": f"{100 * sum(gaps) / slot_seconds:.1f} %",
    }


def _ended(stack: Stack) -> int:
    query = select(TrainingJob.status, func.count()).group_by(TrainingJob.status)
    with stack.db.reading() as session:
        return sum(count for status, count in session.exec(query) if status in TERMINAL_STATUSES)
