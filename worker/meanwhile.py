"""Something small that a thread does again and again while other work goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(work: Callable[[], bool], seconds: float, name: str) -> Iterator[None]:
    """Do it every so many seconds until the block is left, first when they have passed.

    Args:
        work: Returns whether it is to be done again.
        seconds: Between the end of one time and the next.
        name: Of the thread.
    """
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(seconds) and work():
            pass

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
