"""The Celery app of the worker and its one task.

The pool is of threads: each only watches over a training process, which is a fresh interpreter, so nothing here ever
forks with CUDA or torch loaded.
"""

from __future__ import annotations

from typing import Any

from celery import Celery, signals
from kombu.entity import Queue

from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.logging import configure_logging, get_logger
from models_store.queue import TASK_NAME, JobQueue, celery_app, queue_name
from models_store.settings import Settings, get_settings
from worker.runner import JobRunner
from worker.sweeper import Sweeper
from worker.webhooks import WebhookSender

log = get_logger(__name__)


def create_app(settings: Settings) -> Celery:
    """The app, with its task registered and its parts tied to the worker's life."""
    celery = celery_app(settings.broker_url)
    celery.conf.update(worker_pool="threads", worker_concurrency=settings.worker_concurrency)
    names = [queue_name(queue) for queue in (None, *settings.queues)]
    celery.conf.task_queues = [Queue(name) for name in names]  # type: ignore[no-untyped-call]
    db = Database(settings.resolved_database_url)
    queue = JobQueue(settings.broker_url)
    store = ArtifactStore(settings.artifacts_dir)
    runner = JobRunner(settings, db, store, queue)
    threads: list[Sweeper | WebhookSender] = [Sweeper(settings, db, store, queue)]
    if settings.webhook_keys:
        threads.append(WebhookSender(db, settings.webhook_keys, allow_private=settings.webhook_allow_private))

    @celery.task(name=TASK_NAME)  # type: ignore[untyped-decorator]
    def train(job_id: str) -> None:
        # A message is a hint that there is work. Which job it was sent for does not matter: the database knows which is
        # next, and has those, too, whose message was lost.
        log.debug("woken", job_id=job_id)
        while runner.run_next():
            pass

    def start(**_: Any) -> None:
        for thread in threads:
            thread.start()
        log.info("worker ready", concurrency=settings.worker_concurrency, queues=[str(q) for q in settings.queues])

    def stop_jobs(**_: Any) -> None:
        runner.stopping.set()  # running jobs go back to the queue, with all their attempts

    def stop(**_: Any) -> None:
        for thread in threads:
            thread.stop()
        queue.close()
        db.dispose()

    signals.worker_ready.connect(start, weak=False)
    signals.worker_shutting_down.connect(stop_jobs, weak=False)
    signals.worker_shutdown.connect(stop, weak=False)
    return celery


configure_logging(get_settings())
app = create_app(get_settings())
