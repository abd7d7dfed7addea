"""CSV, JSON and CoNLL → rows, each with the physical line it starts at."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from models_store.datasets.columns import map_columns
from models_store.datasets.json_rows import field_values, is_text, json_records, mixes_labels
from models_store.datasets.labels import label_problem, label_set
from models_store.datasets.source import SourceFile
from models_store.errors import InvalidDatasetError, Problem, ProblemList, quoted
from models_store.tasks import TaskName
from models_store.tasks.bio import Scheme, check_tags, detect_scheme, disguised_entities, to_bio

_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*(?:"|$)')
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
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
        format: How the file was written.
        multi_label: Whether each row has a list of labels.
    """

    source: SourceFile
    rows: list[LocatedRow]
    columns: dict[str, str]
    scheme: Scheme | None = None
    format: str = "csv"
    multi_label: bool = False


def read_table(
    source: SourceFile,
    task: TaskName,
    mapping: Mapping[str, str],
    problems: ProblemList,
    label_separator: str | None = None,
) -> Table:
    """Read one file; problems of header and rows are collected.

    Args:
        source: The file.
        task: What its rows are for.
        mapping: Our field → its column, as far as the caller told.
        problems: Gets what is wrong.
        label_separator: Stands between the labels of a row that may have several.

    Raises:
        UnreadableFileError: The file cannot be decoded or parsed.
    """
    before = problems.count
    if task is TaskName.TAGGING:
        if source.holds_json():
            raise source.foreign("looks like JSON")
        table = read_conll(source, problems)
    else:
        read = read_json if source.holds_json() else read_csv
        table = read(source, task, mapping, problems, label_separator)
    if not table.rows and problems.count == before:
        problems.add(Problem("no_rows", "the file holds no rows", source.name))
    return table


# ---- CSV ------------------------------------------------------------------------------------------------------------


def read_csv(
    source: SourceFile,
    task: TaskName,
    mapping: Mapping[str, str],
    problems: ProblemList,
    label_separator: str | None = None,
) -> Table:
    """Read a CSV file (RFC 4180; separator ``,`` ``;`` tab or ``|``) with a header."""
    records = _csv_records(source)
    try:
        line, header = next(records)
    except StopIteration:
        problems.add(Problem("empty_file", "the file is empty", source.name))
        return Table(source, [], {})
    if (columns := _mapped(source, header, task, mapping, problems)) is None:
        return Table(source, [], {})
    positions = {field: header.index(column) for field, column in columns.items()}
    rows = []
    for line, record in records:
        if len(record) != len(header):
            message = f"{len(record)} fields where the header has {len(header)}"
            problems.add(Problem("ragged_row", message, source.name, line))
            continue
        values = {field: record[position] for field, position in positions.items()}
        if (row := _clean(source, line, values, columns, label_separator, problems)) is not None:
            rows.append(LocatedRow(line, row))
    return Table(source, rows, columns, multi_label=label_separator is not None)


def _mapped(
    source: SourceFile, header: Sequence[str], task: TaskName, mapping: Mapping[str, str], problems: ProblemList
) -> dict[str, str] | None:
    """Our field → column of the file; nothing where one is missing, which is then among the problems."""
    try:
        return map_columns(source, header, task, mapping)
    except InvalidDatasetError as error:
        for problem in error.problems:
            problems.add(problem)
        return None


def _csv_records(source: SourceFile) -> Iterator[tuple[int, list[str]]]:
    lines = source.lines()
    head: list[str] = []  # blank lines and the first line of the header
    for line in lines:
        head.append(line)
        if line.strip():
            break
    else:
        return
    reader = csv.reader(chain(head, lines), delimiter=_delimiter(head[-1]), strict=True)
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
        raise source.unreadable("malformed_csv", message, start) from error


def _delimiter(header: str) -> str:
    """The separator that stands most often in the header outside quotes."""
    bare = _QUOTED.sub("", header)
    return max(_DELIMITERS, key=lambda d: (bare.count(d), -_DELIMITERS.index(d)))


def _clean(
    source: SourceFile,
    line: int,
    values: Mapping[str, str | list[str]],
    columns: Mapping[str, str],
    label_separator: str | None,
    problems: ProblemList,
) -> dict[str, Any] | None:
    """Check one row; texts stay as they are, labels and scores lose the blanks around them."""
    row: dict[str, Any] = {}
    before = problems.count
    for field, value in values.items():
        place = (source.name, line, columns[field])
        if isinstance(value, list) or (field == "label" and label_separator is not None):
            row[field] = label_set(value, label_separator, place, problems)
        elif "\0" in value:
            problems.add(Problem("nul_byte", "the field holds a NUL byte", *place))
        elif not value.strip():
            problems.add(Problem(f"missing_{field}", f"{columns[field]} is empty", *place))
        elif field == "score":
            row[field] = _number(value, place, problems)
        elif field == "label" and (problem := label_problem(value.strip(), place)) is not None:
            problems.add(problem)
        else:
            row[field] = value.strip() if field == "label" else value
    return row if problems.count == before else None


