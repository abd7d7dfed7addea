"""What files of tagged text hold, before their tags are understood."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Protocol

from models_store.datasets.report import Report
from models_store.datasets.source import SourceFile
from models_store.errors import UnreadableFileError

_ADVICE = (
    "for tagging send CoNLL (a token and its tag on each line, parted by a tab, and a blank line between sentences) "
    'or JSON Lines ({"tokens": ["…"], "tags": ["…"]}, or {"text": "…", "entities": [{"start", "end", "label"}]}), '
    "Parquet or Arrow with such columns"
)


@dataclass(slots=True)
class Sentence:
    """Tokens with their tags.

    Attributes:
        lines: Where each token stands.
        tokens: The words.
        tags: Of each word, as written.
        whole: Unless one of its lines was refused.
        first: The line at which it starts, wrong lines included.
        text: In which they stand, where it is known.
        starts: Where each token begins in the text, in characters.
        split: What its row says it is for, if it has a column for that.
    """

    lines: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    whole: bool = True
    first: int = 0
    text: str | None = None
    starts: list[int] = field(default_factory=list)
    split: Any = None

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
        columns: Our field → the file's column, by name or number from 1; known once rows have been read.
    """

    format: str
    columns: dict[str, str]

    def sentences(self, report: Report) -> Iterator[Sentence]:
        """Read the file from its start; may be called again."""
        ...


def not_tagged(source: SourceFile, kind: str) -> UnreadableFileError:
    """The error for a table, such as ``a workbook``, where tagged text is wanted."""
    return source.unreadable("unsupported_format", f"this is {kind}, which holds no tagged text; {_ADVICE}")


def with_text(sentence: Sentence) -> Sentence:
    """The same sentence with a text: its own, or the tokens with one blank between them."""
    if sentence.text is None:
        sentence.text = " ".join(sentence.tokens)
        sentence.starts = list(accumulate((len(token) + 1 for token in sentence.tokens[:-1]), initial=0))
    return sentence


def line_of(lines: Sequence[int], index: int) -> int:
    """Where a token stands; in formats without lines of their own, where its row does."""
    return lines[index] if index < len(lines) else lines[-1]
