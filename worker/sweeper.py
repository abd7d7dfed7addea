"""A thread of every worker that finds lost jobs and sends them again, and clears away what dead ones left."""

from __future__ import annotations

import threading
import time

from models_store import jobs
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.errors import UnavailableError
from models_store.housekeeping import tidy
from models_store.logging import get_logger
from models_store.queue import JobQueue
from models_store.settings import Settings

_TIDY_SECONDS = 300.0

log = get_logger(__name__)


class Sweeper:
    """Sweeps at once and then at an interval. Any number of workers may do so at the same time."""

    def __init__(self, settings: Settings, db: Database, store: ArtifactStore, queue: JobQueue) -> None:
        self._settings = settings
        self._db = db
        self._store = store
        self._queue = queue
        self._tidy_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        if self._thread.is_alive():  # a worker told to stop before it was ready has not started it
            self._thread.join(timeout=10)

    def sweep(self) -> None:
        """One sweep: take back what was lost, and send every job whose message is missing."""
        rescued = jobs.sweep(self._db)
        if rescued:
            log.warning("jobs taken back from lost workers", job_ids=rescued)
        interval = self._settings.sweep_seconds
        queues = self._settings.queues  # other workers look after theirs
        try:
            waiting = self._queue.depth(queues)
        except UnavailableError as error:
            log.warning("sweep cannot see the queue", error=error.message)
            return
        for job in jobs.unheard(self._db, queues, waiting_messages=waiting, older_than=interval):
            if self._queue.enqueue(job.id, job.queue):
                jobs.mark_enqueued(self._db, job.id)

    def tidy(self) -> None:
        """Remove the files of attempts and uploads that died."""
        removed = tidy(self._db, self._store, self._settings.scratch_dir, self._settings.checkpoints_dir)
        if removed:
            log.warning("removed what dead processes left", folders=[path.name for path in removed])

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.sweep()
                if time.monotonic() >= self._tidy_at:
                    self.tidy()
                    self._tidy_at = time.monotonic() + _TIDY_SECONDS
            except Exception:
                log.exception("sweep failed; the next one tries again")
            self._stop.wait(self._settings.sweep_seconds)
