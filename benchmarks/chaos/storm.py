"""The rounds: jobs are asked for, something breaks, the next round begins; in the end everything must be over."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from sqlmodel import col, func, select

from benchmarks.chaos.caller import Caller
from benchmarks.chaos.faults import faults
from benchmarks.chaos.promises import Broken
from benchmarks.stack.parts import wait_for
from benchmarks.stack.service import Stack
from benchmarks.stack.small import JOB
from models_store.database import DATABASE_AWAY
from models_store.tables import TERMINAL_STATUSES, ModelVersion, TrainingJob

T = TypeVar("T")

CANCELLED, PAUSED, POISONED = "cancelled", "paused, resumed", "poisoned"
POISON_ATTEMPTS = 3
_MODELS = 3  # so that jobs of one model end at the same time, and want the same number
_MOST_UNFINISHED = 8  # a longer queue would only make faults hit the same few jobs
_ROUND_SECONDS = 8.0
_SECONDS_A_JOB = 120.0  # until one that nobody harms any more has ended
_DATABASE_SECONDS = 60.0


class Storm:
    """One run against one database."""

    def __init__(self, stack: Stack, caller: Caller, draw: random.Random) -> None:
        self._stack = stack
        self._caller = caller
        self._draw = draw
        self._faults = faults(stack)
        self._kinds: list[str] = []
        self._paused: list[str] = []
        self._calls: list[Future[Any]] = []
        self._keys = 0
        self._dataset_id = stack.upload()
        self._seen: set[str] = set()
        self.befell: Counter[str] = Counter()
        self.broken: list[Broken] = []

    def poison(self) -> None:
        """A job whose process is killed each time: it must be given up, and the worker must not."""
        self._stack.api.kill()
        self._stack.start_api(THAWLINE_MAX_ATTEMPTS=str(POISON_ATTEMPTS))
        job_id = self._caller.submit(POISONED, self._body())

        def is_given_up() -> bool:
            for process in self._stack.trainings():
                process.kill()
            return self._ask(lambda: self._status(job_id)) in TERMINAL_STATUSES

        wait_for(is_given_up, "the end of a poisoned job", _SECONDS_A_JOB * POISON_ATTEMPTS)
        self._stack.api.kill()
        self._stack.start_api()
        self.befell[POISONED] += 1

    def rounds(self, number: int) -> None:
        """So many rounds. Each begins while jobs of earlier ones may still wait, run or be paused."""
        with ThreadPoolExecutor(8) as users:
            for count in range(1, number + 1):
                wait_for(self._has_room, "the end of enough jobs", _SECONDS_A_JOB * _MOST_UNFINISHED)
                self._submit(users, self._draw.choice((1, 1, 1, 2, 3)))
                self._resume(users)
                time.sleep(self._draw.uniform(0, _ROUND_SECONDS))
                kind, told = self._break_something(users)
                self.befell[kind] += 1
                self._look_at_artifacts()
                _tell(f"{self._stack.database.kind} round {count}: {kind} {told}")
            self._resume(users)
            for call in self._calls:
                call.result()

    def wait_for_all(self) -> None:
        """Nothing breaks any more: all jobs must come to an end.

        Raises:
            TimeoutError: One of them did not.
        """
        seconds = _SECONDS_A_JOB * (1 + self._unfinished())
        wait_for(lambda: self._unfinished() == 0, "the end of all jobs", seconds)

    def repeat(self) -> None:
        """Send each request once more: its key must still be answered with the same job."""
        for key in list(self._caller.told):
            self._caller.submit(key, self._body(key))

    def _submit(self, users: ThreadPoolExecutor, number: int) -> None:
        for _ in range(number):
            self._keys += 1
            key = f"job-{self._keys}"
            self._calls.append(users.submit(self._caller.submit, key, self._body(key)))

    def _body(self, key: str = POISONED) -> dict[str, Any]:
        number = int(key.rpartition("-")[2]) if "-" in key else 0
        return {**JOB, "dataset_id": self._dataset_id, "model": f"model-{number % _MODELS}", "metadata": {"key": key}}

    def _resume(self, users: ThreadPoolExecutor) -> None:
        for job_id in self._paused:
            self._calls.append(users.submit(self._caller.resume, job_id))
        self._paused = []

    def _break_something(self, users: ThreadPoolExecutor) -> tuple[str, str]:
        """The kinds come in random order, each once before any comes again."""
        if not self._kinds:
            self._kinds = [*self._faults, CANCELLED, PAUSED]
            self._draw.shuffle(self._kinds)
        kind = self._kinds.pop()
        if kind in self._faults:
            return kind, self._faults[kind](self._stack, self._draw)
        ids = self._ask(self._unfinished_ids) or self._caller.ids()
        if not ids:
            return kind, "no job"
        job_id = self._draw.choice(ids)
        if kind == CANCELLED:
            self._calls.append(users.submit(self._caller.cancel, job_id))
        else:
            self._calls.append(users.submit(self._caller.pause, job_id))
            self._calls[-1].result()  # it must not be resumed before it was paused
            self._paused.append(job_id)
        return kind, job_id

    def _look_at_artifacts(self) -> None:
        """What has a row by now must be whole at once, not only in the end."""
        try:
            with self._stack.db.reading() as session:
                keys = set(session.exec(select(ModelVersion.artifact))) - self._seen
        except DATABASE_AWAY:
            return
        for key in keys:
            try:
                self._stack.store.verified_path(key)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is told)
                self.broken.append(Broken("partial", f"{key} had a row when it was not whole: {error}"))
        self._seen |= keys

    def _has_room(self) -> bool:
        return self._unfinished() < _MOST_UNFINISHED

    def _unfinished(self) -> int:
        query = select(func.count()).where(col(TrainingJob.status).not_in(TERMINAL_STATUSES))

        def count() -> int:
            with self._stack.db.reading() as session:
                return session.exec(query).one()

        return self._ask(count)

    def _unfinished_ids(self) -> list[str]:
        query = select(TrainingJob.id).where(col(TrainingJob.status).not_in(TERMINAL_STATUSES))
        with self._stack.db.reading() as session:
            return sorted(session.exec(query))

    def _status(self, job_id: str) -> str:
        with self._stack.db.reading() as session:
            return session.exec(select(TrainingJob.status).where(TrainingJob.id == job_id)).one()

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask the database, however often it is away."""
        until = time.monotonic() + _DATABASE_SECONDS
        while True:
            try:
                return question()
            except DATABASE_AWAY:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S', time.gmtime())} {line}", file=sys.stderr, flush=True)
