"""A thread of every worker that sends webhooks (docs/webhooks.md): some at a time, and never two to one receiver."""

from __future__ import annotations

import importlib.metadata
import threading
import time
from collections.abc import Sequence

import httpcore

from models_store import jobs
from models_store.database import Database
from models_store.jobs import Answer, Delivery
from models_store.logging import get_logger
from models_store.signing import sign
from models_store.tables import DeliveryStatus
from worker.outgoing import ForbiddenAddressError, post
from worker.receivers import Receivers, Standing

_SECONDS = 10.0  # for one attempt
_LEASE_SECONDS = 60.0  # well beyond, because looking up a name cannot be cut short
_POLL_SECONDS = 1.0
_LONGEST_ERROR = 300

log = get_logger(__name__)


class WebhookSender:
    """Sends what is due, in threads of its own. Any number of workers may do so at the same time."""

    def __init__(self, db: Database, keys: Sequence[bytes], *, allow_private: bool) -> None:
        self._db = db
        self._keys = keys
        self._allow_private = allow_private
        self._context = httpcore.default_ssl_context()
        self._agent = f"Thawline/{importlib.metadata.version('thawline')}"
        self._lock = threading.Lock()
        self._receivers = Receivers()
        self._sending: set[threading.Thread] = set()
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop sending, and wait a moment for what is under way; what takes longer is sent again by another worker."""
        self._stop.set()
        self._changed.set()
        until = time.monotonic() + _SECONDS / 2
        if self._thread.is_alive():  # a worker told to stop before it was ready has not started it
            self._thread.join(timeout=_SECONDS)
        with self._lock:
            sending = list(self._sending)
        for thread in sending:
            thread.join(timeout=max(0.0, until - time.monotonic()))

    def send_one(self) -> bool:
        """Send what is due first; whether anything was."""
        for standing in Standing:
            if (delivery := self._claim(standing)) is not None:
                self._deliver(delivery)
                return True
        return False

    def _run(self) -> None:
        while not self._stop.is_set():
            self._changed.clear()
            try:
                self._start_due()
            except Exception:
                log.exception("webhooks cannot be sent; the next round tries again")
            self._changed.wait(_POLL_SECONDS)

    def _start_due(self) -> None:
        """Send as much as may be sent at a time."""
        for standing in Standing:
            while self._receivers.has_room(standing) and not self._stop.is_set():
                if (delivery := self._claim(standing)) is None:
                    break
                thread = threading.Thread(target=self._deliver, args=(delivery,), name=delivery.id, daemon=True)
                with self._lock:
                    self._sending.add(thread)
                thread.start()

    def _claim(self, standing: Standing) -> Delivery | None:
        """What is due first for receivers of this standing, whose turn it is."""
        for who in self._receivers.candidates(standing):
            delivery = jobs.claim_delivery(self._db, lease_seconds=_LEASE_SECONDS, sparing=who.sparing, among=who.among)
            if delivery is not None:
                self._receivers.begin(delivery.origin, standing)
                return delivery
        return None

    def _deliver(self, delivery: Delivery) -> None:
        answer, seconds, began = Answer(error="it was not sent"), 0.0, time.monotonic()
        try:
            answer = self._send(delivery)
            seconds = time.monotonic() - began
            status = jobs.settle(self._db, delivery, answer)
            told = log.warning if status is DeliveryStatus.GIVEN_UP else log.info
            fate = "no longer ours" if status is None else status.value
            told("webhook", id=delivery.id, job_id=delivery.job_id, fate=fate, status=answer.status, error=answer.error)
        except Exception:
            log.exception("webhook not settled; it is sent again once its lease is over", id=delivery.id)
        finally:
            self._receivers.end(delivery.origin, answered=answer.status is not None, seconds=seconds)
            with self._lock:
                self._sending.discard(threading.current_thread())
            self._changed.set()

    def _send(self, delivery: Delivery) -> Answer:
        body, timestamp = delivery.payload.encode(), int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": self._agent,
            "webhook-id": delivery.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._keys, delivery.id, timestamp, body),
        }
        try:
            status = post(
                delivery.url,
                body,
                headers,
                seconds=_SECONDS,
                allow_private=self._allow_private,
                context=self._context,
            )
        except ForbiddenAddressError as error:
            allowed = "THAWLINE_WEBHOOK_ALLOW_PRIVATE=true would allow it"
            return Answer(error=f"{error}; {allowed}", hopeless=True)
        except httpcore.TimeoutException:
            return Answer(error=f"no answer within {_SECONDS:g} s")
        except Exception as error:  # noqa: BLE001 (whatever a receiver does must not end the sending)
            return Answer(error=_printable(f"{type(error).__name__}: {error}"))
        return Answer(status)


def _printable(text: str) -> str:
    """A text as the database takes it: some of an error's may come from the receiver."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST_ERROR])
