"""Texts of the lengths that are asked about, made of a data set's own words."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from tokenizers import Tokenizer

_COUNT = 256  # texts of a kind, which the client sends in turn


@dataclass(frozen=True, slots=True)
class Kind:
    """Texts of ``low`` to ``high`` word pieces, the special tokens included; each length is about as likely."""

    low: int
    high: int


KINDS = {"short": Kind(7, 9), "mixed": Kind(8, 42), "long": Kind(190, 210)}


def make(kind: Kind, source: Sequence[str], tokenizer: Tokenizer, seed: int) -> list[str]:
    """Stretches of whole words out of texts that are joined in random order.

    Args:
        kind: How long.
        source: Texts to take words from; where they run out, they begin again.
        tokenizer: One that splits at white space first, so that a text has the pieces of its words.
        seed: Of lengths and order.
    """
    rng = random.Random(seed)
    words = [word for text in rng.sample(source, len(source)) for word in text.split()]
    pieces = [len(found.ids) for found in tokenizer.encode_batch(words, add_special_tokens=False)]
    stretches = _stretches(
        cycle(zip(words, pieces, strict=True)), kind, tokenizer.num_special_tokens_to_add(False), rng
    )
    return [next(stretches) for _ in range(_COUNT)]


def _stretches(words: Iterator[tuple[str, int]], kind: Kind, special: int, rng: random.Random) -> Iterator[str]:
    taken: list[str] = []
    wanted, total = rng.randint(kind.low, kind.high), special
    for word, pieces in words:
        if total + pieces > wanted:
            if total >= kind.low:  # otherwise the next word was too long for what is left: drop the stretch
                yield " ".join(taken)
            taken, wanted, total = [], rng.randint(kind.low, kind.high), special
        taken.append(word)
        total += pieces
