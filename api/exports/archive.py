"""A ZIP archive written while it is sent: never whole in memory, never on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
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
    opened = [entry.content.open("rb") if isinstance(entry.content, Path) else None for entry in entries]
    return _written(entries, opened, moment)


def _written(entries: Sequence[Entry], opened: Sequence[BinaryIO | None], moment: datetime) -> Iterator[bytes]:
    sink = _Sink()
    try:
        with ZipFile(cast("BinaryIO", sink), "w", ZIP_STORED) as archive:
            for entry, source in zip(entries, opened, strict=True):
                with archive.open(_info(entry, moment), "w", force_zip64=_size(entry) > _ZIP64) as target:
                    for chunk in _chunks(entry, source):
                        target.write(chunk)
                        yield sink.drain()
        yield sink.drain()
    finally:
        for stream in filter(None, opened):
            stream.close()


def _info(entry: Entry, moment: datetime) -> ZipInfo:
    info = ZipInfo(entry.name, moment.timetuple()[:6])
    info.external_attr = _MODE
    return info


def _size(entry: Entry) -> int:
    return len(entry.content) if isinstance(entry.content, bytes) else entry.content.stat().st_size


def _chunks(entry: Entry, source: BinaryIO | None) -> Iterator[bytes]:
    if source is None:
        yield cast("bytes", entry.content)
        return
    while chunk := source.read(_CHUNK):
        yield chunk
