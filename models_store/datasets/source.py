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
    b"PAR1": "a Parquet file",
    codecs.BOM_UTF16_LE: "UTF-16 text",
    codecs.BOM_UTF16_BE: "UTF-16 text",
}
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
            head = stream.read(4)
        for magic, kind in _MAGIC.items():
            if head.startswith(magic):
                raise self.unreadable("unsupported_format", f"this is {kind}; upload plain UTF-8 text (CSV or CoNLL)")
        if b"\0" in head:
            raise self.unreadable("not_utf8", "this looks like UTF-16 or UTF-32; save the file as UTF-8", 1)
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

    def unreadable(self, code: str, message: str, line: int | None = None) -> UnreadableFileError:
        """The error for a file that cannot be read at all."""
        place = f"{self.name}, line {line}" if line else self.name
        return UnreadableFileError(f"{place}: {message}", [Problem(code, message, self.name, line)])


def display_name(filename: str | None, default: str) -> str:
    """The file's own name, without folders or control characters, for messages only: it never becomes a path."""
    base = re.split(r"[/\\]", filename or "")[-1]
    return _UNSAFE.sub("_", base)[:100] or default
