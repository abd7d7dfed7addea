"""Models and their versions: publish, resolve, delete. `models_store.aliases` sets what an alias means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, func, or_
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from models_store.errors import ConflictError, NotFoundError, quoted
from models_store.tables import (
    TERMINAL_STATUSES,
    AliasChange,
    FilePrediction,
    Model,
    ModelAlias,
    ModelVersion,
    PredictionStatus,
    ShadowFigures,
    TrainingJob,
)

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
    """Add the job's version, and hold others off the model's versions and aliases until the transaction ends.

    Belongs to the transaction that ends the job; `models_store.promotion` then decides what ``production`` becomes.

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


@dataclass(frozen=True, slots=True)
class Route:
    """What a reference means: the version that answers, and for an alias those beside it.

    Attributes:
        primary: Answers, but for the canary's share.
        canary: Answers a share of the calls, ``weight``, if there is one.
        weight: Between 0 and 1.
        shadow: Is asked as well, and compared with the primary, if there is one.
        change: The change of the alias by which it got its shadow (`AliasChange.id`).
    """

    primary: ModelVersion
    canary: ModelVersion | None = None
    weight: float = 0.0
    shadow: ModelVersion | None = None
    change: int | None = None


def resolve(session: Session, reference: str) -> ModelVersion:
    """The version that ``name``, ``name@3`` or ``name@alias`` means; a bare name means ``name@production``.

    Raises:
        NotFoundError: No such model, version or alias; the message says which, and what is under way.
    """
    return route(session, reference).primary


def route(session: Session, reference: str) -> Route:
    """The version that a reference means, with the canary and the shadow that an alias may have.

    Raises:
        NotFoundError: No such model, version or alias; the message says which, and what is under way.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise NotFoundError(f"{quoted(reference)} is no model reference; write name, name@3 or name@alias")
    name = match["name"]
    get_model(session, name)
    if match["version"]:
        return Route(get_version(session, name, int(match["version"])))
    row = get_alias(session, name, match["alias"] or PRODUCTION)
    return Route(
        get_version(session, name, row.version),
        canary=_beside(session, name, row.canary_version),
        weight=row.canary_weight or 0.0,
        shadow=_beside(session, name, row.shadow_version),
        change=None if row.shadow_version is None else _newest_change(session, row),
    )


def _beside(session: Session, name: str, version: int | None) -> ModelVersion | None:
    return None if version is None else session.get(ModelVersion, (name, version))


def _newest_change(session: Session, row: ModelAlias) -> int | None:
    query = select(func.max(AliasChange.id)).where(AliasChange.model == row.model, AliasChange.alias == row.alias)
    return session.exec(query).one()


def get_alias(session: Session, name: str, alias: str) -> ModelAlias:
    """An alias of a model that exists.

    Raises:
        NotFoundError: It has no such alias; the message says what to ask for instead.
    """
    row = session.get(ModelAlias, (name, alias))
    if row is None:
        raise _no_alias(session, name, alias)
    return row


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


def delete_version(session: Session, name: str, version: int) -> str:
    """Forget a version.

    Returns:
        The key of its artifact, to be deleted once the transaction is committed.

    Raises:
        NotFoundError: No such version.
        ConflictError: An alias has it, be it as canary or shadow.
    """
    row = get_version(session, name, version)
    if holders := _holders(session, name, version):
        raise ConflictError(f"version {version} of {name!r} is in use as {', '.join(holders)}", code="version_in_use")
    if answering := _answering(session, name, version):
        raise ConflictError(
            f"version {version} of {name!r} is answering the file of {answering}", code="version_in_use"
        )
    session.delete(row)
    return row.artifact


def _answering(session: Session, name: str, version: int | None = None) -> str | None:
    """A file that a version of the model has not answered to its end yet."""
    f = FilePrediction
    query = select(f.id).where(f.model == name, f.status == PredictionStatus.RUNNING).limit(1)
    return session.exec(query if version is None else query.where(f.version == version)).first()


def _holders(session: Session, name: str, version: int) -> list[str]:
    """The aliases that a version is in use for, and as what."""
    a = ModelAlias
    uses = or_(col(a.version) == version, col(a.canary_version) == version, col(a.shadow_version) == version)
    rows = session.exec(select(a).where(a.model == name, uses).order_by(col(a.alias)))
    roles = [
        (row.alias, role)
        for row in rows
        for role, number in (("", row.version), ("canary of ", row.canary_version), ("shadow of ", row.shadow_version))
        if number == version
    ]
    return [f"{role}{alias}" for alias, role in roles]


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
    if answering := _answering(session, name):
        raise ConflictError(f"model {name!r} is answering the file of {answering}", code="model_in_use")
    artifacts = [version.artifact for version in versions(session, name)]
    changes = select(AliasChange.id).where(AliasChange.model == name)
    session.execute(delete(ShadowFigures).where(col(ShadowFigures.change_id).in_(changes)))
    for table in (AliasChange, ModelAlias, ModelVersion):
        session.execute(delete(table).where(col(table.model) == name))
    session.execute(delete(Model).where(col(Model.name) == name))
    return artifacts
