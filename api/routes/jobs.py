"""``/jobs``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel, Field

from api.examples import answered_with, text_example
from api.routes.common import Limit, PageQuery, problems
from api.schemas import EventOut, JobOut, ListOut, PlanOut
from api.services import Services, ServicesDep
from api.webhook_schemas import WebhookDeliveryOut
from models_store import datasets, jobs, workers
from models_store.errors import InvalidInputError, Problem
from models_store.specs import JobRequest, ModelName, TrainingSpec, resolve_spec
from models_store.tables import TERMINAL_STATUSES, Dataset, JobStatus, TrainingJob
from models_store.tasks import task_from_config

router = APIRouter(prefix="/jobs", tags=["jobs"])
JobId = Annotated[str, Path(description="Of the job", examples=["job_01m8epycqtnpfwpfqg5cp47jx7"])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="the same one gets the same job, however often",
        examples=["support-intent-2026-11-27"],
    ),
]
_STREAM_ROWS = 100
_KEEPALIVE_SECONDS = 15.0


class JobsQuery(PageQuery):
    """Which jobs."""

    status: Annotated[JobStatus | None, Field(description="Only those in this state", examples=["running"])] = None
    model: Annotated[ModelName | None, Field(description="Only those for this model", examples=["support-intent"])] = (
        None
    )


class EventsQuery(BaseModel):
    """Which events."""

    after: Annotated[int, Field(ge=0, lt=2**63, description="List what follows this event")] = 0
    limit: Limit = 100


@router.post(
    "",
    status_code=202,
    operation_id="createJob",
    summary="Start a training job",
    responses={202: answered_with("job_queued", queue_position=1), **problems(404, 409, 422)},
)
def create_job(
    body: JobRequest,
    response: Response,
    services: ServicesDep,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """Start a training job. With the same ``Idempotency-Key`` the same job is answered, however often it is sent."""
    job = jobs.submitted_before(services.db, body, idempotency_key) or _submit(body, services, idempotency_key)
    _send(services, job)
    response.headers["Location"] = f"/jobs/{job.id}"
    return _shown(services, job)


@router.post("/plan", operation_id="planJob", summary="Say what a job would do", responses=problems(404, 409, 422))
def plan_job(body: JobRequest, services: ServicesDep) -> PlanOut:
    """Say what a job would do, with every default filled in, and about how long it would take; start nothing."""
    spec, dataset = _resolved(body, services)
    rows = {split: found["rows"] for split, found in dataset.splits.items()}
    waiting = jobs.count_by_status(services.db)[JobStatus.QUEUED]
    version = jobs.next_version(services.db, spec)
    return PlanOut.of(spec, rows, jobs.steps(spec, rows), jobs.estimate(services.db, spec, dataset), waiting, version)


def _resolved(body: JobRequest, services: Services) -> tuple[TrainingSpec, Dataset]:
    """The request with every default filled in, and its data set."""
    _check_webhook(services, body.webhook_url)
    dataset = datasets.get_ready(services.db, body.dataset_id)
    names = services.settings.encoders.names()
    return resolve_spec(body, task_from_config(dataset.schema_), dataset.splits["train"]["rows"], names), dataset


def _submit(body: JobRequest, services: Services, idempotency_key: str | None) -> TrainingJob:
    spec, _ = _resolved(body, services)
    return jobs.submit(
        services.db,
        body,
        spec,
        max_attempts=services.settings.max_attempts,
        idempotency_key=idempotency_key,
    )


def _check_webhook(services: Services, url: object) -> None:
    """Refuse a webhook that nobody could sign."""
    if url is not None and services.settings.webhook_secret is None:
        message = "webhook_url: this service has no secret to sign webhooks with; set THAWLINE_WEBHOOK_SECRET"
        code = "webhook_not_configured"
        raise InvalidInputError(message, [Problem(code, message, column="webhook_url")], code=code)


def _send(services: Services, job: TrainingJob) -> None:
    """Tell the workers of a job that waits, unless they have been told."""
    if job.enqueued_at is None and job.status == JobStatus.QUEUED and services.queue.enqueue(job.id, job.queue):
        jobs.mark_enqueued(services.db, job.id)


def _told(services: Services, job: TrainingJob) -> TrainingJob:
    """A job that somebody has changed, of which those hear who watch it."""
    services.announcer.announce(job.id)
    return job


def _shown(services: Services, job: TrainingJob) -> JobOut:
    """A job with its place in the queue and its attempts."""
    served = services.served()
    place = jobs.positions(services.db, [job], served).get(job.id)
    return JobOut.of(job, place, jobs.attempts(services.db, job.id), _why_waiting(job, served))


def _why_waiting(job: TrainingJob, served: Mapping[str, int]) -> str | None:
    return workers.why_waiting(job.queue, served) if job.status == JobStatus.QUEUED else None


@router.get("", operation_id="listJobs", summary="List jobs")
def list_jobs(services: ServicesDep, query: Annotated[JobsQuery, Query()]) -> ListOut[JobOut]:
    """Jobs, the newest first."""
    rows = jobs.list_jobs(services.db, limit=query.limit + 1, after=query.after, status=query.status, model=query.model)
    served = services.served()
    places = jobs.positions(services.db, rows, served)
    shown = [JobOut.of(row, places.get(row.id), waiting_reason=_why_waiting(row, served)) for row in rows]
    return ListOut.page(shown, query.limit)


@router.get("/{job_id}", operation_id="getJob", summary="Show a job", responses=problems(404))
def get_job(job_id: JobId, services: ServicesDep) -> JobOut:
    """One job: where it stands, what was tried, and what came of it."""
    return _shown(services, jobs.get(services.db, job_id))


@router.post(
    "/{job_id}/cancel",
    operation_id="cancelJob",
    summary="Cancel a job",
    responses={200: answered_with("job_queued", status="cancelled"), **problems(404, 409)},
)
def cancel_job(job_id: JobId, services: ServicesDep) -> JobOut:
    """Cancel a job that waits or is paused at once, a running one within seconds."""
    return _shown(services, _told(services, jobs.request_cancel(services.db, job_id)))


@router.post(
    "/{job_id}/pause",
    operation_id="pauseJob",
    summary="Pause a job",
    responses={200: answered_with("job_queued", status="paused"), **problems(404, 409)},
)
def pause_job(job_id: JobId, services: ServicesDep) -> JobOut:
    """Keep a job from being begun; or let a running one write a checkpoint and make room for others."""
    return _shown(services, _told(services, jobs.pause(services.db, job_id)))


@router.post(
    "/{job_id}/resume",
    operation_id="resumeJob",
    summary="Resume a paused job",
    responses={200: answered_with("job_queued", queue_position=1), **problems(404, 409)},
)
def resume_job(job_id: JobId, services: ServicesDep) -> JobOut:
    """Let a paused job wait for its turn again; it goes on from its newest checkpoint."""
    job = _told(services, jobs.resume(services.db, job_id))
    _send(services, job)
    return _shown(services, job)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    operation_id="retryJob",
    summary="Try a job again",
    responses={
        202: answered_with("job_queued", queue_position=1, retry_of="job_01m8eps0xnkgn6djq40xtsegfz"),
        **problems(404, 409, 422),
    },
)
def retry_job(
    job_id: JobId, response: Response, services: ServicesDep, idempotency_key: IdempotencyKey = None
) -> JobOut:
    """Start another job that does what a failed or cancelled one was to do, which stays as it is."""
    _check_webhook(services, jobs.get(services.db, job_id).webhook_url)
    most = services.settings.max_attempts
    job = jobs.retry(services.db, job_id, max_attempts=most, idempotency_key=idempotency_key)
    _send(services, job)
    response.headers["Location"] = f"/jobs/{job.id}"
    return _shown(services, job)


@router.get(
    "/{job_id}/webhooks", operation_id="listJobWebhooks", summary="List a job's webhook calls", responses=problems(404)
)
def list_webhooks(
    job_id: JobId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> ListOut[WebhookDeliveryOut]:
    """What the job's ``webhook_url`` was told or is to be told, the newest last."""
    rows = jobs.deliveries(services.db, job_id, limit=query.limit + 1, after=query.after)
    return ListOut.page([WebhookDeliveryOut.of(row) for row in rows], query.limit)


