"""``/predict``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic_core import to_json

from api.routes.common import problems
from api.schemas import PredictIn, PredictOut
from api.services import ServicesDep
from models_store.errors import InvalidInputError, Problem
from models_store.precision import Precision
from models_store.tasks import PredictOptions

router = APIRouter(tags=["predict"])


@router.post(
    "/predict/{model}",
    operation_id="predict",
    response_model=PredictOut,
    responses=problems(404, 422, 429, 503),
)
async def predict(
    model: Annotated[str, Path(description="name, name@3 or name@alias", examples=["support-intent"])],
    body: PredictIn,
    services: ServicesDep,
    precision: Annotated[
        Precision | None, Query(description="of the version's models, if not the one that is served by default")
    ] = None,
) -> Response:
    """Ask a model; a bare name means its production version."""
    items = body.inputs if isinstance(body.inputs, list) else [body.inputs]
    most = services.settings.predict_queue_items
    if len(items) > most:
        raise InvalidInputError(f"{len(items)} inputs are too many for one call; send at most {most}")
    options = PredictOptions(top_k=body.top_k)
    # Before anything that takes its time: while a model loads, calls must not pile up without bound.
    with services.admission.permit(len(items)):
        version = await services.resolver.resolve(model)
        wanted = await services.predictors.choose(version, precision)
        examples, refused = await services.predictors.parse(wanted, items, options)
        if refused:
            raise _not_accepted(refused, listed=isinstance(body.inputs, list))
        inputs = await services.predictors.encode(wanted, examples)
        if len(inputs.windows) > most:
            raise _too_long(len(inputs.windows), most)
        with services.admission.more(len(inputs.windows) - len(items)):
            predictions = await services.predictors.predict(wanted, inputs, options)
    answer = {"model": version.model, "version": version.version, "task": version.task, "predictions": predictions}
    return Response(to_json(answer), media_type="application/json")


def _too_long(windows: int, most: int) -> InvalidInputError:
    return InvalidInputError(
        f"the texts are so long that they are read in {windows} windows; send at most {most} windows in one call"
    )


def _not_accepted(refused: list[tuple[int, str]], *, listed: bool) -> InvalidInputError:
    errors = [
        Problem("invalid_input", message, column=f"inputs.{index}" if listed else "inputs")
        for index, message in refused
    ]
    return InvalidInputError(f"{errors[0].column}: {errors[0].message}", errors)
