"""The OpenAPI document says of errors what is true: problem documents, or what other protocols have for them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from api.errors import ProblemResponse
from api.protocols.errors import Dialect, dialect_of
from api.protocols.oip import InferIn

_SCHEMAS = "#/components/schemas/{model}"
_PROBLEM = {ProblemResponse.media_type: {"schema": {"$ref": _SCHEMAS.format(model="ProblemOut")}}}
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")


def install(app: FastAPI) -> None:
    """Correct what the framework assumes: JSON errors, and a shape of its own for 422."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = build()
            for path, methods in document["paths"].items():
                dialect = dialect_of(path)
                for operation in methods.values():
                    _correct(operation["responses"]) if dialect is None else _translate(operation["responses"], dialect)
            _add_bodies_that_are_read_by_hand(document["components"]["schemas"])
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


def _translate(responses: dict[str, Any], dialect: Dialect) -> None:
    """The same where another protocol is spoken: what we find unprocessable is a bad request there."""
    responses.pop("422", None)
    content = {"application/json": {"schema": {"$ref": _SCHEMAS.format(model=dialect.schema.__name__)}}}
    for status, answer in responses.items():
        if status[0] in "45" and "content" in answer:
            answer["content"] = content


def _add_bodies_that_are_read_by_hand(schemas: dict[str, Any]) -> None:
    """Those that are not JSON alone, of which the framework therefore knows nothing."""
    schema = InferIn.model_json_schema(ref_template=_SCHEMAS)
    schemas |= schema.pop("$defs") | {InferIn.__name__: schema}
