"""A file whose rows are all answered, to be written in one format or another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from models_store.datasets.formats import Opened, open_sheet
from models_store.datasets.readers.sheet import Sheet
from models_store.datasets.report import Report
from models_store.predictions.columns import ADDED, ERROR
from models_store.predictions.parts import Part, answers_of
from models_store.predictions.pulse import Pulse
from models_store.predictions.reading import Record, records
from models_store.tasks import TaskName


@dataclass(frozen=True, slots=True)
class Answered:
    """A file whose rows are all answered.

    Attributes:
        opened: The file.
        parts: The answers.
        task: Whose answers they are.
        pulse: Beats while the file is read once more.
    """

    opened: Opened
    parts: Sequence[Part]
    task: TaskName
    pulse: Pulse

    @property
    def new(self) -> tuple[str, ...]:
        """The columns that are added."""
        return (*ADDED[self.task], ERROR)

    def sheet(self) -> Sheet:
        """The file, to be read from the start."""
        return open_sheet(self.opened, Report())

    def answers(self) -> Iterator[dict[str, Any]]:
        """What is added to each row."""
        return answers_of(self.parts, self.task)

    def rows(self) -> Iterator[Record]:
        """Each row with its answer."""
        kept = self.pulse.over(records(self.sheet()))
        for (_, record), answer in zip(kept, self.answers(), strict=True):
            yield {**record, **answer}
