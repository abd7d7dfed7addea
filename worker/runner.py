"""Runs one job: claim it, watch over its training process, write down what happens, publish.

The process trains; this side owns the lease. It stops the process when the job is cancelled or no longer its own.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from models_store import datasets, jobs
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.errors import LeaseLostError, ThawlineError
from models_store.jobs import Claim, NewEvent
from models_store.logging import get_logger
from models_store.registry import NewVersion
from models_store.settings import Settings
from models_store.specs import TrainingSpec
from models_store.tables import Dataset
from worker.process import TrainingProcess
from worker.progress import ProgressMeter
from worker.request import PipelineRequest
from worker.training.events import (
    EpochFinished,
    Event,
    Failed,
    Finished,
    Message,
    PhaseFinished,
    StageStarted,
)

_POLL_SECONDS = 0.5
_WRITE_SECONDS = 1.0  # news go to the database at most this often

log = get_logger(__name__)


class JobRunner:
    """Takes jobs by their id and sees each to its end."""

    def __init__(self, settings: Settings, db: Database, store: ArtifactStore) -> None:
        self._settings = settings
        self._db = db
        self._store = store
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self.stopping = threading.Event()

    def run(self, job_id: str) -> None:
        """Work on a job if it is to be had; otherwise do nothing."""
        if self.stopping.is_set():
            return  # the message is spent, but the sweep of another worker sends a new one
        claim = jobs.claim(self._db, job_id, worker=self._name, lease_seconds=self._settings.lease_seconds)
        if claim is None:
            log.info("job not to be had", job_id=job_id)
            return
        log.info("claimed", job_id=job_id, attempt=claim.attempt)
        try:
            self._work(claim)
        except LeaseLostError as error:
            log.warning("lease lost", job_id=job_id, attempt=claim.attempt, error=error.message)
        except ThawlineError as error:
            jobs.fail(self._db, claim, code=error.code, message=error.message)
        except Exception as error:
            log.exception("attempt broke", job_id=job_id, attempt=claim.attempt)
            jobs.release(self._db, claim, reason=f"{type(error).__name__}: {error}", spend_attempt=True)

    def _work(self, claim: Claim) -> None:
        dataset = datasets.get(self._db, claim.dataset_id)
        with self._store.staging() as output, tempfile.TemporaryDirectory(dir=self._scratch()) as scratch:
            request = self._request(claim, dataset, output, Path(scratch))
            with TrainingProcess(request.model_dump_json()) as process:
                log.info("training process started", job_id=claim.job_id, pid=process.pid)
                finished = self._watch(claim, request.spec, dataset, process)
            if finished is not None:
                self._publish(claim, finished, output)

    def _scratch(self) -> Path:
        folder = self._settings.home / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _request(self, claim: Claim, dataset: Dataset, output: Path, scratch: Path) -> PipelineRequest:
        return PipelineRequest(
            spec=TrainingSpec.model_validate(claim.spec),
            dataset_schema=dataset.schema_,
            dataset_dir=self._store.verified_path(datasets.dataset_key(dataset.id)),
            encoders_dir=self._settings.encoders_path,
            output_dir=output,
            scratch_dir=scratch,
            device=self._settings.device,
            threads=self._settings.training_threads,
        )

    def _watch(self, claim: Claim, spec: TrainingSpec, dataset: Dataset, process: TrainingProcess) -> Finished | None:
        """Follow the process to its end; None when the job has been settled otherwise."""
        rows = dataset.splits
        meter = ProgressMeter(spec.phases(), rows["train"]["rows"], rows["validation"]["rows"])
        diary = _Diary(self._db, claim, self._settings, meter)
        while not process.ended:
            event = process.next_event(_POLL_SECONDS)
            if isinstance(event, Finished):
                diary.write(progress=meter.finish())
                return event
            if isinstance(event, Failed):
                log.warning("training failed", job_id=claim.job_id, code=event.code, log=process.log_tail())
                diary.write()
                jobs.fail(self._db, claim, code=event.code, message=event.message)
                return None
            if event is not None:
                diary.note(event)
            if self.stopping.is_set():
                process.stop()
                jobs.release(self._db, claim, reason="its worker is shutting down", spend_attempt=False)
                return None
            if diary.due() and diary.write():
                process.stop()
                jobs.cancelled(self._db, claim)
                return None
            if diary.silent_seconds() > self._settings.stall_seconds:
                process.stop()
                reason = f"the training process made no progress for {self._settings.stall_seconds:g} seconds"
                jobs.release(self._db, claim, reason=reason, spend_attempt=True)
                return None
        diary.write()
        reason = process.describe_end()
        log.warning("training process died", job_id=claim.job_id, reason=reason, log=process.log_tail())
        jobs.release(self._db, claim, reason=reason, spend_attempt=True)
        return None

    def _publish(self, claim: Claim, finished: Finished, output: Path) -> None:
        """First the files, then the rows: a folder without a row is harmless, a row without files is not."""
        key = f"models/{claim.job_id}.{claim.attempt}"
        manifest = {**finished.manifest, "job_id": claim.job_id, "attempt": claim.attempt}
        size = self._store.publish(output, key, manifest)
        result = finished.result
        try:
            version = jobs.succeed(
                self._db,
                claim,
                result=result,
                version=NewVersion(key, result["head"], result["metrics"], size),
            )
        except ThawlineError as error:
            self._store.delete(key)
            if isinstance(error, LeaseLostError):
                # A cancellation between the last heartbeat and the publication voids it; say so.
                jobs.cancelled(self._db, claim)
                return
            raise
        log.info("published", job_id=claim.job_id, model=version.model, version=version.version)


class _Diary:
    """Collects events and writes them, with progress and heartbeat, at a bounded rate."""

    def __init__(self, db: Database, claim: Claim, settings: Settings, meter: ProgressMeter) -> None:
        self._db = db
        self._claim = claim
        self._settings = settings
        self._meter = meter
        self._news: list[NewEvent] = []
        self._phase: str | None = None
        self._progress: dict[str, Any] | None = None
        self._written = self._heard = time.monotonic()

    def note(self, event: Event) -> None:
        """Take an event in."""
        self._heard = time.monotonic()
        self._progress = self._meter.update(event)
        if isinstance(event, StageStarted):
            self._phase = event.stage
        if (told := describe(event)) is not None:
            self._news.append(told)

    def due(self) -> bool:
        """Whether it is time to write."""
        waited = time.monotonic() - self._written
        return waited >= (_WRITE_SECONDS if self._progress or self._news else self._settings.heartbeat_seconds)

    def write(self, progress: dict[str, Any] | None = None) -> bool:
        """Write and prolong the lease; True when the job is to be cancelled."""
        cancel = jobs.heartbeat(
            self._db,
            self._claim,
            lease_seconds=self._settings.lease_seconds,
            phase=self._phase,
            progress=progress or self._progress,
            new_events=self._news,
        )
        self._news, self._progress = [], None
        self._written = time.monotonic()
        return cancel

    def silent_seconds(self) -> float:
        """Seconds since the process was last heard of."""
        return time.monotonic() - self._heard


def describe(event: Event) -> NewEvent | None:
    """The job event that tells of a training event; None for those that only move the progress."""
    if isinstance(event, StageStarted):
        return NewEvent("phase", f"{event.stage} started", data={"phase": event.stage})
    if isinstance(event, EpochFinished):
        values = ", ".join(f"{name} {value:.4f}" for name, value in event.metrics.items())
        message = f"{event.phase} epoch {event.epoch}/{event.epochs}: validation {values}"
        return NewEvent("metrics", message, data=event.model_dump(exclude={"kind"}))
    if isinstance(event, PhaseFinished):
        message = f"{event.phase} finished after {event.epochs} epochs, best was {event.best_epoch}"
        return NewEvent("message", message, data=event.model_dump(exclude={"kind"}))
    if isinstance(event, Message):
        return NewEvent("message", event.message, event.level, event.data)
    return None
