"""What is wrong with an upload: rows that are refused or skipped, and what spoils a file as a whole."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from models_store.errors import Problem, ProblemList

_VALUE_CHARACTERS = 80


class OnError(StrEnum):
    """What is done with rows that are wrong."""

    REFUSE = "refuse"
    SKIP = "skip"


class Report:
    """Collects problems while files are read.

    Args:
        on_error: What is done with rows that are wrong.
        write_down: Gets every problem of a row that is left out; only the first hundred are kept here.

    Attributes:
        errors: What the upload is refused for.
        skipped: What is wrong with rows that are left out, where the uploader wants that.
        skipped_rows: How many these are.
    """

    def __init__(
        self, on_error: OnError = OnError.REFUSE, write_down: Callable[[Problem], None] = lambda _: None
    ) -> None:
        self.on_error = on_error
        self.errors = ProblemList()
        self.skipped = ProblemList()
        self.skipped_rows = 0
        self._write_down = write_down
        self._place: tuple[str | None, int | None] = (None, None)

    def wrong_row(self, problem: Problem, *, row: int | None = None) -> None:
        """Note what is wrong with a row, which is left out then; ``row`` is where it starts, if not there."""
        if self.on_error is OnError.REFUSE:
            self.errors.add(problem)
            return
        place = (problem.file, problem.line if row is None else row)
        self.skipped_rows += place != self._place  # several things may be wrong with one row
        self._place = place
        self.skipped.add(problem)
        self._write_down(problem)

    def wrong(self, problem: Problem) -> None:
        """Note what is wrong with a file, whatever is done with its rows."""
        self.errors.add(problem)


def excerpt(value: object) -> str:
    """A value cut short, as it stands in a report."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}…"
