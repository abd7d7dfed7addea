"""A thread of every worker that finds lost jobs and sends them again, and clears away what dead ones left."""

from __future__ import annotations

import contextlib
import threading
import time

from models_store import jobs, workers
from models_store.artifacts import ArtifactStore
from models_store.database import DATABASE_AWAY, Database
from models_store.errors import UnavailableError
from models_store.housekeeping import tidy
from models_store.logging import get_logger
from models_store.process import worker_name
from models_store.queue import JobQueue
from models_store.settings import Settings
from worker.patience import Patience

_TIDY_SECONDS = 300.0
_MESSAGES_PER_SWEEP = 50

log = get_logger(__name__)


class Sweeper:
    """Sweeps at once and then at an interval. Any number of workers may do so at the same time."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        store: ArtifactStore,
        queue: JobQueue,
        patience: Patience | None = None,
    ) -> None:
        self._settings = settings
        self._db = db
        self._store = store
        self._queue = queue
        self._name = worker_name()
        self._patience = patience or Patience(settings)
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
        with contextlib.suppress(*DATABASE_AWAY):
            workers.leave(self._db, self._name)

    def sweep(self) -> None:
        """One sweep: say that this worker is there, take back what was lost, and send jobs whose message is missing."""
        workers.report(self._db, self._name, self._settings.queues)
        if self._patience.reached():
            rescued = jobs.sweep(self._db)
            if rescued:
                log.warning("jobs taken back from lost workers", job_ids=rescued)
        else:
            log.warning("the database could not be written to for a while; living workers get time to say so")
        self._send_again()

    def _send_again(self) -> None:
        interval = self._settings.sweep_seconds
        queues = self._settings.queues  # other workers look after theirs
        try:
            waiting = self._queue.depth(queues)
        except UnavailableError as error:
            log.warning("sweep cannot see the queue", error=error.message)
            return
        lost = jobs.unheard(self._db, queues, waiting_messages=waiting, older_than=interval, limit=_MESSAGES_PER_SWEEP)
        if sent := [job_id for job_id, queue in lost if self._queue.enqueue(job_id, queue)]:
            jobs.mark_enqueued(self._db, *sent)

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
