"""The sending of webhooks: to a real receiver, from SQLite and from PostgreSQL."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from models_store import jobs
from models_store.database import Database, db_now
from models_store.signing import keys_of
from models_store.tables import WebhookDelivery
from tests.fixtures.receiver import SECRET, Receiver, receiving
from tests.fixtures.servers import free_port, wait_for
from tests.models_store.samples import VERSION, claim, submit
from worker import receivers as receivers_module
from worker import webhooks as webhooks_module
from worker.receivers import Standing
from worker.webhooks import WebhookSender


def make_sender(db: Database, *, allow_private: bool = True) -> WebhookSender:
    return WebhookSender(db, keys_of(SECRET), allow_private=allow_private)


def begin(db: Database, url: str) -> str:
    """A job that runs, and whose receiver is to be told so."""
    job_id = submit(db, webhook_url=url).id
    claim(db, job_id)
    return job_id


def only(db: Database) -> WebhookDelivery:
    with db.reading() as session:
        return session.exec(select(WebhookDelivery)).one()


def pass_time(db: Database) -> None:
    """Let the time pass that deliveries wait."""
    with db.transaction() as session:
        for row in session.exec(select(WebhookDelivery)):
            due: Any = db_now(-1)
            row.next_attempt_at = due


@contextmanager
def silent_receivers(number: int) -> Iterator[list[str]]:
    """The URLs of receivers that take a connection and never answer, until the block ends."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        yield [f"http://127.0.0.1:{one.getsockname()[1]}/" for one in sockets]


def all_were_tried(db: Database) -> bool:
    with db.reading() as session:
        return all(row.last_error for row in session.exec(select(WebhookDelivery)))


@pytest.fixture
def other() -> Iterator[Receiver]:
    """Another receiver."""
    with receiving() as running:
        yield running


# ---- one delivery ---------------------------------------------------------------------------------------------------


def test_what_arrives_is_signed_as_the_public_library_wants_it(db: Database, receiver: Receiver) -> None:
    job_id = begin(db, receiver.url)

    assert make_sender(db).send_one()

    (call,) = receiver.calls
    row = only(db)
    assert call.verified()["data"]["id"] == job_id
    assert call.body.decode() == row.payload
    assert call.path == "/hooks?for=me"
    assert call.id == row.id
    assert call.headers["content-type"] == "application/json"
    assert call.headers["user-agent"] == f"Thawline/{version('thawline')}"
    assert (row.status, row.attempts, row.last_status, row.last_error) == ("delivered", 1, 204, None)
    assert not make_sender(db).send_one()


def test_a_whole_job_is_told_in_order(db: Database, receiver: Receiver) -> None:
    job_id = submit(db, webhook_url=receiver.url).id
    jobs.succeed(db, claim(db, job_id), result={"head": "linear"}, version=VERSION)
    sender = make_sender(db)

    while sender.send_one():
        pass

    assert [call.type for call in receiver.calls] == ["job.running", "job.succeeded"]
    assert receiver.calls[-1].verified()["data"]["version"] == 1


def test_a_failure_is_tried_again_with_the_same_id_and_a_new_signature(db: Database, receiver: Receiver) -> None:
    begin(db, receiver.url)
    receiver.answers += [500, 429, 302]
    sender = make_sender(db)

    for status in (500, 429, 302):
        assert sender.send_one()
        assert (only(db).status, only(db).last_status) == ("pending", status)
        assert not sender.send_one()  # not yet
        pass_time(db)
    assert sender.send_one()

    assert (only(db).status, only(db).attempts, only(db).last_status) == ("delivered", 4, 204)
    assert len({call.id for call in receiver.calls}) == 1
    for call in receiver.calls:
        call.verified()


def test_the_last_attempt_gives_up(db: Database, receiver: Receiver) -> None:
    begin(db, receiver.url)
    receiver.answers += [503] * 20
    sender = make_sender(db)

    while sender.send_one():
        pass_time(db)

    assert (only(db).status, only(db).attempts, len(receiver.calls)) == ("given_up", 10, 10)


