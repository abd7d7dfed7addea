"""Which columns of a CoNLL file hold the token and its tag: by its first lines, or by what the uploader says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from models_store.datasets.readers.sentences import not_tagged
from models_store.datasets.source import SourceFile
from models_store.errors import InvalidDatasetError, Problem, ProblemList, quoted
from models_store.spellings import column_key
from models_store.tasks.bio import OUTSIDE, split_tag

DOCUMENT = "-DOCSTART-"
WORD_NUMBER = re.compile(r"[0-9]+")
UNCOUNTED = re.compile(r"[0-9]+[-.][0-9]+")  # 1-2 (a contraction, whose words follow), 1.1 (a word left out)
_GLOBAL_COLUMNS = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
_CONLL_U_COLUMNS, _FORM, _UPOS, _HEAD = 10, 1, 3, 6
_SNIFFED_LINES = 2_000
_TOKEN_NAMES = {"token", "tokens", "word", "words", "form"}
_ENTITY_NAMES = {"ner", "ne", "ner_tag", "ner_tags", "bio", "iob", "entity"}
_TAG_NAMES = {"tag", "tags", "label", "labels"}
_POS_NAMES = {"pos", "upos", "pos_tag"}
_ALL_TAG_NAMES = {*_ENTITY_NAMES, *_TAG_NAMES, *_POS_NAMES, "word_labels"}
_TABLE_NAMES = {*_TOKEN_NAMES, "text", "sentence"}

Records = Sequence[Sequence[str]]  # of a file's first lines, the columns of each


@dataclass(frozen=True, slots=True)
class Layout:
    """How a CoNLL file is laid out; columns are counted from 0.

    Attributes:
        format: ``conllu`` for the ten columns of CoNLL-U and CoNLL-X, else ``conll``.
        width: How many columns its lines have; 0 where no line has several.
        token: The column of the words.
        tag: The column of their tags; -1 where it is not known how many there are.
        numbered: Whether the first column counts the words of each sentence from 1.
        header: The line that names the columns; 0 for none.
        nested: Another column with tags, which is not read, if there is one.
    """

    format: str
    width: int
    token: int
    tag: int
    numbered: bool = False
    header: int = 0
    nested: int | None = None

    @property
    def columns(self) -> dict[str, str]:
        """Our field → the number of the column, from 1."""
        return {"token": str(self.token + 1), "tag": str(self.tag + 1)} if self.width else {}


def fields_of(text: str) -> list[str]:
    """Columns parted by tabs or by blanks; other white space, such as a no-break space, belongs to the token."""
    return text.rstrip("\t ").split("\t") if "\t" in text else [part for part in text.split(" ") if part]


def layout_of(source: SourceFile, mapping: Mapping[str, str]) -> Layout:
    """Find out how a file is laid out.

    Args:
        source: The file.
        mapping: ``token`` and ``tag`` → the number of the column, from 1, or its name, as far as the uploader told.

    Raises:
        UnreadableFileError: It cannot be decoded, or is a table of another kind.
        InvalidDatasetError: It has not the columns that were named.
    """
    lines = [line.rstrip("\r\n") for line in islice(source.lines(), _SNIFFED_LINES)]
    names, header = _names(lines)
    sentences = list(_sentences(lines, header))
    width = next((len(fields) for sentence in sentences for fields in sentence if len(fields) > 1), 0)
    if _is_delimited(lines, width):
        raise not_tagged(source, "a table (CSV)")
    if len(names) != width:
        names, header = [], 0
    records = [fields for sentence in sentences for fields in sentence if len(fields) == width]
    numbered = width > 2 and _counts_words(sentences)
    is_conll_u = width == _CONLL_U_COLUMNS and (not names or column_key(names[_UPOS % len(names)]) == "upos")
    if numbered and is_conll_u and all(_is_head(fields[_HEAD]) for fields in records):
        usual = Layout("conllu", width, _FORM, _UPOS, numbered=True)
    else:
        numbers = numbered or (width > 2 and all(WORD_NUMBER.fullmatch(fields[0]) for fields in records))
        token = _place(names, _TOKEN_NAMES, int(numbers))
        others = [column for column in range(int(numbers), width) if column != token]
        tag, nested = _tag_column(records, names, others) if others else (-1, None)
        usual = Layout("conll", width, token, tag, numbered, header, nested)
    return _mapped(usual, source, mapping, names)


def _names(lines: Sequence[str]) -> tuple[list[str], int]:
    """What the columns are called, as far as the file says, and the line with which its data are headed."""
    for number, line in enumerate(lines, start=1):
        if match := _GLOBAL_COLUMNS.match(line):
            return [name.rpartition(":")[2] for name in match[1].split()], 0
        if line.strip() and not line.startswith("#"):
            fields = fields_of(line)
            return (fields, number) if is_header(fields) else ([], 0)
    return [], 0


def is_header(fields: Sequence[str]) -> bool:
    """Whether these columns name what stands below them, such as ``token`` and ``tag``."""
    keys = {column_key(field) for field in fields}
    return len(fields) > 1 and bool(keys & _TOKEN_NAMES) and bool(keys & _ALL_TAG_NAMES)


def _sentences(lines: Sequence[str], header: int) -> Iterator[list[list[str]]]:
    """The columns of the first lines by sentence; comments left out."""
    sentence: list[list[str]] = []
    for number, line in enumerate([*lines, ""], start=1):
        fields = fields_of(line)
        if not line.strip() or fields[0] == DOCUMENT:
            if sentence:
                yield sentence
            sentence = []
        elif number != header and (sentence or not line.startswith("#")):
            sentence.append(fields)


def _counts_words(sentences: Sequence[Records]) -> bool:
    """Whether the first column runs from 1 in each sentence; a single word in each would say nothing."""
    counted = [[f[0] for f in sentence if not UNCOUNTED.fullmatch(f[0])] for sentence in sentences]
    runs = [firsts == [str(number) for number in range(1, len(firsts) + 1)] for firsts in counted]
    # Where a line is wrong the reader will say so.
    return len(runs) > 0 and sum(runs) * 2 > len(runs) and any(len(firsts) > 1 for firsts in counted)


def _is_head(field: str) -> bool:
    return field == "_" or WORD_NUMBER.fullmatch(field) is not None


def _tag_column(records: Records, names: Sequence[str], columns: Sequence[int]) -> tuple[int, int | None]:
    """Which of these columns holds the tags: called after entities, or else the last that has entities' tags.

    Returns:
        The column, and another one with tags, which is not read.
    """
    labels = {column: found for column in columns if (found := _labels(records, column))}
    named = _place(names, _ENTITY_NAMES, -1)
    if named in columns:
        return named, None
    if not labels:
        named = next(
            (place for known in (_TAG_NAMES, _POS_NAMES) if (place := _place(names, known, -1)) in columns), -1
        )
        return (named if named in columns else columns[-1]), None
    *_, before, last = [-1, *labels]
    if last == columns[-1] - 1 and columns[-1] not in labels and _is_outside(records, columns[-1]):
        return last, columns[-1]  # nested entities, of which there are none, or none in these lines
    if before == last - 1 and last == columns[-1]:
        return (before, last) if labels[before] & labels[last] else (last, before)
    return (last if names else columns[-1]), None


def _is_outside(records: Records, column: int) -> bool:
    return all(fields[column] == OUTSIDE for fields in records)


def _labels(records: Records, column: int) -> set[str]:
    """The labels of a column in which every field is an entity's tag; none where it is of another kind."""
    tags = {fields[column] for fields in records}
    labels = {split_tag(tag)[1] for tag in tags - {OUTSIDE}}
    return set() if "" in labels else labels


