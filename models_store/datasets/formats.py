"""What an uploaded file is, by its first bytes, and the reader for it. An archive or a workbook may hold several."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from python_calamine import CalamineWorkbook

from models_store.datasets.columns import NUMBERED
from models_store.datasets.readers.columnar import ColumnarSheet
from models_store.datasets.readers.conll import ConllFile
from models_store.datasets.readers.delimited import DelimitedSheet
from models_store.datasets.readers.json_rows import JsonSheet
from models_store.datasets.readers.sentences import TaggedFile, not_tagged
from models_store.datasets.readers.sheet import Sheet
from models_store.datasets.readers.spans import SpansFile
from models_store.datasets.readers.tagged_columns import TaggedColumns
from models_store.datasets.readers.workbook import WorkbookSheet, is_workbook, open_workbook
from models_store.datasets.report import Report
from models_store.datasets.source import SourceFile, display_name, too_large
from models_store.errors import InvalidDatasetError, Problem, ProblemList, UnreadableFileError
from models_store.weighing import weigh

_ZIP = b"PK\x03\x04"
_COLUMNAR = (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")
_JSON = re.compile(r"\s*(?:\[\s*)*\{\s*[\"}]|\s*\[\s*\[?\s*\"")
_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "test": "test",
    "testing": "test",
}
_DENSE = (".gz", ".zst", ".parquet", ".arrow", ".feather", ".xlsx", ".zip")
_DAMAGES = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError)
_WORD = re.compile(r"[a-z]+")
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that holds rows, or one sheet of a workbook.

    Attributes:
        source: The file; not packed where its format has to be read from several places.
        book: The workbook, if it is one.
        sheet: The name of the sheet to be read.
    """

    source: SourceFile
    book: CalamineWorkbook | None = None
    sheet: str = ""


def unpacked_size(source: SourceFile, most: int) -> int:
    """Bytes of a file once it is unpacked; a greater number than ``most`` is not always the right one."""
    try:
        head = source.head()
        if head.startswith((_ZIP, *_COLUMNAR)) and source.is_packed:
            return most + 1  # packed twice: that takes unpacking to know
        if head.startswith(_COLUMNAR):
            return weigh(source.path, most).size
        if not head.startswith(_ZIP):
            return _counted([source.opened], most) if source.is_packed else source.path.stat().st_size
        with zipfile.ZipFile(source.path) as archive:
            members = [member for member in archive.infolist() if _is_data(member)]
            if not is_workbook(source.path) and any(member.filename.endswith(_DENSE) for member in members):
                return most + 1
            return _counted([partial(archive.open, member) for member in members], most)
    except (*_DAMAGES, UnreadableFileError):
        return 0  # it will be refused at once


def _counted(files: Iterable[Callable[[], AbstractContextManager[IO[bytes]]]], most: int) -> int:
    size = 0
    for opener in files:
        with opener() as stream:
            while size <= most and (chunk := stream.read(_CHUNK_BYTES)):
                size += len(chunk)
    return size


def split_named(name: str) -> str | None:
    """The split that a file, a sheet or a value of a column is called after, if it is: ``dev`` → ``validation``."""
    found = {_SPLITS[word] for word in _WORD.findall(name.casefold()) if word in _SPLITS}
    return found.pop() if len(found) == 1 else None


def open_upload(source: SourceFile, folder: Path) -> dict[str, Opened]:
    """The file or, where an archive or a workbook holds several, the file of each split.

    Args:
        source: As it was uploaded.
        folder: For what has to be unpacked to be read.

    Returns:
        What is to be read, by its split; a single file is ``train``, whatever it is called.

    Raises:
        UnreadableFileError: It is damaged, or what it holds cannot be told apart.
        TooLargeError: It unpacks to more than it may.
    """
    head = source.head()
    if source.is_packed and (head.startswith(_ZIP) or head.startswith(_COLUMNAR)):
        source = _unpacked(source, folder)
    if not head.startswith(_ZIP):
        return {"train": Opened(source)}
    return _sheets(source) if is_workbook(source.path) else _members(source, folder)


def open_single(source: SourceFile, folder: Path) -> Opened:
    """The same where one file is wanted; raises also where there are several."""
    opened = open_upload(source, folder)
    if len(opened) > 1:
        raise source.unreadable("unclear_splits", "it holds several splits; send it alone")
    return opened["train"]


def open_sheet(opened: Opened, report: Report) -> Sheet:
    """The reader of a file with columns.

    Raises:
        UnreadableFileError: The file cannot be decoded or parsed.
    """
    if opened.book is not None:
        return WorkbookSheet(opened.source, opened.book, opened.sheet, report)
    if opened.source.head().startswith(_COLUMNAR):
        return ColumnarSheet(opened.source)
    return (JsonSheet if _is_json(opened.source) else DelimitedSheet)(opened.source, report)


def needs_workbook(source: SourceFile) -> bool:
    """Whether all of a workbook has to be read before anything is known of its rows; cheap."""
    if not source.head().startswith(_ZIP):
        return False
    if source.is_packed or is_workbook(source.path):
        return True
    try:
        with zipfile.ZipFile(source.path) as archive:
            return any(archive.open(member).read(len(_ZIP)) == _ZIP for member in archive.infolist())
    except _DAMAGES:
        return False  # whoever opens it says what is wrong


