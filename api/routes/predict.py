"""``/predict``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic_core import to_json

from api.routes.common import problems
from api.schemas import PredictIn, PredictOut
from api.services import ServicesDep
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
    routing_key: Annotated[
        str | None,
        Header(max_length=256, description="such as a user's id: the same one gets the same version beside a canary"),
    ] = None,
) -> Response:
    """Ask a model; a bare name means its production version."""
    listed = isinstance(body.inputs, list)
    answer = await services.predictions.answer(
        model,
        body.inputs if listed else [body.inputs],
        PredictOptions(top_k=body.top_k),
        precision=precision,
        routing_key=routing_key,
        listed=listed,
    )
    version = answer.version
    content = {
        "model": version.model,
        "version": version.version,
        "task": version.task,
        "predictions": answer.predictions,
    }
    return Response(to_json(content), media_type="application/json")
