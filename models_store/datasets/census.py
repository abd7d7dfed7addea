"""What is remembered of every row, in a few bytes each, so that all rows of all files can be compared."""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.labels import labels_of
from models_store.datasets.tables import LocatedRow
from models_store.tasks import Row
from models_store.tasks.bio import entity_spans

_MEANINGFUL = frozenset("#%&@*/\\")  # C# is not C
_BEFORE_NO_DIGIT = re.compile(r"[.,-](?![0-9])")  # 1.5 is not 15, nor is -5 5


class _Punctuation(dict[int, str | None]):
    """What becomes of each character where punctuation and blanks do not count, for `str.translate`.

    Letters of all scripts stay, with their marks, and so do symbols: an emoji may be all that a text says.
    """

    def __missing__(self, code: int) -> str | None:
        sign = chr(code)
        drops = sign.isspace() or (unicodedata.category(sign).startswith("P") and sign not in _MEANINGFUL)
        self[code] = None if drops else sign
        return self[code]


_DROPPED = _Punctuation({ord(sign): sign for sign in ".,-\x1f"})


def row_key(row: Row) -> str:
    """What makes two rows the same input: the text without regard to case and blanks."""
    texts = [" ".join(row["tokens"])] if "tokens" in row else [row["text"], row.get("text_pair", "")]
    return "\x1f".join(" ".join(text.split()).casefold() for text in texts)


def loose_key(key: str) -> str:
    """What makes two rows nearly the same input: besides, without punctuation."""
    loose = _BEFORE_NO_DIGIT.sub("", key.translate(_DROPPED))
    return loose if loose.strip("\x1f") else key  # punctuation alone is what the text says


class Vocabulary:
    """Labels by number, shared by the splits of a data set."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def numbers(self, labels: Iterable[str]) -> list[int]:
        """The numbers of labels, new ones for those never seen."""
        found = []
        for label in labels:
            number = self._numbers.get(label)
            if number is None:
                number = self._numbers[label] = len(self.names)
                self.names.append(label)
            found.append(number)
        return found


@dataclass
class Census:
    """The rows of one split. All arrays have an entry a row, but for the ragged `labels`.

    Attributes:
        vocabulary: Of the numbers in `labels`.
        tagged: Whether the rows are tagged sentences.
        lines: Where each row starts.
        keys: Hashes of `row_key`. Of 64 bits: that two of a million different rows share one is a chance of 3 in 10⁸.
        loose: Hashes of `loose_key`.
        answers: Hashes of what the row is to be answered with.
        lengths: Characters of its texts.
        labels: Labels of a row, or different tags, one row after the other.
        starts: The place of each row's first one in `labels`, and at the end that of the last row's last one.
        counts: How often each label stands in the split: rows, or entities or words where text is tagged.
    """

    vocabulary: Vocabulary
    tagged: bool = False
    lines: array[int] = field(default_factory=lambda: array("q"))
    keys: array[int] = field(default_factory=lambda: array("q"))
    loose: array[int] = field(default_factory=lambda: array("q"))
    answers: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("q"))
    labels: array[int] = field(default_factory=lambda: array("q"))
    starts: array[int] = field(default_factory=lambda: array("q", [0]))
    counts: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.lines)

    def add(self, row: LocatedRow, *, entities: bool = False) -> None:
        """Remember a row; ``entities`` where its tags mark some."""
        values = row.values
        key = row_key(values)
        self.lines.append(row.line)
        self.keys.append(hash(key))
        self.loose.append(hash(loose_key(key)))
        if self.tagged:
            tags = values["tags"]
            self.answers.append(hash(tuple(tags)))
            self.lengths.append(sum(map(len, values["tokens"])) + len(tags) - 1)
            self.labels.extend(self.vocabulary.numbers(sorted(set(tags))))
            self.counts.update([label for label, _, _ in entity_spans(tags)] if entities else tags)
        else:
            labels = labels_of(values)
            self.answers.append(hash(values["score"]) if "score" in values else hash(tuple(labels)))
            self.lengths.append(len(values["text"]) + len(values.get("text_pair", "")))
            self.labels.extend(self.vocabulary.numbers(labels))
            self.counts.update(labels)
        self.starts.append(len(self.labels))

    def labels_of(self, row: int) -> array[int]:
        """The labels, or different tags, of a row."""
        return self.labels[self.starts[row] : self.starts[row + 1]]

    def owners(self) -> NDArray[np.int64]:
        """The row of each entry of `labels`."""
        starts = numbers(self.starts)
        return np.repeat(np.arange(len(self)), starts[1:] - starts[:-1])

    def names_of(self, row: int) -> list[str]:
        """The same by name."""
        return [self.vocabulary.names[number] for number in self.labels_of(row)]


def numbers(values: array[int]) -> NDArray[np.int64]:
    """An array as numpy sees it; no copy, so nothing may be appended while it is used."""
    return np.frombuffer(values, np.int64) if len(values) else np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows that share a hash.

    Attributes:
        of: The group of each row; groups are numbered in the order of their first rows.
        order: All rows, group by group, each in its order.
        starts: Of each group in `order`, and at the end the number of rows.
    """

    of: NDArray[np.int64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self, group: int) -> list[int]:
        """The rows of a group."""
        rows: list[int] = self.order[self.starts[group] : self.starts[group + 1]].tolist()
        return rows

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many rows each has."""
        return np.diff(self.starts)

    @property
    def firsts(self) -> NDArray[np.int64]:
        """The first row of each."""
        return self.order[self.starts[:-1]]


def grouped(hashes: array[int]) -> Groups:
    """Group rows by their hash."""
    _, first, inverse = np.unique(numbers(hashes), return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    of = rank[inverse]
    order = np.argsort(of, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=len(first)))]) if len(of) else np.zeros(1)
    return Groups(of, order, starts.astype(np.int64))
