"""``/models``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.routes.common import After, Limit, problems
from api.schemas import ListOut, ModelOut, VersionOut
from api.services import ServicesDep
from models_store import registry

router = APIRouter(prefix="/models", tags=["models"])
VersionNumber = Annotated[int, Path(ge=1, lt=2**31)]


@router.get("", operation_id="listModels")
def list_models(services: ServicesDep, limit: Limit = 20, after: After = None) -> ListOut[ModelOut]:
    """Models by name, each with its versions and aliases."""
    with services.db.reading() as session:
        rows = registry.list_models(session, limit + 1, after)
        models = [
            ModelOut.of(row, registry.aliases(session, row.name), registry.versions(session, row.name)) for row in rows
        ]
    return ListOut.page(models, limit)


@router.get("/{name}", operation_id="getModel", responses=problems(404))
def get_model(name: str, services: ServicesDep) -> ModelOut:
    """One model with its versions, the newest first."""
    with services.db.reading() as session:
        row = registry.get_model(session, name)
        return ModelOut.of(row, registry.aliases(session, name), registry.versions(session, name))


@router.get("/{name}/versions/{version}", operation_id="getModelVersion", responses=problems(404))
def get_version(name: str, version: VersionNumber, services: ServicesDep) -> VersionOut:
    """One version of a model."""
    with services.db.reading() as session:
        registry.get_model(session, name)
        return VersionOut.of(registry.get_version(session, name, version))


@router.delete(
    "/{name}/versions/{version}",
    status_code=204,
    operation_id="deleteModelVersion",
    responses=problems(404, 409),
)
def delete_version(name: str, version: VersionNumber, services: ServicesDep) -> None:
    """Delete a version that no alias points at."""
    with services.db.transaction() as session:
        registry.get_model(session, name)
        artifact = registry.delete_version(session, name, version)
    services.store.delete(artifact)
    services.resolver.forget()
