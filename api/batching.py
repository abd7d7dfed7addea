"""Micro-batching: texts that wait for one model run together, with others of similar length.

There is no timer. A runner thread that becomes free takes the text that is due and those of similar length behind it,
up to a budget of padded tokens; under light load that is one text at once, under heavy load batches form by themselves.
The texts of a call are due one after the other, as if the caller had sent each when the one before was done: so a
single text need not wait for the thousand of a call that came just before.

A runner runs the narrow engine, of one thread, beside the other runners: this gets most texts done. A text that comes
while nothing else is to be done is run by the wide engine, whose threads share the work: this answers soonest.
docs/decisions/0019-runners.md has the measurements.
"""

from __future__ import annotations

import math
import operator
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from api.calls import (
    Call,
    ClosedError,
    Done,
    Logits,
    NotFiniteError,
    Outcome,
    OverdueError,
    Results,
    RunnerLostError,
)
from api.engines import Engine, Engines
from api.figures import Batch, ModelFigures
from models_store.errors import OverloadedError
from models_store.execution import Interrupt
from models_store.logging import get_logger
from models_store.tasks import Encoded

_SIMILAR = 1.25  # lengths within a quarter of the oldest text's: padding then wastes little
_due = operator.attrgetter("due")
log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A text in the queue."""

    call: Call
    index: int
    encoded: Encoded
    due: float


@dataclass(slots=True, eq=False)
class _Runner:
    """A thread, and what it is at."""

    thread: threading.Thread | None = None
    batch: Sequence[_Waiting] = ()
    started: float = 0.0
    interrupt: Interrupt = field(default_factory=Interrupt)
    given_up: bool = False

    def overdue(self, patience: float) -> bool:
        """Whether its batch has been running for too long."""
        return bool(self.batch) and time.perf_counter() - self.started > patience

    def lost(self, patience: float) -> bool:
        """Whether it does no more work."""
        return self.thread is None or not self.thread.is_alive() or self.overdue(patience)


class MicroBatcher:
    """Runs a model on threads of its own, for calls of one text or many."""

    def __init__(self, engines: Engines, figures: ModelFigures) -> None:
        self._engines = engines
        self._figures = figures
        self._throughput = engines.throughput
        self._waiting: list[_Waiting] = []  # by when each is due
        self._tokens = 0  # of those that wait
        self._changed = threading.Condition()
        self._idle = 0
        self._closed = False
        self._runners = [self._new_runner() for _ in range(engines.runners)]

    def submit(self, encoded: Sequence[Encoded], done: Done, *, seconds: float = math.inf) -> Call:
        """Queue texts.

        Args:
            encoded: Their word pieces.
            done: Called once with what became of them, in the thread of a runner.
            seconds: For how long the caller will wait.

        Raises:
            ClosedError: `close` was called before.
            OverloadedError: What waits already would take longer than the caller will.
        """
        call = Call(len(encoded), seconds, done)
        if not encoded:
            done(Results([]))
            return call
        with self._changed:
            if self._closed:
                raise ClosedError("the model was unloaded")
            pace = self._throughput.seconds_for(1)
            backlog = self._tokens * pace
            if backlog > seconds:
                wait = math.ceil(backlog - seconds) or 1
                raise OverloadedError(f"{len(self._waiting)} texts wait for this model; try again in {wait} s", wait)
            due = call.since
            for index, one in enumerate(encoded):
                self._waiting.append(_Waiting(call, index, one, due))
                due += len(one) * pace
            if len(encoded) > 1 or len(self._waiting) > 1:
                self._waiting.sort(key=_due)
            self._tokens += sum(map(len, encoded))
            self._changed.notify(len(encoded))
        return call

    @property
    def idle(self) -> int:
        """How many runners wait for work."""
        return self._idle

    def backlog_seconds(self) -> float:
        """How long the texts that wait will take."""
        return self._throughput.seconds_for(self._tokens)

    def healthy(self, patience: float) -> bool:
        """Whether every runner works, none of them for longer than ``patience`` seconds on one batch."""
        return self._closed or not any(runner.lost(patience) for runner in self._runners)

    def tend(self, patience: float) -> int:
        """Replace the runners that died or come to no end; their texts fail. How many there were."""
        replaced = 0
        with self._changed:
            for place, runner in enumerate(self._runners):
                if not self._closed and runner.lost(patience):
                    self._runners[place] = self._new_runner()
                    replaced += 1
                    self._give_up(runner)
        if replaced:
            self._figures.lost_runners(replaced)
        return replaced

    def close(self, patience: float = 60.0) -> None:
        """Finish what waits, then end the threads; those that take longer than ``patience`` seconds are left behind."""
        until = time.monotonic() + patience
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            runners = list(self._runners)
        for runner in runners:
            if runner.thread is not None:
                runner.thread.join(max(0.0, until - time.monotonic()))
                if runner.thread.is_alive():
                    self._give_up(runner)
        with self._changed:
            for item in self._waiting:
                item.call.finish(item.index, RunnerLostError("the model hangs"))
            self._waiting.clear()

    def _give_up(self, runner: _Runner) -> None:
        runner.given_up = True
        runner.interrupt.set()
        _fail(runner, RunnerLostError("the model takes too long for this text"))

    def _new_runner(self) -> _Runner:
        runner = _Runner()
        runner.thread = threading.Thread(target=self._run, args=[runner], name="runner", daemon=True)
        runner.thread.start()
        return runner

    def _run(self, runner: _Runner) -> None:
        try:
            while not runner.given_up and (taken := self._next_batch()):
                self._work(runner, taken[0], self._engine(*taken))
        except BaseException:
            log.exception("a runner died")
            _fail(runner, RunnerLostError("the thread that ran the model died"))

    def _engine(self, batch: Sequence[_Waiting], alone: bool) -> Engine:
        engines = self._engines
        if alone and engines.wide and sum(len(item.encoded) for item in batch) >= engines.wide_from:
            return engines.wide
        return engines.narrow

    def _work(self, runner: _Runner, batch: Sequence[_Waiting], engine: Engine) -> None:
        runner.interrupt = Interrupt()
        runner.started = time.perf_counter()
        runner.batch = batch
        outcomes = _infer(engine, [item.encoded for item in batch], runner.interrupt)
        seconds = time.perf_counter() - runner.started
        for item, outcome in zip(batch, outcomes, strict=True):
            item.call.finish(item.index, outcome, started=runner.started, seconds=seconds)
        runner.batch = ()
        lengths = [len(item.encoded) for item in batch]
        waited = [runner.started - item.call.since for item in batch]
        self._figures.note(Batch(lengths, waited, seconds, sum(isinstance(one, Exception) for one in outcomes)))
        if engine is self._engines.narrow:  # the wide one takes cores that other batches would have had
            self._throughput.learn(len(batch) * max(lengths), seconds, self._engines.runners)

    def _next_batch(self) -> tuple[list[_Waiting], bool] | None:
        """The next texts to run together, and whether nothing else is to be done.

        None once the batcher is closed and everything is done.
        """
        with self._changed:
            self._idle += 1
            try:
                while not (batch := self._cut()):
                    if self._closed:
                        return None
                    self._changed.wait()
                return batch, not self._waiting and self._idle == len(self._runners)
            finally:
                self._idle -= 1

    def _cut(self) -> list[_Waiting]:
        """Take texts out of the queue. The first is always among them; runners that are idle get their share."""
        batch: list[_Waiting] = []
        most = min(self._engines.batch_texts, math.ceil(len(self._waiting) / max(1, self._idle)))
        longest = shortest = looked_at = 0
        left: list[_Waiting] = []
        for item in self._waiting:
            # Whatever joins is padded to the longest, so past this budget nothing fits and nothing need be looked at.
            if len(batch) == most or (batch and longest * (len(batch) + 1) > self._engines.batch_tokens):
                break
            looked_at += 1
            length = len(item.encoded)
            high, low = max(longest, length), min(shortest or length, length)
            if not item.call.wanted:
                self._tokens -= length
                item.call.finish(item.index, OverdueError("the time of the call was over before it was run"))
            elif not batch or (high <= low * _SIMILAR and high * (len(batch) + 1) <= self._engines.batch_tokens):
                batch.append(item)
                self._tokens -= length
                longest, shortest = high, low
            else:
                left.append(item)
        self._waiting[:looked_at] = left
        return batch


def _infer(engine: Engine, texts: Sequence[Encoded], interrupt: Interrupt) -> list[Outcome]:
    """What becomes of each text; a bad one must not fail its neighbours, so what fails together is run one by one."""
    try:
        outcomes = [_checked(values) for values in engine.infer(texts, interrupt)]
        if len(outcomes) != len(texts):
            raise NotFiniteError(f"the model gave {len(outcomes)} answers to {len(texts)} texts")
    except Exception as error:  # noqa: BLE001 (it belongs to the texts)
        outcomes = [error] * len(texts)
    if len(texts) == 1 or interrupt.is_set():
        return outcomes
    # In 8 bits one scale serves the whole batch: a text that yields no number takes it from the others, too.
    return [
        _infer(engine, [text], interrupt)[0] if isinstance(outcome, Exception) else outcome
        for text, outcome in zip(texts, outcomes, strict=True)
    ]


def _checked(logits: Logits) -> Outcome:
    return logits if np.isfinite(logits).all() else NotFiniteError("the model's answer is not finite")


def _fail(runner: _Runner, error: Exception) -> None:
    for item in runner.batch:
        item.call.finish(item.index, error, started=runner.started, seconds=time.perf_counter() - runner.started)
