"""One uploaded file → rows of a data set with their lines, one after the other, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from models_store.datasets.cells import RowCleaner
from models_store.datasets.columns import SPLIT, map_columns
from models_store.datasets.formats import Opened, open_sheet, open_tagged, split_named
from models_store.datasets.readers.sentences import Sentence, TaggedFile, line_of, with_text
from models_store.datasets.readers.sheet import Cell, Sheet
from models_store.datasets.report import OnError, Report, excerpt
from models_store.datasets.rows import SPLIT_SEED
from models_store.datasets.source import SourceFile
from models_store.errors import InvalidDatasetError, Problem, quoted
from models_store.tasks import TaskName
from models_store.tasks.bio import OUTSIDE, Scheme, check_tags, detect_scheme, disguised_entities, to_bio

_NO_SPLITS = "column {column} says neither train nor validation nor test: it was ignored"
_FIRST_ROWS = 50  # of which one says what it is for, if the column called split is meant so


@dataclass(frozen=True, slots=True)
class LocatedRow:
    """A row of a data set and the line of the file at which it starts.

    Attributes:
        line: Its own, or its number where the format has no lines.
        values: What it holds.
        lines: Tagging only: where each token stands.
        split: What the file itself says it is for, if it does.
    """

    line: int
    values: dict[str, Any]
    lines: tuple[int, ...] = ()
    split: str | None = None


@dataclass(slots=True)
class Table:
    """The rows of one file, which are read once, as they are asked for.

    Attributes:
        source: The file.
        columns: Our field → its column.
        format: How the file was written.
        split_column: The column that says what each row is for, if there is one.
        scheme: Tagging only: how its tags mark entities.
        tags: Tagging only: all of them, as written.
        multi_label: Whether each row has a list of labels; known once there has been a row.
    """

    source: SourceFile
    columns: dict[str, str]
    format: str
    split_column: str | None = None
    rows: Iterator[LocatedRow] = field(default_factory=lambda: iter(()))
    scheme: Scheme | None = None
    tags: Set[str] = frozenset()
    multi_label: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are to be read.

    Attributes:
        task: What their rows are for.
        mapping: Our field → the column, as far as the uploader told.
        label_separator: Stands between the labels of a row that may have several.
        parts: Whether the rows of a file may be for several splits; not where several files say what they are for.
        split_seed: By which validation rows are drawn where there are none.
    """

    task: TaskName
    mapping: Mapping[str, str] = field(default_factory=dict)
    label_separator: str | None = None
    parts: bool = True
    split_seed: int = SPLIT_SEED


def open_table(opened: Opened, reading: Reading, report: Report) -> Table:
    """Begin to read one file. What is wrong with header and rows is reported, now or as the rows are read.

    Raises:
        UnreadableFileError: The file cannot be decoded or parsed; now or as the rows are read.
    """
    if reading.task is TaskName.TAGGING:
        return _tagged_table(opened, reading, report)
    sheet = open_sheet(opened, report)
    return _table(opened.source, sheet, reading, report)


def _table(source: SourceFile, sheet: Sheet, reading: Reading, report: Report) -> Table:
    table = Table(source, {}, sheet.format, multi_label=reading.label_separator is not None)
    if not sheet.header:
        report.wrong(Problem("empty_file", "the file is empty", source.name))
        return table
    try:
        columns = map_columns(source, sheet.header, reading.task, reading.mapping, sheet.header_line)
    except InvalidDatasetError as error:
        for problem in error.problems:
            report.wrong(problem)
        return table
    table.split_column = columns.pop(SPLIT, None)
    table.columns = columns
    table.rows = _cleaned(table, sheet, reading, report)
    return table


def _cleaned(table: Table, sheet: Sheet, reading: Reading, report: Report) -> Iterator[LocatedRow]:
    name, lists = table.source.name, reading.task is TaskName.CLASSIFICATION
    cleaner = RowCleaner(name, table.columns, report, lists=lists, separator=reading.label_separator)
    wanted = [*table.columns.values(), *([table.split_column] if table.split_column else [])]
    width = len(table.columns)
    rows = sheet.rows(wanted)
    ignored: str | None = None
    if table.split_column and SPLIT not in reading.mapping:
        first = list(islice(rows, _FIRST_ROWS))
        if first and all(_split(cells[width]) is None for _, cells in first):  # it is only called so
            report.notice("split_column_ignored", _NO_SPLITS.format(column=quoted(table.split_column)), name)
            ignored, table.split_column = table.split_column, None
        rows = chain(first, rows)
    for line, cells in rows:
        values = cleaner.clean(line, cells[:width])
        table.multi_label = cleaner.several
        if values is None:
            continue
        if ignored is not None and _split(cells[width]) is not None:
            message = f"the row is for {cells[width]}, but the first {_FIRST_ROWS} say of no split what they are for"
            report.wrong(Problem("unknown_split", message, name, line, ignored, excerpt(str(cells[width]))))
            ignored = None  # once is enough
        if table.split_column is None:
            yield LocatedRow(line, values)
        elif (split := _split(cells[width])) is not None:
            yield LocatedRow(line, values, split=split)
        else:
            report.wrong_row(_unknown_split(name, line, table.split_column, cells[width]))


