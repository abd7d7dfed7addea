"""Marked parts of a text: whether they are sound, and the words and tags that they make."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from models_store.errors import quoted
from models_store.tasks.bio import OUTSIDE
from models_store.tasks.words import Word, WordSplitter

_STARTS, _ENDS, _LABELS = ("start", "start_offset"), ("end", "end_offset"), ("label", "labels", "type", "tag")
_LIKE_A_TAG = re.compile(r"[BIESLU]-[^a-z]")  # and not B-cell or E-mail
_CLUSTERS = Split(Regex(r"\X"), behavior="isolated")
# Latin, Han and Kana: two of them never are one character, but for a line feed behind a return.
_SOLITARY = re.compile("[\u0000-\u02ff\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff]")
_LONGEST_CLUSTER = 64  # characters; whoever writes longer ones means no text


@dataclass(frozen=True, slots=True)
class Span:
    """A marked part of a text: ``text[start:end]``."""

    start: int
    end: int
    label: str

    @property
    def is_like_a_tag(self) -> bool:
        """Whether its label looks like a tag, such as ``B-PER``."""
        return _LIKE_A_TAG.match(self.label) is not None


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a row; see `models_store.errors.Problem`."""

    code: str
    message: str
    column: str | None = None
    value: object = None


class WrongRowError(Exception):
    """A row that cannot be read, with all that is wrong with it."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults[0].message)
        self.faults = faults


def spans_of(text: str, given: Sequence[Any], column: str) -> list[Span]:
    """The spans that objects or lists of a row describe.

    Raises:
        WrongRowError: Some mark nothing, overlap, or begin or end within a character as readers see it.
    """
    faults: list[Fault] = []
    spans: list[Span] = []
    for one in given:
        found = _span(text, one, column)
        fault = found if isinstance(found, Fault) else _fault_of(text, found, column)
        if fault is not None:
            faults.append(fault)
        elif isinstance(found, Span):
            spans.append(found)
    faults += _overlaps(spans, column)
    if faults:
        raise WrongRowError(*faults)
    return spans


def _span(text: str, given: Any, column: str) -> Span | Fault:
    if isinstance(given, list) and len(given) == 3:
        start, end, label = given
    elif isinstance(given, dict):
        start, end, label = (_first(given, names) for names in (_STARTS, _ENDS, _LABELS))
    else:
        message = 'an entity is {"start": 0, "end": 3, "label": "…"} or [0, 3, "…"]'
        return Fault("invalid_span", message, column, given)
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    numbers = all(isinstance(offset, int) and not isinstance(offset, bool) for offset in (start, end))
    if not numbers or not isinstance(label, str) or not label.strip():
        message = "an entity has a start and an end, which are whole numbers, and one label"
        return Fault("invalid_span", message, column, given)
    if label.strip() == OUTSIDE:
        message = f"{OUTSIDE} is the tag of what is no entity: leave such spans out"
        return Fault("invalid_span", message, column, given)
    if isinstance(given, dict) and isinstance(said := given.get("text"), str) and text[start:end] != said:
        message = (
            f"the entity is said to be {quoted(said)}, and from {start} to {end} the text has "
            f"{quoted(text[start:end])}: offsets count characters, not bytes"
        )
        return Fault("misaligned_span", message, column, given)
    return Span(start, end, label.strip())


def _fault_of(text: str, span: Span, column: str) -> Fault | None:
    """What is wrong with a span by itself, if anything."""
    place, value = f"{span.label} from {span.start} to {span.end}", [span.start, span.end, span.label]
    if not 0 <= span.start < span.end <= len(text):
        message = f"{place}: the text has {len(text)} characters, and a span at least one"
        return Fault("span_out_of_bounds", message, column, value)
    if not text[span.start : span.end].strip():
        return Fault("empty_span", f"{place} marks nothing but blanks", column, value)
    if _is_within_a_character(text, span.start) or _is_within_a_character(text, span.end):
        message = f"{place} begins or ends within a character: between a letter and its accent, or within an emoji"
        return Fault("misaligned_span", message, column, value)
    return None


def _overlaps(spans: Sequence[Span], column: str) -> Iterator[Fault]:
    last: Span | None = None  # of those so far, the one that reaches furthest
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if last is not None and span.start < last.end:
            message = (
                f"{last.label} from {last.start} to {last.end} and {span.label} from {span.start} to {span.end} "
                "overlap; a word has one tag"
            )
            yield Fault("overlapping_spans", message, column, [span.start, span.end, span.label])
        last = span if last is None or span.end > last.end else last


def _is_within_a_character(text: str, at: int) -> bool:
    """Whether a place is no border of grapheme clusters (https://www.unicode.org/reports/tr29/)."""
    if not 0 < at < len(text):
        return False
    if _SOLITARY.match(text, at - 1) and _SOLITARY.match(text, at):
        return text[at - 1 : at + 1] == "\r\n"
    start = at - 1
    while start > max(0, at - _LONGEST_CLUSTER) and not _SOLITARY.match(text, start):
        start -= 1
    *_, (_, (last, _)) = _CLUSTERS.pre_tokenize_str(text[start : at + 1])
    return bool(start + last != at)


def trimmed(text: str, span: Span) -> Span:
    """The span without the blanks at its ends."""
    start, end = span.start, span.end
    while text[start].isspace() and not _is_within_a_character(text, start + 1):
        start += 1
    while text[end - 1].isspace() and not _is_within_a_character(text, end - 1):
        end -= 1
    return Span(start, end, span.label)


def cuts_a_word(text: str, span: Span, words: Sequence[Word]) -> bool:
    """Whether the span begins or ends between two letters of a word."""
    borders = [at for at in (span.start, span.end) if text[at - 1 : at].isalnum() and text[at : at + 1].isalnum()]
    return any(word.start < at < word.end for at in borders for word in words)


def words_and_tags(text: str, spans: Sequence[Span], splitter: WordSplitter) -> tuple[list[Word], list[str]]:
    """The words of a text, cut where a span begins or ends, and their tags in BIO."""
    return cut_at(splitter.split(text), spans)


def cut_at(words: Sequence[Word], spans: Sequence[Span]) -> tuple[list[Word], list[str]]:
    """The same of words that are known."""
    borders = sorted({border for span in spans for border in (span.start, span.end)})
    pieces = [piece for word in words for piece in _cut(word, borders)]
    ordered = sorted(spans, key=lambda span: span.start)
    tags, index, begun = [], 0, -1
    for piece in pieces:
        while index < len(ordered) and ordered[index].end <= piece.start:
            index += 1
        if index == len(ordered) or piece.start < ordered[index].start:
            tags.append(OUTSIDE)
            continue
        tags.append(f"{'I' if begun == index else 'B'}-{ordered[index].label}")
        begun = index
    return pieces, tags


def _cut(word: Word, borders: Sequence[int]) -> Iterator[Word]:
    cuts = [word.start, *(border for border in borders if word.start < border < word.end), word.end]
    for start, end in pairwise(cuts):
        if (piece := word.text[start - word.start : end - word.start]).strip():
            yield Word(piece, start, end)


def _first(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if name in record), None)
