"""Whether a new version becomes ``production``: always, never, or if it beats what is there (decision 0018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlmodel import Session

from models_store import aliases
from models_store.registry import PRODUCTION
from models_store.reports import Comparison
from models_store.specs import Promotion
from models_store.tables import ModelAlias, ModelVersion, TrainingJob


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a version was promoted, and why.

    Attributes:
        promoted: What is true once the transaction is committed.
        reason: For a person.
        level: Of the event that tells so: a warning where nobody can say whether the version is better.
    """

    promoted: bool
    reason: str
    level: Literal["info", "warning"] = "info"


def settle(session: Session, job: TrainingJob, version: ModelVersion, comparison: Comparison | None) -> Verdict:
    """Let ``production`` point at a version that has just been published, if that is to be.

    Belongs to the transaction that published it, which holds others off the model's aliases: what is compared with
    here is still there when the alias moves.

    Args:
        session: Of that transaction.
        job: Whose version it is.
        version: The version.
        comparison: With the version in production when the training began, if there was one and it was asked for.
    """
    asked = Promotion(job.spec.get("promote", Promotion.ALWAYS))
    production = session.get(ModelAlias, (job.model, PRODUCTION))
    verdict = _verdict(asked, production.version if production else None, comparison)
    if verdict.promoted:
        aliases.promote(session, version, PRODUCTION, by=f"job {job.id}")
    return verdict


def outcome(asked: Promotion, verdict: Verdict, comparison: Comparison | None) -> dict[str, Any]:
    """What the job's result says of its promotion."""
    compared = (comparison or Comparison()).model_dump()
    return {"asked": asked.value, "promoted": verdict.promoted, "reason": verdict.reason, **compared}


def _verdict(asked: Promotion, production: int | None, comparison: Comparison | None) -> Verdict:
    if asked is not Promotion.IF_BETTER:
        return Verdict(asked is Promotion.ALWAYS, f"the job asked for promotion: {asked.value}")
    if production is None:
        return Verdict(True, f"there was no {PRODUCTION} version")
    if comparison is None or comparison.compared_with != production:
        reason = f"version {production}, now in {PRODUCTION}, came there during the training and was not compared"
        return Verdict(False, reason, "warning")
    if comparison.old is None or comparison.new is None:
        reason = f"it could not be compared with version {production}: {comparison.obstacle}"
        return Verdict(False, reason, "warning")
    figures = f"{comparison.metric} {comparison.new:.4f}, version {production} has {comparison.old:.4f}"
    rows = f"{comparison.rows} {comparison.split} rows"
    if comparison.new > comparison.old:
        return Verdict(True, f"it is better on {rows}: {figures}")
    return Verdict(False, f"it is not better on {rows}: {figures}")