def open_tagged(opened: Opened, mapping: Mapping[str, str]) -> TaggedFile:
    """The reader of a file with tagged text.

    Args:
        opened: The file.
        mapping: Our field → the column, as far as the uploader told.

    Raises:
        UnreadableFileError: The file cannot be decoded or parsed, or is of a format that has no tags.
        InvalidDatasetError: It has not the columns that were named.
    """
    source = opened.source
    if opened.book is not None:
        raise not_tagged(source, "a workbook")
    if source.head().startswith(_COLUMNAR):
        return TaggedColumns(source, _fitting(source, mapping, numbered=False))
    if _is_json(source):
        return SpansFile(source, _fitting(source, mapping, numbered=False))
    return ConllFile(source, _fitting(source, mapping, numbered=True))


def _fitting(source: SourceFile, mapping: Mapping[str, str], *, numbered: bool) -> Mapping[str, str]:
    """The mapping, if its fields are such as the file can have.

    Raises:
        InvalidDatasetError: They are not.
    """
    problems = ProblemList()
    for field, column in mapping.items():
        if (field in NUMBERED) is not numbered:
            fields = ", ".join(NUMBERED) if numbered else "tokens and tags, or text and entities"
            message = f"columns: a file of this kind has no {field!r}; its fields are {fields}"
            problems.add(Problem("unknown_column", message, source.name, None, column[:100]))
    if problems.count:
        raise InvalidDatasetError(problems)
    return mapping


def _is_json(source: SourceFile) -> bool:
    beginning = next(source.chunks(), "")
    return _JSON.match(beginning) is not None


def _unpacked(source: SourceFile, folder: Path) -> SourceFile:
    path = folder / f"{source.path.name}-unpacked"
    with source.opened() as packed, path.open("wb") as target:
        shutil.copyfileobj(packed, target, _CHUNK_BYTES)
    return replace(source, path=path)


def _sheets(source: SourceFile) -> dict[str, Opened]:
    """The sheets called after splits; else the first one, if the others are empty."""
    book = open_workbook(source)
    filled = [name for name in book.sheet_names if book.get_sheet_by_name(name).height]
    names: list[str] = filled or book.sheet_names[:1]
    by_split = _by_split(source, names, "sheet")
    if len(by_split) == 1:
        return {"train": Opened(source, book, by_split["train"])}
    # Messages say which sheet is meant.
    return {
        split: Opened(replace(source, name=f"{source.name}, sheet {display_name(name, split)}"), book, name)
        for split, name in by_split.items()
    }


def _by_split(source: SourceFile, names: list[str], kind: str) -> dict[str, str]:
    """Which of several is for which split; one alone is for training."""
    if len(names) == 1:
        return {"train": names[0]}
    found: dict[str, str] = {}
    for name in names:
        split = split_named(PurePosixPath(name).stem)
        if split is None or split in found:
            shown = ", ".join(repr(other[-60:]) for other in names[:10])
            message = (
                f"it holds {len(names)} {kind}s, and their names do not say which is for what: {shown}. "
                f"Call them train, validation and test, or send one {kind} alone"
            )
            raise source.unreadable("unclear_splits", message)
        found[split] = name
    if "train" not in found:
        raise source.unreadable("unclear_splits", f"no {kind} is called train")
    return found


def _members(source: SourceFile, folder: Path) -> dict[str, Opened]:
    try:
        with zipfile.ZipFile(source.path) as archive:
            members = {member.filename: member for member in archive.infolist() if _is_data(member)}
            if not members:
                raise source.unreadable("unsupported_format", "the archive holds no file")
            by_split = _by_split(source, list(members), "file")
            found: dict[str, Opened] = {}
            left = source.most
            for split, name in by_split.items():
                path = folder / f"{source.path.name}-{split}"
                size = _extract(archive, members[name], path, left, source)
                left = None if left is None else left - size
                member = replace(source, name=display_name(name, split), path=path, most=left)
                head = member.head()
                if head.startswith(_ZIP) and not is_workbook(path):
                    raise source.unreadable("unsupported_format", f"{member.name} is an archive in an archive")
                found[split] = open_upload(member, folder)["train"]
            return found
    except _DAMAGES as error:
        raise source.unreadable("damaged_archive", f"it cannot be unpacked: {str(error)[:200]}") from error


def _is_data(member: zipfile.ZipInfo) -> bool:
    """Not a folder, nor what operating systems leave in archives."""
    parts = PurePosixPath(member.filename).parts
    return not member.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in parts)


def _extract(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, most: int | None, source: SourceFile
) -> int:
    """Unpack one member to a path of ours, and count its bytes: what the archive says of its size need not be true."""
    size = 0
    with archive.open(member) as packed, path.open("wb") as target:
        while chunk := packed.read(_CHUNK_BYTES):
            size += len(chunk)
            if most is not None and size > most:
                raise too_large(source.name, source.most or 0)
            target.write(chunk)
    return size
