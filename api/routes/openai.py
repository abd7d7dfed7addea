"""``/v1``: embeddings by similarity models that are sentence encoders, in OpenAI's shape."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic_core import to_json

from api.artifacts import config_of
from api.disconnect import CLIENT_CLOSED_REQUEST, CallerGoneError, given_up_with_caller
from api.predictions import Embeddings, check_embeds
from api.predictors import TOO_OLD, no_embeddings
from api.protocols.openai import (
    EmbeddingModel,
    EmbeddingModels,
    EmbeddingsIn,
    EmbeddingsOut,
    EncodingFormat,
    OpenAIErrorOut,
    check_dimensions,
    embeddings,
    texts_of,
)
from api.routes.common import MEANINGS, SecondsQuery
from api.services import Services, ServicesDep
from models_store import registry
from models_store.errors import ArtifactCorruptError, NotFoundError
from models_store.logging import get_logger
from models_store.predictor import embedding_width
from models_store.specs import HeadName
from models_store.tables import ModelVersion

log = get_logger(__name__)
router = APIRouter(prefix="/v1", tags=["openai"])


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": OpenAIErrorOut, "description": MEANINGS[status]} for status in statuses}


@router.post(
    "/embeddings",
    operation_id="createEmbeddings",
    summary="Turn texts into vectors",
    response_model=EmbeddingsOut,
    responses=_errors(400, 404, 413, 429, 503),
)
async def embed(
    body: EmbeddingsIn,
    request: Request,
    services: ServicesDep,
    timeout: SecondsQuery = None,  # noqa: ASYNC109 (the caller's)
) -> Response:
    """Vectors of texts, each read by itself: what the head of a siamese similarity model compares, of unit length."""
    try:
        with given_up_with_caller(request):
            answer = await services.predictions.embed(body.model, texts_of(body), timeout)
    except CallerGoneError:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    check_dimensions(body.dimensions, len(answer.vectors[0]))
    # In a thread: the numbers of many vectors take their time to write.
    content = await run_in_threadpool(_written, answer, body.encoding_format)
    return Response(content, media_type="application/json", headers={"Server-Timing": answer.timings.header()})


@router.get("/models", operation_id="listEmbeddingModels", summary="List models that can embed")
def list_models(services: ServicesDep) -> EmbeddingModels:
    """The models that can embed, each by what its bare name means."""
    with services.db.reading() as session:
        versions = registry.in_production(session, HeadName.SIAMESE)
    return EmbeddingModels(data=[_model(version.model, version) for version in versions if _embeds(services, version)])


@router.get(
    "/models/{model}",
    operation_id="getEmbeddingModel",
    summary="Show a model that can embed",
    responses=_errors(400, 404),
)
def get_model(
    model: Annotated[str, Path(description="name, name@3 or name@alias", examples=["duplicate-questions"])],
    services: ServicesDep,
) -> EmbeddingModel:
    """One of them."""
    with services.db.reading() as session:
        version = registry.resolve(session, model)
    check_embeds(version)
    if not _embeds(services, version):
        raise no_embeddings(TOO_OLD)
    return _model(model, version)


def _written(answer: Embeddings, encoding_format: EncodingFormat) -> bytes:
    content = {
        "object": "list",
        "data": embeddings(answer.vectors, encoding_format),
        "model": f"{answer.version.model}@{answer.version.version}",
        "usage": {"prompt_tokens": answer.pieces, "total_tokens": answer.pieces},
    }
    return to_json(content)


def _embeds(services: Services, version: ModelVersion) -> bool:
    try:
        return embedding_width(config_of(services.store, version)) is not None
    except (ArtifactCorruptError, NotFoundError) as error:  # one of many must not hide the others
        log.warning("a version's files cannot be read", artifact=version.artifact, error=error.message)
        return False


def _model(name: str, version: ModelVersion) -> EmbeddingModel:
    return EmbeddingModel(id=name, created=int(version.created_at.timestamp()))