def test_a_receiver_that_is_gone_for_good_is_not_called_again(db: Database, receiver: Receiver) -> None:
    begin(db, receiver.url)
    receiver.answers.append(410)
    sender = make_sender(db)

    assert sender.send_one()
    pass_time(db)

    assert not sender.send_one()
    assert (only(db).status, only(db).last_status, len(receiver.calls)) == ("given_up", 410, 1)


def test_a_receiver_that_is_away_is_called_again(db: Database) -> None:
    begin(db, f"http://127.0.0.1:{free_port()}/")

    assert make_sender(db).send_one()

    row = only(db)
    assert (row.status, row.attempts, row.last_status) == ("pending", 1, None)
    assert row.last_error is not None
    assert "Connection refused" in row.last_error


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]", "0177.1"])
def test_a_private_address_is_given_up_at_once(db: Database, receiver: Receiver, host: str) -> None:
    begin(db, f"http://{host}:{receiver.port}/")

    assert make_sender(db, allow_private=False).send_one()

    row = only(db)
    assert (row.status, row.attempts, row.last_status) == ("given_up", 1, None)
    assert row.last_error is not None
    assert "not public" in row.last_error
    assert "THAWLINE_WEBHOOK_ALLOW_PRIVATE" in row.last_error
    assert receiver.calls == []


# ---- the threads ----------------------------------------------------------------------------------------------------


def test_two_workers_send_each_of_them_once(db: Database, receiver: Receiver, other: Receiver) -> None:
    job_ids = [begin(db, one.url) for one in (receiver, other) for _ in range(8)]
    senders = [make_sender(db) for _ in range(2)]

    for sender in senders:
        sender.start()
    wait_for(lambda: jobs.count_pending(db) == 0, what="every delivery")
    for sender in senders:
        sender.stop()

    calls = receiver.calls + other.calls
    assert Counter(call.verified()["data"]["id"] for call in calls) == Counter(job_ids)


def test_a_receiver_that_hangs_holds_up_nobody_else(db: Database, receiver: Receiver, other: Receiver) -> None:
    receiver.go_on.clear()
    for _ in range(6):
        begin(db, receiver.url)  # more than may be sent at a time
    job_id = begin(db, other.url)
    sender = make_sender(db)

    sender.start()
    wait_for(lambda: other.calls, seconds=8, what="the other receiver's turn")  # sooner than the first gives up

    assert [call.verified()["data"]["id"] for call in other.calls] == [job_id]
    assert len(receiver.calls) == 1
    receiver.go_on.set()
    wait_for(lambda: jobs.count_pending(db) == 0, what="the rest")
    sender.stop()
    assert len(receiver.calls) == 6


def test_receivers_that_never_answer_hold_up_none_that_does(db: Database, receiver: Receiver) -> None:
    begin(db, receiver.url)
    sender = make_sender(db)
    assert sender.send_one()

    with silent_receivers(40) as urls:
        for url in urls:
            begin(db, url)
        begin(db, receiver.url)
        sender.start()
        wait_for(lambda: len(receiver.calls) == 2, seconds=8, what="its turn")  # sooner than any of them gives up
    sender.stop()


