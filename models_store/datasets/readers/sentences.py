"""What files of tagged text hold, before their tags are understood."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from models_store.datasets.report import Report


@dataclass(slots=True)
class Sentence:
    """Tokens with their tags.

    Attributes:
        lines: Where each token stands.
        tokens: The words.
        tags: Of each word, as written.
        whole: Unless one of its lines was refused.
        first: The line at which it starts, wrong lines included.
    """

    lines: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    whole: bool = True
    first: int = 0

    def add(self, line: int, token: str, tag: str) -> None:
        """Take a token in."""
        self.first = self.first or line
        self.lines.append(line)
        self.tokens.append(token)
        self.tags.append(tag)


class TaggedFile(Protocol):
    """A file of tagged sentences.

    Attributes:
        format: What the file is, such as ``conll``.
        columns: Our field → the file's column, where it has names.
    """

    format: str
    columns: dict[str, str]

    def sentences(self, report: Report) -> Iterator[Sentence]:
        """Read the file from its start; may be called again."""
        ...


def line_of(lines: Sequence[int], index: int) -> int:
    """Where a token stands; in formats without lines of their own, where its row does."""
    return lines[index] if index < len(lines) else lines[-1]
