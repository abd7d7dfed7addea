"""Long work tells how far it is, a few times a second and no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TypeVar

from worker.training.events import Event

REPORT_SECONDS = 0.5

T = TypeVar("T")


def paced(work: Generator[int, None, T], tell: Callable[[int], Event]) -> Generator[Event, None, T]:
    """Turn counts of examples done into events at a bounded rate; returns what the work returns (``yield from``)."""
    report_at = time.monotonic() + REPORT_SECONDS
    while True:
        try:
            done = next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        if (now := time.monotonic()) >= report_at:
            report_at = now + REPORT_SECONDS
            yield tell(done)


def counted_on(work: Generator[int, None, T], before: int) -> Generator[int, None, T]:
    """The same work where so many examples were done before it; returns what the work returns (``yield from``)."""
    while True:
        try:
            done = next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        yield before + done
