"""What the rows of all files say together: the label space, and everything that would spoil the training."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.census import Census, Groups, grouped, numbers
from models_store.datasets.ingest import SplitData, unknown_label
from models_store.datasets.labels import suspected_separator
from models_store.datasets.pieces import EncoderLimit, too_long
from models_store.datasets.report import MAX_LINES, Report
from models_store.datasets.rows import ArrowRows
from models_store.errors import Problem, quoted
from models_store.tasks import TaskName
from models_store.tasks.bio import OUTSIDE, Scheme
from models_store.tasks.classification import ClassificationTask, MultiLabelTask
from models_store.tasks.similarity import SimilarityTask
from models_store.tasks.tagging import TaggingTask
from models_store.tasks.words import WordSplitter

FEW_ROWS = 5  # of a label; with fewer it is hardly learnt, and less well measured
_TOO_MANY_PAIR_LABELS = 20
_LIST = re.compile(r"\s*\[.*\]\s*", re.DOTALL)
_BEYOND = 0.1  # of the range of scores
_OUTLYING = 5  # times as far from the middle half of all scores as that is wide

Splits = Mapping[str, SplitData]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Findings:
    """What follows from all rows.

    Attributes:
        schema: The label space (a task's configuration).
        labels: The labels of the training rows with their counts.
        dropped: Of each split, rows to be left out; their labels do not stand in the training file.
    """

    schema: dict[str, Any]
    labels: list[dict[str, Any]]
    dropped: Mapping[str, Rows]


def examine(task: TaskName, splits: Splits, report: Report) -> Findings:
    """Derive the label space from the training rows and hold the other splits against it."""
    return _EXAMINERS[task](splits, report)


def warnings(splits: Splits) -> list[dict[str, Any]]:
    """What is no error and yet worth knowing: repeated, contradictory and leaking rows, rare and joint labels."""
    train = splits["train"]
    found = [*_joint_labels(train), *_rare_labels(train), *_outlying_scores(train)]
    earlier: list[SplitData] = []
    for split, data in splits.items():
        census, same = data.census, grouped(data.census.keys)
        repeated = _repeated(same)
        nearly = np.setdiff1d(_repeated(grouped(census.loose)), repeated)
        found += [
            *_warning("duplicate_rows", "row(s) repeat an earlier one", data, repeated),
            *_warning("near_duplicate_rows", "row(s) repeat an earlier one but for punctuation", data, nearly),
            *_warning("contradictory_labels", "row(s) give one text different labels", data, _at_odds(census, same)),
        ]
        if earlier:
            shared = _shared(census, earlier, "keys")
            other = shared[~_answered_alike(census, earlier)[shared]]
            nearly = np.setdiff1d(_shared(census, earlier, "loose"), shared)
            message = f"{split} row(s) stand in an earlier split, too"
            found += [
                *_warning("rows_shared_between_splits", message, data, shared),
                *_warning("near_duplicates_between_splits", f"{message}, but for punctuation", data, nearly),
                *_warning("contradictory_labels", f"{message}, with other labels", data, other),
            ]
        earlier.append(data)
    return found


def longer_than(limit: EncoderLimit, splits: Splits, *, windowed: bool) -> list[dict[str, Any]]:
    """Rows that the encoder cannot read all at once; ``windowed`` where they are read in windows, and not cut."""
    found: list[dict[str, Any]] = []
    fate = "are read in windows" if windowed else "lose their ends: shorten them, or put what matters first"
    for split, data in splits.items():
        if not len(data.census):
            continue  # nothing was written
        longer = too_long(limit, ArrowRows(data.path), numbers(data.census.lengths))
        if longer.count:
            lines = sorted(numbers(data.census.lines)[longer.rows].tolist())
            message = (
                f"{'' if longer.exact else 'about '}{longer.count} {split} row(s) are longer than the {limit.most} "
                f"word pieces that {limit.encoder} reads at once; they {fate}"
            )
            found.append(
                {"code": "longer_than_encoder", "message": message, "file": data.name, "lines": lines[:MAX_LINES]}
            )
    return found


def _warning(code: str, message: str, data: SplitData, rows: Rows) -> Iterator[dict[str, Any]]:
    """What is to be said of some rows, if there are any."""
    if lines := sorted(numbers(data.census.lines)[rows].tolist()):
        yield {"code": code, "message": f"{len(lines)} {message}", "file": data.name, "lines": lines[:MAX_LINES]}


def _repeated(same: Groups) -> Rows:
    """All rows but the first of each group."""
    first = np.zeros(len(same.of), bool)
    first[same.firsts] = True
    return np.flatnonzero(~first)


def _at_odds(census: Census, same: Groups) -> Rows:
    """All rows of groups whose answers differ."""
    answers = numbers(census.answers)
    differs = answers != answers[same.firsts][same.of] if len(answers) else np.zeros(0, bool)
    return np.flatnonzero(np.isin(same.of, same.of[differs]))


def _shared(census: Census, earlier: list[SplitData], what: str) -> Rows:
    known = np.concatenate([numbers(getattr(data.census, what)) for data in earlier])
    return np.flatnonzero(np.isin(numbers(getattr(census, what)), known))


def _answered_alike(census: Census, earlier: list[SplitData]) -> NDArray[np.bool_]:
    """Whether each row stands in an earlier split with the answer that it has here."""
    known = np.concatenate([_questions(data.census) for data in earlier])
    return np.isin(_questions(census), known)


def _questions(census: Census) -> NDArray[np.int64]:
    """A hash of input and answer of each row."""
    return numbers(census.keys) * 31 + numbers(census.answers)


def _joint_labels(train: SplitData) -> Iterator[dict[str, Any]]:
    """A column of one label a row that looks like several."""
    table, census = train.table, train.census
    single = "label" in table.columns and "text_pair" not in table.columns and not table.multi_label
    separator = suspected_separator(census.counts) if single else None
    joint = [number for number, name in enumerate(census.vocabulary.names) if separator and separator in name]
    rows = np.flatnonzero(np.isin(numbers(census.labels), joint))
    message = f"row(s) seem to have several labels; if so, send label_separator={separator} with the upload"
    if single and all(_LIST.fullmatch(label) for label in census.counts):
        rows = np.arange(len(census))
        message = "row(s) have labels that look like written lists; if they are, send them as JSON Lines or Parquet"
    yield from _warning("joint_labels", message, train, rows)


def _outlying_scores(train: SplitData) -> Iterator[dict[str, Any]]:
    """Scores so far from all others that they are perhaps mistakes; they stretch the range of all answers."""
    scores = np.asarray(train.scores)
    if not len(scores):
        return
    first, third = np.quantile(scores, [0.25, 0.75])
    beyond = _OUTLYING * (third - first)
    rows = np.flatnonzero((scores < first - beyond) | (scores > third + beyond)) if beyond else np.empty(0, np.int64)
    yield from _warning("outlying_scores", "row(s) have scores far from all others", train, rows)


def _rare_labels(train: SplitData) -> Iterator[dict[str, Any]]:
    """Labels with too few rows to be learnt well."""
    counts = train.census.counts
    rare = sorted((label for label, count in counts.items() if count < FEW_ROWS and label != OUTSIDE), key=str)
    if rare:
        shown = ", ".join(f"{quoted(label)} ({counts[label]})" for label in rare[:10])
        more = f" and {len(rare) - 10} more" if len(rare) > 10 else ""
        message = f"{len(rare)} label(s) stand in fewer than {FEW_ROWS} places of the training rows: {shown}{more}"
        yield {"code": "rare_label", "message": message, "file": train.name, "lines": []}


# ---- per task -------------------------------------------------------------------------------------------------------


def _examine_classification(splits: Splits, report: Report) -> Findings:
    train = splits["train"]
    for data in splits.values():
        if len(data.census) and data.table.multi_label != train.table.multi_label:
            message = f"{data.name} and {train.name} must both have lists of labels, or neither"
            report.wrong(Problem("other_label_kind", message, data.name, None, data.table.columns["label"]))
    dropped = _unknown_labels(splits, report)
    kind = MultiLabelTask if train.table.multi_label else ClassificationTask
    return Findings(kind(tuple(sorted(train.census.counts))).to_config(), _counts(train.census.counts), dropped)


def _examine_similarity(splits: Splits, report: Report) -> Findings:
    train = splits["train"]
    for data in splits.values():
        if len(data.census) and ("score" in data.table.columns) != ("score" in train.table.columns):
            message = f"{data.name} and {train.name} must both have scores, or both labels"
            report.wrong(Problem("other_columns", message, data.name, 1))
    if "score" in train.table.columns:
        low, high = (min(train.scores), max(train.scores)) if train.scores else (0.0, 0.0)
        if train.scores and low == high:
            message = f"every score is {low:g}: there is nothing to learn"
            report.wrong(Problem("constant_score", message, train.name, None, train.table.columns["score"]))
        dropped = {} if low == high else _scores_out_of_range(splits, low, high, report)
        return Findings(SimilarityTask(score_range=(low, high)).to_config(), [], dropped)
    dropped = _unknown_labels(splits, report)
    labels = train.census.counts
    if len(labels) > _TOO_MANY_PAIR_LABELS:
        column = train.table.columns["label"]
        message = (
            f'{len(labels)} different labels look like graded scores; if they are, send columns={{"score": "{column}"}}'
        )
        report.wrong(Problem("label_looks_like_score", message, train.name, None, column))
    return Findings(SimilarityTask(labels=tuple(sorted(labels))).to_config(), _counts(labels), dropped)


def _examine_tagging(splits: Splits, report: Report) -> Findings:
    train = splits["train"]
    scheme = train.table.scheme or Scheme.PLAIN
    entities = scheme is not Scheme.PLAIN
    counts = train.census.counts
    if len(train.census) and len(counts) < (1 if entities else 2):
        message = "no entity is tagged" if entities else f"every word is tagged {quoted(next(iter(counts), ''))}"
        report.wrong(Problem("single_class", f"{message}: there is nothing to learn", train.name))
    tags = [OUTSIDE, *(f"{p}-{label}" for label in sorted(counts) for p in "BI")] if entities else sorted(counts)
    task = TaggingTask(tuple(tags), scheme, WordSplitter.from_signs(train.signs))
    return Findings(task.to_config(), _counts(counts), _unknown_tags(splits, report, entities=entities))


def _scores_out_of_range(splits: Splits, low: float, high: float, report: Report) -> dict[str, Rows]:
    """Rows of other splits with scores far from those of the training rows, by split; a little beyond is chance."""
    beyond = _BEYOND * (high - low)
    found = {}
    for split, data in splits.items():
        scores = np.asarray(data.scores)
        rows = np.flatnonzero((scores < low - beyond) | (scores > high + beyond))
        for row in rows.tolist():
            message = f"the score is {scores[row]:g}; those of the training rows are {low:g} to {high:g}"
            place = (data.name, data.census.lines[row], data.table.columns["score"])
            report.wrong_row(Problem("score_out_of_range", message, *place, value=f"{scores[row]:g}"))
        found[split] = rows
    return found


_EXAMINERS: dict[TaskName, Callable[[Splits, Report], Findings]] = {
    TaskName.CLASSIFICATION: _examine_classification,
    TaskName.SIMILARITY: _examine_similarity,
    TaskName.TAGGING: _examine_tagging,
}


def _unknown_labels(splits: Splits, report: Report) -> dict[str, Rows]:
    """Rows of other splits whose labels the training rows have not, by split."""
    train = splits["train"]
    rows_alike = (train.census.labels_of(row) == train.census.labels_of(0) for row in range(len(train.census)))
    if len(train.census) and all(rows_alike):
        shown = quoted(", ".join(train.census.counts))
        message = f"only one class: every row is labelled {shown}"
        report.wrong(Problem("single_class", message, train.name, None, train.table.columns["label"]))
    unknown = {n: name for n, name in enumerate(train.census.vocabulary.names) if name not in train.census.counts}
    return _rows_with(unknown, splits, report)


def _unknown_tags(splits: Splits, report: Report, *, entities: bool) -> dict[str, Rows]:
    """The same of tagged rows; those of files of their own were held against the training file as they were read."""
    train = splits["train"].census
    known = {*train.counts, ""}
    unknown = {}
    for number, tag in enumerate(train.vocabulary.names):
        label = tag.partition("-")[2] if entities else tag
        if label not in known and not (entities and tag.startswith("I-")):  # its B- is told
            unknown[number] = label
    return _rows_with(unknown, splits, report)


def _rows_with(unknown: Mapping[int, str], splits: Splits, report: Report) -> dict[str, Rows]:
    """Report the labels that the training rows have not; the rows of other splits that have them."""
    dropped = {}
    for split, data in splits.items():
        column = "tag" if data.census.tagged else data.table.columns.get("label")
        if split == "train" or column is None or not unknown:
            continue
        census = data.census
        places = np.flatnonzero(np.isin(numbers(census.labels), list(unknown)))
        rows = census.owners()[places]
        for place, row in zip(places.tolist(), rows.tolist(), strict=True):
            report.wrong_row(unknown_label(unknown[census.labels[place]], data.name, census.lines[row], column))
        dropped[split] = np.unique(rows)
    return dropped


def _counts(counts: Counter[str]) -> list[dict[str, Any]]:
    return [{"label": label, "count": count} for label, count in counts.most_common()]
