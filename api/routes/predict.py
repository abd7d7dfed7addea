"""``/predict``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from pydantic_core import to_json

from api.disconnect import CallerGoneError, given_up_with_caller
from api.predictions import Answer, Asked, Timings
from api.routes.common import problems
from api.schemas import PredictIn, PredictOut
from api.services import Services, ServicesDep, get_services
from models_store.precision import Precision
from models_store.tasks import PredictOptions

_CLIENT_CLOSED_REQUEST = 499  # nginx's; for the figures alone, nobody reads it

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _ShortRoute(APIRoute):
    """Goes past FastAPI's resolution of dependencies, 0.4 ms a call, where there is nothing to resolve.

    That is the usual call: JSON, without query parameters, and as it should be. All others take the long way, which
    knows how to refuse them.
    """

    def get_route_handler(self) -> _Handler:
        """The handler of a request."""
        long_way = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if request.scope["query_string"] or request.headers.get("content-type") != "application/json":
                return await long_way(request)
            try:
                body = PredictIn.model_validate_json(await request.body())
            except ValidationError:
                return await long_way(request)
            return await _answer(request, request.path_params["model"], body, await get_services(request))

        return handle


router = APIRouter(tags=["predict"], route_class=_ShortRoute)


@router.post(
    "/predict/{model}",
    operation_id="predict",
    response_model=PredictOut,
    responses=problems(404, 422, 429, 500, 503),
)
async def predict(
    request: Request,
    model: Annotated[str, Path(description="name, name@3 or name@alias", examples=["support-intent"])],
    body: PredictIn,
    services: ServicesDep,
    precision: Annotated[
        Precision | None, Query(description="of the version's models, if not the one that is served by default")
    ] = None,
    timeout: Annotated[  # noqa: ASYNC109 (the caller's)
        float | None, Query(gt=0, allow_inf_nan=False, description="seconds that the caller will wait, at most")
    ] = None,
) -> Response:
    """Ask a model; a bare name means its production version."""
    return await _answer(request, model, body, services, precision, timeout)


async def _answer(
    request: Request,
    model: str,
    body: PredictIn,
    services: Services,
    precision: Precision | None = None,
    seconds: float | None = None,
) -> Response:
    listed = isinstance(body.inputs, list)
    asked = Asked(PredictOptions(top_k=body.top_k), precision, seconds, listed)
    try:
        with given_up_with_caller(request):
            answer = await services.predictions.answer(model, body.inputs if listed else [body.inputs], asked)
    except CallerGoneError:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    headers = {"Server-Timing": server_timing(answer.timings)}
    return Response(to_json(_content(answer)), media_type="application/json", headers=headers)


def _content(answer: Answer) -> dict[str, Any]:
    version = answer.version
    return {
        "model": version.model,
        "version": version.version,
        "task": version.task,
        "predictions": answer.predictions,
    }


def server_timing(timings: Timings) -> str:
    """The value of the header of this name (W3C Server Timing): milliseconds of each stage."""
    stages = {"tokenise": timings.tokenise, "queue": timings.queue, "infer": timings.infer}
    return ", ".join(f"{stage};dur={1000 * seconds:.2f}" for stage, seconds in stages.items())