def test_receivers_that_were_silent_hold_up_no_new_one(
    db: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = make_sender(db)
    with silent_receivers(20) as urls:
        for url in urls:
            begin(db, url)
        monkeypatch.setattr(webhooks_module, "_SECONDS", 0.2)
        monkeypatch.setattr(receivers_module, "_REST_SECONDS", 0.0)
        sender.start()
        wait_for(lambda: all_were_tried(db), what="an attempt at each")
        monkeypatch.setattr(webhooks_module, "_SECONDS", 10.0)
        pass_time(db)
        begin(db, receiver.url)
        wait_for(lambda: receiver.calls, seconds=8, what="its turn")  # sooner than any of them gives up
    sender.stop()


def test_a_receiver_that_answers_late_is_called_with_those_that_do_not(
    db: Database, receiver: Receiver, other: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        begin(db, receiver.url)
    monkeypatch.setattr(receivers_module, "PROMPT_SECONDS", -1.0)  # whatever answers, answers late
    sender = make_sender(db)
    assert sender.send_one()

    monkeypatch.setitem(receivers_module.SLOTS, Standing.SLOW, 0)
    begin(db, other.url)
    sender.start()
    wait_for(lambda: other.calls, what="the other's turn")
    sender.stop()

    assert len(receiver.calls) == 1


def test_one_receiver_has_no_second_turn_while_another_waits_for_its_first(
    db: Database, receiver: Receiver, other: Receiver
) -> None:
    for one in (receiver, other):
        begin(db, one.url)
    sender = make_sender(db)
    while sender.send_one():  # both are known to answer
        pass
    for url in (receiver.url, receiver.url, receiver.url, other.url):
        begin(db, url)

    told = []
    while sender.send_one():
        told.append((len(receiver.calls), len(other.calls)))

    assert told == [(2, 1), (2, 2), (3, 2), (4, 2)]


def test_after_a_receiver_gave_no_answer_others_have_their_turn(db: Database, receiver: Receiver) -> None:
    dead = f"http://127.0.0.1:{free_port()}/"
    for _ in range(2):
        begin(db, dead)
    begin(db, receiver.url)
    sender = make_sender(db)

    assert [sender.send_one() for _ in range(3)] == [True, True, False]

    assert len(receiver.calls) == 1


def test_the_threads_outlive_a_database_that_is_away(
    db: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(db, receiver.url)
    claim_delivery, calls = jobs.claim_delivery, []

    def away_at_first(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) <= 2:
            raise OperationalError("UPDATE", {}, ConnectionError("the server closed the connection"))
        return claim_delivery(*arguments, **options)

    monkeypatch.setattr(jobs, "claim_delivery", away_at_first)
    sender = make_sender(db)

    sender.start()
    wait_for(lambda: receiver.calls, seconds=20, what="a delivery")
    sender.stop()

    assert len(calls) > 2


def test_one_that_could_not_be_settled_is_sent_again_when_its_lease_is_over(
    db: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(db, receiver.url)
    sender = make_sender(db)

    def away(*_: Any) -> Any:
        raise OperationalError("UPDATE", {}, ConnectionError("the server closed the connection"))

    monkeypatch.setattr(jobs, "settle", away)
    assert sender.send_one()
    monkeypatch.undo()
    assert not sender.send_one()
    pass_time(db)
    assert sender.send_one()

    assert [call.id for call in receiver.calls] == [only(db).id] * 2  # by its id the receiver knows it
    assert only(db).status == "delivered"


def test_a_sender_that_is_told_to_stop_waits_for_what_is_under_way(db: Database, receiver: Receiver) -> None:
    receiver.go_on.clear()
    begin(db, receiver.url)
    sender = make_sender(db)
    sender.start()
    wait_for(lambda: receiver.calls, what="the call")

    sender._stop.set()
    receiver.go_on.set()
    sender.stop()

    assert not sender._thread.is_alive()
    assert only(db).status == "delivered"


def test_one_that_never_started_can_be_stopped(db: Database) -> None:
    make_sender(db).stop()


# ---- secrets --------------------------------------------------------------------------------------------------------


def test_neither_secret_nor_signature_is_kept_or_logged(
    db: Database, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(db, receiver.url)
    receiver.answers.append(500)

    assert make_sender(db).send_one()

    signature = receiver.calls[0].headers["webhook-signature"]
    told = json.dumps(only(db).model_dump(mode="json")) + "".join(capsys.readouterr())
    assert "webhook" in told
    assert signature.removeprefix("v1,") not in told
    assert SECRET.removeprefix("whsec_") not in told
