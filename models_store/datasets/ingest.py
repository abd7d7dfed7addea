"""Read the uploaded files once, row by row: good rows go to disk, what they say together into a census."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from models_store.datasets.census import Census, Vocabulary
from models_store.datasets.formats import Opened, open_tagged
from models_store.datasets.readers.sentences import line_of
from models_store.datasets.report import Report, excerpt
from models_store.datasets.rows import SPLITS
from models_store.datasets.tables import LocatedRow, Reading, Table, open_table
from models_store.datasets.writing import RowWriter
from models_store.errors import InvalidDatasetError, Problem, quoted
from models_store.tasks import TaskName
from models_store.tasks.bio import OUTSIDE, Scheme
from models_store.tasks.words import Signs

_TELL_ROWS = 5_000

Tell = Callable[[int], None]  # how many rows have been read


@dataclass(slots=True)
class SplitData:
    """The rows of one split.

    Attributes:
        split: Its name.
        table: The file that they came from; its rows have been read.
        path: Where they were written; there is no file where there are no rows.
        census: What is remembered of them.
        signs: Tagging only: how signs stand in its words.
        scores: Graded pairs only: of each row.
    """

    split: str
    table: Table
    path: Path
    census: Census
    signs: Signs = field(default_factory=Signs)
    scores: array[float] = field(default_factory=lambda: array("d"))

    @property
    def name(self) -> str:
        """Of the file."""
        return self.table.source.name


class Collector:
    """Reads files into one `SplitData` a split, the training rows first."""

    def __init__(self, reading: Reading, report: Report, folder: Path, tell: Tell = lambda _: None) -> None:
        self._reading = reading
        self._report = report
        self._folder = folder
        self._tell = tell
        self._vocabulary = Vocabulary()
        self._rows = 0
        self.splits: dict[str, SplitData] = {}

    def read(self, files: Mapping[str, Opened]) -> dict[str, SplitData]:
        """Read all files.

        Raises:
            UnreadableFileError: One cannot be decoded or parsed.
        """
        for split in SPLITS:
            if split in files:
                self._read_file(split, files[split])
        self._tell(self._rows)
        return {split: self.splits[split] for split in SPLITS if split in self.splits}

    def _read_file(self, split: str, opened: Opened) -> None:
        before = self._report.errors.count
        table = open_table(opened, self._like_training(split, opened), self._report)
        self.splits[split] = self._new(split, table)
        with ExitStack() as writers:
            into = {split: writers.enter_context(RowWriter(self.splits[split].path))}
            for row in self._checked(split, table):
                name = row.split or split
                if name != split and not self._reading.parts:
                    message = f"the row is for {name}, and its file was sent for {split}"
                    self._report.wrong_row(
                        Problem("other_split", message, opened.source.name, row.line, table.split_column, name)
                    )
                    continue
                if name not in into:
                    self.splits[name] = self._new(name, table)
                    into[name] = writers.enter_context(RowWriter(self.splits[name].path))
                self._take(self.splits[name], row, into[name])
        if not len(self.splits[split].census) and self._report.errors.count == before:
            self._report.wrong(Problem("no_rows", self._why_none(split), opened.source.name))

    def _why_none(self, split: str) -> str:
        """Why there are no rows of a split that a file was sent for."""
        if any(len(data.census) for data in self.splits.values() if data.table is self.splits[split].table):
            return f"no row of the file is for {split}"
        is_left_out = self._report.skipped.count or self._report.warnings()
        return "no row of the file can be used" if is_left_out else "the file holds no rows"

    def _like_training(self, split: str, opened: Opened) -> Reading:
        """How to read a file: of CoNLL the columns in which the training file has them, if it has these."""
        reading = self._reading
        if split == "train" or reading.mapping or self.splits["train"].table.format != "conll":
            return reading
        columns = self.splits["train"].table.columns
        try:
            is_conll = open_tagged(opened, columns).format == "conll"
        except InvalidDatasetError:
            return reading
        return replace(reading, mapping=columns) if is_conll else reading

    def _new(self, split: str, table: Table) -> SplitData:
        tagged = self._reading.task is TaskName.TAGGING
        return SplitData(split, table, self._folder / f"rows-{split}", Census(self._vocabulary, tagged))

    def _checked(self, split: str, table: Table) -> Iterator[LocatedRow]:
        """The rows; those of tagged text held against the training file's labels, while their lines are known."""
        if self._reading.task is not TaskName.TAGGING or split == "train":
            return table.rows
        return _known_tags(self.splits["train"], table, self._report)

    def _take(self, data: SplitData, row: LocatedRow, writer: RowWriter) -> None:
        data.census.add(row, entities=data.table.scheme not in (None, Scheme.PLAIN))
        writer.add(row.values, data.census.lengths[-1])
        if data.census.tagged:
            data.signs.add(row.values["tokens"])
        elif "score" in row.values:
            data.scores.append(row.values["score"])
        self._rows += 1
        if self._rows % _TELL_ROWS == 0:
            self._tell(self._rows)


def _known_tags(train: SplitData, table: Table, report: Report) -> Iterator[LocatedRow]:
    """Rows whose labels all stand in the training file; the others are wrong."""
    name = table.source.name
    entities = train.table.scheme is not Scheme.PLAIN
    if train.table.scheme is None:
        yield from table.rows  # the training file could not be read, which is told
        return
    if entities and table.tags <= {OUTSIDE}:
        yield from table.rows  # no entity at all: of either kind
        return
    if (table.scheme is Scheme.PLAIN) == entities:
        message = "the tags are of another kind than those of the training file (entities against plain tags)"
        report.wrong(Problem("other_scheme", message, name, None, "tag"))
        return
    known = train.census.counts
    for row in table.rows:
        problems = list(unknown_tags(name, row, known, entities=entities))
        for problem in problems:
            report.wrong_row(problem, row=row.line)
        if not problems:
            yield row


def unknown_tags(name: str, row: LocatedRow, known: Mapping[str, int], *, entities: bool) -> Iterator[Problem]:
    """Each label of a tagged row that the training file has not, at the word where it begins."""
    for index, tag in enumerate(row.values["tags"]):
        label = tag.partition("-")[2] if entities else tag
        if label and label not in known and not (entities and tag.startswith("I-")):
            yield unknown_label(label, name, line_of(row.lines, index), "tag")


def unknown_label(label: str, name: str, line: int, column: str | None) -> Problem:
    """A label that the training file has not."""
    message = f"label {quoted(label)} never occurs in the training file"
    return Problem("unknown_label", message, name, line, column, excerpt(label))
