"""Files to be sent: from a path, an open file, a pandas frame or a list of dictionaries."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Protocol
from uuid import UUID

from thawline.errors import ConfigurationError


class Frame(Protocol):
    """A pandas frame, which has no type here because pandas need not be installed."""

    columns: Any

    def to_json(self, *args: Any, **kwargs: Any) -> Any:
        """The rows as JSON."""


# What can be uploaded.
Rows = str | os.PathLike[str] | IO[bytes] | Sequence[Mapping[str, Any]] | Frame


@dataclass(frozen=True)
class Upload:
    """A file that can be sent several times, should its first sending fail.

    Attributes:
        name: What the service calls it, in messages too.
        source: Where its bytes are; of an open file those from `start` on.
    """

    name: str
    source: Path | bytes | IO[bytes]
    start: int = 0

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The file from its beginning."""
        if isinstance(self.source, Path):
            with self.source.open("rb") as file:
                yield file
        elif isinstance(self.source, bytes):
            yield io.BytesIO(self.source)
        else:
            self.source.seek(self.start)
            yield self.source


def upload_of(data: Any, name: str) -> Upload:
    """What is sent for these rows.

    Args:
        data: `Rows`: a path, an open file, a pandas frame or a list of dictionaries. The latter two are sent as JSON, a
            row a line, so that line 1 of a problem is the first row.
        name: What to call rows that are no file.

    Raises:
        ConfigurationError: It is something else.
        FileNotFoundError: There is no such file.
    """
    if isinstance(data, str | os.PathLike):
        path = Path(data)
        kind = path.stat().st_mode  # now, and not when half of the request is on its way
        if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
            return Upload(path.name, path)
        return Upload(path.name, path.read_bytes())  # a pipe can be read only once, and tells no size
    if hasattr(data, "to_json") and hasattr(data, "columns"):
        text = data.to_json(orient="records", lines=True, force_ascii=False, date_format="iso")
        return Upload(f"{name}.jsonl", text.encode())
    if hasattr(data, "read"):
        return _of_open_file(data, name)
    if isinstance(data, Sequence) and not isinstance(data, bytes) and all(isinstance(row, Mapping) for row in data):
        lines = (json.dumps(dict(row), ensure_ascii=False, default=_plain) for row in data)
        return Upload(f"{name}.jsonl", "\n".join(lines).encode())
    raise ConfigurationError(
        f"rows are a path, a file opened with 'rb', a pandas frame or a list of dictionaries, not {type(data).__name__}"
    )


def _of_open_file(file: Any, name: str) -> Upload:
    own = getattr(file, "name", None)
    called = Path(own).name if isinstance(own, str) else name
    if isinstance(file, io.TextIOBase):
        return Upload(called, file.read().encode())
    return Upload(called, file, file.tell()) if file.seekable() else Upload(called, file.read())


def _plain(value: Any) -> Any:
    """What JSON has no word for: numpy's numbers and arrays as Python's own, sets as lists, dates and the like as text.

    Raises:
        ConfigurationError: Nobody can tell what is meant.
    """
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, date | time | timedelta | Decimal | UUID | os.PathLike):
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    raise ConfigurationError(f"a row holds a {type(value).__name__}", "rows hold texts, numbers and lists of them")
