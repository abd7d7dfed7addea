"""Parquet and Arrow files of tagged text: a column of token lists and one of tag lists, or texts with spans."""

from __future__ import annotations

from collections.abc import Iterator

from models_store.datasets.readers.columnar import ColumnarSheet
from models_store.datasets.readers.sentences import Sentence
from models_store.datasets.readers.spans import SpanReader
from models_store.datasets.report import Report
from models_store.datasets.source import SourceFile


class TaggedColumns:
    """A columnar file of which each row is a sentence.

    Raises:
        UnreadableFileError: The file is damaged; on opening it, or while it is read.
    """

    columns: dict[str, str] = {}  # noqa: RUF012 (its columns are found row by row)

    def __init__(self, source: SourceFile) -> None:
        self._source = source
        self.format = ColumnarSheet(source).format

    def sentences(self, report: Report) -> Iterator[Sentence]:
        """See `TaggedFile`."""
        sheet = ColumnarSheet(self._source)
        header = list(dict.fromkeys(sheet.header))
        reader = SpanReader(self._source.name, report)
        for number, cells in sheet.rows(header):
            if (sentence := reader.read(number, dict(zip(header, cells, strict=True)))) is not None:
                yield sentence