def _number(value: str, place: tuple[str, int, str], problems: ProblemList) -> float:
    # float() alone would take 1_000 and digits of other scripts, too.
    number = float(value) if _NUMBER.fullmatch(value.strip()) else math.nan
    if not math.isfinite(number):
        message = f"{quoted(value)} is not a finite number such as 3.5 (with a decimal point)"
        problems.add(Problem("invalid_score", message, *place))
    return number


# ---- JSON -----------------------------------------------------------------------------------------------------------


def read_json(
    source: SourceFile,
    task: TaskName,
    mapping: Mapping[str, str],
    problems: ProblemList,
    label_separator: str | None = None,
) -> Table:
    """Read JSON Lines, or one array of objects. The first object is the header; a label may be a list of them."""
    records = json_records(source)
    first_line, first = next(records)  # there is one: the file begins like an object
    header = [key for key in first if is_text(key)]
    if (columns := _mapped(source, header, task, mapping, problems)) is None:
        return Table(source, [], {}, format="json")
    several = isinstance(first.get(columns.get("label")), list)
    rows = []
    for line, record in chain([(first_line, first)], records):
        values = field_values(source, line, record, columns, problems, lists=task is TaskName.CLASSIFICATION)
        if values is None or mixes_labels(values, source, line, columns, problems, several=several):
            continue
        if (row := _clean(source, line, values, columns, label_separator, problems)) is not None:
            rows.append(LocatedRow(line, row))
    return Table(source, rows, columns, format="json", multi_label=several or label_separator is not None)


# ---- CoNLL ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sentence:
    """Lines, tokens and tags; ``whole`` unless one of its lines was refused."""

    lines: list[int]
    tokens: list[str]
    tags: list[str]
    whole: bool = True


def read_conll(source: SourceFile, problems: ProblemList) -> Table:
    """Read CoNLL columns: first the token, last the tag, a blank line between sentences."""
    sentences = [sentence for sentence in _conll_sentences(source, problems) if sentence.whole]
    scheme = detect_scheme(sentence.tags for sentence in sentences)
    strange = disguised_entities({tag for sentence in sentences for tag in sentence.tags})
    rows = []
    for sentence in sentences:
        for index, tag in enumerate(sentence.tags):
            if tag in strange:
                message = f"{quoted(tag)} is an entity tag in a form that is not understood; write {strange[tag]}"
                problems.add(Problem("unknown_tag_form", message, source.name, sentence.lines[index], "tag"))
        for bad in check_tags(sentence.tags, scheme) if not strange else ():
            line = sentence.lines[bad.index]
            problems.add(Problem("invalid_tag_sequence", bad.message, source.name, line, "tag"))
        values = {"tokens": sentence.tokens, "tags": to_bio(sentence.tags, scheme)}
        rows.append(LocatedRow(sentence.lines[0], values))
    return Table(source, rows, {}, scheme, format="conll")


def _conll_sentences(source: SourceFile, problems: ProblemList) -> Iterator[_Sentence]:
    sentence = _Sentence([], [], [])
    width = 0
    for number, raw in enumerate(source.lines(), start=1):
        text = raw.rstrip("\r\n")
        if not text.strip() or text.startswith("-DOCSTART-"):
            if sentence.tokens:
                yield sentence
            sentence = _Sentence([], [], [])
            continue
        fields = _conll_fields(text)
        width = width or (len(fields) if len(fields) > 1 else 0)
        problem = _conll_problem(fields, width, source.name, number)
        if problem is not None:
            problems.add(problem)
            sentence.whole = False
            continue
        sentence.lines.append(number)
        sentence.tokens.append(fields[0])
        sentence.tags.append(fields[-1])
    if sentence.tokens:
        yield sentence


def _conll_fields(text: str) -> list[str]:
    """Columns parted by tabs or by blanks; other white space, such as a no-break space, belongs to the token."""
    return text.rstrip("\t ").split("\t") if "\t" in text else [part for part in text.split(" ") if part]


def _conll_problem(fields: list[str], width: int, name: str, line: int) -> Problem | None:
    if len(fields) < 2:
        return Problem("missing_label", f"only one column: {quoted(fields[0])} has no tag", name, line, "tag")
    if len(fields) != width:
        return Problem("ragged_row", f"{len(fields)} columns where the lines before have {width}", name, line)
    if not fields[0].strip():
        return Problem("missing_text", "the token is empty", name, line, "token")
    if "\0" in fields[0] + fields[-1]:
        return Problem("nul_byte", "the line holds a NUL byte", name, line, "token" if "\0" in fields[0] else "tag")
    return label_problem(fields[-1], (name, line, "tag"))
