"""Aliases: where their calls go, what they were before, and the way back.

Each change of an alias is a row; the newest says what the alias is now. A change remembers the one before it, so the
changes form a chain. A roll-back adds a row that takes its target's place in that chain: the next roll-back goes on
from there and never returns to what was left (decision 0018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import delete
from sqlmodel import Session, col, select

from models_store import registry
from models_store.errors import ConflictError, InvalidInputError, Problem
from models_store.tables import AliasChange, ModelAlias, ModelVersion, ShadowFigures, TrafficColumns

BY_API = "api"
BY_ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Canary:
    """A version that answers a share of the calls, ``weight``, between 0 and 1."""

    version: int
    weight: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Where an alias sends its calls.

    Attributes:
        version: Answers, but for the canary's share.
        canary: If there is one.
        shadow: The version that is asked as well and only compared, if there is one.
    """

    version: int
    canary: Canary | None = None
    shadow: int | None = None

    @classmethod
    def of(cls, row: TrafficColumns) -> Self:
        """What the columns say."""
        canary = None
        if row.canary_version is not None and row.canary_weight is not None:
            canary = Canary(row.canary_version, row.canary_weight)
        return cls(row.version, canary, row.shadow_version)

    def columns(self) -> dict[str, Any]:
        """For a row."""
        return {
            "version": self.version,
            "canary_version": self.canary.version if self.canary else None,
            "canary_weight": self.canary.weight if self.canary else None,
            "shadow_version": self.shadow,
        }


@dataclass(frozen=True, slots=True)
class AliasState:
    """An alias as it is now.

    Attributes:
        row: Its row.
        previous: The version that a roll-back would let it point at.
    """

    row: ModelAlias
    previous: int | None

    @property
    def traffic(self) -> Traffic:
        """Where its calls go."""
        return Traffic.of(self.row)


def set_alias(session: Session, name: str, alias: str, traffic: Traffic, by: str = BY_API) -> None:
    """Let an alias send its calls there, as a new alias or from now on; what it did before is over, canary and all.

    Raises:
        NotFoundError: No such model, or it has no such version.
        InvalidInputError: Canary or shadow are the version itself.
    """
    registry.get_model(session, name, lock=True)
    _check(session, name, traffic)
    row = session.get(ModelAlias, (name, alias))
    if row is not None and Traffic.of(row) == traffic:
        return  # nothing changes, and nothing is to be remembered
    before = _newest(session, name, alias)
    _change(session, name, alias, traffic, by, back_to=before.id if before else None)


def promote(session: Session, version: ModelVersion, alias: str, by: str = BY_API) -> None:
    """Let an alias send all its calls to a version."""
    set_alias(session, version.model, alias, Traffic(version.version), by)


def _check(session: Session, name: str, traffic: Traffic) -> None:
    for column, version in (
        ("version", traffic.version),
        ("canary.version", traffic.canary.version if traffic.canary else None),
        ("shadow", traffic.shadow),
    ):
        if version is None:
            continue
        registry.get_version(session, name, version)
        if column != "version" and version == traffic.version:
            message = f"version {version} answers already; name another one, or leave {column.partition('.')[0]} out"
            raise InvalidInputError(message, [Problem("same_version", message, column=column)])


def roll_back(session: Session, name: str, alias: str, *, leaving: int | None = None) -> None:
    """Let an alias send all its calls where it sent them before.

    Args:
        session: Of a transaction.
        name: The model.
        alias: The alias.
        leaving: The version that the caller believes to be leaving.

    Raises:
        NotFoundError: No such model or alias.
        ConflictError: Nothing it was before is left, or it does not point where the caller believes.
    """
    registry.get_model(session, name, lock=True)
    row = registry.get_alias(session, name, alias)
    if leaving not in (None, row.version):
        message = f"{alias!r} points at version {row.version}, not at {leaving}: it was changed meanwhile"
        raise ConflictError(message, code="alias_changed")
    target = _target(session, name, alias)
    if target is None:
        message = f"alias {alias!r} of {name!r} was never anything else whose version still exists"
        raise ConflictError(message, code="nothing_to_roll_back_to")
    _change(session, name, alias, Traffic(target.version), BY_ROLLBACK, back_to=target.back_to)


def roll_back_target(session: Session, name: str, alias: str) -> int | None:
    """The version that `roll_back` would go to, if to any.

    Raises:
        NotFoundError: No such model or alias.
    """
    registry.get_model(session, name)
    registry.get_alias(session, name, alias)
    target = _target(session, name, alias)
    return None if target is None else target.version


def state(session: Session, name: str, alias: str) -> AliasState:
    """An alias as it is now.

    Raises:
        NotFoundError: No such model or alias.
    """
    registry.get_model(session, name)
    return _state(session, registry.get_alias(session, name, alias))


def states(session: Session, name: str) -> list[AliasState]:
    """The aliases of a model by name."""
    query = select(ModelAlias).where(ModelAlias.model == name).order_by(col(ModelAlias.alias))
    return [_state(session, row) for row in session.exec(query)]


def history(session: Session, name: str, alias: str, limit: int) -> list[AliasChange]:
    """What an alias was set to, the newest first: its present state is the first."""
    query = select(AliasChange).where(AliasChange.model == name, AliasChange.alias == alias)
    return list(session.exec(query.order_by(col(AliasChange.id).desc()).limit(limit)))


def delete_alias(session: Session, name: str, alias: str) -> None:
    """Forget an alias and its history; the versions stay.

    Raises:
        NotFoundError: No such model or alias.
    """
    registry.get_model(session, name, lock=True)
    row = registry.get_alias(session, name, alias)
    changes = (col(AliasChange.model) == name) & (col(AliasChange.alias) == alias)
    session.execute(
        delete(ShadowFigures).where(col(ShadowFigures.change_id).in_(select(AliasChange.id).where(changes)))
    )
    session.execute(delete(AliasChange).where(changes))
    session.delete(row)


def _state(session: Session, row: ModelAlias) -> AliasState:
    target = _target(session, row.model, row.alias)
    return AliasState(row, target.version if target else None)


def _newest(session: Session, name: str, alias: str) -> AliasChange | None:
    return next(iter(history(session, name, alias, limit=1)), None)


def _target(session: Session, name: str, alias: str) -> AliasChange | None:
    """The latest change before the present one whose version alone would answer otherwise, and still exists.

    Where there is a canary, this may be the present version without it.
    """
    now = _newest(session, name, alias)
    step = now
    while now is not None and step is not None and step.back_to is not None:
        step = session.get(AliasChange, step.back_to)
        if step is None or (step.version == now.version and now.canary_version is None):
            continue
        if session.get(ModelVersion, (name, step.version)) is not None:
            return step
    return None


def _change(session: Session, name: str, alias: str, traffic: Traffic, by: str, back_to: int | None) -> None:
    change = AliasChange(model=name, alias=alias, changed_by=by, back_to=back_to, **traffic.columns())
    session.add(change)
    session.flush()
    if traffic.shadow is not None and change.id is not None:
        session.add(ShadowFigures(change_id=change.id))
    row = session.get(ModelAlias, (name, alias)) or ModelAlias(model=name, alias=alias, version=traffic.version)
    row.sqlmodel_update({**traffic.columns(), "updated_at": change.changed_at})
    session.add(row)
    session.flush()
