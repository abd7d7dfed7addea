"""Models, their versions and aliases: publish, resolve, promote, delete."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, func
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from models_store.errors import ConflictError, NotFoundError
from models_store.specs import Promotion
from models_store.tables import TERMINAL_STATUSES, Model, ModelAlias, ModelVersion, TrainingJob, utc_now

PRODUCTION = "production"
ALIAS = r"[a-z][a-z0-9_-]{0,62}"
_REFERENCE = re.compile(r"(?P<name>[a-z0-9._-]{1,63})(?:@(?:(?P<version>[1-9][0-9]{0,8})|(?P<alias>" + ALIAS + r")))?")


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What a finished job brings to the registry."""

    artifact: str
    head: str
    metrics: dict[str, Any]
    size_bytes: int


def publish(session: Session, job: TrainingJob, new: NewVersion) -> ModelVersion:
    """Add the job's version and, unless the job says otherwise, let ``production`` point at it.

    Belongs to the transaction that ends the job.

    Raises:
        ConflictError: The name already belongs to a model of another task.
    """
    model = _model_to_publish(session, job)
    if model.task != job.task:
        raise ConflictError(f"model {job.model!r} is a {model.task} model; choose another name", code="other_task")
    model.last_version += 1
    version = ModelVersion(
        model=job.model,
        version=model.last_version,
        job_id=job.id,
        dataset_id=job.dataset_id,
        task=job.task,
        artifact=new.artifact,
        base_model=job.spec["base_model"],
        strategy=job.spec["strategy"],
        head=new.head,
        metrics=new.metrics,
        size_bytes=new.size_bytes,
    )
    session.add(version)
    session.flush()
    if job.spec.get("promote", Promotion.ALWAYS) == Promotion.ALWAYS:
        promote(session, version, PRODUCTION)
    return version


def _model_to_publish(session: Session, job: TrainingJob) -> Model:
    """The model's row, locked; made for its first version, which two jobs may bring at the same moment."""
    model = session.get(Model, job.model, with_for_update=True)
    if model is not None:
        return model
    try:
        with session.begin_nested():
            # Numbers are never given twice, not even after the whole model was deleted: its jobs remember them.
            given = session.exec(select(func.max(TrainingJob.version)).where(TrainingJob.model == job.model)).one()
            model = Model(name=job.model, task=job.task, last_version=given or 0)
            session.add(model)
        return model
    except IntegrityError:
        return session.get_one(Model, job.model, with_for_update=True)


def promote(session: Session, version: ModelVersion, alias: str) -> None:
    """Let an alias point at a version, as a new alias or from now on."""
    row = session.get(ModelAlias, (version.model, alias)) or ModelAlias(
        model=version.model, alias=alias, version=version.version
    )
    row.version = version.version
    row.updated_at = utc_now()
    session.add(row)
    session.flush()


