"""CSV and its relatives: a header, separators, quotes as in RFC 4180, or none at all."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import Literal

from models_store.datasets.readers.sheet import Cell
from models_store.datasets.report import Report, excerpt
from models_store.datasets.source import SourceFile
from models_store.errors import Problem

_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*(?:"|$)')
_SNIFFED_LINES = 200
csv.field_size_limit(16 * 1024 * 1024)


class DelimitedSheet:
    """The rows of a CSV or TSV file.

    Raises:
        UnreadableFileError: The file cannot be decoded or parsed; on opening it, or while its rows are read.
    """

    def __init__(self, source: SourceFile, report: Report) -> None:
        self._source = source
        self._report = report
        self._records = self._parsed()
        self.header: Sequence[str] = next(self._records, (0, []))[1]

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[Cell]]]:
        """See `Sheet`; rows of another width than the header's are wrong."""
        width = len(self.header)
        positions = [self.header.index(column) for column in columns]
        chosen = itemgetter(*positions) if len(positions) > 1 else lambda record: (record[positions[0]],)
        for line, record in self._records:
            if len(record) == width:
                yield line, chosen(record)
            else:
                message = f"{len(record)} fields where the header has {width}"
                value = excerpt(self._delimiter.join(record))
                self._report.wrong_row(Problem("ragged_row", message, self._source.name, line, value=value))

    def _parsed(self) -> Iterator[tuple[int, list[str]]]:
        lines = self._source.lines()
        head: list[str] = []  # blank lines and the first line of the header
        for line in lines:
            head.append(line)
            if line.strip():
                break
        else:
            return
        self._delimiter = _delimiter(head[-1])
        self.format = "tsv" if self._delimiter == "\t" else "csv"
        head += islice(lines, _SNIFFED_LINES)
        bare = _has_bare_quotes(head, self._delimiter)
        quoting: Literal[0, 3] = csv.QUOTE_NONE if bare else csv.QUOTE_MINIMAL
        reader = csv.reader(chain(head, lines), delimiter=self._delimiter, quoting=quoting, strict=True)
        start = 1
        try:
            for record in reader:
                if len(record) > 1 or "".join(record).strip():  # a wholly blank line is no row
                    yield start, record
                start = reader.line_num + 1
        except csv.Error as error:
            message = f"{error} (the record starts here)"
            if "new-line character" in str(error):
                message = "a bare carriage return stands outside quotes; save the file with LF or CRLF line ends"
            raise self._source.unreadable("malformed_csv", message, start) from error

    format = "csv"
    _delimiter = ","


def _delimiter(header: str) -> str:
    """The separator that stands most often in the header outside quotes."""
    bare = _QUOTED.sub("", header)
    return max(_DELIMITERS, key=lambda d: (bare.count(d), -_DELIMITERS.index(d)))


def _has_bare_quotes(lines: Sequence[str], delimiter: str) -> bool:
    """Whether quotes are ordinary characters, as in many a file with tabs.

    They are where no line needs quotes to have the header's width, and reading them as quotes would fail, or give rows
    of another one.
    """
    if delimiter != "\t" or not any('"' in line for line in lines):
        return False
    plain = [line.rstrip("\r\n").split(delimiter) for line in lines if line.strip()]
    if any(len(fields) != len(plain[0]) for fields in plain):
        return False
    try:
        read = list(csv.reader([line for line in lines if line.strip()], delimiter=delimiter, strict=True))
    except csv.Error:
        return True
    return any(len(record) != len(plain[0]) for record in read)
