"""What a caller sees while waiting: bars in a terminal or a notebook, plain lines elsewhere. On the standard error."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from thawline.phases import Bar, PhaseBars

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from thawline.records import Event

_STEPS = 1000  # of a bar
_NARROW = 100  # columns


class Display(Protocol):
    """Shows how far a job is."""

    def show(self, job: Any, news: Sequence[Event]) -> None:
        """The job as it is now, and what has happened since the last time."""

    def close(self) -> None:
        """Nothing more will come."""


class FileDisplay(Protocol):
    """Shows how far a file is."""

    def show(self, prediction: Any) -> None:
        """The file as it is now."""

    def close(self) -> None:
        """Nothing more will come."""


def display() -> Display:
    """What fits the place: bars where they can be drawn, else a line for each event."""
    console = _console()
    return PlainLines() if console is None else RichBars(console)


def file_display() -> FileDisplay:
    """What fits the place: a bar where it can be drawn, else a line for each tenth."""
    console = _console()
    return PlainTenths() if console is None else RichFileBar(console)


class PlainLines:
    """A line for each event."""

    def show(self, job: Any, news: Sequence[Event]) -> None:
        """Write the news."""
        for event in news:
            _write(f"{event.created_at:%H:%M:%S} {job.model.name}: {event.message}")

    def close(self) -> None:
        """Nothing is open."""


class PlainTenths:
    """A line for each tenth of a file."""

    def __init__(self) -> None:
        self._told = -1

    def show(self, prediction: Any) -> None:
        """Write how far it is, where it is a tenth further."""
        tenths = int(prediction.progress.fraction * 10)
        if tenths > self._told:
            self._told = tenths
            _write(f"{prediction.file_name}: {tenths * 10} %, {prediction.progress.rows_done} rows")

    def close(self) -> None:
        """Nothing is open."""


class _Bars:
    """Bars of rich's, by name."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.table import Column

        narrow = console.width < _NARROW
        columns = (
            TextColumn("{task.description}", markup=False, table_column=Column(max_width=20, no_wrap=True)),
            BarColumn(bar_width=10 if narrow else 24),
            TaskProgressColumn(table_column=Column(no_wrap=True, min_width=4)),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
        )
        self._progress = Progress(*columns, console=console)
        self._progress.start()
        self._tasks: dict[str, TaskID] = {}

    def draw(self, bar: Bar) -> None:
        """Draw a bar, or draw it anew."""
        if bar.name not in self._tasks:
            self._tasks[bar.name] = self._progress.add_task(bar.name, total=_STEPS, note="")
        self._progress.update(self._tasks[bar.name], completed=round(bar.fraction * _STEPS), note=bar.note)

    def close(self) -> None:
        """Leave the bars as they are."""
        self._progress.stop()


class RichBars(_Bars):
    """A bar for the whole job and one for each phase, with the metric's curve."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._phases = PhaseBars()

    def show(self, job: Any, news: Sequence[Event]) -> None:
        """Draw the bars."""
        for bar in self._phases.update(job, news):
            self.draw(bar)


class RichFileBar(_Bars):
    """A bar for a file."""

    def show(self, prediction: Any) -> None:
        """Draw the bar."""
        progress = prediction.progress
        rows = f"{progress.rows_done} of {progress.rows} rows" if progress.rows else prediction.status
        left = "" if progress.eta_seconds is None else f" · about {progress.eta_seconds} s left"
        self.draw(Bar(prediction.file_name, progress.fraction, rows + left))


def _console() -> Console | None:
    """Where bars can be drawn: in a terminal, or in a notebook that has widgets; None elsewhere, or without rich."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(stderr=True)
    if console.is_jupyter:
        return console if importlib.util.find_spec("ipywidgets") else None
    return console if console.is_terminal and not console.is_dumb_terminal else None


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
