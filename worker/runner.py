"""Runs one job: claim it, watch over its training process, write down what happens, publish.

The process trains; this side owns the lease. It stops the process when the job is cancelled or no longer its own.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from models_store import datasets, jobs, registry
from models_store.announcements import Announcer
from models_store.artifacts import ArtifactStore, passing_folder
from models_store.database import DATABASE_AWAY, Database
from models_store.errors import LeaseLostError, NotFoundError, ThawlineError
from models_store.housekeeping import attempt_folder
from models_store.jobs import Claim, NewEvent, Wish
from models_store.logging import get_logger
from models_store.placement import QueueName
from models_store.process import worker_name
from models_store.queue import JobQueue
from models_store.registry import NewVersion
from models_store.settings import Settings
from models_store.specs import Promotion, TrainingSpec
from models_store.tables import TERMINAL_STATUSES, Dataset
from worker.meanwhile import meanwhile
from worker.process import TrainingProcess
from worker.progress import ProgressMeter
from worker.request import Incumbent, PipelineRequest
from worker.training.errors import HardwareError
from worker.training.events import (
    Calibrated,
    EpochFinished,
    Event,
    Failed,
    Finished,
    HeadTried,
    MemberStarted,
    Message,
    PhaseFinished,
    Resumed,
    StageStarted,
)

_POLL_SECONDS = 0.5
_WRITE_SECONDS = 1.0  # news go to the database at most this often
_ASK_SECONDS = 5.0  # whether somebody wants the job cancelled or paused is asked at least so often
_RETRY_SECONDS = 1.0
# While the database is away nobody can take the job over, so the training goes on. The fencing token keeps it safe
# even for a worker that alone is cut off; after this long it gives up all the same.
_DATABASE_PATIENCE_SECONDS = 900.0
_PATIENCE_WHEN_STOPPING_SECONDS = 10.0
_CHECKPOINT_SECONDS = 20.0  # for writing a last one; nobody prolongs the lease meanwhile, so never more than half of it

_UNFIT_SECONDS = 300.0  # for which a worker leaves a queue alone whose work it could not do

_DEVICES: dict[str, Literal["cpu", "cuda"]] = {QueueName.CPU: "cpu", QueueName.GPU: "cuda"}

T = TypeVar("T")


class _DatabaseAwayError(Exception):
    """The database was away for too long; what was to be written is left to the sweep."""


log = get_logger(__name__)


class JobRunner:
    """Takes jobs by their id and sees each to its end."""

    def __init__(self, settings: Settings, db: Database, store: ArtifactStore, queue: JobQueue) -> None:
        self._settings = settings
        self._db = db
        self._store = store
        self._queue = queue
        self._announcer = Announcer(settings.broker_url)
        self._name = worker_name()
        self._unfit: dict[str | None, float] = {}  # queues, until when, on the clock of `monotonic`
        self.stopping = threading.Event()

    def run_next(self) -> bool:
        """Work on the most urgent of the jobs that this worker may have.

        Returns:
            Whether there was any.
        """
        if self.stopping.is_set() or (claim := self._claim_next()) is None:
            return False
        log.info("claimed", job_id=claim.job_id, attempt=claim.attempt)
        try:
            self._work(claim)
        except (LeaseLostError, _DatabaseAwayError) as error:
            log.warning("attempt given up", job_id=claim.job_id, attempt=claim.attempt, error=str(error))
        finally:
            self._announcer.announce(claim.job_id)
            self._drop_checkpoints(claim.job_id)
        return True

    def _claim_next(self) -> Claim | None:
        lease = self._settings.lease_seconds
        if self._unfit.get(None, 0.0) > time.monotonic():
            return None
        while (job_id := jobs.most_urgent(self._db, self._queues())) is not None:
            if (claim := jobs.claim(self._db, job_id, worker=self._name, lease_seconds=lease)) is not None:
                return claim  # else another worker was faster: there may be more
        return None

    def _work(self, claim: Claim) -> None:
        try:
            self._train_and_publish(claim)
        except (LeaseLostError, _DatabaseAwayError):
            raise
        except ThawlineError as error:
            self._fail(claim, error.code, error.message)
        except Exception as error:
            log.exception("attempt broke", job_id=claim.job_id, attempt=claim.attempt)
            self._release(claim, f"{type(error).__name__}: {error}", spend_attempt=True)

    def _drop_checkpoints(self, job_id: str) -> None:
        """Those of a job that is over; if the database cannot say, housekeeping asks it again."""
        with contextlib.suppress(*DATABASE_AWAY):
            if jobs.get(self._db, job_id).status in TERMINAL_STATUSES:
                shutil.rmtree(self._settings.checkpoints_dir / job_id, ignore_errors=True)

    def _train_and_publish(self, claim: Claim) -> None:
        dataset = self._insist(lambda: datasets.get(self._db, claim.dataset_id))
        name = attempt_folder(claim.job_id, claim.attempt)
        with self._store.staging(name) as output, passing_folder(self._settings.scratch_dir / name) as scratch:
            request = self._request(claim, dataset, output, scratch)
            with TrainingProcess(request.model_dump_json(), scratch, request.spec.gpus) as process:
                log.info("training process started", job_id=claim.job_id, pid=process.pid)
                finished = self._watch(claim, request.spec, dataset, process)
            if finished is not None:
                self._publish(claim, finished, output)

    def _kept_alive(self, claim: Claim) -> contextlib.AbstractContextManager[None]:
        """Prolong the lease meanwhile, in a thread, during work that cannot do so itself."""

        def beat() -> bool:
            try:
                jobs.heartbeat(self._db, claim, lease_seconds=self._settings.lease_seconds)
            except DATABASE_AWAY:
                log.warning("heartbeat not written", job_id=claim.job_id)
            except LeaseLostError:
                return False  # whoever writes next will find out
            return True

        return meanwhile(beat, self._settings.heartbeat_seconds, f"heartbeat-{claim.job_id}")

    def _insist(self, write: Callable[[], T]) -> T:
        """Do what must reach the database, however often it is away meanwhile."""
        since = time.monotonic()
        while True:
            try:
                return write()
            except DATABASE_AWAY as error:
                waited = time.monotonic() - since
                if waited > (_PATIENCE_WHEN_STOPPING_SECONDS if self.stopping.is_set() else _DATABASE_PATIENCE_SECONDS):
                    raise _DatabaseAwayError(f"the database was away for {waited:.0f} seconds") from error
                log.warning("database away; trying again", error=str(error).partition("\n")[0])
                time.sleep(_RETRY_SECONDS)

    def _fail(self, claim: Claim, code: str, message: str) -> None:
        self._insist(lambda: jobs.fail(self._db, claim, code=code, message=message))

    def _release(self, claim: Claim, reason: str, *, spend_attempt: bool) -> None:
        """Hand the job back, and tell the workers so."""
        waits = self._insist(lambda: jobs.release(self._db, claim, reason=reason, spend_attempt=spend_attempt))
        if waits and self._queue.enqueue(claim.job_id, claim.queue):
            self._insist(lambda: jobs.mark_enqueued(self._db, claim.job_id))

    def _request(self, claim: Claim, dataset: Dataset, output: Path, scratch: Path) -> PipelineRequest:
        spec = TrainingSpec.model_validate(claim.spec)
        return PipelineRequest(
            spec=spec,
            dataset_schema=dataset.schema_,
            dataset_sha256=dataset.sha256,
            dataset_dir=self._store.verified_path(datasets.dataset_key(dataset.id)),
            encoders=self._settings.encoders,
            output_dir=output,
            scratch_dir=scratch,
            checkpoint_dir=self._settings.checkpoints_dir / claim.job_id,
            checkpoint_seconds=self._settings.checkpoint_seconds,
            device=_DEVICES[claim.queue] if claim.queue else self._settings.device,
            threads=self._settings.training_threads,
            incumbent=self._insist(lambda: self._incumbent(spec)) if spec.promote is Promotion.IF_BETTER else None,
        )

    def _incumbent(self, spec: TrainingSpec) -> Incumbent | None:
        """The version that a new one would have to be better than; None where there is none."""
        with self._db.reading() as session, contextlib.suppress(NotFoundError):
            version = registry.resolve(session, f"{spec.model}@{registry.PRODUCTION}")
            return Incumbent(version=version.version, folder=self._store.root / version.artifact)
        return None

    def _watch(self, claim: Claim, spec: TrainingSpec, dataset: Dataset, process: TrainingProcess) -> Finished | None:
        """Follow the process to its end; None when the job has been settled otherwise."""
        train, validation = (dataset.splits[split]["rows"] for split in ("train", "validation"))
        meter = ProgressMeter(spec.phases(), train, validation, spec.ensemble, claim.fraction)
        diary = _Diary(self._db, claim, self._settings, meter, self._announcer)
        while not process.ended:
            event = process.next_event(_POLL_SECONDS)
            if isinstance(event, Finished | Failed):
                return self._conclude(claim, process, diary, event)
            if event is not None:
                diary.note(event)
            if self.stopping.is_set():
                return self._hand_back(claim, process, diary, "its worker is shutting down")
            wish = diary.try_to_write() if diary.due() else Wish.GO_ON
            if wish is Wish.CANCEL:
                process.stop()
                self._insist(lambda: jobs.cancelled(self._db, claim))
                return None
            if wish is Wish.PAUSE:
                return self._hand_back(claim, process, diary, "paused")
            if event is None and diary.silent_seconds() > self._settings.stall_seconds:
                process.stop()
                reason = f"the training process made no progress for {self._settings.stall_seconds:g} seconds"
                self._release(claim, reason, spend_attempt=True)
                return None
        self._insist(diary.write)
        reason = process.describe_end()
        log.warning("training process died", job_id=claim.job_id, reason=reason, log=process.log_tail())
        self._release(claim, reason, spend_attempt=True)
        return None

    def _conclude(
        self, claim: Claim, process: TrainingProcess, diary: _Diary, end: Finished | Failed
    ) -> Finished | None:
        """Write down how the training ended, by its own account; what is to be published, if anything is."""
        if isinstance(end, Finished):
            self._insist(diary.finish)
            return end
        log.warning("training failed", job_id=claim.job_id, code=end.code, log=process.log_tail())
        self._insist(diary.write)
        self._settle_failure(claim, end)
        return None

    def _settle_failure(self, claim: Claim, event: Failed) -> None:
        """End the job, unless it is this machine that cannot do it: then others get it, and this one takes a rest."""
        if event.code == HardwareError.code and claim.spec["gpus"] == 1:
            log.error("this machine lacks what its queue needs", queue=claim.queue, reason=event.message)
            self._unfit[claim.queue] = time.monotonic() + _UNFIT_SECONDS
            self._release(claim, event.message, spend_attempt=True)
        else:
            self._fail(claim, event.code, event.message)

    def _queues(self) -> list[QueueName]:
        """Those that this worker takes jobs from at present."""
        now = time.monotonic()
        return [queue for queue in self._settings.queues if self._unfit.get(queue, 0.0) <= now]

    def _hand_back(self, claim: Claim, process: TrainingProcess, diary: _Diary, reason: str) -> Finished | None:
        """Let the process write a checkpoint and end, from which another attempt goes on; this one is not counted.

        A training that was over before it could be stopped is no more to be done again than any other.

        Returns:
            What is to be published all the same.
        """
        process.stop(min(_CHECKPOINT_SECONDS, self._settings.lease_seconds / 2))
        while (event := process.next_event(_POLL_SECONDS)) is not None:  # the next attempt goes on after these
            if isinstance(event, Finished | Failed):
                return self._conclude(claim, process, diary, event)
            diary.note(event)
        self._insist(diary.write)
        self._release(claim, reason, spend_attempt=False)
        return None

    def _publish(self, claim: Claim, finished: Finished, output: Path) -> None:
        """First the files, then the rows: a folder without a row is harmless, a row without files is not."""
        key = f"models/{attempt_folder(claim.job_id, claim.attempt)}"
        manifest = {**finished.manifest, "job_id": claim.job_id, "attempt": claim.attempt}
        with self._kept_alive(claim):  # hashing and forcing a large model to a slow disk takes its time
            size = self._store.publish(output, key, manifest)
        result = finished.result
        new = NewVersion(key, result["head"], result["metrics"], size)
        try:
            self._insist(lambda: jobs.succeed(self._db, claim, result=result, version=new))
        except ThawlineError as error:
            # A commit whose answer was lost is repeated in vain: then the version is there, and is ours.
            if self._insist(lambda: jobs.has_published(self._db, claim.job_id, key)):
                return
            self._store.delete(key)
            if isinstance(error, LeaseLostError):
                # A cancellation between the last heartbeat and the publication voids it; say so.
                self._insist(lambda: jobs.cancelled(self._db, claim))
                return
            raise
        log.info("published", job_id=claim.job_id, artifact=key)


class _Diary:
    """Collects events and writes them, with progress and heartbeat, at a bounded rate."""

    def __init__(
        self, db: Database, claim: Claim, settings: Settings, meter: ProgressMeter, announcer: Announcer
    ) -> None:
        self._db = db
        self._announcer = announcer
        self._claim = claim
        self._settings = settings
        self._meter = meter
        self._news: list[NewEvent] = []
        self._phase: str | None = None
        self._progress: dict[str, Any] | None = None
        self._written = self._heard = self._reached = time.monotonic()

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
        if self._progress or self._news:
            return waited >= _WRITE_SECONDS
        return waited >= min(self._settings.heartbeat_seconds, _ASK_SECONDS)

    def finish(self) -> None:
        """Write for the last time: the training is over."""
        self._progress = self._meter.finish()
        self.write()

    def write(self) -> Wish:
        """Write and prolong the lease; what somebody has asked for meanwhile."""
        wish = jobs.heartbeat(
            self._db,
            self._claim,
            lease_seconds=self._settings.lease_seconds,
            phase=self._phase,
            progress=self._progress,
            new_events=self._news,
        )
        if self._news:
            self._announcer.announce(self._claim.job_id)
        self._news, self._progress = [], None
        self._written = self._reached = time.monotonic()
        return wish

    def try_to_write(self) -> Wish:
        """Like `write`; while the database is away, the news are kept for the next time.

        Raises:
            LeaseLostError: The job is no longer this attempt's.
            _DatabaseAwayError: The database was away for too long.
        """
        try:
            return self.write()
        except DATABASE_AWAY as error:
            away = time.monotonic() - self._reached
            if away > _DATABASE_PATIENCE_SECONDS:
                raise _DatabaseAwayError(f"the database was away for {away:.0f} seconds") from error
            log.warning("heartbeat not written", job_id=self._claim.job_id, away_seconds=round(away))
            self._written = time.monotonic()
            return Wish.GO_ON

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
    if isinstance(event, HeadTried):
        message = f"head {event.head} on the frozen encoder: {event.metric} {event.score:.4f}"
        return NewEvent("message", message, data=event.model_dump(exclude={"kind"}))
    if isinstance(event, MemberStarted):
        message = f"member {event.member} of {event.members}"
        return NewEvent("message", message, data=event.model_dump(exclude={"kind"}))
    if isinstance(event, Calibrated):
        errors = f"{event.ece_before:.3f} → {event.ece_after:.3f}"
        message = f"calibrated: temperature {event.temperature:.2f}, expected calibration error {errors}"
        return NewEvent("message", message, data=event.model_dump(exclude={"kind"}))
    if isinstance(event, PhaseFinished):
        kept = "the mean of the last ones" if event.averaged else f"epoch {event.kept_epoch}"
        message = f"{event.phase} finished after {event.epochs} epochs, of which {kept} is kept"
        message += f" (best was {event.best_epoch})" if event.best_epoch else ": none was better than the start"
        level = "info" if event.best_epoch else "warning"
        return NewEvent("message", message, level, event.model_dump(exclude={"kind"}))
    if isinstance(event, Resumed):
        place = "" if event.epoch is None else f" epoch {event.epoch}, step {event.step}"
        return NewEvent(
            "message", f"resumed at {event.stage}{place}", data=event.model_dump(exclude={"kind", "history"})
        )
    if isinstance(event, Message):
        return NewEvent("message", event.message, event.level, event.data)
    return None
