"""``/v2``: the Open Inference Protocol, as KServe, Triton and their clients speak it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from api.artifacts import config_of
from api.disconnect import CLIENT_CLOSED_REQUEST, CallerGoneError, given_up_with_caller
from api.predictions import Asked
from api.protocols.columns import INPUTS, Column, chosen, columns_of, examples_of
from api.protocols.oip import (
    InferIn,
    InferOut,
    LiveOut,
    ModelMetadataOut,
    ModelReadyOut,
    OipErrorOut,
    ReadyOut,
    ServerMetadataOut,
    TensorOut,
)
from api.protocols.tensors import HEADER_LENGTH, Tensor, read_request, refused, write_answer
from api.readiness import check_parts, is_ready
from api.routes.common import BINARY, MEANINGS
from api.services import Services, ServicesDep
from models_store import registry
from models_store.errors import ModelFailedError
from models_store.tasks import Prediction, PredictOptions, TaskName, task_from_config

probes = APIRouter(prefix="/v2/health", tags=["open inference protocol"])
router = APIRouter(prefix="/v2", tags=["open inference protocol"])

ModelReference = Annotated[str, Path(description="name, name@3 or name@alias", examples=["support-intent"])]
ModelName = Annotated[str, Path(description="Of the model", examples=["support-intent"])]
HeaderLength = Annotated[
    str | None, Header(alias=HEADER_LENGTH, description="bytes of JSON before the binary tensors, if there are such")
]
P = ParamSpec("P")
T = TypeVar("T")
_INLINE_BYTES, _INLINE_ROWS = 16_384, 256
VersionNumber = Annotated[int, Path(ge=1, lt=2**31, description="Of the version", examples=[1])]
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": f"#/components/schemas/{InferIn.__name__}"}},
            "application/octet-stream": {"schema": BINARY},
        },
    }
}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": OipErrorOut, "description": MEANINGS[status]} for status in statuses}


@probes.get("/live", operation_id="oipLive", summary="Is the process alive?")
async def live() -> LiveOut:
    """The process is alive."""
    return LiveOut(live=True)


@probes.get(
    "/ready",
    operation_id="oipReady",
    summary="Can the service do its work?",
    response_model=ReadyOut,
    responses={503: {"model": ReadyOut}},
)
def ready(request: Request) -> Response:
    """The service can do its work; ``/readyz`` says what is amiss if it cannot."""
    answer = is_ready(check_parts(request))
    return JSONResponse({"ready": answer}, status_code=200 if answer else 503)


@router.get("", operation_id="oipServer", summary="Describe the service")
async def server() -> ServerMetadataOut:
    """Name, version and extensions of the service."""
    version = importlib.metadata.version("thawline")
    return ServerMetadataOut(name="thawline", version=version, extensions=["binary_tensor_data"])


@router.get("/models/{model}", operation_id="oipModel", summary="Describe a model", responses=_errors(404, 503))
def metadata(model: ModelReference, services: ServicesDep) -> ModelMetadataOut:
    """What a model takes and answers with; a bare name means its production version."""
    return _metadata(services, model, versions=None)


@router.get(
    "/models/{model}/versions/{version}",
    operation_id="oipModelVersion",
    summary="Describe a version",
    responses=_errors(400, 404, 503),
)
def version_metadata(model: ModelName, version: VersionNumber, services: ServicesDep) -> ModelMetadataOut:
    """The same of one version."""
    return _metadata(services, f"{model}@{version}", versions=[str(version)])


@router.get(
    "/models/{model}/ready",
    operation_id="oipModelReady",
    summary="Can a model answer?",
    responses=_errors(404, 429, 503),
)
async def model_ready(model: ModelReference, services: ServicesDep) -> ModelReadyOut:
    """The model can answer: it is loaded unless it is already, so the next call finds it warm."""
    return await _ready(services, model)


@router.get(
    "/models/{model}/versions/{version}/ready",
    operation_id="oipModelVersionReady",
    summary="Can a version answer?",
    responses=_errors(400, 404, 429, 503),
)
async def version_ready(model: ModelName, version: VersionNumber, services: ServicesDep) -> ModelReadyOut:
    """The same of one version."""
    return await _ready(services, f"{model}@{version}")


@router.post(
    "/models/{model}/infer",
    operation_id="oipInfer",
    summary="Ask a model",
    response_model=InferOut,
    responses=_errors(400, 404, 413, 429, 503),
    openapi_extra=_BODY,
)
async def infer(
    model: ModelReference,
    request: Request,
    services: ServicesDep,
    header_length: HeaderLength = None,
) -> Response:
    """Ask a model; a bare name means its production version."""
    return await _infer(services, model, request, header_length)


@router.post(
    "/models/{model}/versions/{version}/infer",
    operation_id="oipInferVersion",
    summary="Ask a version",
    response_model=InferOut,
    responses=_errors(400, 404, 413, 429, 503),
    openapi_extra=_BODY,
)
async def infer_version(
    model: ModelName,
    version: VersionNumber,
    request: Request,
    services: ServicesDep,
    header_length: HeaderLength = None,
) -> Response:
    """The same of one version."""
    return await _infer(services, f"{model}@{version}", request, header_length)


def _metadata(services: Services, reference: str, versions: list[str] | None) -> ModelMetadataOut:
    with services.db.reading() as session:
        version = registry.resolve(session, reference)
        known = versions or [str(row.version) for row in registry.versions(session, version.model)]
    task = task_from_config(config_of(services.store, version)["task"])
    return ModelMetadataOut(
        name=version.model,
        versions=known,
        platform="thawline_onnx",
        inputs=[TensorOut(name=name, datatype="BYTES", shape=[-1]) for name in INPUTS[task.name]],
        outputs=[column.describe() for column in columns_of(task)],
    )


async def _ready(services: Services, reference: str) -> ModelReadyOut:
    version, _ = await services.predictions.loaded(reference)
    return ModelReadyOut(name=version.model, ready=True)


async def _infer(services: Services, reference: str, request: Request, header_length: str | None) -> Response:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise refused("Content-Encoding", "compressed bodies are not taken")
    body = await request.body()
    wanted, texts = await _maybe_in_thread(len(body) > _INLINE_BYTES, read_request, body, header_length)
    options = wanted.parameters
    version = await services.predictions.version(reference)
    seconds = None if options.timeout is None else options.timeout / 1e6
    key = request.headers.get("routing-key")
    asked = Asked(PredictOptions(top_k=options.top_k), options.precision, key, seconds)
    try:
        with given_up_with_caller(request):
            answer = await services.predictions.answer(reference, examples_of(TaskName(version.task), texts), asked)
    except CallerGoneError:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    _check_whole(answer.predictions)
    version = answer.version
    names = None if wanted.outputs is None else [output.name for output in wanted.outputs]
    columns = chosen(answer.task, names, options.top_k)
    head = {"model_name": version.model, "model_version": str(version.version)}
    head |= {"id": wanted.id} if wanted.id is not None else {}
    tensors = _tensors(wanted, columns, answer.predictions)
    written, json_bytes = await _maybe_in_thread(len(answer.predictions) > _INLINE_ROWS, write_answer, head, tensors)
    headers = {"Server-Timing": answer.timings.header()}
    if json_bytes is None:
        return Response(written, media_type="application/json", headers=headers)
    headers[HEADER_LENGTH] = str(json_bytes)
    return Response(written, media_type="application/octet-stream", headers=headers)


async def _maybe_in_thread(large: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what takes its time off the event loop; a change of thread takes longer than what is small."""
    return await run_in_threadpool(work, *args, **kwargs) if large else work(*args, **kwargs)


def _check_whole(predictions: list[Prediction]) -> None:
    """Refuse an answer that has no place for what one of its rows lacks: a tensor is whole or it is none."""
    failed = [index for index, prediction in enumerate(predictions) if "error" in prediction]
    if failed:
        error = predictions[failed[0]]["error"]
        rows = ", ".join(map(str, failed[:10])) + (", …" if len(failed) > 10 else "")
        raise ModelFailedError(f"row {rows}: {error['message']}; /predict answers the others")


def _tensors(wanted: InferIn, columns: list[Column], predictions: list[Prediction]) -> list[tuple[Tensor, bool]]:
    """The outputs, each with whether it is wanted behind the JSON."""
    asked = {output.name: output.parameters.binary_data for output in wanted.outputs or []}
    everywhere = wanted.parameters.binary_data_output
    binary = {name: everywhere if own is None else own for name, own in asked.items()}
    return [(column.tensor(predictions), binary.get(column.name, everywhere)) for column in columns]