@router.get(
    "/{job_id}/events",
    operation_id="listJobEvents",
    summary="List or stream a job's events",
    response_model=ListOut[EventOut],
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "example": text_example("events.txt")}}},
        204: {"description": "The job is over and all of its stream was told: a browser does not connect again"},
        **problems(404),
    },
)
async def list_events(
    job_id: JobId,
    request: Request,
    services: ServicesDep,
    query: Annotated[EventsQuery, Query()],
    last_event_id: Annotated[
        int | None, Header(ge=0, lt=2**63, description="as `after`; a browser sends it when it connects again")
    ] = None,
) -> Response:
    """The events of a job; with ``Accept: text/event-stream`` a live stream that ends when the job does."""
    after = last_event_id if last_event_id is not None else query.after
    if "text/event-stream" in request.headers.get("accept", ""):
        if await run_in_threadpool(_is_told, services, job_id, after):
            return Response(status_code=204)
        return StreamingResponse(
            _stream(services, request, job_id, after),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
    rows = await run_in_threadpool(jobs.events, services.db, job_id, after=after, limit=query.limit + 1)
    page = ListOut[EventOut].page([EventOut.of(row) for row in rows], query.limit)
    return JSONResponse(page.model_dump(mode="json"))


def _is_told(services: Services, job_id: str, after: int) -> bool:
    """Whether a stream would be empty: the job is over, and this was its last event.

    An ``EventSource`` connects again whenever a stream ends, until it is answered 204 (the HTML standard, 9.2.3).

    Raises:
        NotFoundError: No such job.
    """
    job = jobs.get(services.db, job_id)  # before the events, so that none is missed
    return job.status in TERMINAL_STATUSES and not jobs.events(services.db, job_id, after=after, limit=1)


async def _stream(services: Services, request: Request, job_id: str, after: int) -> AsyncIterator[bytes]:
    """Events as they come. The table is the truth: a hint only says when to look."""
    told_at = time.monotonic()
    with services.news.of(job_id) as news:
        while not (await request.is_disconnected() or request.app.state.draining):
            news.clear()
            job = await run_in_threadpool(jobs.get, services.db, job_id)  # before the events, so that none is missed
            rows = await run_in_threadpool(jobs.events, services.db, job_id, after=after, limit=_STREAM_ROWS)
            for row in rows:
                event = EventOut.of(row)
                after, told_at = event.id, time.monotonic()
                yield format_sse_event(data_str=event.model_dump_json(), event=event.type, id=str(event.id))
            if len(rows) == _STREAM_ROWS:
                continue
            if job.status in TERMINAL_STATUSES:
                return
            if time.monotonic() - told_at >= _KEEPALIVE_SECONDS:
                told_at = time.monotonic()
                yield KEEPALIVE_COMMENT
            await services.news.wait(news, at_most=told_at + _KEEPALIVE_SECONDS - time.monotonic())
