"""The benchmark of queue and list: how gaps are counted, and a short history asked over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.queueing import listing, stopping
from benchmarks.queueing.history import WAITING, fill
from benchmarks.queueing.slots import Span, idle_seconds, merged
from models_store import jobs
from models_store.database import Database
from models_store.tables import JobStatus

START = datetime(2026, 1, 1, tzinfo=UTC)


def span(start: float, end: float) -> Span:
    return Span(START + timedelta(seconds=start), START + timedelta(seconds=end))


def test_spans_that_touch_become_one() -> None:
    assert merged([span(5, 6), span(0, 2), span(1, 3), span(3, 4)]) == [span(0, 4), span(5, 6)]


def test_a_slot_is_idle_only_while_a_job_waits() -> None:
    work = [("a", span(1, 4)), ("a", span(6, 9)), ("b", span(1, 8))]

    # Both begin after a second. Between its attempts `a` waits for two seconds, one of them with an empty queue.
    assert idle_seconds(work, [span(0, 1), span(0, 1), span(5, 6)]) == [1.0, 1.0, 0.0, 1.0, 0.0]


def test_a_worker_that_takes_nothing_more_is_idle_until_the_queue_is_empty() -> None:
    work = [("a", span(0, 2)), ("b", span(0, 3)), ("b", span(7, 9))]

    assert idle_seconds(work, [span(0, 7)]) == [0.0, 5.0, 0.0, 4.0, 0.0]


def test_a_history_holds_what_was_asked_for(db: Database) -> None:
    ids = fill(db, 300)

    counts = jobs.count_by_status(db)
    assert sum(counts.values()) == len(ids) == len(set(ids)) == 300
    assert counts[JobStatus.QUEUED] == WAITING
    assert counts[JobStatus.SUCCEEDED] > counts[JobStatus.FAILED] > 0
    newest = jobs.list_jobs(db, limit=1)[0]
    assert (newest.id, newest.status, jobs.attempts(db, newest.id)) == (ids[-1], JobStatus.QUEUED, [])
    assert len(jobs.events(db, ids[0])) == 6


@pytest.mark.services
def test_every_call_is_timed() -> None:
    figures = listing.measure("sqlite", jobs=100, calls=3)

    assert len(figures) == 13
    assert all(0 < median <= most for _, median, most in figures)


@pytest.mark.services
def test_a_running_job_is_stopped() -> None:
    (cancelled,) = stopping.measure("sqlite", calls=1)

    assert (cancelled["asked for"], cancelled["jobs"]) == ("cancel", 1)
    assert float(cancelled["worst, s"]) > 0
