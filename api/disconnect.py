"""Work for a caller who went away is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

CLIENT_CLOSED_REQUEST = 499  # nginx's status; for the figures alone, nobody reads it
_PATIENCE_SECONDS = 0.05  # most calls are answered before anybody could have gone


class CallerGoneError(Exception):
    """Nobody waits for the answer."""


@contextmanager
def given_up_with_caller(request: Request) -> Iterator[None]:
    """Cancel what is done inside once the connection is closed. The request's body must have been read.

    Raises:
        CallerGoneError: It was.
    """
    working = asyncio.current_task()
    assert working is not None  # noqa: S101 (a request is always handled in a task)
    watching: list[asyncio.Task[None]] = []
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        working.cancel()

    loop = asyncio.get_running_loop()
    begin = loop.call_later(_PATIENCE_SECONDS, lambda: watching.append(loop.create_task(watch())))
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        working.uncancel()
        raise CallerGoneError from None
    finally:
        begin.cancel()
        for task in watching:
            task.cancel()
