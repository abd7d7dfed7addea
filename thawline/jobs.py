"""Jobs: a training from its start to its end."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from thawline.displays import Display, display
from thawline.engines import Async, AsyncEngine, Sync, SyncEngine
from thawline.errors import JobCancelled, JobFailed
from thawline.events import follow
from thawline.ongoing import Ongoing
from thawline.pages import pages
from thawline.parsing import member, parse
from thawline.plans import Plan, Stream, listing, operation
from thawline.records import Event, Failure, Metrics, ModelOfJob, Progress, Record
from thawline.requests import Request, segment
from thawline.waiting import until_ended

JobT = TypeVar("JobT", bound="JobRecord[Any]")


@dataclass(frozen=True, kw_only=True)
class JobRecord(Ongoing[JobT], Record, Generic[JobT]):
    """A training job as it was when it was asked for; its methods that change or await it answer with a newer one.

    Attributes:
        status: ``queued``, ``running``, ``pausing``, ``paused``, ``succeeded``, ``failed`` or ``cancelled``.
        phase: Of a running one: ``prepare``, ``head``, ``full``, ``evaluate`` or ``export``.
        spec: What was asked for, with every default filled in.
        result: Of one that has succeeded: its head, its phases, its metrics and what else was measured.
        error: Why it failed.
        waiting_reason: Why it would not begin even if it were next.
    """

    id: str
    status: str
    phase: str | None = None
    progress: Progress = field(default_factory=Progress)
    dataset_id: str | None = None
    task: str | None = None
    model: ModelOfJob
    spec: dict[str, Any] = field(default_factory=dict, repr=False)
    result: dict[str, Any] | None = field(default=None, repr=False)
    error: Failure | None = None
    attempt: int = 0
    cancel_requested: bool = False
    priority: str = "normal"
    queue: str | None = None
    queue_position: int | None = None
    waiting_reason: str | None = None
    retry_of: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    _engine: Any = field(repr=False, compare=False)

    @property
    def metrics(self) -> Metrics:
        """The metrics of each split; empty before the end."""
        return Metrics.of((self.result or {}).get("metrics"))

    @operation
    def pause(self) -> Plan[JobT]:
        """Keep it from being begun, or let it write a checkpoint and make room for others."""
        return self._ask("POST", "/pause")

    @operation
    def resume(self) -> Plan[JobT]:
        """Let it wait for its turn again; it goes on from its newest checkpoint."""
        return self._ask("POST", "/resume")

    @operation
    def retry(self) -> Plan[JobT]:
        """Start another job that does what this one, which failed or was cancelled, was to do."""
        return self._ask("POST", "/retry", headers={"Idempotency-Key": str(uuid.uuid4())})

    @listing
    def events(self, *, after: int = 0) -> Stream[Event]:
        """What happens to the job, as it happens, until it has ended; a connection that breaks is made again.

        Args:
            after: The id of the last event that is known already.
        """
        return follow(self._engine, f"{self._path}/events", after)

    @listing
    def past_events(self, *, after: int = 0) -> Stream[Event]:
        """What has happened to the job so far."""
        return pages(self._engine, f"{self._path}/events", {}, lambda item: parse(Event, item), after=after)

    @operation
    def wait(self, *, progress: bool | Display = False, timeout: float | None = None) -> Plan[JobT]:
        """Wait until the job has ended; the job with its result.

        Args:
            progress: Whether to draw a bar for each phase, in terminals and notebooks; elsewhere a line for each event
                is written to the standard error.
            timeout: Seconds to wait at most; by default for as long as it takes.

        Raises:
            JobFailed: It failed. Where it was cancelled, this is a `JobCancelled`.
            WaitTimeout: It goes on; waiting again is no harm.
            Unavailable: The service is away for minutes.
        """
        shown = display() if progress is True else progress or None
        try:
            job = yield from until_ended(_Watcher(self, shown).look, timeout)
        finally:
            if shown is not None:
                shown.close()
        return cast("JobT", checked(job))

    @property
    def _path(self) -> str:
        return f"/jobs/{segment(self.id)}"


@dataclass
class _Watcher:
    """Looks at a job again and again, and shows what is new: `known` is the last event that was shown."""

    job: JobRecord[Any]
    shown: Display | None
    known: int = 0

    def look(self, deadline: float) -> Plan[Any]:
        """The job as it is now."""
        news = (yield from self._news(deadline)) if self.shown else []  # before the job, which then knows of them
        job = yield from self.job._look(deadline)
        if self.shown:
            self.shown.show(job, [*news, *(yield from self._news(deadline))] if job.has_ended else news)
        return job

    def _news(self, deadline: float) -> Plan[list[Event]]:
        news: list[Event] = []
        while True:
            params = {"after": self.known, "limit": 100}
            request = Request(method="GET", path=f"{self.job._path}/events", params=params)
            page = (yield from self.job._engine.ask(request, patient=True, deadline=deadline)).json()
            news += [parse(Event, item) for item in member(page, "data")]
            self.known = news[-1].id if news else self.known
            if not member(page, "has_more"):
                return news


@dataclass(frozen=True, kw_only=True)
class Job(JobRecord["Job"], Sync):
    """A training job of a `Client`."""

    _engine: SyncEngine = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class AsyncJob(JobRecord["AsyncJob"], Async):
    """A training job of an `AsyncClient`."""

    _engine: AsyncEngine = field(repr=False, compare=False)


def checked(job: Any) -> Any:
    """The job, if it has succeeded.

    Raises:
        JobFailed: It has not.
    """
    if job.status == "cancelled":
        raise JobCancelled(f"job {job.id} was cancelled", "job.retry() starts another one that does the same", job=job)
    if job.status == "failed":
        reason = f"{job.error.message} ({job.error.code})" if job.error else "the service gives no reason"
        raise JobFailed(f"job {job.id} failed: {reason}", "job.past_events() tells what led to it", job=job)
    return job
