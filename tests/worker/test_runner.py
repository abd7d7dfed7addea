"""The runner: whatever happens to process, database, lease or disk, a job ends once and publishes at most once."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from models_store import datasets, jobs
from models_store.artifacts import MANIFEST, children
from models_store.placement import QueueName
from models_store.predictor import Predictor
from models_store.queue import JobQueue
from models_store.tables import JobStatus, ModelVersion, TrainingJob
from models_store.tasks import TaskName
from tests.fixtures.servers import wait_for
from tests.models_store.samples import LONG as LONG_LEASE
from tests.models_store.samples import alias_versions, claim, event_messages
from tests.models_store.samples import publish as publish_version
from tests.worker.conftest import LONG, Workshop
from worker import runner as runner_module
from worker.request import Incumbent, PipelineRequest
from worker.runner import JobRunner
from worker.training.events import Event, Failed, Finished, Message, StageStarted

FINISHED = Finished(result={"head": "linear", "metrics": {"test": {"accuracy": 0.9}}}, manifest={"kind": "model"})


@dataclass
class Script:
    """Stands in for `TrainingProcess`: tells what the test has written down, and does what it says in between."""

    steps: list[Event | Callable[[], object]]
    starts: int = 0
    stopped: bool = False
    patience: float | None = None
    ended: bool = False
    pid: int = 0
    request: PipelineRequest | None = field(default=None, init=False)

    def __call__(self, request_json: str, scratch: Path, processes: int) -> Self:
        self.request = PipelineRequest.model_validate_json(request_json)
        assert (scratch, processes) == (self.request.scratch_dir, self.request.spec.gpus)
        return self

    def __enter__(self) -> Self:
        assert self.request is not None
        self.starts += 1
        (self.request.output_dir / "model.onnx").write_bytes(b"weights")
        (self.request.scratch_dir / "features").write_bytes(b"numbers")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def next_event(self, timeout: float) -> Event | None:
        step = self.steps.pop(0) if self.steps else None  # then it says nothing more, and does not end either
        if callable(step):
            step()
            return None
        return step

    def stop(self, patience: float = 0.0) -> None:
        self.stopped, self.patience = True, self.patience or patience

    def log_tail(self) -> str:
        return ""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event is written at once, and nobody waits for a second."""
    monkeypatch.setattr(runner_module, "_WRITE_SECONDS", 0.0)
    monkeypatch.setattr(runner_module, "_RETRY_SECONDS", 0.01)


@pytest.fixture
def runner(workshop: Workshop, queue: JobQueue) -> JobRunner:
    return make_runner(workshop, queue)


def make_runner(workshop: Workshop, queue: JobQueue, **settings: Any) -> JobRunner:
    return JobRunner(workshop.settings.model_copy(update=settings), workshop.db, workshop.store, queue)


def script(monkeypatch: pytest.MonkeyPatch, *steps: Event | Callable[[], object]) -> Script:
    process = Script(list(steps))
    monkeypatch.setattr(runner_module, "TrainingProcess", process)
    return process


def database_away(*_: Any, **__: Any) -> Any:
    raise OperationalError("COMMIT", {}, ConnectionError("the server closed the connection"))


