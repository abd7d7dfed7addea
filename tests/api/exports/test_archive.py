"""The archive: whole for every reader, the same each time, and never in memory at once."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from api.exports.archive import Entry, stream_zip

MOMENT = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    (tmp_path / "large").write_bytes(content)
    (tmp_path / "empty").touch()
    entries = [Entry("a/large", tmp_path / "large"), Entry("b.txt", "é".encode()), Entry("empty", tmp_path / "empty")]

    parts = list(stream_zip(entries, MOMENT))

    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a/large", "b.txt", "empty"]
        assert (archive.read("a/large"), archive.read("b.txt"), archive.read("empty")) == (content, "é".encode(), b"")
        assert {info.date_time for info in archive.infolist()} == {(2026, 1, 2, 3, 4, 6)}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert max(map(len, parts)) < 2 * 2**20  # a part at a time
    assert b"".join(stream_zip(entries, MOMENT)) == b"".join(parts)


def test_a_file_that_is_deleted_meanwhile_is_sent_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")

    parts = stream_zip([Entry("first", b"x"), Entry("file", tmp_path / "file")], MOMENT)
    (tmp_path / "file").unlink()

    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
        assert archive.read("file") == b"content"


def test_what_was_opened_is_closed_though_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")

    def is_open() -> bool:
        return any(file.path == str(tmp_path / "file") for file in psutil.Process().open_files())

    parts = stream_zip([Entry("file", tmp_path / "file")], MOMENT)
    assert is_open()
    del parts

    assert not is_open()


def test_a_file_that_is_missing_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        stream_zip([Entry("first", b"x"), Entry("file", tmp_path / "file")], MOMENT)
