"""A bounded number of texts at a time: what comes on top is refused at once, never queued without bound."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from models_store.errors import OverloadedError

_SHARE = 4  # as many models may be full at a time; then all are refused


class Admission:
    """Gives out permits. A call holds one from before its model is looked up until it is answered."""

    def __init__(self, limit: int, backlog_seconds: Callable[[], float]) -> None:
        """A bound for each model, so that one that is slow or overrun leaves room for the others.

        `total` is how many texts are held, of all models, and `held` how many of each that has any.

        Args:
            limit: Texts of one model at a time.
            backlog_seconds: How long what waits will take.
        """
        self._limit = limit
        self._backlog_seconds = backlog_seconds
        self.held: Counter[str] = Counter()
        self.total = 0

    @contextmanager
    def permit(self, model: str, texts: int) -> Iterator[None]:
        """Hold the places of so many texts.

        Raises:
            OverloadedError: Too many texts wait already.
        """
        with self.more(model, max(1, texts)):  # a call without any waits for its model like every other
            yield

    @contextmanager
    def more(self, model: str, windows: int) -> Iterator[None]:
        """Hold further places for a call that has a permit: a long text takes one for each of its windows.

        Raises:
            OverloadedError: Too many texts wait already.
        """
        held = self.held[model]
        if (held and held + windows > self._limit) or self.total + windows > _SHARE * self._limit:
            seconds = max(1, math.ceil(self._backlog_seconds()))
            raise OverloadedError(f"{held} texts are waiting; try again in {seconds} s", seconds)
        self._hold(model, windows)
        try:
            yield
        finally:
            self._hold(model, -windows)

    def _hold(self, model: str, texts: int) -> None:
        self.held[model] += texts
        if not self.held[model]:
            del self.held[model]  # names come from callers: none may be left behind
        self.total += texts
