"""``/models/{name}/versions/{version}/export``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from api.exports.archive import stream_zip
from api.exports.contents import ArchiveFormat, entries_of
from api.routes.common import BINARY, problems
from api.routes.models import Name, VersionNumber
from api.services import ServicesDep

router = APIRouter(tags=["models"])


@router.get(
    "/models/{name}/versions/{version}/export",
    operation_id="exportModelVersion",
    summary="Download a version",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/zip": {"schema": BINARY}}, "description": "The archive"},
        **problems(404, 429, 503),
    },
)
async def export(
    name: Name,
    version: VersionNumber,
    services: ServicesDep,
    format: Annotated[
        ArchiveFormat,
        Query(description="onnx: the files with an example; triton: a model repository to mount", examples=["triton"]),
    ] = ArchiveFormat.ONNX,
) -> StreamingResponse:
    """A version's files for use without Thawline, compared with their manifest, as a ZIP archive."""
    row, predictor = await services.predictions.loaded(f"{name}@{version}")

    def archive() -> Iterator[bytes]:
        folder = services.store.verified_path(row.artifact)
        return stream_zip(entries_of(format, row, predictor, folder), row.created_at)

    return StreamingResponse(
        await run_in_threadpool(archive),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{row.model}-{row.version}-{format}.zip"'},
    )
