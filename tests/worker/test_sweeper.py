"""The sweeper: no job is lost with its message or its worker, and what dead processes left is cleared away."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from kombu.connection import Connection
from sqlalchemy.exc import OperationalError

from models_store import jobs, workers
from models_store.housekeeping import attempt_folder
from models_store.queue import QUEUE_NAME, JobQueue
from models_store.tables import JobStatus
from tests.fixtures.servers import Valkey, wait_for
from tests.models_store.samples import EXPIRED, LONG, claim, event_messages, submit
from tests.worker.conftest import Workshop
from worker.patience import Patience
from worker.sweeper import Sweeper

NEVER = 3600.0
AT_ONCE = 0.01


def make_sweeper(workshop: Workshop, queue: JobQueue, interval: float = AT_ONCE) -> Sweeper:
    settings = workshop.settings.model_copy(update={"sweep_seconds": interval})
    return Sweeper(settings, workshop.db, workshop.store, queue)


def messages(valkey: Valkey) -> list[str]:
    """The jobs that the broker's messages name, the oldest first."""
    with Connection(valkey.url) as connection:
        raw = connection.default_channel.client.lrange(QUEUE_NAME, 0, -1)
    bodies = [json.loads(base64.b64decode(json.loads(message)["body"])) for message in raw]
    return [body[0][0] for body in reversed(bodies)]


def send(workshop: Workshop, queue: JobQueue, job_id: str) -> None:
    assert queue.enqueue(job_id)
    jobs.mark_enqueued(workshop.db, job_id)


# ---- lost messages --------------------------------------------------------------------------------------------------


def test_a_job_whose_message_was_lost_gets_a_new_one(workshop: Workshop, valkey: Valkey, queue: JobQueue) -> None:
    job_id = submit(workshop.db).id
    send(workshop, queue, job_id)
    sent_at = workshop.job(job_id).enqueued_at
    valkey.kill()
    valkey.start()  # it has forgotten everything
    assert messages(valkey) == []
    sweeper = make_sweeper(workshop, queue)

    def sent_again() -> bool:
        sweeper.sweep()
        return messages(valkey) == [job_id]

    wait_for(sent_again, seconds=10, what="a new message")  # it must be older than the interval first
    again_at = workshop.job(job_id).enqueued_at
    assert sent_at is not None
    assert again_at is not None
    assert again_at > sent_at


def test_a_job_that_was_stored_while_the_broker_was_away_gets_its_message(
    workshop: Workshop, valkey: Valkey, queue: JobQueue
) -> None:
    job_ids = [submit(workshop.db).id for _ in range(2)]

    make_sweeper(workshop, queue, NEVER).sweep()

    assert messages(valkey) == job_ids
    assert all(workshop.job(job_id).enqueued_at for job_id in job_ids)


def test_messages_that_no_worker_reads_hide_no_lost_one(workshop: Workshop, valkey: Valkey, queue: JobQueue) -> None:
    unread = submit(workshop.db, queue="gpu")
    assert queue.enqueue(unread.id, unread.queue)
    jobs.request_cancel(workshop.db, unread.id)  # its message stays: there is no worker with a GPU
    lost = submit(workshop.db).id

    make_sweeper(workshop, queue, NEVER).sweep()

    assert messages(valkey) == [lost]


def test_a_message_that_waits_is_not_doubled(workshop: Workshop, valkey: Valkey, queue: JobQueue) -> None:
    job_id = submit(workshop.db).id
    send(workshop, queue, job_id)
    sweeper = make_sweeper(workshop, queue, 0.0)  # however short the interval

    sweeper.sweep()
    sweeper.sweep()

    assert messages(valkey) == [job_id]


def test_a_message_sent_just_now_is_not_taken_for_lost(workshop: Workshop, valkey: Valkey, queue: JobQueue) -> None:
    # A worker has taken it from the broker and is about to claim the job.
    jobs.mark_enqueued(workshop.db, submit(workshop.db).id)

    make_sweeper(workshop, queue, NEVER).sweep()

    assert messages(valkey) == []


def test_jobs_that_run_or_have_ended_are_sent_to_nobody(workshop: Workshop, valkey: Valkey, queue: JobQueue) -> None:
    claim(workshop.db, submit(workshop.db).id, lease_seconds=LONG)
    jobs.request_cancel(workshop.db, submit(workshop.db).id)

    make_sweeper(workshop, queue).sweep()

    assert messages(valkey) == []


# ---- lost workers ---------------------------------------------------------------------------------------------------


