"""CSV and CoNLL → rows, each with the physical line it starts at."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models_store.datasets.columns import map_columns
from models_store.datasets.source import SourceFile
from models_store.errors import Problem, ProblemList
from models_store.tasks import TaskName
from models_store.tasks.bio import Scheme, check_tags, detect_scheme, to_bio

_DELIMITERS = ",;\t|"
csv.field_size_limit(16 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class LocatedRow:
    """A row of a data set and the line of the file at which it starts."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file.

    Attributes:
        source: The file.
        rows: Its valid rows.
        columns: Our field → its column.
        scheme: Tagging only: how its tags mark entities.
    """

    source: SourceFile
    rows: list[LocatedRow]
    columns: dict[str, str]
    scheme: Scheme | None = None


def read_table(source: SourceFile, task: TaskName, mapping: Mapping[str, str], problems: ProblemList) -> Table:
    """Read one file; problems of single rows are collected.

    Raises:
        UnreadableFileError: The file cannot be decoded or parsed.
        InvalidDatasetError: A column is missing.
    """
    table = read_conll(source, problems) if task is TaskName.TAGGING else read_csv(source, task, mapping, problems)
    if not table.rows and not problems.count:
        problems.add(Problem("no_rows", "the file holds no rows", source.name))
    return table


# ---- CSV ------------------------------------------------------------------------------------------------------------


def read_csv(source: SourceFile, task: TaskName, mapping: Mapping[str, str], problems: ProblemList) -> Table:
    """Read a CSV file (RFC 4180; separator ``,`` ``;`` tab or ``|``) with a header."""
    records = _csv_records(source)
    try:
        line, header = next(records)
    except StopIteration:
        problems.add(Problem("empty_file", "the file is empty", source.name))
        return Table(source, [], {})
    columns = map_columns(source, header, task, mapping)
    positions = {field: header.index(column) for field, column in columns.items()}
    rows = []
    for line, record in records:
        if len(record) != len(header):
            message = f"{len(record)} fields where the header has {len(header)}"
            problems.add(Problem("ragged_row", message, source.name, line))
            continue
        values = {field: record[position] for field, position in positions.items()}
        if (row := _clean(source, line, values, columns, problems)) is not None:
            rows.append(LocatedRow(line, row))
    return Table(source, rows, columns)


def _csv_records(source: SourceFile) -> Iterator[tuple[int, list[str]]]:
    lines = source.lines()
    first = next(lines, None)
    if first is None:
        return
    delimiter = max(_DELIMITERS, key=lambda d: (first.count(d), -_DELIMITERS.index(d)))
    reader = csv.reader(_chain(first, lines), delimiter=delimiter, strict=True)
    start = 1
    try:
        for record in reader:
            if record:  # a wholly blank line is no row
                yield start, record
            start = reader.line_num + 1
    except csv.Error as error:
        raise source.unreadable("malformed_csv", f"{error} (the record starts here)", start) from error


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _clean(
    source: SourceFile, line: int, values: dict[str, str], columns: Mapping[str, str], problems: ProblemList
) -> dict[str, Any] | None:
    """Check one row; texts stay as they are, labels and scores lose the blanks around them."""
    row: dict[str, Any] = {}
    before = problems.count
    for field, value in values.items():
        place = (source.name, line, columns[field])
        if "\0" in value:
            problems.add(Problem("nul_byte", "the field holds a NUL byte", *place))
        elif not value.strip():
            problems.add(Problem(f"missing_{field}", f"{columns[field]} is empty", *place))
        elif field == "score":
            row[field] = _number(value, place, problems)
        else:
            row[field] = value.strip() if field == "label" else value
    return row if problems.count == before else None


def _number(value: str, place: tuple[str, int, str], problems: ProblemList) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        problems.add(Problem("invalid_score", f"{_short(value)} is not a finite number", *place))
    return number


def _short(value: str, limit: int = 40) -> str:
    return repr(value if len(value) <= limit else value[:limit] + "…")


# ---- CoNLL ----------------------------------------------------------------------------------------------------------


def read_conll(source: SourceFile, problems: ProblemList) -> Table:
    """Read CoNLL columns: first the token, last the tag, a blank line between sentences."""
    sentences = list(_conll_sentences(source, problems))
    scheme = detect_scheme(tags for _, _, tags in sentences)
    rows = []
    for lines, tokens, tags in sentences:
        for bad in check_tags(tags, scheme):
            problems.add(Problem("invalid_tag_sequence", bad.message, source.name, lines[bad.index], "tag"))
        rows.append(LocatedRow(lines[0], {"tokens": tokens, "tags": to_bio(tags, scheme)}))
    return Table(source, rows, {}, scheme)


def _conll_sentences(source: SourceFile, problems: ProblemList) -> Iterator[tuple[list[int], list[str], list[str]]]:
    lines: list[int] = []
    tokens: list[str] = []
    tags: list[str] = []
    width = 0
    for number, raw in enumerate(source.lines(), start=1):
        text = raw.rstrip("\r\n")
        if not text.strip() or text.startswith("-DOCSTART-"):
            if tokens:
                yield lines, tokens, tags
                lines, tokens, tags = [], [], []
            continue
        fields = text.rstrip("\t ").split("\t") if "\t" in text else text.split()
        width = width or len(fields)
        problem = _conll_problem(fields, width, source.name, number)
        if problem is not None:
            problems.add(problem)
            continue
        lines.append(number)
        tokens.append(fields[0])
        tags.append(fields[-1])
    if tokens:
        yield lines, tokens, tags


def _conll_problem(fields: list[str], width: int, name: str, line: int) -> Problem | None:
    if len(fields) < 2:
        return Problem("missing_label", f"only one column: {_short(fields[0])} has no tag", name, line, "tag")
    if len(fields) != width:
        return Problem("ragged_row", f"{len(fields)} columns where the first line has {width}", name, line)
    if "\0" in fields[0] or not fields[0].strip():
        return Problem("nul_byte", "the token is empty or holds a NUL byte", name, line, "token")
    return None
