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
_SEPARATOR_LINE = re.compile(r"\"?sep=(?P<separator>[,;\t|])\"?[\r\n]*")
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
        blank, header = _first_filled(lines)
        if (told := _SEPARATOR_LINE.fullmatch(header)) is not None:  # Excel's own
            more, header = _first_filled(lines)
            blank += 1 + more
        if not header:
            return
        head = [header, *islice(lines, _SNIFFED_LINES)]
        self._delimiter = told["separator"] if told else _delimiter(head)
        self.format = "tsv" if self._delimiter == "\t" else "csv"
        self.header_line = blank + 1
        bare = self._delimiter == "\t" and _has_bare_quotes(self._source, self._delimiter, self.header_line)
        quoting: Literal[0, 3] = csv.QUOTE_NONE if bare else csv.QUOTE_MINIMAL
        reader = csv.reader(chain(head, lines), delimiter=self._delimiter, quoting=quoting, strict=True)
        start = self.header_line
        try:
            for record in reader:
                if any(map(str.strip, record)):  # a row of which nothing is filled is none, as in a workbook
                    yield start, record
                start = blank + reader.line_num + 1
        except csv.Error as error:
            message = f"{error} (the record starts here)"
            if "new-line character" in str(error):
                message = "a bare carriage return stands outside quotes; save the file with LF or CRLF line ends"
            raise self._source.unreadable("malformed_csv", message, start) from error

    format = "csv"
    header_line = 1
    _delimiter = ","


def _first_filled(lines: Iterator[str]) -> tuple[int, str]:
    """How many blank lines come first, and the line behind them; nothing at the end of the file."""
    for blank, line in enumerate(lines):
        if line.strip():
            return blank, line
    return 0, ""


def _delimiter(lines: Sequence[str]) -> str:
    """The separator that gives most lines as many fields as the header; of several the one it has most of."""
    bare = [_QUOTED.sub("", line) for line in lines if line.strip()]
    counts = {delimiter: [line.count(delimiter) for line in bare] for delimiter in _DELIMITERS}

    def fitness(delimiter: str) -> tuple[bool, int, int]:
        header = counts[delimiter][0]
        alike = counts[delimiter].count(header)
        return header > 0, 2 * alike > len(bare), header

    found = [delimiter for delimiter in _DELIMITERS if fitness(delimiter)[0]]
    return max(found, key=fitness) if found else _DELIMITERS[0]


def _has_bare_quotes(source: SourceFile, delimiter: str, header_line: int) -> bool:
    """Whether quotes are ordinary characters, as in many a file with tabs.

    They are where the lines have the header's width without regard to quotes, and reading these would fail, or make
    one row of several lines: nobody writes cells with tabs and line breaks in them, but a text may begin with a quote.
    Where some lines have another width quotes are real, if any row needs them.
    """

    def lines() -> Iterator[str]:
        return (line for line in islice(source.lines(), header_line - 1, None) if line.strip())

    header = next(lines())
    if header.startswith('"') or not any('"' in line for line in lines()):
        return False
    width = header.count(delimiter)
    ragged = sum(line.count(delimiter) != width for line in lines())
    spread = wrong = swallowed = last = 0
    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    try:
        for record in reader:
            if reader.line_num - last > 1:
                spread += 1
                swallowed += any(delimiter in field for field in record)
            wrong += len(record) != width + 1
            last = reader.line_num
    except csv.Error:
        return not (ragged and spread)
    return swallowed > 0 or ((spread > 0 or wrong > 0) and ragged <= wrong)