def test_a_job_whose_lease_ran_out_goes_back_and_is_sent_at_once(
    workshop: Workshop, valkey: Valkey, queue: JobQueue
) -> None:
    job_id = submit(workshop.db).id
    claim(workshop.db, job_id, lease_seconds=EXPIRED)

    make_sweeper(workshop, queue, NEVER).sweep()

    job = workshop.job(job_id)
    assert (job.status, job.attempt, job.lease_until) == (JobStatus.QUEUED, 1, None)
    assert "worker was lost" in event_messages(workshop.db, job_id)[-1]
    assert messages(valkey) == [job_id]


# ---- parts that are away --------------------------------------------------------------------------------------------


def test_after_a_gap_nobody_is_taken_for_lost_before_he_could_say_that_he_is_alive(
    workshop: Workshop, valkey: Valkey, queue: JobQueue
) -> None:
    now = [0.0]
    settings = workshop.settings
    patience = Patience(settings, (lambda: now[0],))
    sweeper = Sweeper(settings, workshop.db, workshop.store, queue, patience)
    sweeper.sweep()
    alive = claim(workshop.db, submit(workshop.db).id, lease_seconds=EXPIRED)
    dead = claim(workshop.db, submit(workshop.db).id, lease_seconds=EXPIRED)

    now[0] += 2 * settings.lease_seconds  # the machine was suspended: both leases have run out
    sweeper.sweep()
    jobs.heartbeat(workshop.db, alive, lease_seconds=LONG)
    now[0] += 2 * settings.heartbeat_seconds
    sweeper.sweep()

    assert workshop.job(alive.job_id).status == JobStatus.RUNNING
    assert workshop.job(dead.job_id).status == JobStatus.QUEUED


def test_a_worker_says_that_it_is_there_until_it_leaves(workshop: Workshop, valkey: Valkey, queue: JobQueue) -> None:
    sweeper = make_sweeper(workshop, queue)
    sweeper.sweep()
    assert workers.served(workshop.db, within_seconds=60) == {"": 1, "cpu": 1}

    sweeper.stop()

    assert workers.served(workshop.db, within_seconds=60) == {}


def test_a_broker_that_is_away_does_not_break_a_sweep(workshop: Workshop, valkey: Valkey, queue: JobQueue) -> None:
    job_id = submit(workshop.db).id
    claim(workshop.db, job_id, lease_seconds=EXPIRED)
    sweeper = make_sweeper(workshop, queue)
    valkey.kill()

    sweeper.sweep()

    job = workshop.job(job_id)
    assert (job.status, job.enqueued_at) == (JobStatus.QUEUED, None)  # taken back, and not taken for sent
    valkey.start()
    sweeper.sweep()
    assert messages(valkey) == [job_id]


def test_a_message_that_the_broker_refuses_is_not_taken_for_sent(
    workshop: Workshop, valkey: Valkey, queue: JobQueue
) -> None:
    job_id = submit(workshop.db).id
    with Connection(valkey.url) as connection:
        connection.default_channel.client.config_set("maxmemory", "1")  # it answers, and takes nothing

    make_sweeper(workshop, queue).sweep()

    assert workshop.job(job_id).enqueued_at is None


# ---- the thread -----------------------------------------------------------------------------------------------------


def test_the_thread_sweeps_and_tidies_at_once(workshop: Workshop, valkey: Valkey, queue: JobQueue) -> None:
    job_id = submit(workshop.db).id
    left = workshop.settings.scratch_dir / attempt_folder(job_id, 7)
    left.mkdir(parents=True)
    sweeper = make_sweeper(workshop, queue, NEVER)

    sweeper.start()
    wait_for(lambda: messages(valkey) == [job_id] and not left.exists(), seconds=20, what="a sweep and a tidying")
    sweeper.stop()

    assert not sweeper._thread.is_alive()  # it did not wait for its interval


def test_the_thread_outlives_a_database_that_is_away(
    workshop: Workshop, valkey: Valkey, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(workshop.db).id
    sweep, calls = jobs.sweep, []

    def away_at_first(*args: Any) -> list[str]:
        calls.append(1)
        if len(calls) <= 2:
            raise OperationalError("UPDATE", {}, ConnectionError("the server closed the connection"))
        return sweep(*args)

    monkeypatch.setattr(jobs, "sweep", away_at_first)
    sweeper = make_sweeper(workshop, queue)

    sweeper.start()
    wait_for(lambda: messages(valkey) == [job_id], seconds=20, what="a sweep that works")
    sweeper.stop()

    assert len(calls) > 2
