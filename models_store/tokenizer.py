"""The raw `tokenizers` library, set up one way for training and serving."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer

from models_store.errors import NotFoundError

TOKENIZER_FILE = "tokenizer.json"
MAX_LENGTH = 512  # longer inputs want windows, not quadratic attention
_COUNT_FROM_BEHIND_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")


def load_tokenizer(path: Path, max_length: int | None) -> Tokenizer:
    """A tokenizer that never pads and truncates to ``max_length`` pieces, if to any; safe for several threads."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if max_length is not None:
        tokenizer.enable_truncation(max_length, strategy="longest_first")
    return tokenizer


def tokenizer_of(name: str, folder: Path) -> tuple[Tokenizer, int]:
    """The tokenizer of an encoder, which does not truncate, and how many word pieces the encoder reads at once.

    Raises:
        NotFoundError: Its files are not in the folder, or not as they should be.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
        tokenizer = load_tokenizer(folder / TOKENIZER_FILE, None)
        positions = int(config.get("max_position_embeddings", MAX_LENGTH))
        if config.get("model_type") in _COUNT_FROM_BEHIND_PADDING:
            positions -= int(config.get("pad_token_id") or 0) + 1
    except Exception as error:  # the library raises that very class
        raise NotFoundError(f"the files of encoder {name!r} are not here", code="encoder_not_here") from error
    return tokenizer, min(positions, MAX_LENGTH)
