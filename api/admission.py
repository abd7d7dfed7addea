"""A bounded number of texts at a time: what comes on top is refused at once, never queued without bound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from api.batching import Throughput
from api.figures import WAITING_TEXTS
from models_store.errors import OverloadedError


class Admission:
    """Gives out permits. A call holds one from before its model is looked up until it is answered."""

    def __init__(self, limit: int, throughput: Throughput) -> None:
        self._limit = limit
        self._throughput = throughput
        self._held = 0

    @contextmanager
    def permit(self, texts: int) -> Iterator[None]:
        """Hold the places of so many texts.

        Raises:
            OverloadedError: Too many texts wait already.
        """
        with self.more(max(1, texts)):  # a call without any waits for its model like every other
            yield

    @contextmanager
    def more(self, windows: int) -> Iterator[None]:
        """Hold further places for a call that has a permit: a long text takes one for each of its windows.

        Raises:
            OverloadedError: Too many texts wait already.
        """
        if self._held and self._held + windows > self._limit:
            seconds = max(1, math.ceil(self._throughput.seconds_for(self._held)))
            raise OverloadedError(f"{self._held} texts are waiting; try again in {seconds} s", seconds)
        self._hold(windows)
        try:
            yield
        finally:
            self._hold(-windows)

    def _hold(self, texts: int) -> None:
        self._held += texts
        WAITING_TEXTS.set(self._held)
