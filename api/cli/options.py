"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Task(StrEnum):
    """What a model is to do."""

    CLASSIFICATION = "classification"
    TAGGING = "tagging"
    SIMILARITY = "similarity"


class OnError(StrEnum):
    """What to do with rows that are wrong."""

    REFUSE = "refuse"
    SKIP = "skip"


_HELD: Any = {"exists": True, "dir_okay": False}  # /dev/stdin is a file, too
TaskOption = Annotated[Task, typer.Option("--task", help="What the model is to do")]
DataFile = Annotated[
    Path, typer.Argument(**_HELD, help="Rows to learn from: CSV, JSON, Parquet, Excel, CoNLL, packed or not")
]
Validation = Annotated[
    Path | None, typer.Option(**_HELD, help="Rows that choose the best epoch; by default cut off FILE")
]
Test = Annotated[Path | None, typer.Option(**_HELD, help="Rows that measure the finished model")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", metavar="OURS=YOURS", help="Such as text=body; once for each column")
]
LabelSeparator = Annotated[str | None, typer.Option(help="What stands between the labels of a text with several")]
Limit = Annotated[int, typer.Option(min=1, help="List so many at most")]
Encoding = Annotated[str | None, typer.Option(help="Of the text, such as cp1252; by default UTF-8")]
OnErrorOption = Annotated[OnError, typer.Option("--on-error", help="skip leaves out the rows that are wrong")]


def upload_options(**given: Any) -> dict[str, Any]:
    """Options of an upload as the client takes them, without those that were not given."""
    columns = pairs(given.pop("column") or (), "--column")
    options = {name: value for name, value in given.items() if value is not None}
    return {**options, "columns": columns} if columns else options


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """``name=value`` options as a dictionary."""
    found = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not of the form name=value", param_hint=option)
        found[name] = value
    return found
