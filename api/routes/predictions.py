"""``/predictions``: whole files, answered beside the calls."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Path, Query, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import Field

from api.prediction_examples import ANSWERS_EXAMPLE, FILE_EXAMPLES
from api.prediction_schemas import FilePredictionOut
from api.routes.common import MEDIA_TYPES, PageQuery, check_form, parse_columns, problems
from api.schemas import ListOut
from api.services import Services, ServicesDep
from models_store import predictions, registry
from models_store.predictions import FilePrediction, OutputFormat, Question
from models_store.predictor import CONFIG_FILE
from models_store.specs import ModelName

PredictionId = Annotated[str, Path(description="Of the file", examples=["pred_01m8er5v3h6w6s1ndv6v2m4q1a"])]
router = APIRouter(prefix="/predictions", tags=["predictions"])

_FIELDS = {"file", "model", "columns", "format", "encoding"}


class PredictionsQuery(PageQuery):
    """Which of them."""

    model: Annotated[
        ModelName | None, Field(description="Only those that this model answers", examples=["support-intent"])
    ] = None


@router.post(
    "",
    status_code=202,
    operation_id="createPrediction",
    summary="Have a whole file answered",
    openapi_extra=FILE_EXAMPLES,
    responses=problems(404, 413, 422),
)
async def create_prediction(
    request: Request,
    response: Response,
    services: ServicesDep,
    file: Annotated[UploadFile, File(description="Rows with the texts that the model reads; other columns are kept")],
    model: Annotated[str, Form(max_length=150, description="name, name@3 or name@alias")],
    columns: Annotated[str | None, Form(description='JSON: our field → your column, e.g. {"text": "body"}')] = None,
    output: Annotated[
        OutputFormat | None, Form(alias="format", description="Of the answers; by default like the file's")
    ] = None,
    encoding: Annotated[str | None, Form(max_length=40, description="Of the text, such as cp1252")] = None,
) -> FilePredictionOut:
    """Have a version answer a whole file; the answers are added to it as columns.

    The version is the one that the reference means now, also where its alias is moved meanwhile.
    """
    check_form(await request.form(), _FIELDS)
    question = Question(parse_columns(columns), output, encoding)
    async with services.validations:
        row = await run_in_threadpool(_submit, services, model, file, question)
    services.errands.wake()
    response.headers["Location"] = f"/predictions/{row.id}"
    return FilePredictionOut.of(row)


def _submit(services: Services, model: str, file: UploadFile, question: Question) -> FilePrediction:
    with services.db.reading() as session:
        version = registry.resolve(session, model)
    config: dict[str, Any] = json.loads(services.store.read(version.artifact, CONFIG_FILE) or b"{}")
    return predictions.submit(
        services.db,
        services.store,
        version,
        config["task"],
        file.file,
        file.filename,
        question,
        most_unpacked=services.settings.max_unpacked_bytes,
    )


@router.get("", operation_id="listPredictions", summary="List files that are answered")
def list_predictions(services: ServicesDep, query: Annotated[PredictionsQuery, Query()]) -> ListOut[FilePredictionOut]:
    """Files that are or were answered, the newest first."""
    rows = predictions.list_predictions(services.db, limit=query.limit + 1, after=query.after, model=query.model)
    return ListOut.page([FilePredictionOut.of(row) for row in rows], query.limit)


@router.get("/{prediction_id}", operation_id="getPrediction", summary="Show how far a file is", responses=problems(404))
def get_prediction(prediction_id: PredictionId, services: ServicesDep) -> FilePredictionOut:
    """How far it is, and what came of it."""
    return FilePredictionOut.of(predictions.get(services.db, prediction_id))


@router.get(
    "/{prediction_id}/file",
    operation_id="downloadPrediction",
    summary="Download the answers",
    response_class=FileResponse,
    responses={200: {"content": {"text/plain": ANSWERS_EXAMPLE}, "description": "The file"}, **problems(404, 409)},
)
def download(prediction_id: PredictionId, services: ServicesDep) -> FileResponse:
    """The file with the answers."""
    row = predictions.get(services.db, prediction_id)
    path = predictions.output_path(services.store, row)
    form = OutputFormat(row.format)
    return FileResponse(path, media_type=MEDIA_TYPES[form.value], filename=f"{row.id}.{form.value}")


@router.post(
    "/{prediction_id}/cancel",
    operation_id="cancelPrediction",
    summary="Stop answering a file",
    responses=problems(404, 409),
)
def cancel(prediction_id: PredictionId, services: ServicesDep) -> FilePredictionOut:
    """Cancel it: at once if it waits, else within seconds."""
    return FilePredictionOut.of(predictions.cancel(services.db, prediction_id))


@router.delete(
    "/{prediction_id}",
    status_code=204,
    operation_id="deletePrediction",
    summary="Delete a file and its answers",
    responses=problems(404, 409),
)
def delete(prediction_id: PredictionId, services: ServicesDep) -> None:
    """Delete one that has ended, with its files."""
    predictions.delete(services.db, services.store, prediction_id)
