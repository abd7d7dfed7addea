"""`Client` and `AsyncClient`: the same calls, with and without ``await``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import httpx

from thawline.asking import Engine, Retries
from thawline.datasets import DatasetCalls
from thawline.engines import Async, AsyncEngine, Sync, SyncEngine
from thawline.errors import ConfigurationError
from thawline.files import AsyncFilePrediction, FileCalls, FilePrediction, FileT
from thawline.jobs import AsyncJob, Job, JobT
from thawline.models import AsyncModel, Model, ModelCalls, ModelT
from thawline.plans import Plan, Send, operation
from thawline.requests import Request
from thawline.trainings import JobCalls

DEFAULT_URL = "http://127.0.0.1:8000"
_CONNECT_SECONDS = 10.0


class _Calls(DatasetCalls, JobCalls[JobT], ModelCalls[ModelT], FileCalls[FileT]):
    """Every call of the service."""

    _engine: Engine

    @operation
    def is_ready(self) -> Plan[bool]:
        """Whether the service can do its work now. False, too, where nobody answers."""
        try:
            answer = yield Send(Request(method="GET", path="/readyz"))
        except httpx.RequestError:
            return False
        ready: bool = answer.status == 200
        return ready


class Client(_Calls[Job, Model, FilePrediction], Sync):
    """A Thawline service.

        with thawline.Client() as client:
            job = client.train("train.csv", task="classification", model="support-intent").wait(progress=True)
            print(client.model("support-intent").predict("Where is my parcel?").label)

    Args:
        url: Of the service; by default THAWLINE_URL, or http://127.0.0.1:8000.
        api_key: By default THAWLINE_API_KEY.
        timeout: Seconds that the service may be silent while it owes an answer.
        retries: How often what fails for the moment is tried again, or a whole `Retries`.
        transport: What carries the requests, if not the network.

    Raises:
        ConfigurationError: The URL is none, or the key no key.
    """

    _engine: SyncEngine
    _job_kind = Job
    _model_kind = Model
    _file_kind = FilePrediction

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int | Retries = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        with _told_of_proxies():
            http = httpx.Client(
                base_url=_url(url), headers=_headers(api_key), timeout=_timeout(timeout), transport=transport
            )
        self._engine = SyncEngine(http, _retries(retries))

    def close(self) -> None:
        """Close its connections."""
        self._engine.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Calls[AsyncJob, AsyncModel, AsyncFilePrediction], Async):
    """The same with ``await``; lists and events are iterated over with ``async for``. Arguments as for `Client`."""

    _engine: AsyncEngine
    _job_kind = AsyncJob
    _model_kind = AsyncModel
    _file_kind = AsyncFilePrediction

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int | Retries = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        with _told_of_proxies():
            http = httpx.AsyncClient(
                base_url=_url(url), headers=_headers(api_key), timeout=_timeout(timeout), transport=transport
            )
        self._engine = AsyncEngine(http, _retries(retries))

    async def close(self) -> None:
        """Close its connections."""
        await self._engine.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


@contextmanager
def _told_of_proxies() -> Iterator[None]:
    """Say of a proxy in the environment that cannot be used what to do."""
    try:
        yield
    except (ImportError, ValueError) as error:  # a SOCKS proxy; what is no URL of a proxy
        hint = "install httpx[socks] for a SOCKS proxy, or add the service's host to NO_PROXY"
        raise ConfigurationError(f"the proxy that the environment names cannot be used: {error}", hint) from error


def _url(url: str | None) -> str:
    chosen = url or os.environ.get("THAWLINE_URL") or DEFAULT_URL
    try:
        known = httpx.URL(chosen).scheme in ("http", "https")
    except httpx.InvalidURL:
        known = False
    if not known:
        raise ConfigurationError(f"{chosen!r} is no URL of a service", f"one looks like {DEFAULT_URL}")
    return chosen


def _headers(api_key: str | None) -> dict[str, str]:
    key = (api_key or os.environ.get("THAWLINE_API_KEY") or "").strip()
    if not (key.isascii() and key.isprintable()):  # it is not told: it is a secret
        raise ConfigurationError("the API key has characters that no key has", "use letters, digits and signs of ASCII")
    return {"User-Agent": "thawline-client", **({"Authorization": f"Bearer {key}"} if key else {})}


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def _retries(retries: int | Retries) -> Retries:
    return Retries(most=retries) if isinstance(retries, int) else retries
