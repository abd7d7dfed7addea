"""Excel workbooks (.xlsx): the rows of a sheet, with its own row numbers."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from models_store.datasets.readers.sheet import Cell
from models_store.datasets.report import Report, excerpt
from models_store.datasets.source import SourceFile, too_large
from models_store.errors import Problem

_BOOK = "xl/workbook.xml"
_CHUNK_BYTES = 1024 * 1024


def is_workbook(path: Path) -> bool:
    """Whether a zip archive is an Excel workbook."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _BOOK in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def open_workbook(source: SourceFile) -> CalamineWorkbook:
    """The workbook, after it was seen to unpack to no more than it may.

    Raises:
        UnreadableFileError: It is damaged, or has a password.
        TooLargeError: It unpacks to more than it may.
    """
    try:
        _check_size(source)
        return CalamineWorkbook.from_path(str(source.path))
    except (CalamineError, zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise source.unreadable("damaged_file", f"the workbook cannot be read: {str(error)[:200]}") from error


def _check_size(source: SourceFile) -> None:
    """Unpack all parts once: what the archive says of their sizes need not be true."""
    read = 0
    with zipfile.ZipFile(source.path) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    read += len(chunk)
                    if source.most is not None and read > source.most:
                        raise too_large(source.name, source.most)


class WorkbookSheet:
    """The rows of one sheet; its first row that is not empty is the header.

    Raises:
        UnreadableFileError: The sheet is damaged.
    """

    format = "xlsx"

    def __init__(self, source: SourceFile, book: CalamineWorkbook, name: str, report: Report) -> None:
        self._source = source
        self._report = report
        try:
            self._sheet: CalamineSheet = book.get_sheet_by_name(name)
        except CalamineError as error:
            raise source.unreadable("damaged_file", f"sheet {name!r} cannot be read: {str(error)[:200]}") from error
        self._rows = self._filled()
        self.header_line, first = next(self._rows, (1, []))
        header = [str(plain(cell) or "") for cell in first]
        while header and not header[-1]:  # all rows are as wide as the widest
            header.pop()
        self.header: Sequence[str] = header

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[Cell]]]:
        """See `Sheet`; wholly empty rows are none. A row with more cells than the header is wrong."""
        width = len(self.header)
        positions = [self.header.index(column) for column in columns]
        for number, cells in self._rows:
            if any(cell not in ("", None) for cell in cells[width:]):
                message = f"there is something beyond the {width} columns of the header"
                self._report.wrong_row(
                    Problem("ragged_row", message, self._source.name, number, value=excerpt(cells[width:]))
                )
            else:
                yield number, [plain(cells[position]) if position < len(cells) else None for position in positions]

    def _filled(self) -> Iterator[tuple[int, list[Cell]]]:
        first = self._sheet.start[0] + 1 if self._sheet.start else 1
        for number, cells in enumerate(self._sheet.iter_rows(), start=first):
            if any(cell not in ("", None) for cell in cells):
                yield number, cells


def plain(cell: Cell) -> Cell:
    """A cell's value: numbers without a fraction as whole ones, times as ISO 8601 writes them."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    return str(cell) if isinstance(cell, timedelta) else cell