def away_for(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> list[int]:
    """The database is away for the first calls of a function of `jobs`; one entry for every call."""
    call, calls = getattr(jobs, name), []

    def away_at_first(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return database_away() if len(calls) <= times else call(*args, **kwargs)

    monkeypatch.setattr(jobs, name, away_at_first)
    return calls


@contextlib.contextmanager
def in_background(runner: JobRunner) -> Iterator[Future[bool]]:
    """The runner at work on a job, as in a thread of the worker's pool."""
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(runner.run_next)
        finally:
            runner.stopping.set()  # a test that failed does not wait for the training


def training_process() -> psutil.Process:
    """The training process of this test."""
    (process,) = [child for child in psutil.Process().children() if "worker.child" in child.cmdline()]
    return process


def versions(workshop: Workshop) -> list[ModelVersion]:
    with workshop.db.reading() as session:
        return list(session.exec(select(ModelVersion)))


def assert_nothing_is_left(workshop: Workshop) -> None:
    """No staged folder, no scratch space."""
    assert workshop.store.staged() == []
    assert list(workshop.settings.scratch_dir.iterdir()) == []


def assert_nothing_is_published(workshop: Workshop) -> None:
    assert versions(workshop) == []
    assert workshop.store.keys("models") == []
    assert_nothing_is_left(workshop)


# ---- success --------------------------------------------------------------------------------------------------------


def test_a_job_runs_to_one_published_version_and_leaves_nothing_behind(workshop: Workshop, runner: JobRunner) -> None:
    job_id = workshop.submit()

    runner.run_next()

    job = workshop.job(job_id)
    assert (job.status, job.attempt, job.version, job.phase) == (JobStatus.SUCCEEDED, 1, 1, None)
    assert job.progress["fraction"] == 1.0
    assert job.result is not None
    assert [phase["name"] for phase in job.result["phases"]] == ["head", "full"]
    stages = [event.data["phase"] for event in jobs.events(workshop.db, job_id) if event.type == "phase"]
    assert stages == ["prepare", "head", "full", "export", "evaluate"]

    (version,) = versions(workshop)
    assert (version.job_id, version.version, version.artifact) == (job_id, 1, f"models/{job_id}.1")
    assert version.metrics == job.result["metrics"]
    assert workshop.store.keys("models") == [version.artifact]
    folder = workshop.store.verified_path(version.artifact)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    assert (manifest["job_id"], manifest["attempt"]) == (job_id, 1)
    assert version.size_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert Predictor.load(folder, threads=1).predict(["where is my parcel"])[0]["label"] in ("delivery", "money")
    assert_nothing_is_left(workshop)


@pytest.mark.parametrize("promote", ["if_better", "always"])
def test_what_a_version_must_be_better_than_is_handed_to_its_training(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch, promote: str
) -> None:
    told = []
    for _ in range(2):  # the first has nothing to be compared with
        process = script(monkeypatch, FINISHED)
        workshop.submit(promote=promote)
        runner.run_next()
        assert process.request is not None
        told.append(process.request.incumbent)

    first = next(version for version in versions(workshop) if version.version == 1)
    folder = workshop.store.path(first.artifact)
    assert told == [None, Incumbent(version=1, folder=folder) if promote == "if_better" else None]


def test_a_version_that_is_as_good_as_the_one_in_production_does_not_take_its_place(
    workshop: Workshop, runner: JobRunner
) -> None:
    ids = [workshop.submit(promote="if_better", strategy="frozen") for _ in range(2)]  # alike to the last bit

    for _ in ids:
        runner.run_next()

    first, second = (workshop.job(job_id).result for job_id in ids)
    assert first is not None
    assert second is not None
    assert (first["promotion"]["promoted"], first["promotion"]["compared_with"]) == (True, None)
    told = second["promotion"]
    assert (told["promoted"], told["compared_with"], told["split"], told["rows"]) == (False, 1, "validation", 24)
    assert told["old"] == told["new"] == second["metrics"]["validation"]["accuracy"]
    assert f"version 2 was not promoted: {told['reason']}" in event_messages(workshop.db, ids[1])
    with workshop.db.reading() as session:
        assert alias_versions(session, "model") == {"production": 1}


def test_a_job_that_is_not_to_be_had_is_left_alone(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = script(monkeypatch, FINISHED)
    taken, cancelled = workshop.submit(), workshop.submit()
    claim(workshop.db, taken, worker="another")
    jobs.request_cancel(workshop.db, cancelled)
    before = [workshop.job(job_id) for job_id in (taken, cancelled)]

    assert runner.run_next() is False

    assert process.starts == 0
    assert [workshop.job(job_id) for job_id in (taken, cancelled)] == before


def test_a_worker_that_shuts_down_takes_no_job(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = script(monkeypatch, FINISHED)
    job_id = workshop.submit()
    runner.stopping.set()

    runner.run_next()

    assert process.starts == 0
    assert (workshop.job(job_id).status, workshop.job(job_id).attempt) == (JobStatus.QUEUED, 0)


# ---- the database is away -------------------------------------------------------------------------------------------


def test_the_training_outlives_a_database_that_is_away_and_its_news_are_written_later(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = workshop.submit()
    calls = away_for(monkeypatch, "heartbeat", times=4)

    runner.run_next()

    assert len(calls) > 4
    job = workshop.job(job_id)
    assert (job.status, job.attempt, job.version) == (JobStatus.SUCCEEDED, 1, 1)
    told = event_messages(workshop.db, job_id)
    assert told[:4] == ["queued", "running (attempt 1)", "prepare started", "training on cpu"]
    assert len(set(told)) == len(told)  # nothing was told twice
    assert [message for message in told if message.endswith("started")] == [
        f"{stage} started" for stage in ("prepare", "head", "full", "export", "evaluate")
    ]


def test_a_worker_cut_off_for_too_long_gives_up_and_writes_nothing(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = script(monkeypatch, StageStarted(stage="prepare"))
    job_id = workshop.submit()
    monkeypatch.setattr(jobs, "heartbeat", database_away)
    monkeypatch.setattr(runner_module, "_DATABASE_PATIENCE_SECONDS", 0.05)

    runner.run_next()

    assert process.stopped
    assert workshop.job(job_id).status == JobStatus.RUNNING  # until its lease runs out and a sweep takes it back
    assert_nothing_is_published(workshop)


def test_a_publication_whose_answer_was_lost_is_still_one_version(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, FINISHED)
    job_id = workshop.submit()
    succeed, calls = jobs.succeed, []

    def answer_lost(*args: Any, **kwargs: Any) -> ModelVersion:
        calls.append(1)
        version = succeed(*args, **kwargs)
        return database_away() if len(calls) == 1 else version

    monkeypatch.setattr(jobs, "succeed", answer_lost)

    runner.run_next()

    assert len(calls) == 2  # it was tried again, and in vain
    assert (workshop.job(job_id).status, workshop.job(job_id).version) == (JobStatus.SUCCEEDED, 1)
    (version,) = versions(workshop)
    assert (workshop.store.verified_path(version.artifact) / "model.onnx").read_bytes() == b"weights"
    assert event_messages(workshop.db, job_id).count("succeeded") == 1
    assert_nothing_is_left(workshop)


def test_a_publication_that_never_reached_the_database_is_tried_again(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, FINISHED)
    job_id = workshop.submit()
    away_for(monkeypatch, "succeed", times=3)

    runner.run_next()

    assert workshop.job(job_id).status == JobStatus.SUCCEEDED
    (version,) = versions(workshop)
    assert workshop.store.keys("models") == [version.artifact]


def test_a_publication_given_up_while_the_database_is_away_cancels_no_job(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away_at_shutdown(*_: Any, **__: Any) -> Any:
        runner.stopping.set()
        return database_away()

    script(monkeypatch, FINISHED)
    job_id = workshop.submit()
    monkeypatch.setattr(jobs, "succeed", away_at_shutdown)  # and back as soon as the worker has given up
    monkeypatch.setattr(runner_module, "_PATIENCE_WHEN_STOPPING_SECONDS", 0.05)

    runner.run_next()

    assert workshop.job(job_id).status in (JobStatus.QUEUED, JobStatus.RUNNING)  # another attempt will finish it
    assert versions(workshop) == []


def test_a_disk_slower_than_the_lease_does_not_cost_the_job(
    workshop: Workshop, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(workshop, queue, lease_seconds=0.5, heartbeat_seconds=0.05)
    script(monkeypatch, FINISHED)
    job_id = workshop.submit()
    publish = workshop.store.publish

    def slowly(folder: Path, key: str, info: dict[str, Any]) -> int:
        first = workshop.job(job_id).lease_until
        assert first is not None

        def prolonged_past_the_first() -> bool:
            assert jobs.sweep(workshop.db) == []  # other workers look for lost jobs all the while
            return datetime.now(UTC) > first and workshop.job(job_id).lease_until != first

        wait_for(prolonged_past_the_first, seconds=20, what="a heartbeat")
        return publish(folder, key, info)

    monkeypatch.setattr(workshop.store, "publish", slowly)

    runner.run_next()

    assert (workshop.job(job_id).status, workshop.job(job_id).attempt) == (JobStatus.SUCCEEDED, 1)


# ---- cancellation ---------------------------------------------------------------------------------------------------


def test_a_cancellation_stops_the_process_and_ends_the_job(workshop: Workshop, runner: JobRunner) -> None:
    job_id = workshop.submit(hyperparameters=LONG)
    with in_background(runner) as run:
        wait_for(lambda: workshop.job(job_id).phase == "full", what="the second phase")
        process = training_process()

        jobs.request_cancel(workshop.db, job_id)

        run.result(timeout=30)
    job = workshop.job(job_id)
    assert (job.status, job.version, job.phase, job.lease_until) == (JobStatus.CANCELLED, None, None, None)
    assert not process.is_running()
    assert_nothing_is_published(workshop)


def test_a_cancellation_in_the_last_moment_voids_the_publication(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, FINISHED)
    job_id = workshop.submit()
    succeed = jobs.succeed

    def cancelled_just_before(*args: Any, **kwargs: Any) -> ModelVersion:
        jobs.request_cancel(workshop.db, job_id)
        return succeed(*args, **kwargs)

    monkeypatch.setattr(jobs, "succeed", cancelled_just_before)

    runner.run_next()

    assert workshop.job(job_id).status == JobStatus.CANCELLED
    assert_nothing_is_published(workshop)


# ---- attempts that end without a model ------------------------------------------------------------------------------


def test_a_process_that_makes_no_progress_is_stopped_and_its_job_sent_again_at_once(
    workshop: Workshop, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = script(monkeypatch, StageStarted(stage="prepare"))
    job_id = workshop.submit()

    make_runner(workshop, queue, stall_seconds=0.2).run_next()

    assert process.stopped
    job = workshop.job(job_id)
    assert (job.status, job.attempt, job.max_attempts) == (JobStatus.QUEUED, 1, 3)
    assert event_messages(workshop.db, job_id)[-1] == (
        "queued again: the training process made no progress for 0.2 seconds"
    )
    assert queue.depth() == 1
    assert job.enqueued_at is not None
    assert_nothing_is_published(workshop)


def test_a_process_that_is_killed_spends_an_attempt(workshop: Workshop, runner: JobRunner, queue: JobQueue) -> None:
    job_id = workshop.submit(hyperparameters=LONG)
    with in_background(runner) as run:
        wait_for(lambda: workshop.job(job_id).phase == "full", what="the second phase")
        training_process().kill()
        run.result(timeout=30)

    job = workshop.job(job_id)
    assert (job.status, job.attempt, job.max_attempts) == (JobStatus.QUEUED, 1, 3)
    assert "SIGKILL" in event_messages(workshop.db, job_id)[-1]
    assert queue.depth() == 1
    assert_nothing_is_published(workshop)


def test_after_the_last_attempt_the_job_is_given_up_and_not_sent_again(
    workshop: Workshop, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch)
    job_id = workshop.submit(max_attempts=1)

    make_runner(workshop, queue, stall_seconds=0.01).run_next()

    job = workshop.job(job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "attempts_exhausted")
    assert queue.depth() == 0


def test_a_shutdown_hands_the_job_back_with_all_its_attempts(
    workshop: Workshop, runner: JobRunner, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = script(monkeypatch, StageStarted(stage="prepare"), runner.stopping.set)
    job_id = workshop.submit()

    runner.run_next()

    assert process.stopped
    job = workshop.job(job_id)
    assert (job.status, job.max_attempts - job.attempt) == (JobStatus.QUEUED, 3)
    assert event_messages(workshop.db, job_id)[2:] == [
        "prepare started",
        "queued again: its worker is shutting down",
    ]
    assert queue.depth() == 1
    assert job.enqueued_at is not None
    assert_nothing_is_published(workshop)


@pytest.mark.parametrize(("lease", "patience"), [(60.0, 20.0), (10.0, 5.0)])
def test_the_last_checkpoint_takes_no_longer_than_the_lease_lasts(
    workshop: Workshop, queue: JobQueue, monkeypatch: pytest.MonkeyPatch, lease: float, patience: float
) -> None:
    runner = make_runner(workshop, queue, lease_seconds=lease)
    process = script(monkeypatch, StageStarted(stage="prepare"), runner.stopping.set)
    workshop.submit()

    runner.run_next()

    assert process.patience == patience


@pytest.fixture(params=["shutdown", "pause"])
def stop(
    request: pytest.FixtureRequest, workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], object]:
    """Makes the worker stop a job's training, for either of the two reasons that spend no attempt."""
    if request.param == "shutdown":
        return lambda _: runner.stopping.set()
    monkeypatch.setattr(runner_module, "_ASK_SECONDS", 0.0)  # at once
    return lambda job_id: jobs.pause(workshop.db, job_id)


def stopped_while(
    monkeypatch: pytest.MonkeyPatch, workshop: Workshop, stop: Callable[[str], object], *last: Event
) -> tuple[str, Script]:
    """A job whose training is stopped, and still has something to tell then."""
    job_id = workshop.submit()
    return job_id, script(monkeypatch, StageStarted(stage="evaluate"), lambda: stop(job_id), *last)


def test_a_training_that_was_done_before_it_could_stop_is_published(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch, stop: Callable[[str], object]
) -> None:
    job_id, process = stopped_while(monkeypatch, workshop, stop, Message(message="evaluated"), FINISHED)

    runner.run_next()

    assert process.stopped
    job = workshop.job(job_id)
    assert (job.status, job.attempt, job.version, job.progress["fraction"]) == (JobStatus.SUCCEEDED, 1, 1, 1.0)
    assert event_messages(workshop.db, job_id)[-2:] == ["evaluated", "succeeded"]
    (version,) = versions(workshop)
    assert workshop.store.keys("models") == [version.artifact]
    assert_nothing_is_left(workshop)


def test_a_training_that_had_failed_before_it_could_stop_is_not_tried_again(
    workshop: Workshop,
    runner: JobRunner,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
    stop: Callable[[str], object],
) -> None:
    failed = Failed(code="parity_failed", message="the exported model answers differently")
    job_id, process = stopped_while(monkeypatch, workshop, stop, Message(message="last words"), failed)

    runner.run_next()

    assert process.stopped
    job = workshop.job(job_id)
    assert (job.status, job.error_code, job.error_message) == (JobStatus.FAILED, failed.code, failed.message)
    assert event_messages(workshop.db, job_id)[-2:] == ["last words", failed.message]
    assert queue.depth() == 0
    assert_nothing_is_published(workshop)


def test_a_cancellation_holds_for_a_training_that_was_done_before_it_could_stop(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel(job_id: str) -> None:
        jobs.request_cancel(workshop.db, job_id)
        runner.stopping.set()

    job_id, _ = stopped_while(monkeypatch, workshop, cancel, FINISHED)

    runner.run_next()

    assert workshop.job(job_id).status == JobStatus.CANCELLED
    assert_nothing_is_published(workshop)


def test_a_failure_that_the_process_tells_of_is_the_jobs_own(
    workshop: Workshop, runner: JobRunner, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, Message(message="last words"), Failed(code="diverged", message="the loss became nan"))
    job_id = workshop.submit()

    runner.run_next()

    job = workshop.job(job_id)
    assert (job.status, job.error_code, job.error_message) == (JobStatus.FAILED, "diverged", "the loss became nan")
    assert event_messages(workshop.db, job_id)[2:] == ["last words", "the loss became nan"]
    assert queue.depth() == 0  # another attempt would end as this one did
    assert_nothing_is_published(workshop)


NO_GPU = Failed(code="hardware_missing", message="no GPU can be used here")


def test_a_job_that_this_machine_cannot_do_is_left_to_others_and_the_queue_is_left_alone(
    workshop: Workshop, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, NO_GPU)
    runner = make_runner(workshop, queue, worker_queues=[QueueName.GPU, QueueName.CPU])
    first, second = workshop.submit(queue="gpu"), workshop.submit(queue="gpu")

    assert runner.run_next()
    assert not runner.run_next()  # or the whole queue would be used up here

    assert (workshop.job(first).status, workshop.job(first).attempt) == (JobStatus.QUEUED, 1)
    assert (workshop.job(second).status, workshop.job(second).attempt) == (JobStatus.QUEUED, 0)
    assert jobs.attempts(workshop.db, first)[-1].reason == NO_GPU.message
    script(monkeypatch, FINISHED)
    assert make_runner(workshop, queue, worker_queues=[QueueName.GPU]).run_next()  # another machine


def test_data_that_were_altered_on_disk_end_the_job_before_anything_is_trained(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = script(monkeypatch, FINISHED)
    job_id = workshop.submit()
    rows = workshop.store.path(datasets.dataset_key(workshop.job(job_id).dataset_id)) / "train.arrow"
    rows.write_bytes(rows.read_bytes()[:-1] + b"?")

    runner.run_next()

    job = workshop.job(job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "artifact_corrupt")
    assert "train.arrow" in (job.error_message or "")
    assert process.starts == 0
    assert_nothing_is_published(workshop)


def test_a_full_disk_costs_an_attempt_and_not_the_job(
    workshop: Workshop, runner: JobRunner, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    script(monkeypatch, FINISHED)
    job_id = workshop.submit()
    monkeypatch.setattr(workshop.store, "publish", full)

    runner.run_next()

    job = workshop.job(job_id)
    assert (job.status, job.attempt, job.max_attempts) == (JobStatus.QUEUED, 1, 3)
    assert "No space left on device" in event_messages(workshop.db, job_id)[-1]
    assert queue.depth() == 1
    assert_nothing_is_published(workshop)


def test_a_name_that_meanwhile_belongs_to_another_task_fails_the_job(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, FINISHED)
    job_id = workshop.submit(model="intent")
    publish_version(workshop.db, "intent", TaskName.TAGGING)

    runner.run_next()

    job = workshop.job(job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "other_task")
    assert [version.task for version in versions(workshop)] == ["tagging"]
    assert workshop.store.keys("models") == []


# ---- the next attempt goes on where the last one was ----------------------------------------------------------------

RESUMABLE = {**LONG, "full_epochs": 8}


def checkpoints_of(workshop: Workshop, job_id: str) -> list[Path]:
    return children(workshop.settings.checkpoints_dir / job_id / "training")


def wait_for_second_phase(workshop: Workshop, job_id: str) -> None:
    """Until its first epoch has begun, or more."""

    def begun() -> bool:
        progress = workshop.job(job_id).progress
        return bool(progress.get("epochs") == RESUMABLE["full_epochs"] and progress["step"])

    wait_for(begun, what="a step of the second phase")


def wait_for_full_epoch(workshop: Workshop, job_id: str, epoch: int) -> None:
    """Until this epoch of the second phase is under way, or a later one."""

    def reached() -> bool:
        job = workshop.job(job_id)
        return job.phase == "full" and job.progress.get("epoch", 0) >= epoch

    wait_for(reached, what=f"epoch {epoch} of the second phase")


def has_checkpoint_of_second_phase(workshop: Workshop, job_id: str) -> bool:
    """Whether there is one to go on from; a slow disk has fewer."""
    phases = []
    for folder in children(workshop.settings.checkpoints_dir / job_id / "training" / "member-0"):
        with contextlib.suppress(FileNotFoundError):  # it was just replaced by a newer one
            phases.append(json.loads((folder / "state.json").read_text(encoding="utf-8"))["phase"])
    return 1 in phases


def assert_resumed_and_whole(workshop: Workshop, job_id: str) -> list[str]:
    """The second attempt went on from where the first one was; gives the events."""
    job = workshop.job(job_id)
    assert (job.status, job.attempt) == (JobStatus.SUCCEEDED, 2)
    assert job.result is not None
    assert job.result["phases"][-1]["epochs"] == RESUMABLE["full_epochs"]
    told = event_messages(workshop.db, job_id)
    assert len([message for message in told if message.startswith("resumed at full epoch ")]) == 1
    assert not (workshop.settings.checkpoints_dir / job_id).exists()
    assert_nothing_is_left(workshop)
    return told


@pytest.mark.parametrize("how", ["shutdown", "pause"])
def test_a_shutdown_or_a_pause_keeps_where_the_training_was_and_the_next_attempt_goes_on_from_there(
    workshop: Workshop, queue: JobQueue, how: str
) -> None:
    job_id = workshop.submit(hyperparameters=RESUMABLE)
    runner = make_runner(workshop, queue)
    with in_background(runner) as run:
        wait_for_second_phase(workshop, job_id)

        if how == "pause":
            jobs.pause(workshop.db, job_id)
        else:
            runner.stopping.set()

        run.result(timeout=30)
    assert workshop.job(job_id).status == (JobStatus.PAUSED if how == "pause" else JobStatus.QUEUED)
    assert len(checkpoints_of(workshop, job_id)) == 1  # written because it was asked for: there was no other reason
    jobs.resume(workshop.db, job_id)

    make_runner(workshop, queue).run_next()

    told = assert_resumed_and_whole(workshop, job_id)
    epochs = [message.partition("/")[0] for message in told if " epoch " in message and "validation" in message]
    every = [("head", 0), ("head", 1), *(("full", epoch) for epoch in range(9))]
    assert epochs == [f"{phase} epoch {epoch}" for phase, epoch in every]  # each was told once
    job = workshop.job(job_id)
    assert job.result is not None
    assert [phase["name"] for phase in job.result["phases"]] == ["head", "full"]


def test_a_killed_process_is_followed_by_one_that_goes_on(workshop: Workshop, queue: JobQueue) -> None:
    job_id = workshop.submit(strategy="finetune", hyperparameters=RESUMABLE)
    runner = make_runner(workshop, queue, checkpoint_seconds=0.0)
    with in_background(runner) as run:
        wait_for_second_phase(workshop, job_id)
        training_process().kill()
        run.result(timeout=30)
    assert workshop.job(job_id).status == JobStatus.QUEUED

    make_runner(workshop, queue).run_next()

    assert_resumed_and_whole(workshop, job_id)


def test_a_job_killed_handed_back_and_paused_ends_with_the_model_of_one_left_alone(
    workshop: Workshop, queue: JobQueue
) -> None:
    dataset = workshop.add_dataset("classification")
    request, spec = workshop.resolve(dataset, hyperparameters={**LONG, "full_epochs": 16})
    alone, harried = (jobs.submit(workshop.db, request, spec, max_attempts=3).id for _ in range(2))
    assert make_runner(workshop, queue).run_next()
    assert workshop.job(alone).status == JobStatus.SUCCEEDED

    def interrupted(how: str, epoch: int) -> None:
        runner = make_runner(workshop, queue, checkpoint_seconds=0.0)
        with in_background(runner) as run:
            wait_for_full_epoch(workshop, harried, epoch)
            if how == "killed":
                wait_for(lambda: has_checkpoint_of_second_phase(workshop, harried), what="a checkpoint")
                training_process().kill()
            elif how == "handed back":
                runner.stopping.set()
            else:
                jobs.pause(workshop.db, harried)
            run.result(timeout=30)

    interrupted("killed", 2)
    interrupted("handed back", 5)
    interrupted("paused", 8)
    jobs.resume(workshop.db, harried)
    assert make_runner(workshop, queue).run_next()

    job = workshop.job(harried)
    assert job.status == JobStatus.SUCCEEDED
    told = event_messages(workshop.db, harried)
    assert len([message for message in told if message.startswith("resumed at full epoch ")]) == 3
    outcomes = [one.outcome for one in jobs.attempts(workshop.db, harried)]
    assert outcomes == ["interrupted", "handed back", "handed back", "succeeded"]
    first, second = (workshop.store.verified_path(version.artifact) for version in versions(workshop))
    for name in ("model.onnx", "tokenizer.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_progress_does_not_fall_back_when_another_attempt_begins(
    workshop: Workshop, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = workshop.submit()
    first = claim(workshop.db, job_id)
    jobs.heartbeat(workshop.db, first, lease_seconds=LONG_LEASE, progress={"fraction": 0.25, "eta_seconds": 9})
    jobs.release(workshop.db, first, reason="a deploy", spend_attempt=False)
    seen = []
    script(
        monkeypatch,
        lambda: seen.append(workshop.job(job_id).progress),
        StageStarted(stage="prepare"),
        lambda: seen.append(workshop.job(job_id).progress),
        FINISHED,
    )

    runner.run_next()

    assert seen == [{"fraction": 0.25, "eta_seconds": 9}, {"fraction": 0.25}]
    assert workshop.job(job_id).progress["fraction"] == 1.0


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([FINISHED], False),
        ([Failed(code="diverged", message="the loss became nan")], False),
        ([], True),  # a stall: another attempt will come
    ],
)
def test_checkpoints_stay_until_the_job_is_over(
    workshop: Workshop, queue: JobQueue, monkeypatch: pytest.MonkeyPatch, steps: list[Event], *, kept: bool
) -> None:
    process = script(monkeypatch, *steps)
    job_id = workshop.submit()
    folder = workshop.settings.checkpoints_dir / job_id
    (folder / "training").mkdir(parents=True)

    make_runner(workshop, queue, stall_seconds=0.01).run_next()

    assert process.request is not None
    assert process.request.checkpoint_dir == folder
    assert folder.is_dir() == kept


# ---- the lease is lost ----------------------------------------------------------------------------------------------


def taken_over(workshop: Workshop, job_id: str) -> TrainingJob:
    """The job in the hands of another worker, once the lease has run out."""
    wait_for(lambda: jobs.claim(workshop.db, job_id, worker="another", lease_seconds=LONG_LEASE), seconds=10)
    return workshop.job(job_id)


def test_an_attempt_that_lost_its_lease_while_training_publishes_nothing(
    workshop: Workshop, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = workshop.submit()
    others: list[TrainingJob] = []
    process = script(monkeypatch, lambda: others.append(taken_over(workshop, job_id)), FINISHED)

    make_runner(workshop, queue, lease_seconds=0.05, heartbeat_seconds=60.0).run_next()

    assert process.stopped
    assert others == [workshop.job(job_id)]  # nothing of the other attempt was touched
    assert (others[0].status, others[0].attempt, others[0].worker) == (JobStatus.RUNNING, 2, "another")
    assert_nothing_is_published(workshop)


def test_an_attempt_that_lost_its_lease_at_the_end_deletes_what_it_had_put_there(
    workshop: Workshop, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, FINISHED)
    job_id = workshop.submit()
    succeed, seen = jobs.succeed, []

    def too_late(*args: Any, **kwargs: Any) -> ModelVersion:
        seen.append((workshop.store.keys("models"), taken_over(workshop, job_id)))
        return succeed(*args, **kwargs)

    monkeypatch.setattr(jobs, "succeed", too_late)

    make_runner(workshop, queue, lease_seconds=0.05).run_next()

    ((keys, other),) = seen
    assert keys == [f"models/{job_id}.1"]  # the files were there before the row
    assert workshop.job(job_id) == other
    assert (other.status, other.attempt, other.worker) == (JobStatus.RUNNING, 2, "another")
    assert_nothing_is_published(workshop)
