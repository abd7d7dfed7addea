"""``/models``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from api.examples import text_example
from api.figures import forget_figures
from api.routes.common import PageQuery, problems
from api.schemas import ListOut, ModelOut, VersionOut
from api.services import Services, ServicesDep
from models_store import aliases, registry
from models_store.reports import Report, read_card, read_report
from models_store.tables import ModelVersion

router = APIRouter(prefix="/models", tags=["models"])
VersionNumber = Annotated[int, Path(ge=1, lt=2**31, description="Of the version", examples=[1])]


class MarkdownResponse(PlainTextResponse):
    """Text that is Markdown."""

    media_type = "text/markdown"


Name = Annotated[str, Path(description="Of the model", examples=["support-intent"])]


@router.get("", operation_id="listModels", summary="List models")
def list_models(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> ListOut[ModelOut]:
    """Models by name, each with its versions and aliases."""
    with services.db.reading() as session:
        rows = registry.list_models(session, query.limit + 1, query.after)
        models = [
            ModelOut.of(row, aliases.states(session, row.name), registry.versions(session, row.name)) for row in rows
        ]
    return ListOut.page(models, query.limit)


@router.get("/{name}", operation_id="getModel", summary="Show a model", responses=problems(404))
def get_model(name: Name, services: ServicesDep) -> ModelOut:
    """One model with its versions, the newest first."""
    with services.db.reading() as session:
        row = registry.get_model(session, name)
        return ModelOut.of(row, aliases.states(session, name), registry.versions(session, name))


@router.get(
    "/{name}/versions/{version}", operation_id="getModelVersion", summary="Show a version", responses=problems(404)
)
def get_version(name: Name, version: VersionNumber, services: ServicesDep) -> VersionOut:
    """One version of a model."""
    return VersionOut.of(_found(name, version, services))


def _found(name: str, version: int, services: Services) -> ModelVersion:
    with services.db.reading() as session:
        registry.get_model(session, name)
        return registry.get_version(session, name, version)


@router.get(
    "/{name}/versions/{version}/report",
    operation_id="getModelVersionReport",
    summary="Read a version's report",
    response_model=Report,
    responses=problems(404, 503),
)
def get_report(name: Name, version: VersionNumber, services: ServicesDep) -> Response:
    """How a version was trained and how good it is: learning curves, figures by label, calibration, worst errors."""
    row = _found(name, version, services)
    # Written out here, in a thread: what FastAPI makes of a model it makes on the event loop.
    return Response(read_report(services.store, row).model_dump_json(), media_type="application/json")


@router.get(
    "/{name}/versions/{version}/card",
    operation_id="getModelVersionCard",
    summary="Read a version's model card",
    response_class=MarkdownResponse,
    responses={
        200: {"content": {"text/markdown": {"example": text_example("card.md")}}, "description": "The card"},
        **problems(404, 503),
    },
)
def get_card(name: Name, version: VersionNumber, services: ServicesDep) -> Response:
    """The model card of a version: for people, in Markdown, with the front matter that model hubs read."""
    return MarkdownResponse(read_card(services.store, _found(name, version, services)))


@router.delete(
    "/{name}/versions/{version}",
    status_code=204,
    operation_id="deleteModelVersion",
    summary="Delete a version",
    responses=problems(404, 409),
)
async def delete_version(name: Name, version: VersionNumber, services: ServicesDep) -> None:
    """Delete a version that no alias has, be it as canary or shadow."""

    def artifact() -> str:
        with services.db.reading() as session:
            registry.get_model(session, name)
            return registry.get_version(session, name, version).artifact

    def delete() -> str:
        with services.db.transaction() as session:
            registry.get_model(session, name, lock=True)
            return registry.delete_version(session, name, version)

    await services.predictions.release(await run_in_threadpool(artifact))
    await _forget(services, [await run_in_threadpool(delete)])
    forget_figures(name, version)


@router.delete(
    "/{name}", status_code=204, operation_id="deleteModel", summary="Delete a model", responses=problems(404, 409)
)
async def delete_model(name: Name, services: ServicesDep) -> None:
    """Delete a model with all its versions. Refused while a job for it has not ended."""

    def delete() -> list[str]:
        with services.db.transaction() as session:
            return registry.delete_model(session, name)

    await _forget(services, await run_in_threadpool(delete))
    forget_figures(name)


async def _forget(services: Services, artifacts: list[str]) -> None:
    """After the rows: the names first, then the models in memory, the files last."""
    services.resolver.forget()
    for artifact in artifacts:
        services.rollout.forget(artifact)
        await services.predictors.unload(artifact)
        await run_in_threadpool(services.store.delete, artifact)
