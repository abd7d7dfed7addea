"""The OpenAPI document says of errors what is true: problem documents, every one of them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from api.errors import ProblemResponse

_PROBLEM = {ProblemResponse.media_type: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")


def install(app: FastAPI) -> None:
    """Correct what the framework assumes: JSON errors, and a shape of its own for 422."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = build()
            for methods in document["paths"].values():
                for operation in methods.values():
                    _correct(operation["responses"])
            for name in _FRAMEWORKS_OWN:
                document["components"]["schemas"].pop(name, None)
        return build()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _correct(responses: dict[str, Any]) -> None:
    for status, answer in responses.items():
        if status[0] in "45" and "content" in answer:
            answer["content"] = _PROBLEM
            if status == "422":
                answer["description"] = "A problem document (RFC 9457)"