def _split(cell: Cell) -> str | None:
    return split_named(cell) if isinstance(cell, str) else None


# ---- tagging --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seen:
    """What all rows of a tagged file say together.

    Attributes:
        tags: All tags, as written.
        has_texts: Whether some rows are texts with marks, and not only tokens.
        has_splits: Whether some say which split they are for.
        has_others: Whether some say something else there.
    """

    tags: set[str] = field(default_factory=set)
    has_texts: bool = False
    has_splits: bool = False
    has_others: bool = False

    def add(self, sentence: Sentence) -> None:
        self.tags.update(sentence.tags)
        self.has_texts |= sentence.text is not None
        self.has_splits |= _split(sentence.split) is not None
        self.has_others |= sentence.split is not None and _split(sentence.split) is None


def _tagged_table(opened: Opened, reading: Reading, report: Report) -> Table:
    """Read the file twice: all of its tags tell how they are meant."""
    try:
        file = open_tagged(opened, reading.mapping)
    except InvalidDatasetError as error:
        for problem in error.problems:
            report.wrong(problem)
        return Table(opened.source, {}, "")
    aside = Report(OnError.SKIP)
    seen = _Seen()

    def all_tags() -> Iterator[list[str]]:
        for sentence in file.sentences(aside):
            if sentence.whole:
                seen.add(sentence)
                yield sentence.tags

    scheme = detect_scheme(all_tags())
    table = Table(opened.source, dict(file.columns), file.format, scheme=scheme, tags=seen.tags)
    if reading.parts and (seen.has_splits or SPLIT in reading.mapping):
        table.split_column = reading.mapping.get(SPLIT, SPLIT)
    elif seen.has_others and not seen.has_splits:
        report.notice("split_column_ignored", _NO_SPLITS.format(column=quoted(SPLIT)), opened.source.name)
    seen.has_texts &= scheme is not Scheme.PLAIN or seen.tags <= {OUTSIDE}  # plain tags mark no part of a text
    table.rows = _tagged_rows(table, file, seen, report)
    return table


def _tagged_rows(table: Table, file: TaggedFile, seen: _Seen, report: Report) -> Iterator[LocatedRow]:
    name, scheme, strange = table.source.name, table.scheme or Scheme.PLAIN, disguised_entities(seen.tags)
    usual: set[tuple[str | None, str | None]] = set()  # neighbours that are all right: schemes forbid nothing else
    for sentence in file.sentences(report):
        if not sentence.whole:
            continue
        neighbours = set(zip([None, *sentence.tags], [*sentence.tags, None], strict=True))
        problems = [] if neighbours <= usual else list(_tag_problems(name, sentence, scheme, strange))
        split = _split(sentence.split) if table.split_column else None
        if table.split_column and split is None:
            problems.append(_unknown_split(name, sentence.lines[0], table.split_column, sentence.split))
        for problem in problems:
            report.wrong_row(problem, row=sentence.lines[0])
        if not problems:
            usual |= neighbours
            values: dict[str, Any] = {"tokens": sentence.tokens, "tags": to_bio(sentence.tags, scheme)}
            if seen.has_texts:  # all rows of a file have the same fields
                sentence = with_text(sentence)
                values |= {"text": sentence.text, "starts": sentence.starts}
            yield LocatedRow(sentence.lines[0], values, tuple(sentence.lines), split)


def _unknown_split(name: str, line: int, column: str, value: Cell) -> Problem:
    what = "nothing says what the row is for" if value in (None, "") else f"{quoted(str(value))} is no split"
    message = f"{what}; write train, validation or test"
    return Problem("unknown_split", message, name, line, column, excerpt(str(value)))


def _tag_problems(name: str, sentence: Sentence, scheme: Scheme, strange: Mapping[str, str]) -> Iterator[Problem]:
    if strange:
        for index, tag in enumerate(sentence.tags):
            if tag in strange:
                message = f"{quoted(tag)} is an entity tag in a form that is not understood; write {strange[tag]}"
                yield Problem("unknown_tag_form", message, name, line_of(sentence.lines, index), "tag", excerpt(tag))
        return
    for bad in check_tags(sentence.tags, scheme):
        line = line_of(sentence.lines, bad.index)
        yield Problem("invalid_tag_sequence", bad.message, name, line, "tag", excerpt(sentence.tags[bad.index]))
