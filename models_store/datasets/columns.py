"""Which column of a file holds what: the common spellings, or the mapping that came with the upload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models_store.datasets.source import SourceFile
from models_store.errors import InvalidDatasetError, InvalidInputError, Problem, ProblemList, quoted
from models_store.spellings import LABEL_SPELLINGS, PAIR_SPELLINGS, SCORE_SPELLINGS, TEXT_SPELLINGS, column_key
from models_store.tasks import TaskName

SPLIT = "split"
FIELDS: dict[TaskName, tuple[str, ...]] = {
    TaskName.CLASSIFICATION: ("text", "label", SPLIT),
    TaskName.SIMILARITY: ("text", "text_pair", "score", "label", SPLIT),
    TaskName.TAGGING: ("token", "tag", "tokens", "tags", "text", "entities", SPLIT),
}
# Of tagged text: the fields of one file, by the kind of file that has them.
NUMBERED = ("token", "tag")  # columns of CoNLL, which seldom have names
_TAGGED_KINDS = (NUMBERED, ("tokens", "tags", SPLIT), ("text", "entities", SPLIT))

MAX_COLUMNS = 1_000
_SHOWN_COLUMNS = 20
_SHOWN_CHARACTERS = 100


def map_columns(
    source: SourceFile, header: Sequence[str], task: TaskName, mapping: Mapping[str, str], line: int = 1
) -> dict[str, str]:
    """Our field → column of the file, whose header stands on this line.

    Raises:
        InvalidDatasetError: A field has no column; the message lists what was found and what would be understood.
    """
    problems = ProblemList()
    check_header(source, header, problems, line)
    for field, column in mapping.items():
        if column not in header:
            message = f"no column {quoted(column)} (given for {field!r}): the header has {listed_columns(header)}"
            problems.add(_problem(source, message, line, column))
    if problems.count:
        raise InvalidDatasetError(problems)
    by_key = {column_key(column): column for column in header}
    found = dict(mapping)
    if task is TaskName.CLASSIFICATION:
        _find(found, "text", TEXT_SPELLINGS, by_key)
        _find(found, "label", LABEL_SPELLINGS, by_key)
        missing = [field for field in ("text", "label") if field not in found]
    else:
        _find_pair(found, by_key)
        if "label" not in mapping:
            _find(found, "score", SCORE_SPELLINGS, by_key)
        if "score" not in found:
            _find(found, "label", LABEL_SPELLINGS, by_key)
        missing = [field for field in ("text", "text_pair") if field not in found]
        if "score" not in found and "label" not in found:
            missing.append("score (or label)")
    _find(found, SPLIT, (SPLIT,), by_key)
    for field in missing:
        message = (
            f"no column for {field}: the header has {listed_columns(header)}. Rename the column, or send "
            f'columns={{"{field.split()[0]}": "<your column>"}} with the upload'
        )
        problems.add(_problem(source, message, line, field, "missing_column"))
    if problems.count:
        raise InvalidDatasetError(problems)
    return found


def check_mapping(mapping: Mapping[str, object], task: TaskName) -> dict[str, str]:
    """The ``columns`` form field, checked.

    Raises:
        InvalidInputError: A name on the left that the task does not have, no text on the right, or one twice.
            Columns of CoNLL may be numbers. Fields of files of different kinds are not given together.
    """
    checked: dict[str, str] = {}
    for field, column in mapping.items():
        if task is TaskName.TAGGING and field in NUMBERED and type(column) is int:
            column = str(column)
        if field not in FIELDS[task] or not isinstance(column, str):
            known = ", ".join(FIELDS[task])
            raise _senseless(f"columns: {quoted(field)} cannot be mapped; fields of {task.value}: {known}")
        if taken := [other for other, name in checked.items() if name == column]:
            raise _senseless(f"columns: {quoted(column)} is given for both {taken[0]!r} and {field!r}")
        checked[field] = column
    if task is TaskName.TAGGING and not any(checked.keys() <= set(kind) for kind in _TAGGED_KINDS):
        raise _senseless("columns: give token and tag (CoNLL), or tokens and tags, or text and entities")
    return checked


def _senseless(message: str) -> InvalidInputError:
    return InvalidInputError(message, [Problem("invalid_columns", message, column="columns")])


def check_header(source: SourceFile, header: Sequence[str], problems: ProblemList, line: int = 1) -> None:
    """Note what is wrong with a header, whatever its columns are for."""
    if len(header) > MAX_COLUMNS:
        message = f"the header has {len(header)} columns, more than {MAX_COLUMNS}: is the separator the right one?"
        problems.add(Problem("too_many_columns", message, source.name, line))
        return
    keys: set[str] = set()
    for column in header:
        key = column_key(column)
        if key and key in keys:  # spreadsheets write columns without a name at the end
            message = f"column {quoted(column)} stands twice in the header"
            problems.add(_problem(source, message, line, column, "duplicate_column"))
        keys.add(key)


def _find(found: dict[str, str], field: str, spellings: Sequence[str], by_key: Mapping[str, str]) -> None:
    taken = set(found.values())
    for spelling in spellings:
        if field not in found and spelling in by_key and by_key[spelling] not in taken:
            found[field] = by_key[spelling]


def _find_pair(found: dict[str, str], by_key: Mapping[str, str]) -> None:
    for first, second in PAIR_SPELLINGS:
        if first in by_key and second in by_key and not {"text", "text_pair"} & set(found):
            found.update(text=by_key[first], text_pair=by_key[second])


def listed_columns(header: Sequence[str]) -> str:
    """The columns as a message tells of them."""
    shown = ", ".join(map(quoted, header[:_SHOWN_COLUMNS]))
    return shown if len(header) <= _SHOWN_COLUMNS else f"{shown} and {len(header) - _SHOWN_COLUMNS} more"


def _problem(source: SourceFile, message: str, line: int, column: str, code: str = "unknown_column") -> Problem:
    return Problem(code, message, source.name, line, column[:_SHOWN_CHARACTERS])
