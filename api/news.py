"""Who waits for news of a job is woken by the broker's hint, and looks by itself once in a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from models_store.announcements import CHANNEL, redis_url
from models_store.logging import get_logger

_RARELY_SECONDS = 2.0  # a hint may be lost
_OFTEN_SECONDS = 0.5  # there are no hints
_RETRY_SECONDS = 2.0
log = get_logger(__name__)


class JobNews:
    """Listens to the broker for all who wait in this process."""

    def __init__(self, broker_url: str | None) -> None:
        self._url = redis_url(broker_url) if broker_url else None
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self.listens = False

    @contextmanager
    def of(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever there is news of a job. Clear it, look, then `wait`: so none is missed."""
        event = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    async def wait(self, event: asyncio.Event, at_most: float) -> None:
        """Until there is news, or it is time to look whether there is some, but for so many seconds at most."""
        seconds = _RARELY_SECONDS if self.listens else _OFTEN_SECONDS
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), min(seconds, at_most))

    async def run(self) -> None:
        """Listen until cancelled."""
        while self._url is not None:
            try:
                await self._listen(self._url)
            except (RedisError, OSError) as error:
                log.debug("no hints from the broker", error=str(error))
            finally:
                self.listens = False
            self._wake_all()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self, url: str) -> None:
        async with Redis.from_url(url, health_check_interval=15) as client, client.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            async for message in channel.listen():
                if message["type"] == "subscribe":
                    self.listens = True
                    self._wake_all()  # for what was said before
                elif message["type"] == "message":
                    # Anybody with the broker's password may publish anything: what is no id is nobody's.
                    for event in self._waiting.get(message["data"].decode(errors="replace"), ()):
                        event.set()

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()
