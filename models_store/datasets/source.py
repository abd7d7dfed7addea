"""Uploaded files → decoded lines, with errors that say where."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models_store.errors import Problem, UnreadableFileError

_MAGIC = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\x1f\x8b": "a gzip archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"SQLite format 3": "an SQLite database",
    b"%PDF-": "a PDF document",
    b"{\\rtf": "an RTF document",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    codecs.BOM_UTF16_LE: "UTF-16 text",
    codecs.BOM_UTF16_BE: "UTF-16 text",
}
_JSON = re.compile(rb'\s*\[?\s*\{\s*"')
_ADVICE = "upload plain UTF-8 text (CSV, JSON Lines, or CoNLL for tagging)"
_HEAD_BYTES = 4096
_TAR_PLACE = 257  # where a tar archive says that it is one
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\r\f")
_FEW_CONTROL, _MOST_CONTROL = 8, 0.05  # a stray NUL byte is a bad row, and has a message of its own
_UNSAFE = re.compile(r"[^\w .()\[\]-]")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One uploaded file: what the user called it, and where its bytes lie."""

    name: str
    path: Path

    def lines(self) -> Iterator[str]:
        """The decoded lines, line ends kept as they are.

        Raises:
            UnreadableFileError: The file is an archive or not UTF-8; the message says where.
        """
        with self.path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        if (kind := _foreign(head)) is not None:
            raise self.foreign(kind)
        if b"\0" in head[:4]:
            raise self.unreadable("not_utf8", "this looks like UTF-16 or UTF-32; save the file as UTF-8", 1)
        if sum(byte in _CONTROL for byte in head) > max(_FEW_CONTROL, _MOST_CONTROL * len(head)):
            raise self.foreign("is no text")
        number = 0
        with self.path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                if number == 1:
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                try:
                    yield raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    message = (
                        f"byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line is not UTF-8; "
                        "save the file as UTF-8"
                    )
                    raise self.unreadable("not_utf8", message, number) from error

    def holds_json(self) -> bool:
        """Whether the file begins like JSON objects, one after the other or in an array."""
        with self.path.open("rb") as stream:
            return _JSON.match(stream.read(_HEAD_BYTES).removeprefix(codecs.BOM_UTF8)) is not None

    def foreign(self, kind: str) -> UnreadableFileError:
        """The error for a file of another format."""
        return self.unreadable("unsupported_format", f"this {kind}; {_ADVICE}")

    def unreadable(self, code: str, message: str, line: int | None = None) -> UnreadableFileError:
        """The error for a file that cannot be read at all."""
        place = f"{self.name}, line {line}" if line else self.name
        return UnreadableFileError(f"{place}: {message}", [Problem(code, message, self.name, line)])


def _foreign(head: bytes) -> str | None:
    """What a file is, by its first bytes, if it is of a format that is not read."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return f"is {kind}"
    if head[_TAR_PLACE:].startswith(b"ustar"):
        return "is a tar archive"
    return None


def display_name(filename: str | None, default: str) -> str:
    """The file's own name, without folders or control characters, for messages only: it never becomes a path."""
    base = re.split(r"[/\\]", filename or "")[-1]
    return _UNSAFE.sub("_", base)[:100] or default
