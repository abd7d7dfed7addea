"""What travels over HTTP about aliases: where their calls go, what they were, and how their shadow does."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.examples import shown_as
from models_store.aliases import AliasState, Canary, Traffic
from models_store.tables import AliasChange, ShadowFigures

_Version = Annotated[int, Field(strict=True, ge=1, lt=2**31)]
_Weight = Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False, description="Share of the calls")]


class CanaryIn(BaseModel):
    """A version that is to answer a share of the calls."""

    model_config = ConfigDict(extra="forbid")

    version: _Version
    weight: _Weight


class AliasIn(BaseModel):
    """The body of ``PUT /models/{name}/aliases/{alias}``: the whole truth, so what is left out is none."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"version": 2},
                {"version": 2, "canary": {"version": 3, "weight": 0.1}},
                {"version": 2, "shadow": 3},
            ]
        },
    )

    version: Annotated[_Version, Field(description="The version to point at")]
    canary: Annotated[CanaryIn | None, Field(description="Another version that answers a share of the calls")] = None
    shadow: Annotated[
        _Version | None, Field(description="Another version that is asked as well, and only compared")
    ] = None

    def traffic(self) -> Traffic:
        """Where the calls are to go."""
        canary = Canary(self.canary.version, self.canary.weight) if self.canary else None
        return Traffic(self.version, canary, self.shadow)


class RollbackIn(BaseModel):
    """The body of ``POST /models/{name}/aliases/{alias}/rollback``, which may be left out."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"from_version": 3}]})

    from_version: Annotated[
        _Version | None, Field(description="Only if the alias points at this one: a repeated call then goes back once")
    ] = None


class CanaryOut(BaseModel):
    """A version that answers a share of the calls."""

    version: int
    weight: float


class TrafficOut(BaseModel):
    """Where the calls of an alias go."""

    version: int
    canary: CanaryOut | None
    shadow: int | None


class AliasDetail(TrafficOut):
    """An alias as it is now."""

    updated_at: datetime
    previous: Annotated[int | None, Field(description="The version that a roll-back returns to")]

    @classmethod
    def of(cls, state: AliasState, **more: Any) -> Self:
        """The alias of a state."""
        traffic = _traffic(state.traffic)
        return cls(**traffic, updated_at=state.row.updated_at, previous=state.previous, **more)


class AliasChangeOut(TrafficOut):
    """What an alias was set to."""

    changed_at: datetime
    changed_by: Annotated[str, Field(description="api, rollback, job job_…, or migration")]

    @classmethod
    def of(cls, row: AliasChange) -> Self:
        """The change of a table row."""
        return cls(**_traffic(Traffic.of(row)), changed_at=row.changed_at, changed_by=row.changed_by)


class ShadowReport(BaseModel):
    """How often the shadow decided like the version that answered, since the alias was set to have it."""

    version: int
    since: datetime
    compared: Annotated[int, Field(description="Inputs that both have answered")]
    disagreed: int
    agreement: Annotated[float | None, Field(description="Share of the compared; null: none yet")]
    dropped: Annotated[int, Field(description="Inputs not compared, there being too much else to do")]
    failed: Annotated[int, Field(description="Inputs that the shadow could not answer")]
    last_error: str | None
    examples: Annotated[
        list[dict[str, Any]], Field(description="The latest disagreements, where THAWLINE_SHADOW_EXAMPLES keeps some")
    ]

    @classmethod
    def of(cls, version: int, since: datetime, row: ShadowFigures) -> ShadowReport:
        """The report of a table row."""
        counts = row.model_dump(exclude={"change_id"})
        agreement = 1 - row.disagreed / row.compared if row.compared else None
        return cls(version=version, since=since, agreement=agreement, **counts)


class AliasOut(AliasDetail):
    """An alias with its history, the newest first: the first is what it is now."""

    model_config = shown_as("alias")

    object: Literal["model.alias"] = "model.alias"
    model: str
    alias: str
    shadow_report: ShadowReport | None
    history: list[AliasChangeOut]

    @classmethod
    def whole(cls, state: AliasState, changes: list[AliasChange], figures: ShadowFigures | None) -> Self:
        """The alias with the newest of its changes, and the figures of its present shadow."""
        row, shadow = state.row, state.traffic.shadow
        report = ShadowReport.of(shadow, row.updated_at, figures) if shadow is not None and figures else None
        past = [AliasChangeOut.of(change) for change in changes]
        return cls.of(state, model=row.model, alias=row.alias, shadow_report=report, history=past)


def _traffic(traffic: Traffic) -> dict[str, Any]:
    canary = traffic.canary
    return {
        "version": traffic.version,
        "canary": CanaryOut(version=canary.version, weight=canary.weight) if canary else None,
        "shadow": traffic.shadow,
    }
