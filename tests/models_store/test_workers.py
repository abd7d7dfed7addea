"""Workers say that they are there, and jobs that wait for nobody say so."""

from __future__ import annotations

import pytest

from models_store import workers
from models_store.database import Database
from models_store.placement import QueueName

CPU, GPU = QueueName.CPU, QueueName.GPU


def test_workers_are_counted_by_their_queues(db: Database) -> None:
    assert workers.served(db, within_seconds=60) == {}

    workers.report(db, "a:1", [CPU])
    workers.report(db, "b:2", [GPU, CPU])
    workers.report(db, "b:2", [GPU, CPU])  # says so again and again

    assert workers.served(db, within_seconds=60) == {"": 2, "cpu": 2, "gpu": 1}
    workers.leave(db, "b:2")
    assert workers.served(db, within_seconds=60) == {"": 1, "cpu": 1}


def test_a_worker_that_is_silent_for_too_long_is_gone(db: Database) -> None:
    workers.report(db, "a:1", [CPU])

    assert workers.served(db, within_seconds=-1) == {}


@pytest.mark.parametrize(
    ("queue", "served_by", "reason"),
    [
        (None, {}, "no worker is running"),
        ("gpu", {"": 1, "cpu": 1}, "no worker takes jobs of the queue gpu"),
        ("cpu", {"": 1, "cpu": 1}, None),
        (None, {"": 1, "gpu": 1}, None),
    ],
)
def test_why_a_job_waits(queue: str | None, served_by: dict[str, int], reason: str | None) -> None:
    assert workers.why_waiting(queue, served_by) == reason
