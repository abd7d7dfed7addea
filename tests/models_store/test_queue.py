"""The queue: a message carries an id and nothing else, and a broker that is away breaks nothing."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.exceptions import ContentDisallowed

from models_store.errors import UnavailableError
from models_store.queue import QUEUE_NAME, TASK_NAME, JobQueue, celery_app
from tests.fixtures.servers import Valkey, wait_for

SECRET_WORDS = ("thawline.db", "THAWLINE", "hyperparameters", "dataset")


@pytest.fixture
def queue(valkey: Valkey) -> Iterator[JobQueue]:
    sender = JobQueue(valkey.url)
    yield sender
    sender.close()


def raw_messages(valkey: Valkey) -> list[dict[str, Any]]:
    """What lies in the broker, byte for byte, without taking it."""
    with Connection(valkey.url) as connection:
        return [json.loads(raw) for raw in connection.default_channel.client.lrange(QUEUE_NAME, 0, -1)]


def test_a_message_carries_the_id_and_nothing_else(valkey: Valkey, queue: JobQueue) -> None:
    assert queue.enqueue("job_1") is True

    (message,) = raw_messages(valkey)
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))

    assert (args, kwargs) == (["job_1"], {})
    assert message["headers"]["task"] == TASK_NAME
    assert message["content-type"] == "application/json"
    assert not [word for word in SECRET_WORDS if word in json.dumps(message)]


def test_messages_wait_in_the_order_they_were_sent(valkey: Valkey, queue: JobQueue) -> None:
    for number in range(3):
        queue.enqueue(f"job_{number}")

    bodies = [json.loads(base64.b64decode(message["body"])) for message in raw_messages(valkey)]

    assert [body[0][0] for body in reversed(bodies)] == ["job_0", "job_1", "job_2"]  # taken from the right end


def test_depth_counts_what_waits(queue: JobQueue) -> None:
    assert queue.depth() == 0
    queue.enqueue("job_1")
    queue.enqueue("job_2")
    assert queue.depth() == 2
    queue.enqueue("job_3", "gpu")
    assert (queue.depth(), queue.depth(["cpu"]), queue.depth(["gpu"])) == (3, 2, 3)


def test_many_threads_may_send_at_once(queue: JobQueue) -> None:
    together = threading.Barrier(8)

    def send(number: int) -> bool:
        together.wait()
        return all(queue.enqueue(f"job_{number}_{i}") for i in range(5))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(send, range(8)))
    assert queue.depth() == 40


def test_only_json_is_read(valkey: Valkey) -> None:
    # A pickle is a program; whoever can write to the broker must not be able to run one here.
    with Connection(valkey.url) as connection:
        simple = connection.SimpleQueue(QUEUE_NAME)
        simple.put({"job": 1}, serializer="pickle")
        simple.close()
    reader = celery_app(valkey.url)

    assert reader.conf.task_serializer == "json"
    with reader.connection_for_read() as connection:
        message = reader.amqp.queues[QUEUE_NAME](connection.default_channel).get(
            no_ack=True, accept=reader.conf.accept_content
        )
        with pytest.raises(ContentDisallowed):
            message.decode()


def test_a_broker_that_is_away_takes_nothing_and_raises_nothing(valkey: Valkey, queue: JobQueue) -> None:
    queue.enqueue("job_1")  # so that a connection is open already
    valkey.kill()
    began = time.monotonic()

    assert queue.enqueue("job_2") is False
    assert time.monotonic() - began < 8  # a request waits for it


def test_a_broker_that_never_was_there_takes_nothing(valkey: Valkey) -> None:
    nowhere = JobQueue(f"redis+socket://{valkey.folder / 'nobody.sock'}")

    assert nowhere.enqueue("job_1") is False
    with pytest.raises(UnavailableError, match="does not answer"):
        nowhere.depth()
    nowhere.close()


def test_a_broker_that_hangs_is_waited_for_once(valkey: Valkey) -> None:
    queue = JobQueue(valkey.url, rest_seconds=3600)
    queue.enqueue("job_1")  # so that a connection is open already
    valkey.freeze()
    assert queue.enqueue("job_2") is False
    began = time.monotonic()

    assert queue.enqueue("job_3") is False

    assert time.monotonic() - began < 0.5
    queue.close()


def test_a_broker_that_hung_takes_messages_again(valkey: Valkey) -> None:
    queue = JobQueue(valkey.url, rest_seconds=0.1)
    valkey.freeze()
    assert queue.enqueue("job_1") is False

    valkey.thaw()

    wait_for(lambda: queue.enqueue("job_2"), seconds=10, what="a message taken")
    assert queue.enqueue("job_3") is True
    queue.close()


def test_a_broker_that_was_seen_to_answer_is_tried_at_once(valkey: Valkey) -> None:
    queue = JobQueue(valkey.url, rest_seconds=3600)
    valkey.kill()
    assert queue.enqueue("job_1") is False
    valkey.start()
    assert queue.enqueue("job_2") is False

    queue.depth()

    assert queue.enqueue("job_3") is True
    queue.close()


def test_a_broker_that_is_full_takes_nothing_and_raises_nothing(valkey: Valkey, queue: JobQueue) -> None:
    with Connection(valkey.url) as connection:
        connection.default_channel.client.config_set("maxmemory", "1")

    assert queue.enqueue("job_1") is False


def test_a_broker_that_came_back_takes_messages_again(valkey: Valkey, queue: JobQueue) -> None:
    queue.enqueue("job_1")
    valkey.kill()
    assert queue.enqueue("job_2") is False

    valkey.start()

    wait_for(lambda: queue.enqueue("job_3"), what="a message taken")
    assert queue.depth() == 1  # without persistence the first is lost, which the sweep makes good


def test_without_a_broker_url_the_queue_says_so(valkey: Valkey) -> None:
    none, some = JobQueue(None), JobQueue(valkey.url)
    assert (none.configured, some.configured) == (False, True)
    none.close()
    some.close()


def test_sender_and_worker_are_told_that_the_database_is_the_truth(valkey: Valkey) -> None:
    conf = celery_app(valkey.url).conf

    assert conf.task_acks_late is False
    assert conf.worker_prefetch_multiplier == 1
    assert conf.worker_disable_prefetch is True
    assert conf.task_ignore_result is True
    assert (conf.task_serializer, conf.accept_content) == ("json", ["json"])
