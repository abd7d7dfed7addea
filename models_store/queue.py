"""The way to the workers: a Celery message that carries a job's id and nothing else.

The database is the truth and the message only a hint: losing it delays a job until the next sweep, no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from models_store.breaker import CircuitBreaker
from models_store.errors import UnavailableError
from models_store.logging import get_logger
from models_store.placement import QueueName

TASK_NAME = "thawline.train"
QUEUE_NAME = "thawline"
_REST_SECONDS = 5.0  # after the broker took no message: requests do not wait for it again and again

log = get_logger(__name__)


def queue_name(queue: str | None) -> str:
    """Where the messages lie of jobs of a queue, or of those that any worker may have."""
    return QUEUE_NAME if queue is None else f"{QUEUE_NAME}.{queue}"


def celery_app(broker_url: str | None, *, socket_timeout: float = 10) -> Celery:
    """A Celery app with the settings that sender and worker share.

    Args:
        broker_url: Where the broker is; None for a process that has none.
        socket_timeout: Seconds until a silent broker counts as away.
    """
    app = Celery("thawline", broker=broker_url or "memory://", set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=QUEUE_NAME,
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,  # an idle worker must not wait for a message that a busy one reserved
        broker_connection_timeout=3,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "socket_connect_timeout": 3,
            "socket_timeout": socket_timeout,
            "socket_keepalive": True,
        },
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        enable_utc=True,
    )
    return app


class JobQueue:
    """Sends job ids; never raises for a broker that does not take them, because the sweep sends again."""

    def __init__(self, broker_url: str | None, *, rest_seconds: float = _REST_SECONDS) -> None:
        self.configured = broker_url is not None
        self._breaker = CircuitBreaker(rest_seconds)
        # A request waits for this, and the sweep makes good what fails: better soon than surely.
        self._app = celery_app(broker_url, socket_timeout=2)

    def enqueue(self, job_id: str, queue: str | None = None) -> bool:
        """Send the hint that a job waits, to the workers of a queue or to all; False if the broker did not take it.

        After that it is not tried for some seconds: a broker that hangs would hold up every call, and a thread each.
        """
        if not self._breaker.allows():
            return False
        try:
            self._app.send_task(
                TASK_NAME,
                args=[job_id],
                queue=queue_name(queue),
                retry=True,
                retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0},
            )
        except Exception as error:  # noqa: BLE001 (away, full, read-only, …: the job is stored, and the sweep sends again)
            self._breaker.failed()
            log.warning("broker took no message; the sweep will send it again", job_id=job_id, error=str(error))
            return False
        self._breaker.succeeded()
        return True

    def depth(self, queues: Iterable[str] = tuple(QueueName)) -> int:
        """Messages that wait in the broker, for any worker and for those of these queues.

        Raises:
            UnavailableError: The broker does not answer.
        """
        try:
            with self._app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
                channel: Any = connection.default_channel
                names = [queue_name(queue) for queue in (None, *queues)]
                waiting = sum(int(channel.queue_declare(name, durable=True).message_count) for name in names)
        except (OperationalError, OSError) as error:
            log.warning("broker away", error=str(error))
            raise UnavailableError("the broker does not answer") from error
        self._breaker.succeeded()
        return waiting

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
