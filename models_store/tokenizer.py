"""The raw `tokenizers` library, set up one way for training and serving."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

TOKENIZER_FILE = "tokenizer.json"


def load_tokenizer(path: Path, max_length: int | None) -> Tokenizer:
    """A tokenizer that never pads and truncates to ``max_length`` pieces, if to any; safe for several threads."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if max_length is not None:
        tokenizer.enable_truncation(max_length, strategy="longest_first")
    return tokenizer
