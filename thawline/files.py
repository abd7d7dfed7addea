"""Whole files that the service answers beside the calls."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from thawline.asking import Engine
from thawline.displays import FileDisplay, file_display
from thawline.downloads import download
from thawline.engines import Async, AsyncEngine, Sync, SyncEngine
from thawline.errors import PredictionFailed
from thawline.ongoing import Ongoing
from thawline.pages import pages
from thawline.parsing import parse
from thawline.plans import Plan, Stream, listing, operation
from thawline.records import Failure, Problem, Record
from thawline.requests import Request, segment
from thawline.uploads import Rows, upload_of
from thawline.waiting import until_ended

FileT = TypeVar("FileT", bound="FileRecord[Any]")
_WRONG_ROWS = "correct the rows, and send the file again"


@dataclass(frozen=True, kw_only=True)
class FileProgress(Record):
    """How much of a file is answered: the share (0 to 1), and rows."""

    fraction: float = 0.0
    rows: int | None = None
    rows_done: int = 0
    rows_per_second: float | None = None
    eta_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class FileRecord(Ongoing[FileT], Record, Generic[FileT]):
    """A file that is or was answered; its methods that change or await it answer with a newer one.

    Attributes:
        status: ``running``, ``succeeded``, ``failed`` or ``cancelled``.
        failed_rows: Rows without an answer; their column ``prediction_error`` says why.
        error, errors: Why it failed, and the rows that cannot be read.
    """

    id: str
    status: str
    model: str
    version: int
    task: str | None = None
    file_name: str = ""
    format: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    progress: FileProgress = field(default_factory=FileProgress)
    failed_rows: int = 0
    error: Failure | None = None
    errors: tuple[Problem, ...] | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    _engine: Any = field(repr=False, compare=False)

    @operation
    def wait(self, *, progress: bool | FileDisplay = False, timeout: float | None = None) -> Plan[FileT]:
        """Wait until all of the file is answered.

        Args:
            progress: Whether to draw a bar.
            timeout: Seconds to wait at most; by default for as long as it takes.

        Raises:
            PredictionFailed: It failed, or somebody cancelled it.
            WaitTimeout: It goes on; waiting again is no harm.
        """
        shown = file_display() if progress is True else progress or None
        try:
            ended = yield from until_ended(partial(self._shown, shown), timeout)
        finally:
            if shown is not None:
                shown.close()
        if ended.status != "succeeded":
            reason = f": {ended.error.message}" if ended.error else ""
            hint = "send the file again where it is still wanted"
            raise PredictionFailed(f"{ended.file_name} is {ended.status}{reason}", hint, prediction=ended)
        return cast("FileT", ended)

    @operation
    def save(self, path: str | os.PathLike[str]) -> Plan[Path]:
        """Write the file with its answers to a file, or into a folder.

        Raises:
            Conflict: It is not finished.
        """
        target = Path(path)
        target = target / f"{self.id}.{self.format}" if target.is_dir() else target
        return download(self._engine, Request(method="GET", path=f"{self._path}/file"), target)

    @operation
    def delete(self) -> Plan[None]:
        """Delete it, with its files, once it has ended."""
        yield from self._engine.ask(Request(method="DELETE", path=self._path))

    def _shown(self, shown: FileDisplay | None, deadline: float) -> Plan[Any]:
        now: Any = yield from self._look(deadline)
        if shown is not None:
            shown.show(now)
        return now

    @property
    def _path(self) -> str:
        return f"/predictions/{segment(self.id)}"


@dataclass(frozen=True, kw_only=True)
class FilePrediction(FileRecord["FilePrediction"], Sync):
    """A file of a `Client`."""

    _engine: SyncEngine = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class AsyncFilePrediction(FileRecord["AsyncFilePrediction"], Async):
    """A file of an `AsyncClient`."""

    _engine: AsyncEngine = field(repr=False, compare=False)


class FileCalls(Generic[FileT]):
    """Files are sent to be answered, and looked for."""

    _engine: Engine
    _file_kind: type[FileT]

    @operation
    def predict_file(
        self,
        data: Rows,
        /,
        *,
        model: str,
        columns: Mapping[str, str] | None = None,
        format: str | None = None,
        encoding: str | None = None,
    ) -> Plan[FileT]:
        """Have a model answer a whole file; `wait` for it, then `save` it.

        Args:
            data: A path, a file opened with ``rb``, a pandas frame or a list of dictionaries.
            model: ``name``, ``name@3`` or ``name@alias``.
            columns: Our field to your column, such as ``{"text": "body"}``.
            format: Of the answers: ``csv``, ``jsonl`` or ``parquet``; by default like the file's.
            encoding: Of the text, such as ``cp1252``; by default UTF-8.

        Raises:
            InvalidData: The file cannot be read, or lacks a column.
        """
        optional = {"format": format, "encoding": encoding, "columns": json.dumps(columns) if columns else None}
        form = {"model": model, **{name: value for name, value in optional.items() if value is not None}}
        files = {"file": upload_of(data, "rows")}
        request = Request(
            method="POST", path="/predictions", form=form, files=files, sends_data=True, wrong_rows=_WRONG_ROWS
        )
        return self._file((yield from self._engine.ask(request)).json())

    @operation
    def prediction(self, prediction_id: str) -> Plan[FileT]:
        """One file."""
        request = Request(method="GET", path=f"/predictions/{segment(prediction_id)}")
        return self._file((yield from self._engine.ask(request)).json())

    @listing
    def predictions(self, *, model: str | None = None) -> Stream[FileT]:
        """All files that are or were answered, the newest first."""
        return pages(self._engine, "/predictions", {"model": model}, self._file)

    def _file(self, body: Any) -> FileT:
        return parse(self._file_kind, body, _engine=self._engine)
