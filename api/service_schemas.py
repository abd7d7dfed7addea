"""What travels over HTTP about the service itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

METRICS_EXAMPLE: dict[str, Any] = {
    "schema": {"type": "string"},
    "example": (
        "# HELP thawline_jobs Jobs by status\n"
        "# TYPE thawline_jobs gauge\n"
        'thawline_jobs{status="running"} 1.0\n'
        'thawline_jobs{status="succeeded"} 3.0\n'
    ),
}


class HealthOut(BaseModel):
    """The process is alive."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: Literal["ok"]


class ReadinessOut(BaseModel):
    """Whether the service can do its work, and which of its parts cannot."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"status": "ok", "checks": {"database": "ok", "broker": "ok", "models": "ok"}}],
        }
    )

    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = Field(description="Each part: `ok`, or what is wrong with it")
