"""Raw text → words with character offsets, split the way the training data was."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

# Scripts written without blanks: each character is a word of its own, as in most tagged corpora.
_SOLITARY = r"\p{Han}\p{Hiragana}\p{Katakana}"
_MIN_SHARE = 0.5
_STRETCH = 4_000  # characters
_MANY_WORDS = 200_000
_PARTING = re.compile(r"[a-zA-Z0-9\u00c0-\u02af\u0400-\u052f.](?=[ \n])")


class Word(NamedTuple):
    """A word of a text: ``text[start:end]``."""

    text: str
    start: int
    end: int


class Signs:
    """How often each sign stands alone, inside a word, and before one."""

    def __init__(self) -> None:
        self.alone: Counter[str] = Counter()
        self.inside: Counter[str] = Counter()
        self.before: Counter[str] = Counter()
        self._words: Counter[str] = Counter()

    def add(self, words: Iterable[str]) -> None:
        """Count the signs of a sentence."""
        self._words.update(words)
        if len(self._words) > _MANY_WORDS:
            self.settle()

    def settle(self) -> None:
        """Look at the words that were only counted so far: most are frequent, and looked at once."""
        for word, count in self._words.items():
            if len(word) == 1:
                self.alone[word] += count
                continue
            for sign in {c for c in word[1:-1] if _is_sign(c)}:
                self.inside[sign] += count
            if _is_sign(word[0]) and word[1].isalnum():
                self.before[word[0]] += count
        self._words.clear()


@dataclass(frozen=True)
class WordSplitter:
    """Splits at blanks and punctuation, except where the training data keeps a sign inside or before a word.

    Attributes:
        joiners: Signs that hold a word together, such as ``-`` in ``BK-204``.
        prefixes: Signs that belong to the word they stand before, such as ``#`` in ``#204``.
    """

    joiners: str = "'’-_."
    prefixes: str = "#@$"

    @classmethod
    def from_words(cls, sentences: Iterable[Iterable[str]]) -> Self:
        """Learn from tokenised sentences which signs are kept: those seen in a word more often than alone."""
        signs = Signs()
        for sentence in sentences:
            signs.add(sentence)
        return cls.from_signs(signs)

    @classmethod
    def from_signs(cls, signs: Signs) -> Self:
        """The same from what was counted."""
        signs.settle()
        return cls(joiners=_kept(signs.inside, signs.alone), prefixes=_kept(signs.before, signs.alone))

    @cached_property
    def _splitter(self) -> Split:
        word = rf"[\w&&[^{_SOLITARY}]]+"
        joiners, prefixes = _char_class(self.joiners), _char_class(self.prefixes)
        joined = rf"{word}(?:{joiners}{word})*" if joiners else word
        prefixed = rf"{prefixes}?{joined}" if prefixes else joined
        # An address ends where the sentence's own punctuation begins; `U.S.` and `a.m.` keep their last point.
        address = r"(?:https?://|www\.)\S*[\p{L}\p{N}/=&#_-]"
        initials = r"(?:(?<![\p{L}\p{N}])\p{L}\.(?:\p{L}\.)+(?![\p{L}\p{N}]))|" if "." in self.joiners else ""
        pattern = rf"{address}|{initials}[{_SOLITARY}]|{prefixed}|\.\.+|\X"
        return Split(Regex(pattern), behavior="removed", invert=True)

    def split(self, text: str) -> list[Word]:
        """The words of a text with their offsets in characters."""
        words = []
        for begin, stretch in _stretches(text):
            for _, (start, end) in self._splitter.pre_tokenize_str(stretch):
                if (word := stretch[start:end]).strip():
                    words.append(Word(word, begin + start, begin + end))
        return words

    def to_config(self) -> dict[str, Any]:
        """The splitter as JSON."""
        return {"joiners": self.joiners, "prefixes": self.prefixes}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The splitter that ``to_config`` wrote."""
        return cls(joiners=config["joiners"], prefixes=config["prefixes"])


def _stretches(text: str) -> Iterator[tuple[int, str]]:
    """A long text in parts, each with its place: the library lets no other thread run while it works on one.

    It is parted before a blank that follows a letter, a digit or a full stop, where a word ends in any case.
    """
    begin = 0
    while len(text) - begin > _STRETCH:
        cut = next((match.start() for match in _PARTING.finditer(text, begin + _STRETCH - 1)), None)
        if cut is None:
            break
        yield begin, text[begin : cut + 1]
        begin = cut + 1
    yield begin, text[begin:]


def _is_sign(character: str) -> bool:
    return not character.isalnum() and not character.isspace() and character != "_"


def _kept(kept: Counter[str], alone: Counter[str]) -> str:
    return "".join(sorted(c for c, n in kept.items() if n > 1 and n / (n + alone[c]) > _MIN_SHARE))


def _char_class(characters: str) -> str:
    return "[" + "".join(f"\\x{{{ord(c):x}}}" for c in characters) + "]" if characters else ""
