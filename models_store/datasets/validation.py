"""What the rows of all files say together: the label space, and everything that would spoil the training."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from models_store.datasets.labels import labels_of, suspected_separator
from models_store.datasets.readers import LocatedRow, Table
from models_store.errors import Problem, ProblemList, quoted
from models_store.tasks import Row, TaskName
from models_store.tasks.bio import OUTSIDE, Scheme, entity_spans
from models_store.tasks.classification import ClassificationTask, MultiLabelTask
from models_store.tasks.similarity import SimilarityTask
from models_store.tasks.tagging import TaggingTask
from models_store.tasks.words import WordSplitter

_MAX_LINES = 20
_TOO_MANY_PAIR_LABELS = 20


@dataclass(frozen=True, slots=True)
class Findings:
    """The label space of a data set (a task's configuration) and its labels with their counts."""

    schema: dict[str, Any]
    labels: list[dict[str, Any]]


def examine(task: TaskName, tables: Mapping[str, Table], problems: ProblemList) -> Findings:
    """Derive the label space from the training rows and hold the other splits against it."""
    return _EXAMINERS[task](tables, problems)


def row_key(row: Row) -> str:
    """What makes two rows the same input: the text without regard to case and blanks."""
    texts = row["tokens"] if "tokens" in row else [row["text"], row.get("text_pair", "")]
    return "\x1f".join(" ".join(text.split()).casefold() for text in texts)


def warnings(tables: Mapping[str, Table]) -> list[dict[str, Any]]:
    """Things that are no errors and yet worth knowing: repeated, contradictory and leaking rows, joint labels."""
    found = [_joint_labels(tables["train"])]
    seen: dict[str, set[str]] = {}
    for split, table in tables.items():
        groups: defaultdict[str, list[LocatedRow]] = defaultdict(list)
        for row in table.rows:
            groups[row_key(row.values)].append(row)
        repeated = [row.line for group in groups.values() for row in group[1:]]
        contradictory = [row.line for group in groups.values() if _contradicts(group) for row in group]
        shared = [
            row.line for key, group in groups.items() if any(key in keys for keys in seen.values()) for row in group
        ]
        found += [
            _warning("duplicate_rows", "row(s) repeat an earlier one", table, repeated),
            _warning("contradictory_labels", "row(s) give one text different labels", table, contradictory),
            _warning("rows_shared_between_splits", f"{split} row(s) stand in an earlier split, too", table, shared),
        ]
        seen[split] = set(groups)
    return [warning for warning in found if warning["lines"]]


def _joint_labels(train: Table) -> dict[str, Any]:
    """A column of one label a row that looks like several."""
    single = "label" in train.columns and "text_pair" not in train.columns and not train.multi_label
    labels = {row.values["label"] for row in train.rows} if single else set()
    separator = suspected_separator(labels)
    lines = [row.line for row in train.rows if separator in row.values["label"]] if separator else []
    message = f"row(s) seem to have several labels; if so, send label_separator={separator} with the upload"
    return _warning("joint_labels", message, train, lines)


def _warning(code: str, message: str, table: Table, lines: list[int]) -> dict[str, Any]:
    text = f"{len(lines)} {message}"
    return {"code": code, "message": text, "file": table.source.name, "lines": sorted(lines)[:_MAX_LINES]}


def _contradicts(group: list[LocatedRow]) -> bool:
    answers = {str(row.values.get("label", row.values.get("score", row.values.get("tags")))) for row in group}
    return len(answers) > 1


# ---- per task -------------------------------------------------------------------------------------------------------


def _examine_classification(tables: Mapping[str, Table], problems: ProblemList) -> Findings:
    _same_kind_of_labels(tables, problems)
    labels = _labels(tables, problems)
    kind = MultiLabelTask if tables["train"].multi_label else ClassificationTask
    return Findings(kind(tuple(sorted(labels))).to_config(), _counts(labels))


def _examine_similarity(tables: Mapping[str, Table], problems: ProblemList) -> Findings:
    train = tables["train"]
    _same_columns(tables, problems)
    if "score" in train.columns:
        scores = [row.values["score"] for row in train.rows]
        low, high = (min(scores), max(scores)) if scores else (0.0, 0.0)
        if scores and low == high:
            message = f"every score is {low:g}: there is nothing to learn"
            problems.add(Problem("constant_score", message, train.source.name, None, train.columns["score"]))
        return Findings(SimilarityTask(score_range=(low, high)).to_config(), [])
    labels = _labels(tables, problems)
    if len(labels) > _TOO_MANY_PAIR_LABELS:
        message = (
            f"{len(labels)} different labels look like graded scores; if they are, send "
            f'columns={{"score": "{train.columns["label"]}"}}'
        )
        problems.add(Problem("label_looks_like_score", message, train.source.name, None, train.columns["label"]))
    return Findings(SimilarityTask(labels=tuple(sorted(labels))).to_config(), _counts(labels))


def _examine_tagging(tables: Mapping[str, Table], problems: ProblemList) -> Findings:
    train = tables["train"]
    scheme = train.scheme or Scheme.PLAIN
    entities = scheme is not Scheme.PLAIN
    counts: Counter[str] = Counter()
    for row in train.rows:
        tags = row.values["tags"]
        counts.update([label for label, _, _ in entity_spans(tags)] if entities else tags)
    if train.rows and len(counts) < (1 if entities else 2):
        message = "no entity is tagged" if entities else f"every word is tagged {quoted(next(iter(counts), ''))}"
        problems.add(Problem("single_class", f"{message}: there is nothing to learn", train.source.name))
    _check_tag_labels(tables, set(counts), problems, entities=entities)
    tags = [OUTSIDE, *(f"{p}-{label}" for label in sorted(counts) for p in "BI")] if entities else sorted(counts)
    task = TaggingTask(tuple(tags), scheme, WordSplitter.from_words(row.values["tokens"] for row in train.rows))
    return Findings(task.to_config(), _counts(counts))


_EXAMINERS: dict[TaskName, Callable[[Mapping[str, Table], ProblemList], Findings]] = {
    TaskName.CLASSIFICATION: _examine_classification,
    TaskName.SIMILARITY: _examine_similarity,
    TaskName.TAGGING: _examine_tagging,
}


def _labels(tables: Mapping[str, Table], problems: ProblemList) -> Counter[str]:
    train = tables["train"]
    counts = Counter(label for row in train.rows for label in labels_of(row.values))
    if train.rows and len({tuple(labels_of(row.values)) for row in train.rows}) < 2:
        message = f"only one class: every row is labelled {quoted(', '.join(counts))}"
        problems.add(Problem("single_class", message, train.source.name, None, train.columns["label"]))
    for split, table in tables.items():
        if split == "train" or "label" not in table.columns:
            continue
        for row in table.rows:
            for label in labels_of(row.values):
                if label not in counts:
                    problems.add(_unknown(label, table, row.line, table.columns["label"]))
    return counts


def _check_tag_labels(tables: Mapping[str, Table], known: set[str], problems: ProblemList, *, entities: bool) -> None:
    for split, table in tables.items():
        if split == "train":
            continue
        if entities and all(tag == OUTSIDE for row in table.rows for tag in row.values["tags"]):
            continue
        if (table.scheme is Scheme.PLAIN) == entities:
            message = "the tags are of another kind than those of the training file (entities against plain tags)"
            problems.add(Problem("other_scheme", message, table.source.name, None, "tag"))
            continue
        for row in table.rows:
            tags = row.values["tags"]
            places = [(label, first) for label, first, _ in entity_spans(tags)] if entities else zip(tags, count())
            for label, index in places:
                if label not in known:  # a sentence's lines follow each other
                    problems.add(_unknown(label, table, row.line + index, "tag"))


def _same_columns(tables: Mapping[str, Table], problems: ProblemList) -> None:
    train = tables["train"]
    for table in tables.values():
        if table.rows and ("score" in table.columns) != ("score" in train.columns):
            message = f"{table.source.name} and {train.source.name} must both have scores, or both labels"
            problems.add(Problem("other_columns", message, table.source.name, 1))


def _same_kind_of_labels(tables: Mapping[str, Table], problems: ProblemList) -> None:
    train = tables["train"]
    for table in tables.values():
        if table.rows and table.multi_label != train.multi_label:
            message = f"{table.source.name} and {train.source.name} must both have lists of labels, or neither"
            problems.add(Problem("other_label_kind", message, table.source.name, None, table.columns["label"]))


def _unknown(label: str, table: Table, line: int, column: str) -> Problem:
    return Problem(
        "unknown_label", f"label {quoted(label)} never occurs in the training file", table.source.name, line, column
    )


def _counts(counts: Counter[str]) -> list[dict[str, Any]]:
    return [{"label": label, "count": count} for label, count in counts.most_common()]
