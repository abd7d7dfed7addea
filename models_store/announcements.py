"""A hint, by the broker's publish and subscribe, that there is news of a job.

Whoever does not hear it looks into the database a little later: nothing depends on it.
"""

from __future__ import annotations

from contextlib import suppress

from redis import Redis, RedisError

from models_store.breaker import CircuitBreaker

CHANNEL = "thawline.news"
_TIMEOUT_SECONDS = 1.0
_REST_SECONDS = 10.0  # after a broker did not answer: a training does not wait for it again and again


def redis_url(broker_url: str) -> str:
    """The URL of a Celery broker as the client library wants it."""
    return broker_url.replace("redis+socket://", "unix://", 1)


class Announcer:
    """Says that there is news of a job; never raises, and never waits for long."""

    def __init__(self, broker_url: str | None) -> None:
        self._breaker = CircuitBreaker(_REST_SECONDS)
        self._client = None
        if broker_url is not None:
            timeouts = {"socket_timeout": _TIMEOUT_SECONDS, "socket_connect_timeout": _TIMEOUT_SECONDS}
            self._client = Redis.from_url(redis_url(broker_url), **timeouts)

    def announce(self, job_id: str) -> None:
        """Tell everybody who listens."""
        if self._client is None or not self._breaker.allows():
            return
        try:
            self._client.publish(CHANNEL, job_id)
        except RedisError:
            self._breaker.failed()
        else:
            self._breaker.succeeded()

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            with suppress(RedisError):
                self._client.close()
