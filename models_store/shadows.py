"""How often a shadow agreed with the version that answered: counted in every API process, added up in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from models_store.tables import ShadowFigures


@dataclass(slots=True)
class Tally:
    """What was counted and not yet written; see `ShadowFigures` for what the counts mean."""

    compared: int = 0
    disagreed: int = 0
    dropped: int = 0
    failed: int = 0
    last_error: str | None = None
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add what was counted later."""
        self.compared += other.compared
        self.disagreed += other.disagreed
        self.dropped += other.dropped
        self.failed += other.failed
        self.last_error = other.last_error or self.last_error
        self.examples = [*self.examples, *other.examples]


def record(session: Session, tallies: Mapping[int, Tally], keep: int) -> None:
    """Add counts to the figures; those of an alias that was deleted meanwhile are forgotten.

    Args:
        session: Of a transaction.
        tallies: By the change of the alias (`AliasChange.id`) under which the shadow ran.
        keep: Examples to keep, the latest.
    """
    for change_id, tally in sorted(tallies.items()):  # in one order, so that two processes do not wait for each other
        row = session.get(ShadowFigures, change_id, with_for_update=True)
        if row is None:
            continue
        row.compared += tally.compared
        row.disagreed += tally.disagreed
        row.dropped += tally.dropped
        row.failed += tally.failed
        row.last_error = tally.last_error or row.last_error
        row.examples = [*row.examples, *tally.examples][-keep:] if keep else []
        session.add(row)


def figures(session: Session, change_id: int | None) -> ShadowFigures | None:
    """The figures of a change of an alias; None where it has no shadow."""
    return None if change_id is None else session.get(ShadowFigures, change_id)
