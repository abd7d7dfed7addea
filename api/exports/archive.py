"""A ZIP archive written while it is sent: never whole in memory, never on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import BinaryIO, cast
from zipfile import ZIP_STORED, ZipFile, ZipInfo

_CHUNK = 1 << 20
_MODE = 0o644 << 16  # where ZIP keeps a file's permissions
_ZIP64 = 2**31 - 1  # from this size on an entry's length takes eight bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive.

    Attributes:
        name: Where it lies in the archive.
        content: The file to copy, or its bytes.
    """

    name: str
    content: Path | bytes


class _Sink:
    """What `ZipFile` writes to: it cannot seek, so sizes follow behind each file, and it is emptied as it fills."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing behind it."""

    def drain(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def stream_zip(entries: Sequence[Entry], moment: datetime) -> Iterator[bytes]:
    """An archive of these files, as they are, in order.

    All are opened before anything is sent: a version may be deleted while it is downloaded.

    Args:
        entries: What goes in. Weights hardly shrink, so nothing is compressed.
        moment: The time that every file gets, so that the same version makes the same archive.

    Raises:
        OSError: A file cannot be read.
    """
    parts = _written(entries, moment)
    next(parts)  # begun, so that it closes what it opened whatever becomes of it
    return parts


def _written(entries: Sequence[Entry], moment: datetime) -> Iterator[bytes]:
    sink = _Sink()
    with ExitStack() as stack:
        files = [(entry.name, stack.enter_context(_opened(entry))) for entry in entries]
        yield b""
        archive = stack.enter_context(ZipFile(cast("BinaryIO", sink), "w", ZIP_STORED))
        for name, source in files:
            with archive.open(_info(name, moment), "w", force_zip64=_size(source) > _ZIP64) as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    yield sink.drain()
        archive.close()
        yield sink.drain()


def _opened(entry: Entry) -> BinaryIO:
    return BytesIO(entry.content) if isinstance(entry.content, bytes) else entry.content.open("rb")


def _info(name: str, moment: datetime) -> ZipInfo:
    info = ZipInfo(name, moment.timetuple()[:6])
    info.external_attr = _MODE
    return info


def _size(source: BinaryIO) -> int:
    size = source.seek(0, SEEK_END)
    source.seek(0)
    return size
