"""The list of rows that were left out of a data set: a line of JSON for each thing that is wrong with one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from models_store.datasets.formats import Opened
from models_store.datasets.quoting import with_rows
from models_store.errors import Problem

_QUOTED = 1000


class Skipped:
    """Writes problems to a file, which is made with the first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, problem: Problem) -> None:
        """Write a problem down."""
        if self._file is None:
            self._file = self._path.open("w", encoding="ascii")
        print(json.dumps(problem.to_json()), file=self._file)

    def quote(self, files: Collection[Opened]) -> list[Problem]:
        """Give the first thousand problems the rows that they are said of, when all were written down; these."""
        if not self._path.is_file():
            return []
        part = self._path.with_suffix(".part")
        with self._path.open(encoding="ascii") as old, part.open("w", encoding="ascii") as new:
            first = with_rows([Problem(**json.loads(line)) for line in islice(old, _QUOTED)], files)
            for problem in first:
                print(json.dumps(problem.to_json()), file=new)
            shutil.copyfileobj(old, new)
        part.replace(self._path)
        return first


def listed(path: Path, *, limit: int, after: int = 0) -> Iterator[dict[str, Any]]:
    """Problems that were written down, from the one after so many on; none where there is no file."""
    if not path.is_file():
        return
    with path.open(encoding="ascii") as file:
        for line in islice(file, after, after + limit):
            yield json.loads(line)
