"""A table as a file holds it, before anybody knows what its columns mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

Cell = Any  # a text, a number, a truth value, None, a list or an object: what the format can hold


class Sheet(Protocol):
    """The rows of one file, which are read once.

    Attributes:
        format: What the file is, such as ``csv``.
        header: Its columns.
        header_line: Where they stand.
    """

    format: str
    header: Sequence[str]
    header_line: int

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[Cell]]]:
        """Each row's line, or its number where the format has no lines, and its values in these columns."""
        ...
