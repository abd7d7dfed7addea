"""Micro-batching: texts that wait for one model run together, with others of similar length.

There is no timer. A runner thread that becomes free takes the oldest text and those of similar length behind it, up
to a budget of padded tokens; under light load that is one text at once, under heavy load batches form by themselves.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.tasks import Encoded

Logits = NDArray[np.floating[Any]]
Infer = Callable[[Sequence[Encoded]], Sequence[Logits]]

_SIMILAR = 1.25  # lengths within a quarter of the oldest text's: padding then wastes little
_MAX_ITEMS = 64


class ClosedError(RuntimeError):
    """The model was unloaded meanwhile."""


class NotFiniteError(RuntimeError):
    """The model answered with something that is no number."""


class MicroBatcher:
    """Runs `infer` on its own threads; `submit` hands back a future per text."""

    def __init__(self, infer: Infer, *, runners: int, batch_tokens: int) -> None:
        self._infer = infer
        self._batch_tokens = batch_tokens
        self._waiting: deque[tuple[Encoded, Future[Logits]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._run, name=f"runner-{i}", daemon=True) for i in range(runners)]
        for thread in self._threads:
            thread.start()

    def submit(self, encoded: Sequence[Encoded]) -> list[Future[Logits]]:
        """Queue texts; each future ends with the logits of its text.

        Raises:
            ClosedError: `close` was called before.
        """
        futures: list[Future[Logits]] = [Future() for _ in encoded]
        with self._changed:
            if self._closed:
                raise ClosedError("the model was unloaded")
            self._waiting.extend(zip(encoded, futures, strict=True))
            self._changed.notify(len(futures))
        return futures

    def close(self) -> None:
        """Finish what waits, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            wanted = [item for item in batch if item[1].set_running_or_notify_cancel()]
            if wanted:  # not all were given up by their callers
                self._infer_all([encoded for encoded, _ in wanted], [future for _, future in wanted])

    def _next_batch(self) -> list[tuple[Encoded, Future[Logits]]]:
        """The next texts to run together; none once the batcher is closed and everything is done."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return []
            batch = [self._waiting.popleft()]
            longest = shortest = len(batch[0][0])
            left: deque[tuple[Encoded, Future[Logits]]] = deque()
            while self._waiting and len(batch) < _MAX_ITEMS:
                item = self._waiting.popleft()
                high, low = max(longest, len(item[0])), min(shortest, len(item[0]))
                if high <= low * _SIMILAR and high * (len(batch) + 1) <= self._batch_tokens:
                    batch.append(item)
                    longest, shortest = high, low
                else:
                    left.append(item)
            self._waiting.extendleft(reversed(left))
        return batch

    def _infer_all(self, encoded: Sequence[Encoded], futures: Sequence[Future[Logits]]) -> None:
        try:
            results = self._infer(encoded)
        except Exception as error:  # noqa: BLE001 (it belongs to the futures)
            if len(futures) == 1:
                futures[0].set_exception(error)
                return
            for one, future in zip(encoded, futures, strict=True):  # the bad text must not fail its neighbours
                self._infer_all([one], [future])
            return
        for logits, future in zip(results, futures, strict=True):
            if np.isfinite(logits).all():
                future.set_result(logits)
            else:
                future.set_exception(NotFiniteError("the model's answer is not finite"))
