"""Sees to long work on files, beside the calls: a process for each, a few at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from models_store import predictions
from models_store.database import DATABASE_AWAY, Database
from models_store.datasets import pending
from models_store.errands import Errand
from models_store.errors import LeaseLostError
from models_store.leases import LEASE_SECONDS, Turn, Turns
from models_store.logging import get_logger
from models_store.process import guarded
from models_store.settings import Settings
from models_store.tables import Dataset, FilePrediction

_POLL_SECONDS = 1.0
_STOP_SECONDS = 5.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of work.

    Attributes:
        module: What is run.
        at_a_time: How many processes of it.
        turns: Whose turn it is.
    """

    module: str
    at_a_time: int
    turns: Turns[Dataset] | Turns[FilePrediction]


KINDS = (
    Kind("models_store.datasets.validating", 2, pending.TURNS),
    Kind("models_store.predictions.answering", 1, predictions.TURNS),
)


class Errands:
    """A thread that claims what waits and starts a process for it. Several API processes may do so at the same time."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._running: dict[tuple[Kind, Turn], subprocess.Popen[bytes]] = {}
        self._keep_at = 0.0
        self._over: set[Turn] = set()
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="errands", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        self._changed.set()

    def stop(self) -> None:
        """Stop; what is under way goes on in another process, or in one of ours after the next start."""
        self._stop.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        for (kind, turn), process in self._running.items():
            process.kill()
            process.wait(_STOP_SECONDS)
            self._release(kind, turn)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._changed.clear()
            try:
                self._reap()
                self._keep()
                for kind in KINDS:
                    self._start_waiting(kind)
            except Exception:
                log.exception("long work on files cannot be looked after; the next round tries again")
            self._changed.wait(_POLL_SECONDS)

    def _reap(self) -> None:
        for (kind, turn), process in list(self._running.items()):
            if (code := process.poll()) is None:
                continue
            del self._running[kind, turn]
            self._over.discard(turn)
            if code:
                log.warning("a process that worked on a file died", id=turn.id, status=code)
                self._release(kind, turn, died=True)

    def _keep(self) -> None:
        """Prolong the leases of living processes, whatever they are at; end those that have lost theirs."""
        if time.monotonic() < self._keep_at:
            return
        self._keep_at = time.monotonic() + LEASE_SECONDS / 4
        for (kind, turn), process in self._running.items():
            try:
                kind.turns.beat(self._db, turn)
            except LeaseLostError:
                if turn in self._over:  # it has had time enough to end
                    process.kill()
                self._over.add(turn)

    def _release(self, kind: Kind, turn: Turn, *, died: bool = False) -> None:
        try:
            kind.turns.release(self._db, turn, died=died)
        except DATABASE_AWAY:
            log.warning("not released; others have it once the lease is over", id=turn.id)

    def _start_waiting(self, kind: Kind) -> None:
        while sum(one is kind for one, _ in self._running) < kind.at_a_time and not self._stop.is_set():
            if (turn := kind.turns.claim(self._db)) is None:
                return
            self._running[kind, turn] = self._process(kind, turn)

    def _process(self, kind: Kind, turn: Turn) -> subprocess.Popen[bytes]:
        errand = Errand(
            database_url=self._settings.resolved_database_url,
            artifacts_dir=self._settings.artifacts_dir,
            id=turn.id,
            attempt=turn.attempt,
            most_unpacked=self._settings.max_unpacked_bytes,
            encoders=self._settings.encoders,
        )
        process = subprocess.Popen(guarded([sys.executable, "-m", kind.module]), stdin=subprocess.PIPE)
        assert process.stdin is not None  # noqa: S101
        with process.stdin as told:  # not on the command line: the URL may hold a password
            told.write(errand.model_dump_json().encode())
        return process
