"""``/models/{name}/aliases``: what the movable names of a model mean."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.concurrency import run_in_threadpool
from sqlmodel import Session

from api.alias_schemas import AliasIn, AliasOut, RollbackIn
from api.routes.common import problems
from api.routes.models import Name
from api.schemas import ModelOut
from api.services import Services, ServicesDep
from models_store import aliases, registry, shadows
from models_store.errors import NotFoundError

router = APIRouter(prefix="/models/{name}/aliases/{alias}", tags=["models"])
AliasName = Annotated[
    str, Path(pattern=f"^{registry.ALIAS}$", description="such as production or staging", examples=["production"])
]
_HISTORY = 20  # changes that are shown


@router.get("", operation_id="getModelAlias", summary="Show an alias", responses=problems(404))
def get_alias(name: Name, alias: AliasName, services: ServicesDep) -> AliasOut:
    """Where an alias sends its calls, how its shadow does, and its latest changes."""
    with services.db.reading() as session:
        return _alias(session, name, alias)


@router.put("", operation_id="setModelAlias", summary="Move an alias", responses=problems(404, 422, 503))
async def set_alias(name: Name, alias: AliasName, body: AliasIn, services: ServicesDep) -> ModelOut:
    """Let an alias point at a version: ``production`` is what a bare model name means.

    The files are compared with their manifests first and, where the alias is being asked, the version is loaded and
    checked: one that cannot be served does not take the place of one that is.
    """
    await _check(services, name, alias, body.version)

    def put() -> ModelOut:
        with services.db.transaction() as session:
            aliases.set_alias(session, name, alias, body.traffic())
            row = registry.get_model(session, name)
            return ModelOut.of(row, aliases.states(session, name), registry.versions(session, name))

    model = await run_in_threadpool(put)
    services.resolver.forget()
    return model


@router.post(
    "/rollback",
    operation_id="rollBackModelAlias",
    summary="Roll an alias back",
    responses=problems(404, 409, 422, 503),
)
async def roll_back(name: Name, alias: AliasName, services: ServicesDep, body: RollbackIn | None = None) -> AliasOut:
    """Let an alias point at what it pointed at before; again, at what it pointed at before that.

    As with ``PUT``, the version is loaded first where the alias is being asked.
    """

    def target() -> int | None:
        with services.db.reading() as session:
            return aliases.roll_back_target(session, name, alias)

    def back() -> AliasOut:
        with services.db.transaction() as session:
            aliases.roll_back(session, name, alias, leaving=body.from_version if body else None)
            return _alias(session, name, alias)

    if (version := await run_in_threadpool(target)) is not None:
        await _check(services, name, alias, version)
    answer = await run_in_threadpool(back)
    services.resolver.forget()
    return answer


@router.delete("", status_code=204, operation_id="deleteModelAlias", summary="Delete an alias", responses=problems(404))
def delete_alias(name: Name, alias: AliasName, services: ServicesDep) -> None:
    """Delete an alias and its history; the versions it pointed at stay."""
    with services.db.transaction() as session:
        aliases.delete_alias(session, name, alias)
    services.resolver.forget()


async def _check(services: Services, name: str, alias: str, version: int) -> None:
    """Refuse a version that could not answer. A canary or shadow that cannot costs no caller anything."""

    def verify() -> None:
        with services.db.reading() as session:
            artifact = registry.get_version(session, name, version).artifact
        services.store.verified_path(artifact)

    with suppress(NotFoundError):  # of what is not there, whoever changes the alias knows more to say
        await run_in_threadpool(verify)
    if services.rollout.serves(name, alias):
        await services.predictions.keep(f"{name}@{version}")


def _alias(session: Session, name: str, alias: str) -> AliasOut:
    state = aliases.state(session, name, alias)
    changes = aliases.history(session, name, alias, _HISTORY)
    return AliasOut.whole(state, changes, shadows.figures(session, changes[0].id if changes else None))
