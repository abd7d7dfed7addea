"""Rows measured in an encoder's word pieces, and those that it cannot read all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders

from models_store.encoders import DEFAULT_ENCODER, EncoderCatalogue
from models_store.errors import NotFoundError
from models_store.tasks import Row
from models_store.tokenizer import TOKENIZER_FILE, tokenizer_of

MEASURED_ROWS = 5_000  # of more that may be too long, so many are drawn: the uploader waits for it
_AT_A_TIME = 500
_SPECIAL = 4  # pieces that the encoder adds to a text, or a pair of texts, at most
_BYTES_OF_A_CHARACTER = 4


@dataclass(frozen=True, slots=True)
class EncoderLimit:
    """What an encoder reads at once.

    Attributes:
        encoder: Its name.
        tokenizer: Its own, which does not truncate.
        most: Word pieces, those that it adds included.
    """

    encoder: str
    tokenizer: Tokenizer
    most: int

    @classmethod
    def of(cls, encoder: str, catalogue: EncoderCatalogue) -> Self:
        """The limit of an encoder of the catalogue.

        Raises:
            NotFoundError: There is no such encoder, or its files are not here.
        """
        folder = catalogue.find(encoder).folder
        file = folder / TOKENIZER_FILE
        return cls(encoder, *_tokenizer_of(encoder, folder, file.stat().st_mtime_ns if file.is_file() else 0))

    def lengths(self, rows: Sequence[Row], indices: Sequence[int]) -> NDArray[np.int64]:
        """Word pieces of the rows at these places."""
        found: list[int] = []
        for first in range(0, len(indices), _AT_A_TIME):
            inputs = [_input(rows[index]) for index in indices[first : first + _AT_A_TIME]]
            words = bool(inputs) and isinstance(inputs[0], list)
            found += [len(encoding.ids) for encoding in self.tokenizer.encode_batch(inputs, is_pretokenized=words)]
        return np.asarray(found, np.int64)

    def suspects(self, characters: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows that have so many characters that they may be too long; all others certainly are not."""
        by_bytes = isinstance(self.tokenizer.decoder, decoders.ByteLevel)
        by_bytes = by_bytes or getattr(self.tokenizer.model, "byte_fallback", False)
        return np.flatnonzero(characters * (_BYTES_OF_A_CHARACTER if by_bytes else 1) + _SPECIAL > self.most)


@lru_cache(maxsize=4)  # every upload asks for one
def _tokenizer_of(encoder: str, folder: Path, changed: int) -> tuple[Tokenizer, int]:
    return tokenizer_of(encoder, folder)


def limit_for(encoder: str | None, catalogue: EncoderCatalogue | None) -> EncoderLimit | None:
    """The limit of the encoder that an uploader names; where none is named of the default one, if it is here.

    Raises:
        NotFoundError: There is no such encoder, or its files are not here.
    """
    if catalogue is None:
        return None
    try:
        return EncoderLimit.of(encoder or DEFAULT_ENCODER, catalogue)
    except NotFoundError:
        if encoder is not None:
            raise
        return None


@dataclass(frozen=True, slots=True)
class TooLong:
    """Rows that an encoder cannot read all at once.

    Attributes:
        rows: Those found, in order.
        count: How many there are; by the share of those measured if not all were.
        exact: Whether all were measured that may be too long.
    """

    rows: NDArray[np.int64]
    count: int
    exact: bool


def too_long(limit: EncoderLimit, rows: Sequence[Row], characters: NDArray[np.int64]) -> TooLong:
    """Find the rows that the encoder cannot read all at once; the arguments are a split's, row by row."""
    suspects = limit.suspects(characters)
    measured = evenly(len(suspects), MEASURED_ROWS)
    chosen = suspects[measured]
    found = chosen[limit.lengths(rows, chosen.tolist()) > limit.most]
    share = len(suspects) / max(1, len(measured))
    return TooLong(found, round(len(found) * share), exact=len(measured) == len(suspects))


def evenly(number: int, most: int) -> NDArray[np.int64]:
    """Places of all of so many things, or of as many as there may be, evenly drawn."""
    return np.arange(number) if number <= most else np.unique(np.linspace(0, number - 1, most).astype(np.int64))


def _input(row: Row) -> Any:
    if "tokens" in row:
        return row["tokens"]
    return (row["text"], row["text_pair"]) if "text_pair" in row else row["text"]