def _place(names: Sequence[str], known: set[str], otherwise: int) -> int:
    return next((place for place, name in enumerate(names) if column_key(name) in known), otherwise)


def _is_delimited(lines: Sequence[str], width: int) -> bool:
    """Whether this is a table whose columns are parted by commas and the like."""
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    for delimiter in ",;|":
        names = {column_key(name.strip('"')) for name in first.split(delimiter)}
        if len(names) > 1 and (not width or (names & _TABLE_NAMES and names & _ALL_TAG_NAMES)):
            return True
    return False


def _mapped(usual: Layout, source: SourceFile, mapping: Mapping[str, str], names: Sequence[str]) -> Layout:
    """The layout with the columns that the uploader named."""
    if not mapping:
        return usual
    problems = ProblemList()
    places = {"token": usual.token, "tag": usual.tag}
    for field, column in mapping.items():
        number = int(column) if WORD_NUMBER.fullmatch(column) and len(column) < 4 else 0
        if 0 < number <= usual.width:
            places[field] = number - 1
        elif column in names:
            places[field] = names.index(column)
        else:
            called = f", called {', '.join(map(quoted, names))}" if names else ""
            message = f"no column {quoted(column)} (given for {field!r}): the lines have {usual.width}{called}"
            problems.add(Problem("unknown_column", message, source.name, None, column[:100]))
    if not problems.count and places["token"] == places["tag"]:
        message = "token and tag would be the same column: name both"
        problems.add(Problem("duplicate_column", message, source.name, None, str(places["tag"] + 1)))
    if problems.count:
        raise InvalidDatasetError(problems)
    return Layout(usual.format, usual.width, places["token"], places["tag"], usual.numbered, usual.header)
