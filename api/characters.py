"""What JSON can hold and no tokenizer reads."""

from __future__ import annotations


def half_pair(text: str) -> int | None:
    """Where half a surrogate pair stands in a text, counted from 1: JSON can escape one, and it is no character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start + 1
    return None
