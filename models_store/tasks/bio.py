"""Tagging schemes: recognise BIO, IOB1, BIOES/BILUO and IO, bring them to BIO, read spans off BIO tags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from models_store.errors import quoted

_PREFIXED = re.compile(r"(?P<prefix>[BIESLU])-(?P<label>.+)")
_DRESSED_AHEAD = re.compile(r"(?P<prefix>[BIESLUMbieslum])[-_](?P<label>.+)")
_DRESSED_BEHIND = re.compile(r"(?P<label>.+)[-_](?P<prefix>[BIESLUM])")
OUTSIDE = "O"


class Scheme(StrEnum):
    """How the tags of a file mark entities; ``plain`` tags mark none (e.g. parts of speech)."""

    BIO = "bio"
    IOB1 = "iob1"
    BIOES = "bioes"
    IO = "io"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class BadTag:
    """A tag that cannot stand where it stands."""

    index: int
    message: str


@lru_cache(maxsize=4096)  # a file has few different tags, and very many of each
def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and label of a tag: ``B-PER`` → (B, PER), ``O`` → (O, "")."""
    match = _PREFIXED.fullmatch(tag)
    return (match["prefix"], match["label"]) if match else (tag, "")


def detect_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme that explains all tags of a file."""
    tags: Counter[str] = Counter()
    neighbours: set[tuple[str, str]] = set()
    for sentence in sentences:
        tags.update(sentence)
        neighbours.update(zip([OUTSIDE, *sentence], sentence, strict=False))
    starts_inside = starts_begin = False
    for before, tag in neighbours:
        prefix, label = split_tag(tag)
        if label and label != split_tag(before)[1]:
            starts_inside |= prefix == "I"
            starts_begin |= prefix == "B"
    return _scheme_of(tags, starts_inside=starts_inside, starts_begin=starts_begin)


def _scheme_of(tags: Counter[str], *, starts_inside: bool, starts_begin: bool) -> Scheme:
    prefixes = {split_tag(tag)[0] for tag in tags if split_tag(tag)[1]}
    others = {tag for tag in tags if not split_tag(tag)[1]} - {OUTSIDE}
    if not prefixes:
        return Scheme.IO if OUTSIDE in tags and others else Scheme.PLAIN
    prefixed = sum(count for tag, count in tags.items() if split_tag(tag)[1])
    # A few bare tags among many prefixed ones are mistakes, which `check_tags` reports; as many of them are a tag set
    # that merely looks like BIO in places.
    if others and (OUTSIDE not in tags or prefixed <= sum(tags[tag] for tag in others)):
        return Scheme.PLAIN
    if prefixes & {"E", "S", "L", "U"}:
        return Scheme.BIOES
    if prefixes == {"I"}:
        return Scheme.IO
    # In IOB1 an entity starts with I, and B only parts neighbours of one label. A file that starts entities
    # with B elsewhere is BIO, and an I that starts one there is a mistake worth reporting.
    return Scheme.IOB1 if starts_inside and not starts_begin else Scheme.BIO


def disguised_entities(tags: set[str]) -> dict[str, str]:
    """Entity tags in another dress (``b-per``, ``B_PER``, ``PER-B``, ``M-PER``), each with what to write instead.

    They are recognised where one label is seen with a beginning *and* an inside, beside a tag for all the rest.
    """
    if not tags & {OUTSIDE, OUTSIDE.lower()}:
        return {}
    readings = {tag: reading for tag in tags if (reading := _undressed(tag)) is not None}
    prefixes: dict[str, set[str]] = {}
    for prefix, label in readings.values():
        prefixes.setdefault(label, set()).add(prefix)
    whole = {label for label, seen in prefixes.items() if {"B", "I"} <= seen}
    strange = {
        tag: f"{prefix}-{label}"
        for tag, (prefix, label) in readings.items()
        if label in whole and not split_tag(tag)[1]
    }
    if whole and OUTSIDE not in tags:
        strange[OUTSIDE.lower()] = OUTSIDE
    return strange


def _undressed(tag: str) -> tuple[str, str] | None:
    match = _DRESSED_AHEAD.fullmatch(tag) or _DRESSED_BEHIND.fullmatch(tag)
    return (match["prefix"].upper().replace("M", "I"), match["label"]) if match else None


def to_bio(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The same entities in BIO (IOB2); plain tags stay as they are. The tags are such as `check_tags` lets pass."""
    if scheme in (Scheme.PLAIN, Scheme.BIO):
        return list(tags)
    result, previous = [], ""
    for tag in tags:
        prefix, label = split_tag(tag)
        if scheme is Scheme.IO and tag != OUTSIDE:
            prefix, label = "I", label or tag
        if not label:
            result.append(OUTSIDE)
        else:
            begins = prefix in "BSU" or label != previous
            result.append(f"{'B' if begins else 'I'}-{label}")
        previous = label if prefix not in "ESLU" else ""
    return result


def check_tags(tags: Sequence[str], scheme: Scheme) -> Iterator[BadTag]:
    """Tags that break the scheme: no tag of it, an I without a beginning, a BIOES entity that is never closed."""
    if scheme in (Scheme.BIO, Scheme.IOB1, Scheme.BIOES):
        for index, tag in enumerate(tags):
            if tag != OUTSIDE and not split_tag(tag)[1]:
                yield BadTag(
                    index, f"{quoted(tag)} is no tag of this file's scheme: write O, B-{tag[:20]} or I-{tag[:20]}"
                )
    if scheme not in (Scheme.BIO, Scheme.BIOES):
        return
    open_label = ""
    for index, tag in enumerate(tags):
        prefix, label = split_tag(tag)
        if label and prefix in "IEL" and label != open_label:
            yield BadTag(index, f"{quoted(tag)} continues no entity: the tag before it is {_before(tags, index)}")
        elif scheme is Scheme.BIOES and open_label and prefix not in "IEL":
            yield BadTag(index, f"{quoted(tag)} follows {_before(tags, index)}, whose entity is not closed by E (or L)")
        open_label = label if prefix in "BI" else ""
    if scheme is Scheme.BIOES and open_label:
        yield BadTag(len(tags) - 1, f"the sentence ends inside an entity: {quoted(tags[-1])} needs an E (or L, S, U)")


def _before(tags: Sequence[str], index: int) -> str:
    return quoted(tags[index - 1]) if index else "the start of the sentence"


def entity_spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Entities of BIO tags as (label, first word, word after the last).

    An ``I-x`` after anything but ``B-x`` or ``I-x`` opens an entity: a model may emit it, and losing the
    entity altogether would be the worse reading (the convention of the CoNLL evaluation script).
    """
    spans: list[tuple[str, int, int]] = []
    for index, tag in enumerate(tags):
        prefix, label = split_tag(tag)
        if not label:
            continue
        if prefix == "I" and spans and spans[-1][2] == index and spans[-1][0] == label:
            spans[-1] = (label, spans[-1][1], index + 1)
        else:
            spans.append((label, index, index + 1))
    return spans
