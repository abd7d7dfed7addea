"""Whatever happens to jobs, in whatever order: what was promised of them holds, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from sqlmodel import select

from models_store import jobs
from models_store.database import Database
from models_store.errors import ConflictError, LeaseLostError
from models_store.jobs import Claim, Wish
from models_store.registry import NewVersion
from models_store.tables import HELD_STATUSES, TERMINAL_STATUSES, JobStatus, ModelVersion, TrainingJob
from tests.models_store.samples import EXPIRED, LONG, add_dataset, submit

_FROM: dict[str, set[str]] = {  # where a job may have come from within one step
    JobStatus.QUEUED: {JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED},
    JobStatus.RUNNING: {JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.PAUSING},
    JobStatus.PAUSING: {JobStatus.PAUSING, JobStatus.RUNNING},
    JobStatus.PAUSED: {JobStatus.PAUSED, JobStatus.PAUSING, JobStatus.QUEUED},
    JobStatus.SUCCEEDED: {JobStatus.SUCCEEDED, *HELD_STATUSES},
    JobStatus.FAILED: {JobStatus.FAILED, *HELD_STATUSES},
    JobStatus.CANCELLED: {JobStatus.CANCELLED, JobStatus.QUEUED, JobStatus.PAUSED, *HELD_STATUSES},
}


class Jobs(RuleBasedStateMachine):
    """Users and workers at work on one database."""

    ids = Bundle("ids")
    claims = Bundle("claims")  # also those that were lost long ago

    def __init__(self, db: Database, dataset_id: str) -> None:
        super().__init__()
        self.db = db
        self.dataset_id = dataset_id
        self.before: dict[str, TrainingJob] = {}

    # ---- users ------------------------------------------------------------------------------------------------------

    @rule(target=ids, most=st.integers(1, 3), priority=st.sampled_from(["low", "normal", "high"]))
    def submit(self, most: int, priority: str) -> str:
        return submit(self.db, self.dataset_id, max_attempts=most, priority=priority).id

    @rule(job_id=ids, ask=st.sampled_from([jobs.request_cancel, jobs.pause, jobs.resume]))
    def ask(self, job_id: str, ask: Callable[[Database, str], TrainingJob]) -> None:
        job = jobs.get(self.db, job_id)
        try:
            ask(self.db, job_id)
        except ConflictError:
            assert job.status in TERMINAL_STATUSES or job.cancel_requested

    @rule(target=ids, job_id=ids)
    def retry(self, job_id: str) -> str:
        may = jobs.get(self.db, job_id).status in (JobStatus.FAILED, JobStatus.CANCELLED)
        try:
            again = jobs.retry(self.db, job_id, max_attempts=2)
        except ConflictError:
            assert not may
            return job_id
        assert may
        return again.id

    # ---- workers ----------------------------------------------------------------------------------------------------

    @rule(target=claims, job_id=ids)
    def claim(self, job_id: str) -> Claim | None:
        before = jobs.get(self.db, job_id)
        mine = jobs.claim(self.db, job_id, worker="w", lease_seconds=LONG)
        if mine is not None:
            assert before.status in (JobStatus.QUEUED, JobStatus.RUNNING)
            assert mine.attempt == before.attempt + 1
        return mine

    @rule(target=claims)
    def claim_the_most_urgent(self) -> Claim | None:
        job_id = jobs.most_urgent(self.db, [])
        if job_id is None:
            assert not [job for job in self._now() if job.status == JobStatus.QUEUED]
            return None
        mine = jobs.claim(self.db, job_id, worker="w", lease_seconds=LONG)
        assert mine is not None  # nobody else is there
        return mine

    @rule(mine=claims)
    def heartbeat(self, mine: Claim | None) -> None:
        wish = self._try(mine, lambda db, mine: jobs.heartbeat(db, mine, lease_seconds=LONG, phase="head"))
        if mine is not None and wish is not None:
            job = jobs.get(self.db, mine.job_id)
            pause = Wish.PAUSE if job.status == JobStatus.PAUSING else Wish.GO_ON
            assert wish is (Wish.CANCEL if job.cancel_requested else pause)

    @rule(mine=claims)
    def fall_silent(self, mine: Claim | None) -> None:
        self._try(mine, lambda db, mine: jobs.heartbeat(db, mine, lease_seconds=EXPIRED))

    @rule(mine=consumes(claims), spend=st.booleans())
    def release(self, mine: Claim | None, *, spend: bool) -> None:
        self._try(mine, lambda db, mine: jobs.release(db, mine, reason="stopped", spend_attempt=spend))

    @rule(mine=claims)
    def succeed(self, mine: Claim | None) -> None:
        def publish(db: Database, mine: Claim) -> ModelVersion:
            version = NewVersion(f"models/{mine.job_id}.{mine.attempt}", "linear", {}, 1)
            return jobs.succeed(db, mine, result={"head": "linear"}, version=version)

        self._try(mine, publish)

    @rule(mine=claims)
    def fail(self, mine: Claim | None) -> None:
        self._try(mine, lambda db, mine: jobs.fail(db, mine, code="broken", message="broken"))

    @rule(mine=claims)
    def cancel(self, mine: Claim | None) -> None:
        self._try(mine, jobs.cancelled)

    @rule()
    def sweep(self) -> None:
        for job_id in jobs.sweep(self.db):
            assert jobs.get(self.db, job_id).status == JobStatus.QUEUED

    def _try(self, mine: Claim | None, write: Callable[[Database, Claim], Any]) -> Any:
        """Write as a worker; who lost the job changes nothing."""
        if mine is None:
            return None
        before = jobs.get(self.db, mine.job_id)
        owns = before.attempt == mine.attempt and before.status in HELD_STATUSES
        try:
            done = write(self.db, mine)
        except LeaseLostError:
            assert not owns or before.cancel_requested or write is jobs.cancelled
            assert jobs.get(self.db, mine.job_id) == before
            return None
        assert owns
        return done

    # ---- what was promised ------------------------------------------------------------------------------------------

    @invariant()
    def promises_hold(self) -> None:
        published = self._published()
        for job in self._now():
            before = self.before.get(job.id)
            if before is not None:
                assert before.status in _FROM[job.status]
                assert job.attempt >= before.attempt
                if before.status in TERMINAL_STATUSES:
                    assert job == before  # an end is final
            assert job.attempt <= job.max_attempts
            assert (job.lease_until is not None) == (job.status in HELD_STATUSES)
            assert (job.finished_at is not None) == (job.status in TERMINAL_STATUSES)
            assert published.get(job.id, 0) == (job.status == JobStatus.SUCCEEDED)  # exactly once
            record = jobs.attempts(self.db, job.id)
            assert [a.attempt for a in record] == list(range(1, job.attempt + 1))
            still_open = [a.attempt for a in record if a.ended_at is None]
            assert still_open == ([job.attempt] if job.status in HELD_STATUSES else [])
            self.before[job.id] = job

    def teardown(self) -> None:
        """Workers that do nothing wrong see every job to an end."""
        for job in self._now():
            if job.status in (JobStatus.PAUSED, JobStatus.PAUSING):
                jobs.resume(self.db, job.id)
        self.promises_hold()
        for job in self._now():
            if job.status in HELD_STATUSES:
                latest = Claim(job.id, job.attempt, job.dataset_id, job.spec)
                jobs.heartbeat(self.db, latest, lease_seconds=EXPIRED)  # whoever had it is dead
        jobs.sweep(self.db)
        self.promises_hold()
        while (job_id := jobs.most_urgent(self.db, [])) is not None:
            mine = jobs.claim(self.db, job_id, worker="w", lease_seconds=LONG)
            assert mine is not None
            self.promises_hold()
            self.succeed(mine)
            self.promises_hold()
        assert {job.status for job in self._now()} <= set(TERMINAL_STATUSES)

    def _now(self) -> list[TrainingJob]:
        with self.db.reading() as session:
            return list(session.exec(select(TrainingJob).where(TrainingJob.dataset_id == self.dataset_id)))

    def _published(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        with self.db.reading() as session:
            for version in session.exec(select(ModelVersion).where(ModelVersion.dataset_id == self.dataset_id)):
                counts[version.job_id] = counts.get(version.job_id, 0) + 1
        return counts


def test_the_promises_hold_whatever_happens(db: Database) -> None:
    run_state_machine_as_test(
        cast("Any", lambda: Jobs(db, add_dataset(db))),  # what makes one will do
        settings=settings(
            max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
