"""Carries plans out: over httpx's client, or its async one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from typing import Any, Generic, TypeVar

import httpx

from thawline.asking import Engine, Retries
from thawline.errors import ConfigurationError
from thawline.listings import AsyncListing, Listing
from thawline.plans import Emit, Open, Plan, Read, Send, Sleep, Step, Stream
from thawline.requests import Answer, Request

T = TypeVar("T")


class _Run(Generic[T]):
    """A plan on its way: its next step depends on what came of the last one."""

    def __init__(self, plan: Plan[T] | Stream[Any]) -> None:
        self._plan: Any = plan
        self.result: Any = None
        self.failure: Exception | None = None
        self.value: Any = None

    def next(self) -> Step | Emit[Any] | None:
        """The next step; None when the plan is over and `value` is what it returned."""
        result, failure, self.result, self.failure = self.result, self.failure, None, None
        try:
            step: Step | Emit[Any] = self._plan.send(result) if failure is None else self._plan.throw(failure)
        except StopIteration as end:
            self.value = end.value
            return None
        return step

    def close(self) -> None:
        """Let the plan tidy up, be it over or not."""
        self._plan.close()


class SyncEngine(Engine):
    """Carries plans out, one step after the other."""

    def __init__(self, http: httpx.Client, retries: Retries) -> None:
        super().__init__(str(http.base_url), retries)
        self.http = http

    def run(self, plan: Plan[T]) -> T:
        """Carry a plan out; what it returns."""
        run = _Run[T](plan)
        for _ in self._carry_out(run):
            pass
        value: T = run.value
        return value

    def listing(self, stream: Callable[[], Stream[T]]) -> Listing[T]:
        """What a stream hands out; it is carried out while somebody iterates."""
        return Listing(lambda: self._carry_out(_Run[T](stream())))

    def _carry_out(self, run: _Run[Any]) -> Iterator[Any]:
        with closing(run), closing(_SyncSteps(self.http)) as steps:
            while (step := run.next()) is not None:
                if isinstance(step, Emit):
                    yield step.value
                    continue
                try:
                    run.result = steps.perform(step)
                except httpx.RequestError as error:
                    run.failure = error


class AsyncEngine(Engine):
    """Carries plans out, and waits for each step without keeping others from theirs."""

    def __init__(self, http: httpx.AsyncClient, retries: Retries) -> None:
        super().__init__(str(http.base_url), retries)
        self.http = http

    async def run(self, plan: Plan[T]) -> T:
        """Carry a plan out; what it returns."""
        run = _Run[T](plan)
        async with aclosing(self._carry_out(run)) as emitted:
            async for _ in emitted:
                pass
        value: T = run.value
        return value

    def listing(self, stream: Callable[[], Stream[T]]) -> AsyncListing[T]:
        """What a stream hands out; it is carried out while somebody iterates."""
        return AsyncListing(lambda: self._carry_out(_Run[T](stream())))

    async def _carry_out(self, run: _Run[Any]) -> AsyncGenerator[Any]:
        steps = _AsyncSteps(self.http)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(steps.close)
            stack.callback(run.close)
            while (step := run.next()) is not None:
                if isinstance(step, Emit):
                    yield step.value
                    continue
                try:
                    run.result = await steps.perform(step)
                except httpx.RequestError as error:
                    run.failure = error


class Sync:
    """Belongs to a `Client`."""

    _engine: SyncEngine


class Async:
    """Belongs to an `AsyncClient`."""

    _engine: AsyncEngine


class _SyncSteps:
    """Performs the steps of one plan; `close` ends what `Open` began."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._body: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def perform(self, step: Step) -> Any:
        """What comes of a step."""
        if isinstance(step, Sleep):
            return time.sleep(step.seconds)
        if isinstance(step, Read):
            return next(self._chunks, None)
        with ExitStack() as files:
            request = _built(self._http, step.request, files)
            response = self._http.send(request, stream=isinstance(step, Open))
        if isinstance(step, Send):
            return Answer(response.status_code, response.headers, response.content)
        self.close()
        self._body, self._chunks = response, response.iter_bytes()
        content = b"" if response.is_success else response.read()
        return Answer(response.status_code, response.headers, content)

    def close(self) -> None:
        """End what was opened last."""
        if self._body is not None:
            self._body.close()


class _AsyncSteps:
    """Performs the steps of one plan; `close` ends what `Open` began."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._body: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def perform(self, step: Step) -> Any:
        """What comes of a step."""
        if isinstance(step, Sleep):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Read):
            return None if self._chunks is None else await anext(self._chunks, None)
        with ExitStack() as files:
            request = _built(self._http, step.request, files)
            response = await self._http.send(request, stream=isinstance(step, Open))
        if isinstance(step, Send):
            return Answer(response.status_code, response.headers, response.content)
        await self.close()
        self._body, self._chunks = response, response.aiter_bytes()
        content = b"" if response.is_success else await response.aread()
        return Answer(response.status_code, response.headers, content)

    async def close(self) -> None:
        """End what was opened last."""
        if self._body is not None:
            await self._body.aclose()


def _built(http: httpx.Client | httpx.AsyncClient, request: Request, files: ExitStack) -> httpx.Request:
    """The request as httpx sends it, with its files opened anew."""
    opened = {field: (upload.name, files.enter_context(upload.opened())) for field, upload in request.files.items()}
    usual = http.timeout
    timeout = usual
    if request.timeout is not None:
        seconds = request.timeout
        timeout = httpx.Timeout(seconds, connect=seconds if usual.connect is None else min(seconds, usual.connect))
    try:
        return http.build_request(
            request.method,
            request.path,
            params={name: value for name, value in request.params.items() if value is not None},
            json=request.body,
            data=dict(request.form) or None,
            files=opened or None,
            headers=dict(request.headers),
            timeout=timeout,
        )
    except (ValueError, TypeError, RecursionError) as error:  # half a character, NaN, an object of one's own
        raise ConfigurationError(f"this cannot be sent: {error}") from error
