"""What stands in a cell → text, label or score, or what is wrong with it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from models_store.characters import is_text
from models_store.datasets.labels import Place, label_problem, label_set
from models_store.datasets.readers.sheet import Cell
from models_store.datasets.report import Report, excerpt
from models_store.errors import Problem, ProblemList, quoted

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class RowCleaner:
    """Turns the cells of rows into values of a data set.

    Args:
        name: The file's, for messages.
        columns: Our field → its column, in the order of the cells.
        lists: Whether a label may be a list of them.
        separator: Stands between the labels of a row that may have several.
        report: Gets what is wrong.
    """

    def __init__(
        self,
        name: str,
        columns: Mapping[str, str],
        report: Report,
        *,
        lists: bool = False,
        separator: str | None = None,
    ) -> None:
        self._name = name
        self._columns = columns
        self._fields = tuple(columns)
        self._report = report
        self._lists = lists
        self._separator = separator
        self._several = True if separator is not None else None  # None until the first label has been seen

    @property
    def several(self) -> bool:
        """Whether a row has a list of labels, as the first one has told."""
        return bool(self._several)

    def clean(self, line: int, cells: Any) -> dict[str, Any] | None:
        """The values of one row; texts stay as they are, labels and scores lose the blanks around them."""
        found = ProblemList()
        row: dict[str, Any] = {}
        for field, cell in zip(self._fields, cells, strict=True):
            place = (self._name, line, self._columns[field])
            if cell != cell and field != "score":  # not a number: how pandas writes that there is nothing
                cell = None
            if field == "label":
                row[field] = self._label(cell, place, found)
            elif field == "score":
                row[field] = _score(cell, place, found)
            else:
                row[field] = _text(field, cell, place, found)
        if not found.count:
            return row
        for problem in found.kept:
            self._report.wrong_row(problem)
        return None

    def _label(self, cell: Cell, place: Place, found: ProblemList) -> str | list[str]:
        is_list = isinstance(cell, list) and self._lists
        if self._several is None:
            self._several = is_list
        before = found.count
        labels = [_plain(part, place, found) for part in cell] if is_list else []
        text = "" if is_list else _plain(cell, place, found).strip()
        if found.count > before:
            return []
        if self._separator is not None:
            return label_set(labels or text, self._separator, place, found)
        if not is_list and not text:
            found.add(_missing("label", place, cell))
            return []
        if is_list is not self.several:
            first, here = ("one label", "a list of labels")[:: 1 if is_list else -1]
            message = f"{first} in the first row, {here} here; write every label as a list"
            found.add(Problem("mixed_labels", message, *place, value=excerpt(cell)))
            return []
        if is_list:
            return label_set(labels, None, place, found)
        if (problem := label_problem(text, place)) is not None:
            found.add(problem)
        return text


def _text(field: str, cell: Cell, place: Place, found: ProblemList) -> str:
    before = found.count
    text = _plain(cell, place, found)
    if found.count == before and not text.strip():
        found.add(_missing(field, place, cell))
    if "\0" in text:
        found.add(Problem("nul_byte", "the field holds a NUL byte", *place, value=excerpt(text)))
    return text


def _score(cell: Cell, place: Place, found: ProblemList) -> float:
    before = found.count
    text = _plain(cell, place, found).strip()
    if not text:
        if found.count == before:
            found.add(_missing("score", place, cell))
        return math.nan
    # float() alone would take 1_000 and digits of other scripts, too.
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        message = f"{quoted(text)} is not a finite number such as 3.5 (with a decimal point)"
        found.add(Problem("invalid_score", message, *place, value=excerpt(text)))
    return number


def _missing(field: str, place: Place, cell: Cell) -> Problem:
    value = excerpt(cell) if isinstance(cell, str) and cell else None
    return Problem(f"missing_{field}", f"{place[2]} is empty", *place, value=value)


def _plain(cell: Cell, place: Place, found: ProblemList) -> str:
    """A cell as the text that a CSV file would hold: numbers as JSON writes them, nothing at all for ``null``."""
    if isinstance(cell, str):
        if not cell.isascii() and not is_text(cell):
            message = "the text holds half of a surrogate pair (an escape such as \\ud83d), which is no character"
            found.add(Problem("invalid_text", message, *place))
            return ""
        return cell
    if cell is None:
        return ""
    if isinstance(cell, bool | int | float):
        return json.dumps(cell)
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    if isinstance(cell, Decimal):
        return str(cell)
    kind = "a list" if isinstance(cell, list) else "an object" if isinstance(cell, dict) else type(cell).__name__
    message = f"{place[2]} is or holds {kind} where a text is expected"
    found.add(Problem("not_a_text", message, *place, value=excerpt(cell)))
    return ""
