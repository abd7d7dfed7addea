"""``/datasets``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Path, Query, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from api.dataset_examples import EXPORT_EXAMPLE, PREVIEW_EXAMPLES, UPLOAD_EXAMPLES
from api.dataset_schemas import DatasetOut, StatisticsOut, ValidationOut, shown
from api.routes.common import MEDIA_TYPES, Limit, PageQuery, check_form, parse_columns, problems
from api.schemas import ListOut, ProblemItem
from api.services import ServicesDep
from models_store import datasets
from models_store.datasets import SPLIT_SEED, EncoderLimit, ExportFormat, OnError, Upload, Wishes
from models_store.errors import InvalidInputError
from models_store.tables import DatasetStatus
from models_store.tasks import TaskName

router = APIRouter(prefix="/datasets", tags=["datasets"])
DatasetId = Annotated[str, Path(description="Of the data set", examples=["ds_01m8eps0740bhvs3v6n84gx91s"])]
Split = Literal["train", "validation", "test"]


class DatasetsQuery(PageQuery):
    """Which data sets."""

    task: Annotated[TaskName | None, Field(description="Only those for this task", examples=["classification"])] = None


class RowsQuery(BaseModel):
    """Which rows, or what was wrong with which rows."""

    limit: Limit = 10
    after: Annotated[int, Field(ge=0, description="Begin after so many")] = 0


class PreviewQuery(RowsQuery):
    """Which rows of which split."""

    split: Annotated[Split, Field(description="Of which split", examples=["validation"])] = "train"


class UploadForm:
    """The form fields of an upload, as a dependency of the routes that take one."""

    def __init__(
        self,
        file: Annotated[UploadFile, File(description="Training rows, or an archive or a workbook with all splits")],
        task: Annotated[TaskName, Form(description="What a model shall learn from it")],
        validation_file: Annotated[
            UploadFile | None, File(description="Cut off the training rows where absent")
        ] = None,
        test_file: Annotated[
            UploadFile | None, File(description="Rows that the finished model is measured on, and nothing else")
        ] = None,
        name: Annotated[
            str | None,
            Form(
                min_length=1,
                max_length=200,
                pattern=r"^[^\x00-\x1f\x7f]+$",
                description="Of the data set; by default like the file's",
            ),
        ] = None,
        columns: Annotated[
            str | None,
            Form(description='JSON: our field → your column, e.g. {"text": "body"}; of CoNLL {"token": 2, "tag": 3}'),
        ] = None,
        label_separator: Annotated[
            str | None, Form(description="Classification: a text may have several labels, with this between them")
        ] = None,
        encoding: Annotated[
            str | None,
            Form(
                max_length=40,
                description="Of the text, such as cp1252; by default UTF-8 or what its mark says",
            ),
        ] = None,
        on_error: Annotated[
            OnError, Form(description="refuse: nothing is stored if a row is wrong; skip: wrong rows are left out")
        ] = OnError.REFUSE,
        encoder: Annotated[
            str | None,
            Form(max_length=63, description="Texts longer than this one reads at once are told; by default minilm-l6"),
        ] = None,
        split_seed: Annotated[
            int, Form(ge=0, le=2**31 - 1, description="Draws the validation rows where there are none")
        ] = SPLIT_SEED,
    ) -> None:
        given = {"train": file, "validation": validation_file, "test": test_file}
        self.uploads = [Upload(split, part.filename, part.file) for split, part in given.items() if part is not None]
        self.wishes = Wishes(
            task, name, parse_columns(columns), label_separator, encoding, on_error, encoder, split_seed
        )


_FIELDS = {
    "file", "validation_file", "test_file", "task", "name", "columns", "label_separator", "encoding", "on_error",
    "encoder", "split_seed",
}  # fmt: skip


@router.post(
    "",
    status_code=201,
    operation_id="createDataset",
    summary="Upload a data set",
    openapi_extra=UPLOAD_EXAMPLES,
    responses={
        200: {"model": DatasetOut, "description": "The same upload was stored before"},
        202: {"model": DatasetOut, "description": "A large upload: ask for it until its status is ready or invalid"},
        **problems(404, 413, 422),
    },
)
async def create_dataset(
    request: Request, response: Response, services: ServicesDep, form: Annotated[UploadForm, Depends()]
) -> DatasetOut:
    """Upload a data set. Every row is validated; with any error nothing is stored, unless wrong rows may be skipped."""
    check_form(await request.form(), _FIELDS)
    async with services.validations:
        dataset, is_new = await run_in_threadpool(
            datasets.create_or_find,
            services.db,
            services.store,
            form.uploads,
            form.wishes,
            most_unpacked=services.settings.max_unpacked_bytes,
            at_once=services.settings.validate_at_once_bytes,
            encoders=services.settings.encoders,
        )
    response.headers["Location"] = f"/datasets/{dataset.id}"
    if dataset.status == DatasetStatus.VALIDATING:
        services.errands.wake()
        response.status_code = 202
    elif not is_new:
        response.status_code = 200
    return DatasetOut.of(dataset)


@router.post(
    "/validate",
    operation_id="validateDataset",
    summary="Check files without storing them",
    openapi_extra=UPLOAD_EXAMPLES,
    responses=problems(404, 413, 422),
)
async def validate_dataset(
    request: Request, services: ServicesDep, form: Annotated[UploadForm, Depends()]
) -> ValidationOut:
    """Say all that an upload of these files would be told, and store nothing."""
    check_form(await request.form(), _FIELDS)
    datasets.check(form.wishes)
    async with services.validations:
        try:
            outcome, splits, statistics = await run_in_threadpool(
                datasets.dry_run,
                services.store,
                form.uploads,
                form.wishes,
                most_unpacked=services.settings.max_unpacked_bytes,
                at_once=services.settings.validate_at_once_bytes,
                encoders=services.settings.encoders,
            )
        except InvalidInputError as error:
            return ValidationOut.unreadable(error)
    return ValidationOut.of(outcome, splits, statistics)


@router.get("", operation_id="listDatasets", summary="List data sets")
def list_datasets(services: ServicesDep, query: Annotated[DatasetsQuery, Query()]) -> ListOut[DatasetOut]:
    """Data sets, the newest first."""
    rows = datasets.list_datasets(services.db, limit=query.limit + 1, after=query.after, task=query.task)
    return ListOut.page([DatasetOut.of(row) for row in rows], query.limit)


@router.get("/{dataset_id}", operation_id="getDataset", summary="Show a data set", responses=problems(404))
def get_dataset(dataset_id: DatasetId, services: ServicesDep) -> DatasetOut:
    """One data set."""
    return DatasetOut.of(datasets.get(services.db, dataset_id))


@router.get(
    "/{dataset_id}/preview",
    operation_id="previewDataset",
    summary="Look at rows",
    responses={200: {"content": {"application/json": {"examples": PREVIEW_EXAMPLES}}}, **problems(404, 409)},
)
def preview_dataset(
    dataset_id: DatasetId, services: ServicesDep, query: Annotated[PreviewQuery, Query()]
) -> ListOut[dict[str, Any]]:
    """Rows of a split, as they will be trained on; of tagged text also the text and its entities."""
    dataset = datasets.get_ready(services.db, dataset_id)
    rows = datasets.preview(services.store, dataset, split=query.split, limit=query.limit + 1, after=query.after)
    return ListOut.page([shown(dict(row)) for row in rows], query.limit)


@router.get(
    "/{dataset_id}/statistics",
    operation_id="getDatasetStatistics",
    summary="Count labels and lengths",
    responses=problems(404, 409),
)
def dataset_statistics(
    dataset_id: DatasetId,
    services: ServicesDep,
    encoder: Annotated[
        str | None, Query(max_length=64, description="Count its word pieces, too", examples=["minilm-l6"])
    ] = None,
) -> StatisticsOut:
    """How many rows each label has, and how long rows are."""
    dataset = datasets.get_ready(services.db, dataset_id)
    splits: dict[str, Any] = {split: dict(found) for split, found in (dataset.statistics or {}).items()}
    if encoder is not None:
        limit = EncoderLimit.of(encoder, services.settings.encoders)
        for split, found in datasets.piece_lengths(services.store, dataset, limit).items():
            splits.setdefault(split, {})["word_pieces"] = found
    return StatisticsOut.model_validate({"dataset_id": dataset.id, "encoder": encoder, "splits": splits})


@router.get(
    "/{dataset_id}/skipped",
    operation_id="listSkippedRows",
    summary="List rows that were left out",
    responses=problems(404, 409),
)
def skipped_rows(
    dataset_id: DatasetId, services: ServicesDep, query: Annotated[RowsQuery, Query()]
) -> ListOut[ProblemItem]:
    """What was wrong with rows that were left out of the data set, in the order of the files."""
    dataset = datasets.get_ready(services.db, dataset_id)
    found = datasets.skipped(services.store, dataset, limit=query.limit + 1, after=query.after)
    return ListOut.page([ProblemItem.model_validate(problem) for problem in found], query.limit)


@router.get(
    "/{dataset_id}/export",
    operation_id="exportDataset",
    summary="Download a split",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/plain": EXPORT_EXAMPLE}, "description": "The file"}, **problems(404, 409)},
)
def export_dataset(
    dataset_id: DatasetId,
    services: ServicesDep,
    split: Annotated[Split, Query(description="Which split", examples=["validation"])] = "train",
    form: Annotated[
        ExportFormat, Query(alias="format", description="Of the file", examples=["csv"])
    ] = ExportFormat.JSONL,
) -> StreamingResponse:
    """A split as a file that can be uploaded again."""
    dataset = datasets.get_ready(services.db, dataset_id)
    rows = datasets.rows_of(services.store, dataset, split)
    name = f"{dataset.id}-{split}.{form.value}"
    return StreamingResponse(
        datasets.exported(dataset, rows, form),
        media_type=MEDIA_TYPES[form.value],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.delete(
    "/{dataset_id}",
    status_code=204,
    operation_id="deleteDataset",
    summary="Delete a data set",
    responses=problems(404, 409),
)
def delete_dataset(dataset_id: DatasetId, services: ServicesDep) -> None:
    """Delete a data set that no running or queued job uses."""
    datasets.delete(services.db, services.store, dataset_id)
