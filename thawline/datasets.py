"""The calls about data sets."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

from thawline.asking import Engine
from thawline.downloads import download
from thawline.errors import InvalidData
from thawline.pages import pages
from thawline.parsing import parse
from thawline.plans import Plan, Sleep, Stream, listing, operation
from thawline.records import Dataset, Problem, Validation
from thawline.requests import WRONG_ROWS, Request, segment
from thawline.uploads import Rows, upload_of

_LOOK_SECONDS = 0.5  # between two looks at a large upload that is being read


class UploadOptions(TypedDict, total=False):
    """What an upload may say beside its rows and its task; docs/datasets.md has the details.

    Attributes:
        validation, test: Further rows, as paths, open files, frames or lists of dictionaries.
        name: Of the data set; by default that of the file.
        columns: Our field to your column, such as ``{"text": "body"}``.
        label_separator: What stands between the labels of a text that may have several.
        encoding: Of the text, such as ``cp1252``; by default UTF-8.
        on_error: ``refuse`` (default) or ``skip``: leave out the rows that are wrong.
        encoder: Texts longer than this encoder reads at once are told of.
        split_seed: Draws the validation rows where there are none.
    """

    validation: Rows
    test: Rows
    name: str
    columns: Mapping[str, str]
    label_separator: str
    encoding: str
    on_error: str
    encoder: str
    split_seed: int


class DatasetCalls:
    """Uploads, and what came of them."""

    _engine: Engine

    @operation
    def upload(self, data: Rows, /, *, task: str, **options: Unpack[UploadOptions]) -> Plan[Dataset]:
        """Upload rows and wait until all of them are validated.

        Args:
            data: A path, a file opened with ``rb``, a pandas frame or a list of dictionaries.
            task: ``classification``, ``tagging`` or ``similarity``.
            options: `UploadOptions`.

        Raises:
            InvalidData: Rows are wrong, and nothing was stored; `problems` has the places.
        """
        request = upload_request("/datasets", data, task, options)
        return uploaded(self._engine, request)

    @operation
    def validate(self, data: Rows, /, *, task: str, **options: Unpack[UploadOptions]) -> Plan[Validation]:
        """Say all that an upload would be told, and store nothing. Wrong rows raise nothing: see `valid`, `errors`."""
        request = upload_request("/datasets/validate", data, task, options)
        return parse(Validation, (yield from self._engine.ask(request)).json())

    @operation
    def dataset(self, dataset_id: str) -> Plan[Dataset]:
        """One data set."""
        request = Request(method="GET", path=_path(dataset_id))
        return parse(Dataset, (yield from self._engine.ask(request)).json())

    @listing
    def datasets(self, *, task: str | None = None) -> Stream[Dataset]:
        """All data sets, the newest first."""
        return pages(self._engine, "/datasets", {"task": task}, lambda item: parse(Dataset, item))

    @listing
    def rows(self, dataset: Dataset | str, split: str = "train") -> Stream[dict[str, Any]]:
        """The rows of a split as they are trained on; of tagged text also the text and its entities."""
        return pages(self._engine, f"{_path(dataset)}/preview", {"split": split}, dict, key=None)

    @listing
    def skipped_rows(self, dataset: Dataset | str) -> Stream[Problem]:
        """What was wrong with the rows that ``on_error='skip'`` has left out."""
        return pages(self._engine, f"{_path(dataset)}/skipped", {}, lambda item: parse(Problem, item), key=None)

    @operation
    def statistics(self, dataset: Dataset | str, *, encoder: str | None = None) -> Plan[dict[str, Any]]:
        """Labels and lengths of each split, in characters and, with an encoder's name, in its word pieces."""
        request = Request(method="GET", path=f"{_path(dataset)}/statistics", params={"encoder": encoder})
        splits: dict[str, Any] = (yield from self._engine.ask(request)).json()["splits"]
        return splits

    @operation
    def export_dataset(
        self, dataset: Dataset | str, path: str | os.PathLike[str], *, split: str = "train", format: str = "jsonl"
    ) -> Plan[Path]:
        """Write a split to a file: ``jsonl``, ``csv`` or, of tagged text, ``conll``."""
        params = {"split": split, "format": format}
        request = Request(method="GET", path=f"{_path(dataset)}/export", params=params)
        return download(self._engine, request, path)

    @operation
    def delete_dataset(self, dataset: Dataset | str) -> Plan[None]:
        """Delete a data set that no queued or running job uses."""
        yield from self._engine.ask(Request(method="DELETE", path=_path(dataset)))


def _path(dataset: Dataset | str) -> str:
    return f"/datasets/{segment(dataset if isinstance(dataset, str) else dataset.id)}"


def uploaded(engine: Engine, request: Request) -> Plan[Dataset]:
    """The data set of an upload, when all of its rows were read.

    Raises:
        InvalidData: Rows are wrong.
    """
    dataset = parse(Dataset, (yield from engine.ask(request)).json())
    while dataset.status == "validating":
        yield Sleep(_LOOK_SECONDS)
        look = Request(method="GET", path=_path(dataset))
        dataset = parse(Dataset, (yield from engine.ask(look, patient=True)).json())
    if dataset.status == "invalid":
        detail = f"{dataset.error_count} problem(s) in the data"
        raise InvalidData(detail, dataset.errors or (), WRONG_ROWS, problem_count=dataset.error_count)
    return dataset


def upload_request(path: str, data: Rows, task: str, options: UploadOptions) -> Request:
    """A multipart request. It may be sent again, because the same upload is stored once."""
    name = options.get("name") or "train"
    files = {"file": upload_of(data, name)}
    form = {"task": task}
    for option, value in options.items():
        if value is None:
            continue
        if option in ("validation", "test"):
            files[f"{option}_file"] = upload_of(value, option)
        else:
            form[option] = json.dumps(value) if option == "columns" else str(value)
    return Request(
        method="POST", path=path, form=form, files=files, repeatable=True, sends_data=True, wrong_rows=WRONG_ROWS
    )
