"""The benchmark of uploads: every format is written and read, with all its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ingest.__main__ import line
from benchmarks.ingest.files import FORMATS
from benchmarks.ingest.once import PLAIN


@pytest.mark.parametrize("form", FORMATS)
def test_a_plain_read_finds_all_rows(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"train.{form}"
    FORMATS[form](path, 50)

    assert PLAIN[form](path) == 50


def test_a_line_of_the_table() -> None:
    cells = [cell.strip() for cell in line("csv", 100, rounds=1).strip("|").split("|")]

    assert cells[:2] == ["csv", "100"]
    assert len(cells) == 9
    assert float(cells[3]) > 0
