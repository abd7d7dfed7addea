"""What JSON can hold and no tokenizer reads: halves of surrogate pairs, which can be escaped and are no characters."""

from __future__ import annotations


def half_pair(text: str) -> int | None:
    """Where half a surrogate pair stands in a text, counted from 1."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start + 1
    return None


def is_text(value: str) -> bool:
    """Whether all characters can be written as UTF-8."""
    return half_pair(value) is None


def escaped(text: str) -> str:
    r"""The text with halves of surrogate pairs as their escapes (``\ud83d``)."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
