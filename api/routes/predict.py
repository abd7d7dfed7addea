"""``/predict``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from pydantic_core import to_json

from api.disconnect import CLIENT_CLOSED_REQUEST, CallerGoneError, given_up_with_caller
from api.predictions import Answer, Asked
from api.routes.common import SecondsQuery, problems
from api.schemas import PredictIn, PredictOut
from api.services import services_of
from models_store.precision import Precision
from models_store.tasks import PredictOptions

router = APIRouter(tags=["predict"])
_INLINE = 256  # answers that are written on the event loop: quicker than a change of thread, and nobody waits long


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """An answer, ready to be sent."""

    status: int
    content: bytes
    headers: list[tuple[bytes, bytes]]


@router.post(
    "/predict/{model}",
    operation_id="predict",
    summary="Ask a model",
    response_model=PredictOut,
    responses=problems(404, 422, 429, 500, 503),
)
async def predict(
    request: Request,
    model: Annotated[str, Path(description="name, name@3 or name@alias", examples=["support-intent"])],
    body: PredictIn,
    precision: Annotated[
        Precision | None,
        Query(description="of the version's models, if not the one that is served by default", examples=["fp32"]),
    ] = None,
    timeout: SecondsQuery = None,  # noqa: ASYNC109 (the caller's)
    routing_key: Annotated[
        str | None,
        Header(
            max_length=256,
            description="such as a user's id: the same one gets the same version beside a canary",
            examples=["user-4711"],
        ),
    ] = None,
) -> Response:
    """Ask a model; a bare name means its production version."""
    answer = await answer_in_json(request, model, body, precision, timeout, routing_key)
    response = Response(answer.content, answer.status, media_type="application/json")
    response.raw_headers.extend(answer.headers)
    return response


ROUTE = next(route for route in router.routes if isinstance(route, APIRoute))


async def answer_in_json(
    request: Request,
    model: str,
    body: PredictIn,
    precision: Precision | None = None,
    seconds: float | None = None,
    routing_key: str | None = None,
) -> JsonAnswer:
    """Ask a model, for as long as the caller is there."""
    listed = isinstance(body.inputs, list)
    asked = Asked(PredictOptions(top_k=body.top_k), precision, routing_key, seconds, listed)
    predictions = services_of(request).predictions
    try:
        with given_up_with_caller(request):
            answer = await predictions.answer(model, body.inputs if listed else [body.inputs], asked)
    except CallerGoneError:
        return JsonAnswer(CLIENT_CLOSED_REQUEST, b"", [])
    content = _content(answer)
    written = to_json(content) if len(answer.predictions) <= _INLINE else await run_in_threadpool(to_json, content)
    return JsonAnswer(200, written, [(b"server-timing", answer.timings.header().encode())])


def _content(answer: Answer) -> dict[str, Any]:
    version = answer.version
    return {
        "model": version.model,
        "version": version.version,
        "task": version.task,
        "predictions": answer.predictions,
    }
