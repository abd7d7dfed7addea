"""The calls about jobs: trainings are started and looked for."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any, Generic, cast

from thawline.asking import Engine
from thawline.datasets import UploadOptions, upload_request, uploaded
from thawline.errors import ConfigurationError
from thawline.jobs import JobT
from thawline.pages import pages
from thawline.parsing import parse
from thawline.plans import Plan, Stream, listing, operation
from thawline.records import Dataset
from thawline.requests import Request, segment
from thawline.uploads import Rows

_ID = re.compile(r"ds_[0-9a-z]+")


class JobCalls(Generic[JobT]):
    """Trainings are started and looked for."""

    _engine: Engine
    _job_kind: type[JobT]

    @operation
    def train(
        self,
        data: Rows | Dataset,
        /,
        *,
        model: str,
        task: str | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Plan[JobT]:
        """Start a training job, of rows that are uploaded first, or of a data set that is there.

        Args:
            data: Rows, as `upload` takes them, or a `Dataset`, or the id of one.
            model: The name of the model; another version of it is made where it exists.
            task: Of rows that are to be uploaded: ``classification``, ``tagging`` or ``similarity``.
            idempotency_key: The same one gets the same job, however often it is sent; by default a new one.
            options: `UploadOptions`, and what ``POST /jobs`` takes: ``base_model``, ``strategy``, ``head``,
                ``ensemble``, ``hyperparameters``, ``export``, ``promote``, ``priority``, ``queue``, ``seed``, ….

        Raises:
            InvalidData: Rows are wrong; nothing was stored.
            InvalidRequest: An option is unknown, or does not fit the task.
        """
        uploading: Any = {name: options.pop(name) for name in UploadOptions.__annotations__ if name in options}
        dataset_id = _dataset_id(data)
        if dataset_id is None:
            if task is None:
                raise ConfigurationError(
                    "say which task the rows are for: task='classification', 'tagging' or 'similarity'"
                )
            request = upload_request("/datasets", cast("Rows", data), task, uploading)
            dataset_id = (yield from uploaded(self._engine, request)).id
        elif uploading:
            raise ConfigurationError(
                f"{', '.join(uploading)}: the data set is there already; this belongs to its upload"
            )
        request = Request(
            method="POST",
            path="/jobs",
            body={"dataset_id": dataset_id, "model": model, **options},
            headers={"Idempotency-Key": idempotency_key or str(uuid.uuid4())},
            repeatable=True,
        )
        return self._job((yield from self._engine.ask(request)).json())

    @operation
    def job(self, job_id: str) -> Plan[JobT]:
        """One job."""
        return self._job((yield from self._engine.ask(Request(method="GET", path=f"/jobs/{segment(job_id)}"))).json())

    @listing
    def jobs(self, *, status: str | None = None, model: str | None = None) -> Stream[JobT]:
        """All jobs, the newest first."""
        return pages(self._engine, "/jobs", {"status": status, "model": model}, self._job)

    def _job(self, body: Any) -> JobT:
        return parse(self._job_kind, body, _engine=self._engine)


def _dataset_id(data: Rows | Dataset) -> str | None:
    """The id of a data set that is there; None for rows."""
    if isinstance(data, Dataset):
        return data.id
    return data if isinstance(data, str) and _ID.fullmatch(data) and not Path(data).exists() else None
