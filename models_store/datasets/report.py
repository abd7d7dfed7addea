"""What is wrong with an upload: rows that are refused or skipped, and what spoils a file as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from models_store.errors import Problem, ProblemList

MAX_LINES = 20  # of a warning, of which all rows are counted
_VALUE_CHARACTERS = 80


class OnError(StrEnum):
    """What is done with rows that are wrong."""

    REFUSE = "refuse"
    SKIP = "skip"


@dataclass(slots=True)
class Notice:
    """What is no error of some rows and yet worth knowing: how many they are, and the lines of the first."""

    count: int = 0
    lines: list[int] = field(default_factory=list)


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
        self._notices: dict[tuple[str, str, str], Notice] = {}

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

    def notice(self, code: str, message: str, file: str, line: int | None = None) -> None:
        """Note what is no error and yet worth knowing.

        Args:
            code: Of the warning.
            message: What goes behind the number of rows, the same for all of them, such as ``row(s) were cut``.
            file: In which it stands.
            line: Of the row; None where it is said of the file as a whole, and then once, without a number.
        """
        notice = self._notices.setdefault((code, message, file), Notice())
        if line is not None:
            notice.count += 1
            if len(notice.lines) < MAX_LINES:
                notice.lines.append(line)

    def warnings(self) -> list[dict[str, Any]]:
        """A warning for all that was noted of a file under one code."""
        return [
            {
                "code": code,
                "message": f"{found.count} {message}" if found.count else message,
                "file": file,
                "lines": found.lines,
            }
            for (code, message, file), found in self._notices.items()
        ]


def excerpt(value: object, limit: int = _VALUE_CHARACTERS) -> str:
    """A value cut short, as it stands in a report."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
