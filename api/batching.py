"""Micro-batching: texts that wait for one model run together, with others of similar length.

There is no timer. A runner thread that becomes free takes the oldest text and those of similar length behind it, up
to a budget of padded tokens; under light load that is one text at once, under heavy load batches form by themselves.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.figures import BATCH_TEXTS, INFER_SECONDS, QUEUE_SECONDS
from models_store.tasks import Encoded

Logits = NDArray[np.floating[Any]]
Infer = Callable[[Sequence[Encoded]], Sequence[Logits]]

_SIMILAR = 1.25  # lengths within a quarter of the oldest text's: padding then wastes little
_MAX_ITEMS = 64
_HALF_LIFE_TEXTS = 512  # after so many more texts, what was learnt before counts half
_SECONDS_PER_TEXT = 0.01  # until something was learnt


class ClosedError(RuntimeError):
    """The model was unloaded meanwhile."""


class NotFiniteError(RuntimeError):
    """The model answered with something that is no number."""


class Throughput:
    """How many texts the runners get done, learnt from the batches of late.

    Only a runner's own time counts. The latency of a call holds waiting, tokenising and changes of thread besides,
    which do not add up over the texts of a full queue.
    """

    def __init__(self) -> None:
        self._texts = self._seconds = 0.0  # both weighted exponentially
        self._lock = threading.Lock()

    def learn(self, texts: int, runner_seconds: float, runners: int) -> None:
        """Take in a batch that one of the runners worked on for so long; the others can do as much meanwhile."""
        kept = 0.5 ** (texts / _HALF_LIFE_TEXTS)
        with self._lock:
            self._texts = kept * self._texts + texts
            self._seconds = kept * self._seconds + runner_seconds / runners

    def seconds_for(self, texts: int) -> float:
        """Seconds in which all runners together get so many texts done."""
        with self._lock:
            return texts * (self._seconds / self._texts if self._texts else _SECONDS_PER_TEXT)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A text in the queue."""

    encoded: Encoded
    future: Future[Logits] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)


class MicroBatcher:
    """Runs `infer` on its own threads; `submit` hands back a future per text."""

    def __init__(self, infer: Infer, *, runners: int, batch_tokens: int, throughput: Throughput) -> None:
        self._infer = infer
        self._throughput = throughput
        self._batch_tokens = batch_tokens
        self._waiting: deque[_Waiting] = deque()
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
        items = [_Waiting(one) for one in encoded]
        with self._changed:
            if self._closed:
                raise ClosedError("the model was unloaded")
            self._waiting.extend(items)
            self._changed.notify(len(items))
        return [item.future for item in items]

    def close(self) -> None:
        """Finish what waits, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            wanted = [item for item in batch if item.future.set_running_or_notify_cancel()]
            if not wanted:  # all were given up by their callers
                continue
            started = time.perf_counter()
            self._infer_all(wanted)
            seconds = time.perf_counter() - started
            self._throughput.learn(len(wanted), seconds, len(self._threads))
            INFER_SECONDS.observe(seconds)
            BATCH_TEXTS.observe(len(wanted))
            for item in wanted:
                QUEUE_SECONDS.observe(started - item.since)

    def _next_batch(self) -> list[_Waiting]:
        """The next texts to run together; none once the batcher is closed and everything is done."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return []
            batch = [self._waiting.popleft()]
            longest = shortest = len(batch[0].encoded)
            left: deque[_Waiting] = deque()
            # Whatever joins is padded to the longest, so past this budget nothing fits and nothing need be looked at.
            while self._waiting and len(batch) < _MAX_ITEMS and longest * (len(batch) + 1) <= self._batch_tokens:
                item = self._waiting.popleft()
                high, low = max(longest, len(item.encoded)), min(shortest, len(item.encoded))
                if high <= low * _SIMILAR and high * (len(batch) + 1) <= self._batch_tokens:
                    batch.append(item)
                    longest, shortest = high, low
                else:
                    left.append(item)
            self._waiting.extendleft(reversed(left))
        return batch

    def _infer_all(self, items: Sequence[_Waiting]) -> None:
        try:
            results = self._infer([item.encoded for item in items])
        except Exception as error:  # noqa: BLE001 (it belongs to the futures)
            if len(items) == 1:
                items[0].future.set_exception(error)
                return
            for item in items:  # the bad text must not fail its neighbours
                self._infer_all([item])
            return
        for logits, item in zip(results, items, strict=True):
            if np.isfinite(logits).all():
                item.future.set_result(logits)
            else:
                item.future.set_exception(NotFiniteError("the model's answer is not finite"))
