"""Markdown out of texts that are not ours: nothing in a label can become markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

# Controls, line and paragraph separators, and marks that turn the direction of all that follows them.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_MARKUP = re.compile(r"[\\`*_\[\]<>&|~:$#@!]")
_LIMIT = 80

Cell = str | int | float


def escaped(text: str) -> str:
    """A text as it is to be read, in one line, in the midst of Markdown or in the cell of a table."""
    line = " ".join(_CONTROLS.sub(" ", text).split())
    cut = line if len(line) <= _LIMIT else line[:_LIMIT] + "…"
    return _MARKUP.sub(r"\\\g<0>", cut)


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table; texts are escaped, figures come with four digits."""
    lines = [[escaped(name) for name in header], ["---"] * len(header), *([_cell(v) for v in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def front_matter(values: dict[str, Any]) -> str:
    """The YAML block at the top of a card."""
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"


def _cell(value: Cell) -> str:
    if isinstance(value, str):
        return escaped(value)
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
