"""Parquet and Arrow files of tagged text: a column of token lists and one of tag lists, or texts with spans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from models_store.datasets.columns import SPLIT, check_header, listed_columns
from models_store.datasets.readers.columnar import ColumnarSheet
from models_store.datasets.readers.sentences import Sentence
from models_store.datasets.readers.spans import ASIDE, SPANS, TAGS, TEXT, TOKENS, SpanReader
from models_store.datasets.report import Report
from models_store.datasets.source import SourceFile
from models_store.errors import InvalidDatasetError, Problem, ProblemList, quoted
from models_store.spellings import column_key


class TaggedColumns:
    """A columnar file of which each row is a sentence.

    Args:
        source: The file.
        mapping: Our field → the column, as far as the uploader told.

    Raises:
        UnreadableFileError: The file is damaged; on opening it, or while it is read.
        InvalidDatasetError: Two columns are called the same, or one that was named is not there.
    """

    def __init__(self, source: SourceFile, mapping: Mapping[str, str]) -> None:
        self._source = source
        self._mapping = mapping
        sheet = ColumnarSheet(source)
        self.format = sheet.format
        self.columns: dict[str, str] = {}
        self._check(sheet.header)
        self._wanted = _wanted(sheet.header, mapping)

    def sentences(self, report: Report) -> Iterator[Sentence]:
        """See `TaggedFile`."""
        reader = SpanReader(self._source.name, report, self._mapping)
        self.columns = reader.columns
        for number, cells in ColumnarSheet(self._source).rows(self._wanted):
            if (sentence := reader.read(number, dict(zip(self._wanted, cells, strict=True)))) is not None:
                yield sentence

    def _check(self, header: Sequence[str]) -> None:
        problems = ProblemList()
        check_header(self._source, header, problems)
        for field, column in self._mapping.items():
            if column not in header:
                message = f"no column {quoted(column)} (given for {field!r}): the file has {listed_columns(header)}"
                problems.add(Problem("unknown_column", message, self._source.name, 1, column[:100]))
        if not self._mapping.keys() - {SPLIT} and not set(header) & {*TOKENS, *TEXT}:
            message = (
                f"no column of tokens ({', '.join(TOKENS)}) or of texts ({', '.join(TEXT)}): the file has "
                f'{listed_columns(header)}. Send columns={{"tokens": "<your column>", "tags": "<your column>"}}'
            )
            problems.add(Problem("missing_column", message, self._source.name, 1, "tokens"))
        if problems.count:
            raise InvalidDatasetError(problems)


def _wanted(header: Sequence[str], mapping: Mapping[str, str]) -> list[str]:
    """The columns that say something of tagged text; others may hold what cannot be read."""
    usual = [next((name for name in names if name in header), None) for names in (TOKENS, TAGS, TEXT, SPANS)]
    splits = [column for column in header if column_key(column) == SPLIT]
    named = (*mapping.values(), *usual, *ASIDE, *splits)
    return [name for name in dict.fromkeys(named) if name is not None and name in header]
