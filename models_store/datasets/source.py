"""Uploaded files → bytes unpacked, lines decoded, with errors that say where."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, cast

import pyarrow as pa

from models_store.errors import InvalidInputError, Problem, TooLargeError, UnreadableFileError, quoted

_FOREIGN = {
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"SQLite format 3": "an SQLite database",
    b"%PDF-": "a PDF document",
    b"{\\rtf": "an RTF document",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
}
_ADVICE = (
    "upload CSV, JSON, Parquet, Arrow or Excel (.xlsx), or CoNLL for tagging; as it is, as .gz or .zst, or in a zip"
)
_HEAD_BYTES = 4096
_TAR_PLACE = 257  # where a tar archive says that it is one
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\r\f")
_FEW_CONTROL, _MOST_CONTROL = 8, 0.05  # a stray NUL byte is a bad row, and has a message of its own
_UNSAFE = re.compile(r"[^\w .()\[\]-]")
_CHUNK_BYTES = 256 * 1024
MAX_LINE = 32 * 1024 * 1024  # bytes: without a bound, a small archive of one line would fill the memory
# Of these a byte order mark may stand at the start; the first that fits, so the longer ones come first.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def _gunzipped(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb"))


def _zstd_unpacked(path: Path) -> BinaryIO:
    return cast("BinaryIO", pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd"))


_PACKED: dict[bytes, Callable[[Path], BinaryIO]] = {b"\x1f\x8b": _gunzipped, b"\x28\xb5\x2f\xfd": _zstd_unpacked}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One uploaded file: what the user called it, and where its bytes lie.

    Attributes:
        name: For messages.
        path: The file as it came; it may be packed with gzip or Zstandard.
        most: Bytes that it may have when it is unpacked; None for any number.
        encoding: Of its text, if the user has named it; else UTF-8, or what its byte order mark says.
    """

    name: str
    path: Path
    most: int | None = None
    encoding: str | None = None

    @property
    def is_packed(self) -> bool:
        """Whether the file is packed with gzip or Zstandard."""
        return self._unpacker() is not None

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The unpacked bytes, to be read from the start.

        Raises:
            UnreadableFileError: While reading: the archive is damaged.
            TooLargeError: While reading: it unpacks to more than it may.
        """
        unpacker = self._unpacker()
        if unpacker is None:
            with self.path.open("rb") as plain:
                yield plain
            return
        with unpacker(self.path) as packed, io.BufferedReader(_Bounded(packed, self), _CHUNK_BYTES) as stream:
            yield stream

    def head(self) -> bytes:
        """The first bytes, unpacked."""
        with self.opened() as stream:
            return stream.read(_HEAD_BYTES)

    def lines(self) -> Iterator[str]:
        r"""The decoded lines, each up to its ``\n``; line ends are kept as they are.

        Raises:
            UnreadableFileError: The file is of a foreign format, or its text is of another encoding; says where.
        """
        encoding = self._text_encoding()
        if encoding != "utf-8":
            yield from self._decoded_lines()
            return
        with self.opened() as stream:
            for number, raw in enumerate(iter(partial(stream.readline, MAX_LINE), b""), start=1):
                if number == 1:
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                if len(raw) == MAX_LINE:
                    raise self.line_too_long(number)
                try:
                    yield raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise self._not_decodable(encoding, number, error) from error

    def chunks(self) -> Iterator[str]:
        """The decoded text in pieces of a few hundred kilobytes, wherever these end; raises what `lines` does."""
        encoding = self._text_encoding()
        decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding in ("utf-8", "utf_8") else encoding)()
        line = 1
        with self.opened() as stream:
            while raw := stream.read(_CHUNK_BYTES):
                try:
                    text = decoder.decode(raw)
                except UnicodeError as error:
                    raise self._not_decodable(encoding, line, error) from error
                yield text
                line += text.count("\n")
        try:
            decoder.decode(b"", final=True)
        except UnicodeError as error:
            raise self._not_decodable(encoding, line, error) from error

    def foreign(self, kind: str) -> UnreadableFileError:
        """The error for a file of another format."""
        return self.unreadable("unsupported_format", f"this {kind}; {_ADVICE}")

    def unreadable(self, code: str, message: str, line: int | None = None) -> UnreadableFileError:
        """The error for a file that cannot be read at all."""
        place = f"{self.name}, line {line}" if line else self.name
        return UnreadableFileError(f"{place}: {message}", [Problem(code, message, self.name, line)])

    def _unpacker(self) -> Callable[[Path], BinaryIO] | None:
        with self.path.open("rb") as stream:
            head = stream.read(4)
        return next((unpack for magic, unpack in _PACKED.items() if head.startswith(magic)), None)

    def _text_encoding(self) -> str:
        """What to decode with; refuses what is no text."""
        head = self.head()
        if (kind := _foreign(head)) is not None:
            raise self.foreign(kind)
        if self.encoding is not None:
            self._check_mark(head, self.encoding)
            return self.encoding
        for mark, encoding in _MARKS.items():
            if head.startswith(mark):
                return "utf-8" if mark == codecs.BOM_UTF8 else encoding
        if b"\0" in head[:4]:
            message = "this looks like UTF-16 or UTF-32 without a byte order mark; save the file as UTF-8"
            raise self.unreadable("not_utf8", message, 1)
        if sum(byte in _CONTROL for byte in head) > max(_FEW_CONTROL, _MOST_CONTROL * len(head)):
            raise self.foreign("is no text")
        return "utf-8"

    def _check_mark(self, head: bytes, encoding: str) -> None:
        """Refuse a file that says itself that it is of another encoding than the one named."""
        told = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
        if told is not None and not encoding.replace("_", "-").startswith(told.removesuffix("-sig")):
            message = (
                f"the file begins with the mark of {told.removesuffix('-sig')}; send it without encoding={encoding}"
            )
            raise self.unreadable("wrong_encoding", message, 1)

    def _decoded_lines(self) -> Iterator[str]:
        number, rest = 1, ""
        for chunk in self.chunks():
            *lines, rest = (rest + chunk).split("\n")
            if max(map(len, (rest, *lines))) >= MAX_LINE:
                raise self.line_too_long(number + [len(line) >= MAX_LINE for line in (*lines, rest)].index(True))
            for line in lines:
                yield f"{line}\n"
            number += len(lines)
        if rest:
            yield rest

    def _not_decodable(self, encoding: str, line: int, error: UnicodeError) -> UnreadableFileError:
        """The error for bytes that mean nothing; ``line`` is where the bytes that were decoded begin."""
        place = "the text"
        if isinstance(error, UnicodeDecodeError):
            before = error.object[: error.start].decode(error.encoding, "replace")
            line += before.count("\n")
            column = len(before) - before.rfind("\n")
            place = f"byte 0x{error.object[error.start]:02x} at position {column} of the line"
        if encoding != "utf-8":
            message = f"{place} is not {encoding}; save the file as UTF-8, or send its encoding with the upload"
            return self.unreadable("wrong_encoding", message, line)
        message = (
            f"{place} is not UTF-8; save the file as UTF-8, or send its encoding with the upload (encoding=cp1252)"
        )
        return self.unreadable("not_utf8", message, line)

    def line_too_long(self, line: int) -> UnreadableFileError:
        """The error for a line beyond all bounds."""
        message = f"the line is longer than {MAX_LINE} bytes: is this the file that you meant?"
        return self.unreadable("line_too_long", message, line)


class _Bounded(io.RawIOBase):
    """Unpacked bytes that are counted; says what is wrong with the archive if anything is."""

    def __init__(self, packed: BinaryIO, source: SourceFile) -> None:
        self._packed = packed
        self._source = source
        self._read = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as there is something."""
        try:
            data = self._packed.read(len(buffer))
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            raise self._source.unreadable("damaged_archive", f"it cannot be unpacked: {error}") from error
        self._read += len(data)
        if self._source.most is not None and self._read > self._source.most:
            raise too_large(self._source.name, self._source.most)
        buffer[: len(data)] = data
        return len(data)


