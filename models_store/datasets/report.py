"""What is wrong with an upload: rows that are refused or skipped, and what spoils a file as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from models_store.errors import InvalidDatasetError, Problem, ProblemList

_VALUE_CHARACTERS = 80


class OnError(StrEnum):
    """What is done with rows that are wrong."""

    REFUSE = "refuse"
    SKIP = "skip"


class Report:
    """Collects problems while files are read.

    Attributes:
        errors: What the upload is refused for.
        skipped: Rows that are left out, each with what is wrong with it, where the uploader wants that.
    """

    def __init__(self, on_error: OnError = OnError.REFUSE, *, shown: int = 100) -> None:
        self.on_error = on_error
        self.errors = ProblemList(shown)
        self.skipped = ProblemList(shown)
        self._wrong_rows = 0

    @property
    def rows(self) -> ProblemList:
        """Where the problems of single rows go."""
        return self.skipped if self.on_error is OnError.SKIP else self.errors

    def wrong_row(self, problem: Problem) -> None:
        """Note what is wrong with a row, which then is no part of the data set."""
        self.rows.add(problem)

    def wrong(self, problem: Problem) -> None:
        """Note what is wrong with a file, whatever is done with its rows."""
        self.errors.add(problem)

    def check(self) -> None:
        """Refuse the upload if it is to be refused.

        Raises:
            InvalidDatasetError: It is.
        """
        if self.errors.count:
            raise InvalidDatasetError(self.errors)


def excerpt(value: object) -> str:
    """A value cut short, as it stands in a report."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}…"
