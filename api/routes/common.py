"""What the routes share."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from api.schemas import ProblemOut

Limit = Annotated[int, Query(ge=1, le=100, description="Items to list")]
After = Annotated[str | None, Query(max_length=64, description="List what follows this id")]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for the OpenAPI document."""
    return {status: {"model": ProblemOut, "description": "A problem document (RFC 9457)"} for status in statuses}
