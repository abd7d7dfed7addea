"""Sees to it that large uploads are read: a process for each, a few at a time, beside the calls."""

from __future__ import annotations

import subprocess
import sys
import threading

from models_store.database import Database
from models_store.datasets import pending
from models_store.datasets.validating import Errand
from models_store.logging import get_logger
from models_store.process import guarded
from models_store.settings import Settings

_AT_A_TIME = 2
_POLL_SECONDS = 1.0
_STOP_SECONDS = 5.0

log = get_logger(__name__)


class Ingestion:
    """A thread that claims what waits and starts a process for it. Several API processes may do so at the same time."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._running: dict[pending.Turn, subprocess.Popen[bytes]] = {}
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingestion", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something to be read."""
        self._changed.set()

    def stop(self) -> None:
        """Stop; what is under way is read again by another process, from its beginning."""
        self._stop.set()
        self._changed.set()
        self._thread.join(_STOP_SECONDS)
        for turn, process in self._running.items():
            process.terminate()
            process.wait(_STOP_SECONDS)
            pending.release(self._db, turn)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._changed.clear()
            try:
                self._reap()
                self._start_waiting()
            except Exception:
                log.exception("large uploads cannot be looked after; the next round tries again")
            self._changed.wait(_POLL_SECONDS)

    def _reap(self) -> None:
        for turn, process in list(self._running.items()):
            if (code := process.poll()) is None:
                continue
            del self._running[turn]
            if code:
                log.warning("the process that read an upload died", dataset_id=turn.dataset_id, status=code)
                pending.release(self._db, turn)

    def _start_waiting(self) -> None:
        while len(self._running) < _AT_A_TIME and not self._stop.is_set():
            if (turn := pending.claim(self._db)) is None:
                return
            self._running[turn] = self._process(turn)

    def _process(self, turn: pending.Turn) -> subprocess.Popen[bytes]:
        errand = Errand(
            database_url=self._settings.resolved_database_url,
            artifacts_dir=self._settings.artifacts_dir,
            dataset_id=turn.dataset_id,
            attempt=turn.attempt,
            most_unpacked=self._settings.max_unpacked_bytes,
        )
        command = guarded([sys.executable, "-m", "models_store.datasets.validating"])
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert process.stdin is not None  # noqa: S101
        with process.stdin as told:  # not on the command line: the URL may hold a password
            told.write(errand.model_dump_json().encode())
        return process
