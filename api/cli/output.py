"""Where results go: tables for people, plain columns for pipes, JSON for programs; all else is standard error."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import typer

_NARROW = 70  # columns of a terminal in which a table would be one letter wide


class Output:
    """The standard output of a command.

    Args:
        as_json: Whether results are JSON, whoever reads them.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.is_terminal = sys.stdout is not None and sys.stdout.isatty()

    def record(self, raw: Any, pairs: Sequence[tuple[str, Any]], *, title: str = "") -> None:
        """One thing: as JSON all that is known of it, else these names and values."""
        if self.as_json:
            self.json(raw)
        else:
            self.table((), pairs, title=title)

    def rows(
        self, raw: Sequence[Any], header: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = ""
    ) -> None:
        """Many things: as JSON all that is known of them, else these columns."""
        if self.as_json:
            self.json([dict(item) for item in raw])
        else:
            self.table(header, rows, title=title)

    def json(self, value: Any) -> None:
        """A JSON document: on one line, unless a person reads it."""
        typer.echo(json.dumps(value, ensure_ascii=False, indent=2 if self.is_terminal else None))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> None:
        """A table; in a pipe lines of columns with tabs between them."""
        cells = [[_text(value) for value in row] for row in rows]
        if self.is_terminal:
            _draw(header, cells, title)
            return
        for line in [list(header), *cells] if header else cells:
            typer.echo("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in line))

    def done(self, raw: Any, result: str, message: str) -> None:
        """Something was done: as JSON all of it, in a pipe its result alone, to a person a sentence."""
        if self.as_json:
            self.json(raw)
        else:
            typer.echo(message if self.is_terminal else result)

    def note(self, message: str) -> None:
        """Something beside the result."""
        typer.echo(message, err=True)

    def error(self, error: Exception, hint: str | None = None) -> None:
        """Why there is no result, and what to do: on the standard error; as JSON on the standard output, too."""
        detail, problems = getattr(error, "detail", str(error)), getattr(error, "problems", ())
        hint = hint or getattr(error, "hint", None)
        if self.as_json:
            self.json_error(type(error).__name__, detail, hint, problems)
        self.note(f"thawline: {detail}")
        for problem in problems:
            if problem.file or problem.line:
                self.note(f"  {problem}")
                if problem.row is not None:
                    self.note(f"    | {problem.row}")
        if hint:
            self.note(f"Next: {hint}")

    def json_error(self, kind: str, message: str, hint: str | None, problems: Sequence[Any] = ()) -> None:
        """Why there is no result, for programs."""
        told = [dict(problem.raw) for problem in problems]
        with contextlib.suppress(OSError):  # where it is what cannot be written to
            self.json({"error": {"type": kind, "message": message, "hint": hint, "problems": told}})


def _draw(header: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if header and console.width < _NARROW:  # one below the other
        for row in rows:
            pairs = [(name, cell) for name, cell in zip(header, row, strict=True) if cell]
            _draw((), pairs, "")
            console.print()
        return
    table = Table(title=title or None, show_header=bool(header), box=None, padding=(0, 2, 0, 0))
    for number, name in enumerate(header):
        is_id = number == 0  # which is copied whole
        table.add_column(name, no_wrap=is_id, overflow="ignore" if is_id else "fold")
    if not header:
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:%Y-%m-%d %H:%MZ}" if hasattr(value, "strftime") else str(value)  # Z: of UTC