def resolve(session: Session, reference: str) -> ModelVersion:
    """The version that ``name``, ``name@3`` or ``name@alias`` means; a bare name means ``name@production``.

    Raises:
        NotFoundError: No such model, version or alias; the message says which, and what is under way.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise NotFoundError(f"{reference!r} is no model reference; write name, name@3 or name@alias")
    name = match["name"]
    get_model(session, name)
    if match["version"]:
        return get_version(session, name, int(match["version"]))
    alias = match["alias"] or PRODUCTION
    row = session.get(ModelAlias, (name, alias))
    if row is None:
        raise _no_alias(session, name, alias)
    return get_version(session, name, row.version)


def _no_alias(session: Session, name: str, alias: str) -> NotFoundError:
    numbers = [version.version for version in versions(session, name)]
    if not numbers:
        return _unfinished(session, name)
    return NotFoundError(
        f"model {name!r} has no alias {alias!r}; its versions are {', '.join(map(str, numbers))}: "
        f"ask for {name}@{numbers[0]}, or set the alias with PUT /models/{name}/aliases/{alias}",
        code="alias_not_found",
    )


def get_model(session: Session, name: str, *, lock: bool = False) -> Model:
    """A model by its name; ``lock`` holds others off its versions and aliases until the transaction ends.

    Raises:
        NotFoundError: No finished version under this name; says whether a job for it exists.
    """
    model = session.get(Model, name, with_for_update=lock)
    if model is None:
        raise _unfinished(session, name)
    return model


def _unfinished(session: Session, name: str) -> NotFoundError:
    """The error for a name without any version, which says what is under way."""
    newest = session.exec(
        select(TrainingJob).where(TrainingJob.model == name).order_by(col(TrainingJob.id).desc()).limit(1)
    ).first()
    if newest is None:
        return NotFoundError(f"model {name!r} does not exist", code="model_not_found")
    end = "succeeded, and its version was deleted" if newest.version else newest.status
    return NotFoundError(
        f"model {name!r} has no finished version: its newest job {newest.id} is {end}",
        code="no_finished_version",
    )


def get_version(session: Session, name: str, version: int) -> ModelVersion:
    """A version by its number.

    Raises:
        NotFoundError: The model has no such version.
    """
    row = session.get(ModelVersion, (name, version))
    if row is None:
        raise NotFoundError(f"model {name!r} has no version {version}", code="version_not_found")
    return row


def list_models(session: Session, limit: int, after: str | None) -> list[Model]:
    """Models by name."""
    query = select(Model).order_by(col(Model.name)).limit(limit)
    return list(session.exec(query.where(col(Model.name) > after) if after else query))


def versions(session: Session, name: str) -> list[ModelVersion]:
    """All versions of a model, the newest first."""
    query = select(ModelVersion).where(ModelVersion.model == name).order_by(col(ModelVersion.version).desc())
    return list(session.exec(query))


def in_production(session: Session, head: str) -> list[ModelVersion]:
    """The versions with this head that a bare model name means, by the models' names."""
    query = (
        select(ModelVersion)
        .join(
            ModelAlias,
            and_(col(ModelAlias.model) == ModelVersion.model, col(ModelAlias.version) == ModelVersion.version),
        )
        .where(ModelAlias.alias == PRODUCTION, ModelVersion.head == head)
        .order_by(col(ModelVersion.model))
    )
    return list(session.exec(query))


def aliases(session: Session, name: str) -> dict[str, int]:
    """Alias → version."""
    rows = session.exec(select(ModelAlias).where(ModelAlias.model == name).order_by(col(ModelAlias.alias)))
    return {row.alias: row.version for row in rows}


def delete_version(session: Session, name: str, version: int) -> str:
    """Forget a version.

    Returns:
        The key of its artifact, to be deleted once the transaction is committed.

    Raises:
        NotFoundError: No such version.
        ConflictError: An alias points at it.
    """
    row = get_version(session, name, version)
    holders = [alias for alias, number in aliases(session, name).items() if number == version]
    if holders:
        raise ConflictError(f"version {version} of {name!r} is in use as {', '.join(holders)}", code="version_in_use")
    session.delete(row)
    return row.artifact


def delete_alias(session: Session, name: str, alias: str) -> None:
    """Forget an alias; the version it pointed at stays.

    Raises:
        NotFoundError: No such alias.
    """
    row = session.get(ModelAlias, (name, alias))
    if row is None:
        raise _no_alias(session, name, alias)
    session.delete(row)


def delete_model(session: Session, name: str) -> list[str]:
    """Forget a model with all its versions and aliases; the name is free again.

    Returns:
        The keys of the artifacts, to be deleted once the transaction is committed.

    Raises:
        NotFoundError: No such model.
        ConflictError: A job that has not ended would bring another version.
    """
    get_model(session, name, lock=True)
    open_jobs = session.exec(
        select(TrainingJob.id).where(TrainingJob.model == name, col(TrainingJob.status).not_in(TERMINAL_STATUSES))
    ).all()
    if open_jobs:
        raise ConflictError(
            f"model {name!r} has jobs that have not ended: {', '.join(open_jobs[:5])}; cancel them first",
            code="model_in_use",
        )
    artifacts = [version.artifact for version in versions(session, name)]
    for table in (ModelAlias, ModelVersion):
        session.execute(delete(table).where(col(table.model) == name))
    session.execute(delete(Model).where(col(Model.name) == name))
    return artifacts
