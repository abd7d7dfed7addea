"""The outbox of webhooks: what is written with which change, and who may send it when."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from models_store import jobs
from models_store.database import Database, db_now
from models_store.errors import NotFoundError
from models_store.jobs import Answer, Delivery
from models_store.jobs.webhooks import BACK_OFF
from models_store.jobs.writing import add_event
from models_store.tables import DeliveryStatus, WebhookDelivery
from tests.models_store.samples import EXPIRED, LONG, VERSION, claim, submit

URL = "https://hooks.example.org/thawline?token=1"
FAILED = Answer(status=500)


def types(db: Database, job_id: str) -> list[str]:
    return [row.type for row in jobs.deliveries(db, job_id, limit=100)]


def only(db: Database) -> WebhookDelivery:
    with db.reading() as session:
        return session.exec(select(WebhookDelivery)).one()


def take(db: Database, **options: Any) -> Delivery:
    """A claim that must succeed."""
    mine = jobs.claim_delivery(db, lease_seconds=LONG, **options)
    assert mine is not None
    return mine


def make_due(db: Database) -> None:
    """Let the time pass that deliveries wait."""
    with db.transaction() as session:
        for row in session.exec(select(WebhookDelivery)):
            due: Any = db_now(-1)
            row.next_attempt_at = due


def database_time(db: Database) -> datetime:
    with db.reading() as session:
        now = session.exec(select(db_now())).one()
    assert isinstance(now, datetime)
    return now


# ---- written with the change ----------------------------------------------------------------------------------------


def test_each_step_that_matters_is_told_and_no_other(db: Database) -> None:
    job = submit(db, webhook_url=URL)
    assert types(db, job.id) == []
    first = claim(db, job.id)
    jobs.release(db, first, reason="a deploy", spend_attempt=False)
    second = claim(db, job.id)
    jobs.pause(db, job.id)
    jobs.release(db, second, reason="paused", spend_attempt=False)
    jobs.resume(db, job.id)
    third = claim(db, job.id)
    jobs.succeed(db, third, result={"head": "linear"}, version=VERSION)

    assert types(db, job.id) == ["job.running", "job.running", "job.paused", "job.running", "job.succeeded"]
    rows = jobs.deliveries(db, job.id, limit=100)
    assert {(row.status, row.attempts, row.url) for row in rows} == {("pending", 0, URL)}


def test_the_payload_of_a_success(db: Database) -> None:
    job = submit(db, webhook_url=URL, model="intent")
    jobs.succeed(db, claim(db, job.id), result={"head": "linear"}, version=VERSION)

    payload = json.loads(jobs.deliveries(db, job.id, limit=100)[-1].payload)

    assert datetime.fromisoformat(payload.pop("timestamp")).utcoffset() == timedelta(0)
    assert payload == {
        "type": "job.succeeded",
        "data": {"id": job.id, "status": "succeeded", "model": "intent", "version": 1, "attempt": 1, "error": None},
    }


def test_the_payload_of_a_failure_says_why(db: Database) -> None:
    job = submit(db, webhook_url=URL)
    jobs.fail(db, claim(db, job.id), code="out_of_memory", message='müde, and\n"worn out" 𝄞')

    data = json.loads(jobs.deliveries(db, job.id, limit=100)[-1].payload)["data"]

    assert (data["status"], data["version"]) == ("failed", None)
    assert data["error"] == {"code": "out_of_memory", "message": 'müde, and\n"worn out" 𝄞'}


@pytest.mark.parametrize("lost", [True, False])
def test_a_cancelled_job_is_told_of_whoever_ends_it(db: Database, *, lost: bool) -> None:
    job = submit(db, webhook_url=URL)
    mine = claim(db, job.id, lease_seconds=EXPIRED if lost else LONG)
    jobs.request_cancel(db, job.id)
    if lost:
        jobs.sweep(db)
    else:
        jobs.cancelled(db, mine)

    assert types(db, job.id) == ["job.running", "job.cancelled"]


def test_a_job_that_was_given_up_is_told_of(db: Database) -> None:
    job = submit(db, webhook_url=URL, max_attempts=1)
    claim(db, job.id, lease_seconds=EXPIRED)

    jobs.sweep(db)

    payload = json.loads(jobs.deliveries(db, job.id, limit=100)[-1].payload)
    assert (payload["type"], payload["data"]["error"]["code"]) == ("job.failed", "attempts_exhausted")


def test_nobody_is_told_of_a_job_without_a_url(db: Database) -> None:
    job = submit(db)
    jobs.fail(db, claim(db, job.id), code="broken", message="broken")

    assert types(db, job.id) == []
    assert jobs.count_pending(db) == 0


def test_a_change_that_is_rolled_back_is_not_told(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit(db, webhook_url=URL)
    mine = claim(db, job.id)

    def add_and_break(*arguments: Any) -> None:
        add_event(*arguments)
        arguments[0].flush()
        raise ConnectionError("the database went away before the commit")

    monkeypatch.setattr("models_store.jobs.doing.add_event", add_and_break)
    with pytest.raises(ConnectionError):
        jobs.fail(db, mine, code="broken", message="broken")

    assert jobs.get(db, job.id).status == "running"
    assert types(db, job.id) == ["job.running"]
    monkeypatch.undo()
    jobs.fail(db, mine, code="broken", message="broken")
    assert types(db, job.id) == ["job.running", "job.failed"]


def test_a_retry_calls_the_same_url(db: Database) -> None:
    job = submit(db, webhook_url=URL)
    jobs.request_cancel(db, job.id)

    again = jobs.retry(db, job.id, max_attempts=3)

    assert again.webhook_url == URL
    claim(db, again.id)
    assert types(db, again.id) == ["job.running"]


# ---- claimed --------------------------------------------------------------------------------------------------------


def test_a_delivery_is_claimed_once_until_its_lease_is_over(db: Database) -> None:
    job = submit(db, webhook_url=URL)
    claim(db, job.id)

    mine = take(db)

    assert (mine.job_id, mine.url, mine.attempt) == (job.id, URL, 1)
    assert mine.payload == only(db).payload
    assert jobs.claim_delivery(db, lease_seconds=LONG) is None
    make_due(db)
    assert take(db).attempt == 2


@pytest.mark.parametrize("round_", range(3))
def test_of_many_workers_one_gets_it(db: Database, round_: int) -> None:
    claim(db, submit(db, webhook_url=URL).id)
    together = threading.Barrier(8)

    def call(_: int) -> Delivery | None:
        together.wait()
        return jobs.claim_delivery(db, lease_seconds=LONG)

    with ThreadPoolExecutor(8) as pool:
        got = [delivery for delivery in pool.map(call, range(8)) if delivery]

    assert len(got) == 1
    assert only(db).attempts == 1


def test_many_workers_share_what_there_is(db: Database) -> None:
    for _ in range(12):
        claim(db, submit(db, webhook_url=URL).id)
    together = threading.Barrier(4)

    def call(_: int) -> list[str]:
        together.wait()
        return [got.id for _ in range(3) if (got := jobs.claim_delivery(db, lease_seconds=LONG))]

    with ThreadPoolExecutor(4) as pool:
        got = [one for some in pool.map(call, range(4)) for one in some]

    # Who comes while another holds the row passes it over, and gets the next one: nobody goes empty-handed.
    assert len(set(got)) == len(got) == 12


def test_what_a_job_comes_to_is_told_in_order(db: Database) -> None:
    job = submit(db, webhook_url=URL)
    jobs.fail(db, claim(db, job.id), code="broken", message="broken")

    first = take(db)
    assert json.loads(first.payload)["type"] == "job.running"
    assert jobs.claim_delivery(db, lease_seconds=LONG) is None  # not before the first has been sent
    jobs.settle(db, first, Answer(status=204))

    assert json.loads(take(db).payload)["type"] == "job.failed"


def test_a_message_that_was_refused_does_not_hold_up_the_next_one(db: Database) -> None:
    job = submit(db, webhook_url=URL)
    jobs.fail(db, claim(db, job.id), code="broken", message="broken")
    jobs.settle(db, take(db), Answer(status=400))

    assert json.loads(take(db).payload)["type"] == "job.failed"


def test_receivers_may_be_left_alone(db: Database) -> None:
    for host in ("a", "b"):
        claim(db, submit(db, webhook_url=f"https://{host}.example.org/x").id)

    assert take(db, sparing=["https://a.example.org/"]).url == "https://b.example.org/x"
    assert jobs.claim_delivery(db, lease_seconds=LONG, sparing=["https://a.example.org/"]) is None
    assert jobs.claim_delivery(db, lease_seconds=LONG, among=["https://b.example.org/"]) is None
    assert take(db, sparing=["https://_.example.org/"]).url == "https://a.example.org/x"  # no pattern


# ---- settled --------------------------------------------------------------------------------------------------------


def test_a_success_ends_it(db: Database) -> None:
    claim(db, submit(db, webhook_url=URL).id)
    assert jobs.count_pending(db) == 1

    assert jobs.settle(db, take(db), Answer(status=200)) is DeliveryStatus.DELIVERED

    row = only(db)
    assert (row.status, row.attempts, row.last_status, row.last_error) == ("delivered", 1, 200, None)
    assert row.delivered_at is not None
    make_due(db)
    assert jobs.claim_delivery(db, lease_seconds=LONG) is None
    assert jobs.count_pending(db) == 0


def test_failures_are_tried_again_later_and_later_and_given_up_in_the_end(db: Database) -> None:
    claim(db, submit(db, webhook_url=URL).id)

    for attempt, wait in enumerate(BACK_OFF, start=1):
        mine = take(db)
        assert mine.attempt == attempt
        before = database_time(db)
        assert jobs.settle(db, mine, FAILED) is DeliveryStatus.PENDING
        due, after = only(db).next_attempt_at, database_time(db)
        clock = timedelta(milliseconds=2)  # SQLite's has no more digits
        assert before + timedelta(seconds=0.9 * wait) - clock <= due <= after + timedelta(seconds=1.1 * wait) + clock
        assert jobs.claim_delivery(db, lease_seconds=LONG) is None
        make_due(db)

    assert sum(BACK_OFF) > 3 * 24 * 3600
    assert jobs.settle(db, take(db), FAILED) is DeliveryStatus.GIVEN_UP
    row = only(db)
    assert (row.status, row.attempts, row.last_status) == ("given_up", len(BACK_OFF) + 1, 500)


def test_receivers_that_were_away_together_are_not_called_together(db: Database) -> None:
    for _ in range(5):
        claim(db, submit(db, webhook_url=URL).id)
        jobs.settle(db, take(db), Answer(error="no answer"))
    with db.reading() as session:
        rows = session.exec(select(WebhookDelivery)).all()
    due = {round((row.next_attempt_at - row.created_at).total_seconds(), 2) for row in rows}

    assert len(due) > 1


@pytest.mark.parametrize("answer", [Answer(status=410), Answer(error="forbidden", hopeless=True)])
def test_what_is_hopeless_is_given_up_at_once(db: Database, answer: Answer) -> None:
    claim(db, submit(db, webhook_url=URL).id)

    assert jobs.settle(db, take(db), answer) is DeliveryStatus.GIVEN_UP

    row = only(db)
    assert (row.status, row.last_status, row.last_error) == ("given_up", answer.status, answer.error)


@pytest.mark.parametrize("answer", [Answer(status=200), FAILED])
def test_an_attempt_whose_lease_was_lost_settles_nothing(db: Database, answer: Answer) -> None:
    claim(db, submit(db, webhook_url=URL).id)
    late = take(db)
    make_due(db)
    mine = take(db)
    before = only(db).model_dump()

    assert jobs.settle(db, late, answer) is None

    assert only(db).model_dump() == before
    assert jobs.settle(db, mine, Answer(status=204)) is DeliveryStatus.DELIVERED
    assert jobs.settle(db, mine, FAILED) is None  # an end is final


# ---- listed ---------------------------------------------------------------------------------------------------------


def test_deliveries_are_listed_in_pages(db: Database) -> None:
    job = submit(db, webhook_url=URL)
    for _ in range(3):
        jobs.release(db, claim(db, job.id), reason="a deploy", spend_attempt=False)
    ids = [row.id for row in jobs.deliveries(db, job.id, limit=100)]

    assert len(ids) == 3
    assert [row.id for row in jobs.deliveries(db, job.id, limit=2)] == ids[:2]
    assert [row.id for row in jobs.deliveries(db, job.id, limit=2, after=ids[1])] == ids[2:]
    with pytest.raises(NotFoundError):
        jobs.deliveries(db, "job_unknown", limit=1)


def test_the_url_is_kept_in_its_normal_form(db: Database) -> None:
    assert submit(db, webhook_url="HTTPS://Hooks.Example.org").webhook_url == "https://hooks.example.org/"
