"""``/datasets``."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from starlette.datastructures import FormData

from api.routes.common import Limit, PageQuery, problems
from api.schemas import DatasetOut, ListOut
from api.services import ServicesDep
from models_store import datasets
from models_store.datasets import Upload, Wishes
from models_store.errors import InvalidInputError, Problem
from models_store.tasks import TaskName

router = APIRouter(prefix="/datasets", tags=["datasets"])


class DatasetsQuery(PageQuery):
    """Which data sets."""

    task: TaskName | None = None


class PreviewQuery(BaseModel):
    """Which rows."""

    split: Literal["train", "validation", "test"] = "train"
    limit: Limit = 10


_FIELDS = {"file", "validation_file", "test_file", "task", "name", "columns", "label_separator"}


@router.post("", status_code=201, operation_id="createDataset", responses=problems(413, 422))
async def create_dataset(
    request: Request,
    response: Response,
    services: ServicesDep,
    file: Annotated[UploadFile, File(description="Training rows: CSV with a header or JSON; CoNLL for tagging")],
    task: Annotated[TaskName, Form()],
    validation_file: Annotated[UploadFile | None, File(description="Cut off the training rows where absent")] = None,
    test_file: Annotated[UploadFile | None, File()] = None,
    name: Annotated[str | None, Form(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")] = None,
    columns: Annotated[str | None, Form(description='JSON: our field → your column, e.g. {"text": "body"}')] = None,
    label_separator: Annotated[
        str | None, Form(description="Classification: a text may have several labels, with this between them")
    ] = None,
) -> DatasetOut:
    """Upload a data set. Every row is validated; with any error nothing is stored."""
    _check_fields(await request.form())
    given = {"train": file, "validation": validation_file, "test": test_file}
    uploads = [Upload(split, part.filename, part.file) for split, part in given.items() if part is not None]
    mapping = _parse_columns(columns)
    async with services.validations:
        dataset = await run_in_threadpool(
            datasets.create,
            services.db,
            services.store,
            uploads,
            Wishes(task, name, mapping, label_separator),
        )
    response.headers["Location"] = f"/datasets/{dataset.id}"
    return DatasetOut.of(dataset)


@router.get("", operation_id="listDatasets")
def list_datasets(services: ServicesDep, query: Annotated[DatasetsQuery, Query()]) -> ListOut[DatasetOut]:
    """Data sets, the newest first."""
    rows = datasets.list_datasets(services.db, limit=query.limit + 1, after=query.after, task=query.task)
    return ListOut.page([DatasetOut.of(row) for row in rows], query.limit)


@router.get("/{dataset_id}", operation_id="getDataset", responses=problems(404))
def get_dataset(dataset_id: str, services: ServicesDep) -> DatasetOut:
    """One data set."""
    return DatasetOut.of(datasets.get(services.db, dataset_id))


@router.get("/{dataset_id}/preview", operation_id="previewDataset", responses=problems(404))
def preview_dataset(
    dataset_id: str, services: ServicesDep, query: Annotated[PreviewQuery, Query()]
) -> ListOut[dict[str, Any]]:
    """The first rows of a split, as they will be trained on."""
    dataset = datasets.get(services.db, dataset_id)
    rows = datasets.preview(services.store, dataset, split=query.split, limit=query.limit + 1)
    return ListOut.page([dict(row) for row in rows], query.limit)


@router.delete("/{dataset_id}", status_code=204, operation_id="deleteDataset", responses=problems(404, 409))
def delete_dataset(dataset_id: str, services: ServicesDep) -> None:
    """Delete a data set that no running or queued job uses."""
    datasets.delete(services.db, services.store, dataset_id)


def _check_fields(form: FormData) -> None:
    """Refuse what would be passed over in silence: unknown fields, and all but the last of a field sent twice."""
    problems = []
    for field in sorted(set(form)):
        if field not in _FIELDS:
            known = ", ".join(sorted(_FIELDS))
            problems.append(Problem("unknown_field", f"unknown form field {field!r}; known are {known}", column=field))
        elif len(form.getlist(field)) > 1:
            problems.append(Problem("repeated_field", f"form field {field!r} was sent more than once", column=field))
    if problems:
        raise InvalidInputError(problems[0].message, problems)


def _parse_columns(text: str | None) -> dict[str, Any]:
    if not text:
        return {}
    try:
        columns = json.loads(text)
    except ValueError:
        columns = None
    if not isinstance(columns, dict):
        message = 'columns must be a JSON object such as {"text": "body", "label": "topic"}'
        raise InvalidInputError(message, [Problem("invalid_columns", message, column="columns")])
    return columns
