"""Jobs: each change of state, the fencing token, and races, on SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import select

from models_store import jobs, registry
from models_store.database import Database
from models_store.errors import ConflictError, InvalidInputError, LeaseLostError, NotFoundError
from models_store.jobs import Claim, NewEvent, Wish
from models_store.specs import JobRequest
from models_store.tables import JobStatus, ModelVersion, TrainingJob
from models_store.tasks import TaskName
from tests.fixtures.servers import wait_for
from tests.models_store.samples import EXPIRED, LONG, VERSION, add_dataset, claim, event_messages, publish, submit

RESULT = {"head": "linear", "metrics": {}}

WRITES: dict[str, Callable[[Database, Claim], object]] = {
    "heartbeat": lambda db, mine: jobs.heartbeat(db, mine, lease_seconds=LONG),
    "record": lambda db, mine: jobs.heartbeat(
        db, mine, lease_seconds=LONG, phase="head", progress={"fraction": 0.5}, new_events=[NewEvent("message", "late")]
    ),
    "succeed": lambda db, mine: jobs.succeed(db, mine, result=RESULT, version=VERSION),
    "fail": lambda db, mine: jobs.fail(db, mine, code="broken", message="broken"),
    "cancelled": jobs.cancelled,
    "release": lambda db, mine: jobs.release(db, mine, reason="late", spend_attempt=True),
    "release for a deploy": lambda db, mine: jobs.release(db, mine, reason="late", spend_attempt=False),
}


def versions(db: Database) -> int:
    with db.reading() as session:
        return len(session.exec(select(ModelVersion)).all())


# ---- submit ---------------------------------------------------------------------------------------------------------


def test_a_submitted_job_is_queued_and_says_so(db: Database) -> None:
    job = jobs.get(db, submit(db, metadata={"team": "support"}).id)

    assert (job.status, job.attempt, job.max_attempts) == (JobStatus.QUEUED, 0, 3)
    assert job.metadata_ == {"team": "support"}
    assert job.spec["hyperparameters"]["batch_size"] == 16
    assert job.started_at is None
    assert job.finished_at is None
    assert event_messages(db, job.id) == ["queued"]


def test_a_job_needs_its_data_set(db: Database) -> None:
    with pytest.raises(NotFoundError, match="ds_gone"):
        submit(db, "ds_gone")
    assert jobs.list_jobs(db, limit=10) == []


def test_a_model_keeps_its_task(db: Database) -> None:
    publish(db, "intent", TaskName.CLASSIFICATION)

    with pytest.raises(ConflictError, match="intent") as refused:
        submit(db, model="intent", task=TaskName.TAGGING)
    assert refused.value.code == "other_task"


def test_the_same_key_and_body_give_the_same_job(db: Database) -> None:
    dataset_id = add_dataset(db)

    first = submit(db, dataset_id, key="k1")
    second = submit(db, dataset_id, key="k1")

    assert second.id == first.id
    assert len(jobs.list_jobs(db, limit=10)) == 1


def test_the_same_key_with_another_body_is_refused(db: Database) -> None:
    dataset_id = add_dataset(db)
    submit(db, dataset_id, key="k1", seed=1)

    with pytest.raises(InvalidInputError) as refused:
        submit(db, dataset_id, key="k1", seed=2)
    assert refused.value.code == "idempotency_key_reused"
    assert len(jobs.list_jobs(db, limit=10)) == 1


def test_the_order_of_what_a_key_came_with_is_no_difference(db: Database) -> None:
    dataset_id = add_dataset(db)

    first = submit(db, dataset_id, key="k1", metadata={"team": "a", "run": "1"})
    second = submit(db, dataset_id, key="k1", metadata={"run": "1", "team": "a"})

    assert second.id == first.id


def test_a_key_that_an_earlier_version_stored_is_still_known(db: Database) -> None:
    dataset_id = add_dataset(db)
    fields: dict[str, Any] = {"model": "intent", "metadata": {"team": "a", "run": "1"}}
    first = submit(db, dataset_id, key="k1", **fields)
    unsorted = JobRequest(dataset_id=dataset_id, **fields).model_dump_json(exclude_defaults=True)
    with db.transaction() as session:
        row = session.get_one(TrainingJob, first.id)
        row.request_sha256 = hashlib.sha256(unsorted.encode()).hexdigest()

    assert submit(db, dataset_id, key="k1", **fields).id == first.id
    with pytest.raises(InvalidInputError):
        submit(db, dataset_id, key="k1", seed=2, **fields)


def test_jobs_without_a_key_are_never_the_same(db: Database) -> None:
    dataset_id = add_dataset(db)

    assert submit(db, dataset_id).id != submit(db, dataset_id).id


def test_twenty_parallel_submits_with_one_key_make_one_job(db: Database) -> None:
    dataset_id = add_dataset(db)
    together = threading.Barrier(20)

    def call(_: int) -> str:
        together.wait()
        return submit(db, dataset_id, key="k1").id

    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(call, range(20)))

    assert len(ids) == 1
    assert [job.id for job in jobs.list_jobs(db, limit=100)] == list(ids)
    assert event_messages(db, ids.pop()) == ["queued"]


def test_a_repeated_request_is_known_after_its_data_set_is_gone(db: Database) -> None:
    job = submit(db, key="k1")
    request = JobRequest(dataset_id=job.dataset_id, model=job.model)
    with db.transaction() as session:
        session.execute(text("DELETE FROM datasets"))

    again = jobs.submitted_before(db, request, "k1")

    assert again is not None
    assert again.id == job.id
    assert jobs.submitted_before(db, request, "k2") is None
    assert jobs.submitted_before(db, request, None) is None


# ---- ask ------------------------------------------------------------------------------------------------------------


def test_lists_go_from_the_newest_to_the_oldest(db: Database) -> None:
    ids = [submit(db, model=name).id for name in ("a", "b", "a")]
    newest_first = sorted(ids, reverse=True)

    assert [job.id for job in jobs.list_jobs(db, limit=2)] == newest_first[:2]
    assert [job.id for job in jobs.list_jobs(db, limit=2, after=newest_first[1])] == newest_first[2:]
    assert {job.id for job in jobs.list_jobs(db, limit=9, model="a")} == {ids[0], ids[2]}
    assert jobs.list_jobs(db, limit=9, status="running") == []


@pytest.mark.parametrize("ask", [jobs.get, jobs.events, jobs.request_cancel])
def test_an_unknown_job_is_said_to_be_unknown(db: Database, ask: Callable[[Database, str], object]) -> None:
    with pytest.raises(NotFoundError, match="job_nowhere") as refused:
        ask(db, "job_nowhere")
    assert refused.value.code == "job_not_found"


def test_events_are_listed_in_order_from_the_one_after(db: Database) -> None:
    mine = claim(db, submit(db).id)
    jobs.heartbeat(db, mine, lease_seconds=LONG, new_events=[NewEvent("message", str(n)) for n in range(5)])

    everything = jobs.events(db, mine.job_id)
    tail = jobs.events(db, mine.job_id, after=everything[3].id or 0, limit=2)

    assert [event.message for event in everything] == ["queued", "running (attempt 1)", "0", "1", "2", "3", "4"]
    assert [event.message for event in tail] == ["2", "3"]
    assert [event.attempt for event in everything[:2]] == [0, 1]


def test_every_status_is_counted_also_those_that_no_job_has(db: Database) -> None:
    assert jobs.count_by_status(db) == dict.fromkeys(JobStatus, 0)

    publish(db)
    claim(db, submit(db).id)
    for _ in range(2):
        submit(db)

    counts = {JobStatus.QUEUED: 2, JobStatus.RUNNING: 1, JobStatus.SUCCEEDED: 1}
    assert jobs.count_by_status(db) == dict.fromkeys(JobStatus, 0) | counts


# ---- claim ----------------------------------------------------------------------------------------------------------


def test_a_claim_starts_the_job(db: Database) -> None:
    job = submit(db)

    mine = claim(db, job.id, worker="host:1")
    running = jobs.get(db, job.id)

    assert mine == Claim(job.id, 1, job.dataset_id, job.spec)
    assert (running.status, running.attempt, running.worker) == (JobStatus.RUNNING, 1, "host:1")
    assert running.started_at is not None
    assert running.lease_until is not None


@pytest.mark.parametrize("state", ["running", "succeeded", "failed", "cancelled", "unknown"])
def test_a_job_that_is_not_free_cannot_be_claimed(db: Database, state: str) -> None:
    job = submit(db)
    if state == "cancelled":
        jobs.request_cancel(db, job.id)
    elif state != "unknown":
        mine = claim(db, job.id)
        if state == "succeeded":
            jobs.succeed(db, mine, result=RESULT, version=VERSION)
        if state == "failed":
            jobs.fail(db, mine, code="x", message="x")
    before = event_messages(db, job.id)

    assert jobs.claim(db, "job_x" if state == "unknown" else job.id, worker="w2", lease_seconds=LONG) is None
    assert event_messages(db, job.id) == before


def test_of_two_threads_that_claim_at_once_one_wins(db: Database) -> None:
    rounds = 25
    ids = [submit(db).id for _ in range(rounds)]
    together = threading.Barrier(2)
    won: dict[str, list[Claim]] = {job_id: [] for job_id in ids}

    def claim_all(worker: str) -> None:
        for job_id in ids:
            together.wait()
            if mine := jobs.claim(db, job_id, worker=worker, lease_seconds=LONG):
                won[job_id].append(mine)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(claim_all, ["w1", "w2"]))

    assert [len(claims) for claims in won.values()] == [1] * rounds
    assert {jobs.get(db, job_id).attempt for job_id in ids} == {1}


def test_a_lost_lease_can_be_claimed_and_the_token_rises(db: Database) -> None:
    job_id = submit(db).id
    claim(db, job_id, lease_seconds=EXPIRED)

    assert claim(db, job_id).attempt == 2


def test_a_lost_job_that_was_to_be_cancelled_is_not_begun_again(db: Database) -> None:
    job_id = submit(db).id
    claim(db, job_id, lease_seconds=EXPIRED)
    jobs.request_cancel(db, job_id)

    assert jobs.claim(db, job_id, worker="w2", lease_seconds=LONG) is None


def test_a_lease_is_kept_on_the_clock_of_the_database(db: Database) -> None:
    # A worker whose own clock is wrong writes no time of its own: the lease is relative to the database's.
    mine = claim(db, submit(db).id, lease_seconds=60)
    now = "strftime('%Y-%m-%d %H:%M:%f', 'now')" if "sqlite" in db.url else "clock_timestamp()"
    away = (
        f"(julianday(lease_until) - julianday({now})) * 86400"
        if "sqlite" in db.url
        else f"extract(epoch from lease_until - {now})"
    )

    with db.reading() as session:
        seconds = session.execute(text(f"SELECT {away} FROM training_jobs WHERE id = '{mine.job_id}'")).scalar_one()

    assert 30 < float(seconds) <= 60


def test_no_more_attempts_than_allowed(db: Database) -> None:
    job_id = submit(db, max_attempts=2).id
    claim(db, job_id, lease_seconds=EXPIRED)
    claim(db, job_id, lease_seconds=EXPIRED)

    assert jobs.claim(db, job_id, worker="w3", lease_seconds=LONG) is None


# ---- heartbeat and record -------------------------------------------------------------------------------------------


def test_a_heartbeat_prolongs_the_lease(db: Database) -> None:
    mine = claim(db, submit(db).id, lease_seconds=EXPIRED)

    assert jobs.heartbeat(db, mine, lease_seconds=LONG) is Wish.GO_ON
    assert jobs.sweep(db) == []


def test_phase_progress_and_events_are_recorded(db: Database) -> None:
    mine = claim(db, submit(db).id)

    news = [NewEvent("metrics", "epoch 1", data={"accuracy": 0.5}), NewEvent("message", "slow", "warning")]
    jobs.heartbeat(db, mine, lease_seconds=LONG, phase="head", progress={"fraction": 0.25}, new_events=news)
    job = jobs.get(db, mine.job_id)
    told = jobs.events(db, mine.job_id)[-2:]

    assert (job.phase, job.progress) == ("head", {"fraction": 0.25})
    assert [(e.type, e.level, e.message, e.data) for e in told] == [
        ("metrics", "info", "epoch 1", {"accuracy": 0.5}),
        ("message", "warning", "slow", {}),
    ]


def test_the_next_attempt_is_told_how_far_the_last_one_was(db: Database) -> None:
    first = claim(db, submit(db).id)
    told = {"fraction": 0.25, "eta_seconds": 60}
    jobs.heartbeat(db, first, lease_seconds=LONG, phase="head", progress=told)
    jobs.release(db, first, reason="a deploy", spend_attempt=False)

    second = claim(db, first.job_id)

    assert (first.fraction, second.fraction) == (0.0, 0.25)
    job = jobs.get(db, first.job_id)
    assert (job.phase, job.progress) == (None, told)  # until this attempt has something to tell


def test_a_heartbeat_without_news_keeps_what_was_recorded(db: Database) -> None:
    mine = claim(db, submit(db).id)
    jobs.heartbeat(db, mine, lease_seconds=LONG, phase="full", progress={"fraction": 0.5})

    jobs.heartbeat(db, mine, lease_seconds=LONG)
    job = jobs.get(db, mine.job_id)

    assert (job.phase, job.progress) == ("full", {"fraction": 0.5})


# ---- the end --------------------------------------------------------------------------------------------------------


def test_success_publishes_and_ends_the_job_together(db: Database) -> None:
    mine = claim(db, submit(db).id)

    version = jobs.succeed(db, mine, result=RESULT, version=VERSION)
    job = jobs.get(db, mine.job_id)

    assert (job.status, job.version, job.result, job.phase) == (JobStatus.SUCCEEDED, 1, RESULT, None)
    assert job.lease_until is None
    assert job.finished_at is not None
    assert (version.model, version.version, version.job_id) == ("intent", 1, job.id)
    last = jobs.events(db, job.id)[-1]
    assert (last.type, last.data) == ("status", {"status": "succeeded", "version": 1})


def test_a_failure_says_why(db: Database) -> None:
    mine = claim(db, submit(db).id)

    jobs.fail(db, mine, code="out_of_memory", message="use a smaller batch_size")
    job = jobs.get(db, mine.job_id)
    last = jobs.events(db, job.id)[-1]

    assert (job.status, job.error_code, job.error_message) == ("failed", "out_of_memory", "use a smaller batch_size")
    assert job.finished_at is not None
    assert (last.level, last.data) == ("error", {"status": "failed", "code": "out_of_memory"})


def test_a_job_publishes_at_most_once(db: Database) -> None:
    mine = claim(db, submit(db).id)
    jobs.succeed(db, mine, result=RESULT, version=VERSION)

    with pytest.raises(LeaseLostError):
        jobs.succeed(db, mine, result=RESULT, version=VERSION)
    assert versions(db) == 1


def test_only_a_job_whose_version_is_made_of_these_files_has_published_them(db: Database) -> None:
    # A worker that does not know whether its commit arrived must not delete the files of a version that is there.
    mine = claim(db, submit(db).id)
    assert jobs.has_published(db, mine.job_id, VERSION.artifact) is False

    jobs.succeed(db, mine, result=RESULT, version=VERSION)

    assert jobs.has_published(db, mine.job_id, VERSION.artifact) is True
    assert jobs.has_published(db, mine.job_id, "models/another_attempt.2") is False
    assert jobs.has_published(db, submit(db).id, VERSION.artifact) is False


def test_a_name_that_became_another_tasks_model_meanwhile_voids_the_success(db: Database) -> None:
    mine = claim(db, submit(db, model="shared", task=TaskName.TAGGING).id)
    publish(db, "shared", TaskName.CLASSIFICATION)

    with pytest.raises(ConflictError) as refused:
        jobs.succeed(db, mine, result=RESULT, version=VERSION)
    assert refused.value.code == "other_task"
    assert versions(db) == 1
    assert jobs.get(db, mine.job_id).status == JobStatus.RUNNING  # rolled back: the worker can still say it failed
    jobs.fail(db, mine, code=refused.value.code, message=refused.value.message)


# ---- the fencing token ----------------------------------------------------------------------------------------------


def overtaken(db: Database) -> Claim:
    old = claim(db, submit(db).id, lease_seconds=EXPIRED)
    claim(db, old.job_id, worker="w2")
    return old


def swept(db: Database) -> Claim:
    old = claim(db, submit(db).id, lease_seconds=EXPIRED)
    jobs.sweep(db)
    return old


def ended(db: Database) -> Claim:
    old = claim(db, submit(db).id)
    jobs.fail(db, old, code="x", message="x")
    return old


@pytest.mark.parametrize("lose", [overtaken, swept, ended])
def test_a_worker_that_lost_its_job_changes_nothing(db: Database, lose: Callable[[Database], Claim]) -> None:
    old = lose(db)
    before, events_before = jobs.get(db, old.job_id), event_messages(db, old.job_id)

    for write in WRITES.values():
        with pytest.raises(LeaseLostError, match=old.job_id):
            write(db, old)

    assert jobs.get(db, old.job_id).model_dump() == before.model_dump()
    assert event_messages(db, old.job_id) == events_before
    assert versions(db) == 0


def test_the_worker_that_took_over_is_not_disturbed(db: Database) -> None:
    old = claim(db, submit(db).id, lease_seconds=EXPIRED)
    new = claim(db, old.job_id, worker="w2")
    with pytest.raises(LeaseLostError):
        jobs.succeed(db, old, result={"head": "old"}, version=VERSION)

    jobs.succeed(db, new, result={"head": "new"}, version=VERSION)

    assert jobs.get(db, new.job_id).result == {"head": "new"}
    assert versions(db) == 1


# ---- cancel ---------------------------------------------------------------------------------------------------------


def test_a_queued_job_is_cancelled_at_once(db: Database) -> None:
    job = jobs.request_cancel(db, submit(db).id)

    assert job.status == JobStatus.CANCELLED
    assert job.finished_at is not None
    assert event_messages(db, job.id) == ["queued", "cancelled"]


def test_a_running_job_is_asked_to_stop(db: Database) -> None:
    mine = claim(db, submit(db).id)

    asked = jobs.request_cancel(db, mine.job_id)

    assert (asked.status, asked.cancel_requested) == (JobStatus.RUNNING, True)
    assert jobs.heartbeat(db, mine, lease_seconds=LONG) is Wish.CANCEL
    jobs.cancelled(db, mine)
    assert jobs.get(db, mine.job_id).status == JobStatus.CANCELLED


def test_cancelling_twice_is_as_good_as_once(db: Database) -> None:
    mine = claim(db, submit(db).id)
    jobs.request_cancel(db, mine.job_id)
    jobs.request_cancel(db, mine.job_id)
    jobs.cancelled(db, mine)

    assert jobs.request_cancel(db, mine.job_id).status == JobStatus.CANCELLED
    assert event_messages(db, mine.job_id)[2:] == ["cancellation requested", "cancelled"]


@pytest.mark.parametrize("end", ["succeed", "fail"])
def test_an_ended_job_cannot_be_cancelled(db: Database, end: str) -> None:
    mine = claim(db, submit(db).id)
    WRITES[end](db, mine)

    with pytest.raises(ConflictError, match="already") as refused:
        jobs.request_cancel(db, mine.job_id)
    assert refused.value.code == "job_ended"
    assert jobs.get(db, mine.job_id).cancel_requested is False


def test_success_after_a_cancellation_publishes_nothing(db: Database) -> None:
    mine = claim(db, submit(db).id)
    jobs.request_cancel(db, mine.job_id)

    with pytest.raises(LeaseLostError):
        jobs.succeed(db, mine, result=RESULT, version=VERSION)

    assert versions(db) == 0
    jobs.cancelled(db, mine)  # still its job, which now ends as its user wished
    assert jobs.get(db, mine.job_id).status == JobStatus.CANCELLED


@pytest.mark.parametrize("spend_attempt", [True, False])
def test_a_worker_that_stops_ends_a_job_whose_cancellation_was_asked(db: Database, *, spend_attempt: bool) -> None:
    # Back in the queue nobody would claim it, and it would wait there for ever.
    mine = claim(db, submit(db).id)
    jobs.request_cancel(db, mine.job_id)

    jobs.release(db, mine, reason="its worker is shutting down", spend_attempt=spend_attempt)

    assert jobs.get(db, mine.job_id).status == JobStatus.CANCELLED
    assert event_messages(db, mine.job_id)[-1] == "cancelled"


def test_a_cancellation_is_not_lost_while_the_job_goes_back_to_the_queue(db: Database) -> None:
    # On SQLite the second writer waits for the first from its first statement on; on PostgreSQL it must be made to.
    if "sqlite" in db.url:
        pytest.skip("SQLite has one writer at a time")
    mine = claim(db, submit(db).id)
    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as session:
            session.execute(text(f"UPDATE training_jobs SET status = 'queued' WHERE id = '{mine.job_id}'"))
            asked = pool.submit(jobs.request_cancel, db, mine.job_id)
            wait_for(lambda: _blocked(db), seconds=10, what="the cancellation waiting for the row")
        job = asked.result(timeout=10)

    assert job.status == JobStatus.CANCELLED


def _blocked(db: Database) -> bool:
    with db.reading() as session:
        return bool(session.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())


# ---- release --------------------------------------------------------------------------------------------------------


def test_a_released_job_is_queued_again_and_tells_why(db: Database) -> None:
    mine = claim(db, submit(db).id)
    jobs.mark_enqueued(db, mine.job_id)

    jobs.release(db, mine, reason="out of memory", spend_attempt=True)
    job = jobs.get(db, mine.job_id)
    last = jobs.events(db, job.id)[-1]

    assert (job.status, job.attempt, job.lease_until, job.enqueued_at) == (JobStatus.QUEUED, 1, None, None)
    assert (last.level, last.message) == ("warning", "queued again: out of memory")
    assert claim(db, job.id).attempt == 2


def test_a_deploy_costs_no_attempt_and_the_token_still_rises(db: Database) -> None:
    job_id = submit(db, max_attempts=1).id
    for token in (1, 2, 3):
        mine = claim(db, job_id)
        assert mine.attempt == token
        jobs.release(db, mine, reason="its worker is shutting down", spend_attempt=False)

    assert jobs.get(db, job_id).status == JobStatus.QUEUED


def test_after_the_last_attempt_the_job_has_failed(db: Database) -> None:
    job_id = submit(db, max_attempts=2).id
    for _ in range(2):
        jobs.release(db, claim(db, job_id), reason="killed by signal 9", spend_attempt=True)
    job = jobs.get(db, job_id)

    assert (job.status, job.error_code) == (JobStatus.FAILED, "attempts_exhausted")
    assert job.error_message is not None
    assert "2 attempts" in job.error_message
    assert "killed by signal 9" in job.error_message


def test_a_cancellation_that_was_asked_in_the_last_attempt_is_no_failure(db: Database) -> None:
    mine = claim(db, submit(db, max_attempts=1).id)
    jobs.request_cancel(db, mine.job_id)

    jobs.release(db, mine, reason="killed by signal 9", spend_attempt=True)
    job = jobs.get(db, mine.job_id)

    assert (job.status, job.error_code, job.error_message) == (JobStatus.CANCELLED, None, None)
    assert job.finished_at is not None
    assert event_messages(db, job.id)[-1] == "cancelled"


@pytest.mark.parametrize(
    ("max_attempts", "spend_attempt", "cancel", "waits"),
    [
        (2, True, False, True),
        (1, False, False, True),
        (1, True, False, False),
        (2, True, True, False),
        (1, False, True, False),
    ],
)
def test_a_release_says_whether_the_job_wants_a_message(
    db: Database, max_attempts: int, *, spend_attempt: bool, cancel: bool, waits: bool
) -> None:
    mine = claim(db, submit(db, max_attempts=max_attempts).id)
    if cancel:
        jobs.request_cancel(db, mine.job_id)

    assert jobs.release(db, mine, reason="over", spend_attempt=spend_attempt) is waits
    assert (jobs.get(db, mine.job_id).status == JobStatus.QUEUED) is waits


# ---- pausing --------------------------------------------------------------------------------------------------------


def test_a_queued_job_is_paused_at_once_and_goes_on_when_it_is_resumed(db: Database) -> None:
    job_id = submit(db).id

    assert jobs.pause(db, job_id).status == JobStatus.PAUSED
    assert jobs.most_urgent(db, []) is None
    assert jobs.claim(db, job_id, worker="w1", lease_seconds=LONG) is None
    assert jobs.resume(db, job_id).status == JobStatus.QUEUED

    assert jobs.most_urgent(db, []) == job_id
    assert event_messages(db, job_id) == ["queued", "paused", "queued again: resumed"]


def test_a_running_job_pauses_when_its_worker_lets_go(db: Database) -> None:
    mine = claim(db, submit(db, max_attempts=1).id)

    assert jobs.pause(db, mine.job_id).status == JobStatus.PAUSING
    assert jobs.heartbeat(db, mine, lease_seconds=LONG) is Wish.PAUSE
    assert jobs.release(db, mine, reason="paused", spend_attempt=False) is False

    assert jobs.get(db, mine.job_id).status == JobStatus.PAUSED
    assert jobs.sweep(db) == []
    jobs.resume(db, mine.job_id)
    assert claim(db, mine.job_id).attempt == 2  # a pause spends no attempt, and the token rises


def test_a_pause_that_is_taken_back_in_time_never_was(db: Database) -> None:
    mine = claim(db, submit(db).id)
    jobs.pause(db, mine.job_id)

    assert jobs.resume(db, mine.job_id).status == JobStatus.RUNNING

    assert jobs.heartbeat(db, mine, lease_seconds=LONG) is Wish.GO_ON
    jobs.succeed(db, mine, result=RESULT, version=VERSION)


def test_a_pause_that_is_taken_back_too_late_queues_the_job(db: Database) -> None:
    mine = claim(db, submit(db).id)
    jobs.pause(db, mine.job_id)
    assert jobs.heartbeat(db, mine, lease_seconds=LONG) is Wish.PAUSE  # its worker stops the training
    jobs.resume(db, mine.job_id)

    assert jobs.release(db, mine, reason="paused", spend_attempt=False) is True
    assert jobs.get(db, mine.job_id).status == JobStatus.QUEUED


def test_a_job_that_is_done_before_it_can_pause_has_succeeded(db: Database) -> None:
    mine = claim(db, submit(db).id)
    jobs.pause(db, mine.job_id)

    jobs.succeed(db, mine, result=RESULT, version=VERSION)

    assert jobs.get(db, mine.job_id).status == JobStatus.SUCCEEDED


def test_a_job_whose_worker_is_lost_before_it_has_paused_is_paused(db: Database) -> None:
    mine = claim(db, submit(db).id, lease_seconds=EXPIRED)
    jobs.pause(db, mine.job_id)

    assert jobs.claim(db, mine.job_id, worker="w2", lease_seconds=LONG) is None
    assert jobs.sweep(db) == []

    assert jobs.get(db, mine.job_id).status == JobStatus.PAUSED
    assert [attempt.outcome for attempt in jobs.attempts(db, mine.job_id)] == ["lost"]


@pytest.mark.parametrize("status", ["paused", "pausing"])
def test_a_paused_job_can_be_cancelled(db: Database, status: str) -> None:
    job_id = submit(db).id
    mine = claim(db, job_id) if status == "pausing" else None
    assert jobs.pause(db, job_id).status == status

    jobs.request_cancel(db, job_id)

    if mine:
        assert jobs.heartbeat(db, mine, lease_seconds=LONG) is Wish.CANCEL
        jobs.cancelled(db, mine)
    assert jobs.get(db, job_id).status == JobStatus.CANCELLED


@pytest.mark.parametrize("ask", [jobs.pause, jobs.resume], ids=["pause", "resume"])
def test_an_ended_job_is_neither_paused_nor_resumed(db: Database, ask: Callable[[Database, str], object]) -> None:
    job_id = submit(db).id
    jobs.request_cancel(db, job_id)

    with pytest.raises(ConflictError, match="was cancelled already"):
        ask(db, job_id)


@pytest.mark.parametrize("ask", [jobs.pause, jobs.resume], ids=["pause", "resume"])
@pytest.mark.parametrize("pausing", [False, True])
def test_a_job_that_is_being_cancelled_is_neither_paused_nor_resumed(
    db: Database, ask: Callable[[Database, str], object], *, pausing: bool
) -> None:
    job_id = claim(db, submit(db).id).job_id
    if pausing:
        jobs.pause(db, job_id)
    before = jobs.request_cancel(db, job_id)

    with pytest.raises(ConflictError, match="is being cancelled"):
        ask(db, job_id)

    assert jobs.get(db, job_id).status == before.status


def test_what_has_ended_otherwise_is_not_cancelled(db: Database) -> None:
    succeeded = publish(db).job_id
    mine = claim(db, submit(db).id)
    jobs.fail(db, mine, code="broken", message="broken")

    for job_id, fate in ((succeeded, "has succeeded already"), (mine.job_id, "has failed already")):
        with pytest.raises(ConflictError, match=fate):
            jobs.request_cancel(db, job_id)


def test_pausing_and_resuming_twice_is_as_good_as_once(db: Database) -> None:
    job_id = submit(db).id
    for ask, status in ((jobs.pause, JobStatus.PAUSED), (jobs.resume, JobStatus.QUEUED)):
        assert [ask(db, job_id).status for _ in range(2)] == [status, status]
    assert len(event_messages(db, job_id)) == 3


# ---- trying again ---------------------------------------------------------------------------------------------------


def test_a_failed_job_is_done_again_by_another(db: Database) -> None:
    mine = claim(db, submit(db, priority="high", queue="gpu", metadata={"team": "a"}).id)
    jobs.fail(db, mine, code="broken", message="broken")

    again = jobs.retry(db, mine.job_id, max_attempts=3, idempotency_key="k")
    old = jobs.get(db, mine.job_id)

    assert (old.status, old.error_code) == (JobStatus.FAILED, "broken")
    assert (again.status, again.attempt, again.retry_of) == (JobStatus.QUEUED, 0, old.id)
    kept = ("dataset_id", "model", "task", "spec", "metadata_", "priority", "queue")
    assert [getattr(again, name) for name in kept] == [getattr(old, name) for name in kept]
    assert jobs.retry(db, mine.job_id, max_attempts=3, idempotency_key="k").id == again.id


def test_only_what_failed_or_was_cancelled_is_done_again(db: Database) -> None:
    waiting, published = submit(db), publish(db)
    for job_id, reason in ((waiting.id, "is queued"), (published.job_id, "has succeeded; .* submit a new job")):
        with pytest.raises(ConflictError, match=f"{reason}.*; only a failed or cancelled one"):
            jobs.retry(db, job_id, max_attempts=3)
    jobs.request_cancel(db, waiting.id)
    assert jobs.retry(db, waiting.id, max_attempts=3).retry_of == waiting.id


# ---- whose turn it is -----------------------------------------------------------------------------------------------


def test_the_more_urgent_goes_first_and_then_the_older(db: Database) -> None:
    ids = {name: submit(db, priority=name.split()[0]).id for name in ("low", "normal 1", "normal 2", "high")}

    waiting = [jobs.get(db, job_id) for job_id in ids.values()]
    assert jobs.positions(db, waiting) == {ids["high"]: 1, ids["normal 1"]: 2, ids["normal 2"]: 3, ids["low"]: 4}
    order = []
    while (job_id := jobs.most_urgent(db, ["cpu"])) is not None:
        order.append(claim(db, job_id).job_id)

    assert order == [ids[name] for name in ("high", "normal 1", "normal 2", "low")]
    assert jobs.positions(db, [jobs.get(db, job_id) for job_id in ids.values()]) == {}


def test_only_those_that_want_the_same_workers_stand_before_a_job(db: Database) -> None:
    gpu, either, cpu, last = (submit(db, queue=queue).id for queue in ("gpu", None, "cpu", None))
    waiting = [jobs.get(db, job_id) for job_id in (gpu, either, cpu, last)]

    assert jobs.positions(db, waiting, ["cpu", "gpu"]) == {gpu: 1, either: 2, cpu: 2, last: 4}
    # Nobody takes jobs of `gpu`, so one of them keeps nobody waiting.
    assert jobs.positions(db, waiting, ["cpu"]) == {gpu: 1, either: 1, cpu: 2, last: 3}


def test_a_worker_takes_the_jobs_of_its_queues_and_those_of_none(db: Database) -> None:
    gpu, anywhere, cpu = (submit(db, queue=queue).id for queue in ("gpu", None, "cpu"))

    assert jobs.most_urgent(db, ["cpu"]) == anywhere
    assert jobs.most_urgent(db, ["gpu"]) == gpu
    claim(db, anywhere)
    assert jobs.most_urgent(db, ["cpu"]) == cpu
    assert jobs.most_urgent(db, []) is None


# ---- the history of attempts ----------------------------------------------------------------------------------------


def test_each_attempt_is_on_record_with_its_end(db: Database) -> None:
    job_id = submit(db).id
    jobs.release(db, claim(db, job_id, worker="a"), reason="killed by signal 9", spend_attempt=True)
    jobs.release(db, claim(db, job_id, worker="b"), reason="its worker is shutting down", spend_attempt=False)
    claim(db, job_id, worker="c", lease_seconds=EXPIRED)
    jobs.sweep(db)
    jobs.fail(db, claim(db, job_id, worker="d"), code="broken", message="broken")

    record = [(a.attempt, a.worker, a.outcome, a.reason) for a in jobs.attempts(db, job_id)]

    lost = "its worker was lost (no heartbeat within the lease)"
    assert record == [
        (1, "a", "interrupted", "killed by signal 9"),
        (2, "b", "handed back", "its worker is shutting down"),
        (3, "c", "lost", lost),
        (4, "d", "failed", "broken"),
    ]
    assert all(a.ended_at is not None and a.ended_at >= a.started_at for a in jobs.attempts(db, job_id)[:2])


# ---- sweep ----------------------------------------------------------------------------------------------------------


def test_the_sweep_takes_back_what_a_lost_worker_held(db: Database) -> None:
    lost = claim(db, submit(db).id, lease_seconds=EXPIRED)
    alive = claim(db, submit(db).id)

    assert jobs.sweep(db) == [lost.job_id]
    assert jobs.sweep(db) == []
    assert jobs.get(db, lost.job_id).status == JobStatus.QUEUED
    assert jobs.get(db, alive.job_id).status == JobStatus.RUNNING
    assert "no heartbeat" in event_messages(db, lost.job_id)[-1]


def test_the_sweep_gives_up_after_the_last_attempt(db: Database) -> None:
    mine = claim(db, submit(db, max_attempts=1).id, lease_seconds=EXPIRED)

    assert jobs.sweep(db) == []
    job = jobs.get(db, mine.job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "attempts_exhausted")
    assert jobs.events(db, job.id)[-1].level == "error"


def test_the_sweep_cancels_what_a_lost_worker_was_asked_to_stop(db: Database) -> None:
    mine = claim(db, submit(db, max_attempts=1).id, lease_seconds=EXPIRED)
    jobs.request_cancel(db, mine.job_id)

    assert jobs.sweep(db) == []
    assert jobs.get(db, mine.job_id).status == JobStatus.CANCELLED


def test_a_job_that_nobody_cancelled_cannot_end_cancelled(db: Database) -> None:
    mine = claim(db, submit(db).id)

    with pytest.raises(LeaseLostError):
        jobs.cancelled(db, mine)
    assert jobs.get(db, mine.job_id).status == JobStatus.RUNNING


@pytest.mark.parametrize("end", ["succeed", "fail", "cancelled"])
def test_the_sweep_never_overwrites_a_job_that_has_ended(db: Database, end: str) -> None:
    mine = claim(db, submit(db).id, lease_seconds=EXPIRED)
    if end == "cancelled":
        jobs.request_cancel(db, mine.job_id)
    WRITES[end](db, mine)
    before, events_before = jobs.get(db, mine.job_id), event_messages(db, mine.job_id)

    assert jobs.sweep(db) == []
    assert jobs.get(db, mine.job_id).model_dump() == before.model_dump()
    assert event_messages(db, mine.job_id) == events_before


def test_sweep_and_success_at_the_same_moment_agree_on_one_end(db: Database) -> None:
    together = threading.Barrier(2)
    for _ in range(15):
        mine = claim(db, submit(db).id, lease_seconds=EXPIRED)

        def finish(mine: Claim = mine) -> bool:
            together.wait()
            try:
                jobs.succeed(db, mine, result=RESULT, version=VERSION)
            except LeaseLostError:
                return False
            return True

        def sweep() -> list[str]:
            together.wait()
            return jobs.sweep(db)

        with ThreadPoolExecutor(2) as pool:
            finished, swept_ids = pool.submit(finish), pool.submit(sweep)
        won = finished.result()
        job = jobs.get(db, mine.job_id)

        assert swept_ids.result() == ([] if won else [mine.job_id])
        assert job.status == (JobStatus.SUCCEEDED if won else JobStatus.QUEUED)
        assert (job.version is not None) == won


def test_two_sweeps_at_once_take_each_job_back_once(db: Database) -> None:
    ids = [claim(db, submit(db).id, lease_seconds=EXPIRED).job_id for _ in range(10)]
    together = threading.Barrier(2)

    def sweep(_: int) -> list[str]:
        together.wait()
        return jobs.sweep(db)

    with ThreadPoolExecutor(2) as pool:
        taken = [job_id for rescued in pool.map(sweep, range(2)) for job_id in rescued]

    assert sorted(taken) == sorted(ids)


# ---- messages that were lost ----------------------------------------------------------------------------------------


def unheard(db: Database, *, waiting_messages: int, older_than: float) -> list[str]:
    found = jobs.unheard(db, ["cpu"], waiting_messages=waiting_messages, older_than=older_than, limit=10)
    return [job_id for job_id, _ in found]


def test_a_queued_job_without_a_message_is_heard_of(db: Database) -> None:
    job = submit(db)

    assert unheard(db, waiting_messages=0, older_than=LONG) == [job.id]
    assert unheard(db, waiting_messages=1, older_than=LONG) == []  # its message waits in the broker


def test_a_job_whose_message_was_just_sent_is_left_alone(db: Database) -> None:
    job = submit(db)
    jobs.mark_enqueued(db, job.id)

    assert unheard(db, waiting_messages=0, older_than=LONG) == []
    assert unheard(db, waiting_messages=0, older_than=-1) == [job.id]


def test_only_some_jobs_are_heard_of_at_a_time(db: Database) -> None:
    ids = [submit(db).id for _ in range(3)]

    found = jobs.unheard(db, ["cpu"], waiting_messages=0, older_than=LONG, limit=2)

    assert found == [(ids[0], None), (ids[1], None)]
    jobs.mark_enqueued(db, *ids[:2])
    assert unheard(db, waiting_messages=0, older_than=LONG) == [ids[2]]


def test_a_job_for_other_workers_is_theirs_to_hear_of(db: Database) -> None:
    submit(db, queue="gpu")
    mine = [submit(db, queue="cpu").id, submit(db).id]

    assert unheard(db, waiting_messages=1, older_than=LONG) == mine
    assert unheard(db, waiting_messages=2, older_than=LONG) == []


def test_only_queued_jobs_need_a_message(db: Database) -> None:
    claim(db, submit(db).id)
    jobs.request_cancel(db, submit(db).id)

    assert unheard(db, waiting_messages=0, older_than=-1) == []


def test_a_job_that_was_claimed_meanwhile_is_not_marked_as_sent(db: Database) -> None:
    mine = claim(db, submit(db).id)

    jobs.mark_enqueued(db, mine.job_id)

    assert jobs.get(db, mine.job_id).enqueued_at is None


def test_a_job_sent_back_by_the_sweep_needs_a_new_message(db: Database) -> None:
    job = submit(db)
    jobs.mark_enqueued(db, job.id)
    claim(db, job.id, lease_seconds=EXPIRED)
    jobs.sweep(db)

    assert unheard(db, waiting_messages=0, older_than=LONG) == [job.id]


def test_the_alias_production_follows_the_newest_success(db: Database) -> None:
    publish(db)
    publish(db)

    with db.reading() as session:
        assert registry.resolve(session, "intent").version == 2
