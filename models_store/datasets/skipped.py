"""The list of rows that were left out of a data set: a line of JSON for each thing that is wrong with one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from models_store.errors import Problem


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


def listed(path: Path, *, limit: int, after: int = 0) -> Iterator[dict[str, Any]]:
    """Problems that were written down, from the one after so many on; none where there is no file."""
    if not path.is_file():
        return
    with path.open(encoding="ascii") as file:
        for line in islice(file, after, after + limit):
            yield json.loads(line)