def too_large(name: str, most: int) -> TooLargeError:
    """The error for a file that unpacks to more than it may."""
    return TooLargeError(
        f"{name} unpacks to more than {most} bytes, the limit of this server (THAWLINE_MAX_UNPACKED_BYTES)"
    )


def check_encoding(name: str | None) -> str | None:
    """The ``encoding`` form field, as Python calls it.

    Raises:
        InvalidInputError: It names no encoding of text.
    """
    if name is None:
        return None
    try:
        found = codecs.lookup(name)
        # Python's registry holds transformations of bytes, too, and escapes that are no encoding of a file.
        is_text = found._is_text_encoding and "escape" not in found.name and found.name not in ("idna", "punycode")
    except (LookupError, ValueError):
        is_text = False
    if not is_text:
        message = (
            f"encoding: {quoted(name)} is not known; examples are utf-8, utf-16, cp1252, latin-1, shift_jis, gb18030"
        )
        raise InvalidInputError(message, [Problem("invalid_encoding", message, column="encoding")])
    return found.name


def _foreign(head: bytes) -> str | None:
    """What a file is, by its first bytes, if it is of a format that is not read."""
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic):
            return f"is {kind}"
    if head[_TAR_PLACE:].startswith(b"ustar"):
        return "is a tar archive"
    return None


def display_name(filename: str | None, default: str) -> str:
    """The file's own name, without folders or control characters, for messages only: it never becomes a path."""
    base = re.split(r"[/\\]", filename or "")[-1]
    return _UNSAFE.sub("_", base)[:100] or default
