"""The OpenAPI document: what the framework cannot know of our errors, examples, tags and of who may call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from api.errors import ProblemResponse
from api.examples import example, resolved
from api.meanings import ANYWHERE, OF_SCHEMA
from api.protocols.errors import Dialect, dialect_of
from api.protocols.oip import InferIn
from api.routes.common import MEANINGS

_SCHEMAS = "#/components/schemas/{model}"
_PROBLEM = {ProblemResponse.media_type: {"schema": {"$ref": _SCHEMAS.format(model="ProblemOut")}}}
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")
# Of schemas that other packages share with us, which know nothing of HTTP.
_EXAMPLES = {"JobRequest": ("job_request", "job_request_tuned"), "Report": ("report",)}
ABOUT: dict[str, Any] = {
    "summary": "Labelled text in, a low-latency endpoint out.",
    "description": "Upload labelled text, start a job, watch it, and call the finished model. "
    "Errors are RFC 9457 problems.",
    "license_info": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "servers": [{"url": "/", "description": "The service that this document comes from"}],
    "openapi_tags": [
        {"name": "datasets", "description": "Labelled rows to train on: upload, check, look at, download."},
        {"name": "jobs", "description": "Trainings: start one, watch it, stop it, go on with it."},
        {"name": "models", "description": "Finished models: their versions, reports, aliases and files."},
        {"name": "predict", "description": "Ask a model."},
        {"name": "predictions", "description": "Have a whole file answered, beside the calls."},
        {"name": "openai", "description": "Embeddings, as OpenAI's clients ask for them."},
        {"name": "open inference protocol", "description": "The same models, as clients of KServe and Triton ask."},
        {"name": "service", "description": "Whether the service is well, and figures to watch."},
    ],
}


def install(app: FastAPI) -> None:
    """Correct what the framework assumes: JSON errors, and a shape of its own for 422."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = build()
            for path, operation in operations(document):
                _complete(operation)
                dialect = dialect_of(path)
                _correct(operation["responses"]) if dialect is None else _translate(operation["responses"], dialect)
            _complete_schemas(document["components"]["schemas"])
            app.openapi_schema = resolved(document)
        return build()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation of a document with its path."""
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def _complete(operation: dict[str, Any]) -> None:
    """What is true of several routes: the key may be wrong."""
    if operation.get("security"):
        refusal = {"description": MEANINGS[401], "content": _PROBLEM}
        operation["responses"].setdefault("401", refusal)
    for answer in operation["responses"].values():
        if answer.get("description") == "Successful Response":  # the framework's words
            answer["description"] = "It went well"


def _correct(responses: dict[str, Any]) -> None:
    for status, answer in responses.items():
        if status[0] in "45" and _is_error(answer):
            answer["content"] = _PROBLEM
            if status == "422":
                answer["description"] = MEANINGS[422]


def _is_error(answer: dict[str, Any]) -> bool:
    """Whether an answer has a body, and not one that a call has when all is well, too (`/readyz`)."""
    schemas = [content.get("schema", {}) for content in answer.get("content", {}).values()]
    return bool(schemas) and {"$ref": _SCHEMAS.format(model="ReadinessOut")} not in schemas


def _translate(responses: dict[str, Any], dialect: Dialect) -> None:
    """The same where another protocol is spoken: what we find unprocessable is a bad request there."""
    responses.pop("422", None)
    content = {"application/json": {"schema": {"$ref": _SCHEMAS.format(model=dialect.schema.__name__)}}}
    for status, answer in responses.items():
        if status[0] in "45" and "content" in answer:
            answer["content"] = content


def _complete_schemas(schemas: dict[str, Any]) -> None:
    """Add the bodies that are read by hand, of which the framework therefore knows nothing, and shared examples."""
    schema = InferIn.model_json_schema(ref_template=_SCHEMAS)
    schemas |= schema.pop("$defs") | {InferIn.__name__: schema}
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    for name, schema in schemas.items():
        for member, told in schema.get("properties", {}).items():
            if meaning := OF_SCHEMA.get(name, {}).get(member) or ANYWHERE.get(member):
                told.setdefault("description", meaning)
    for name, files in _EXAMPLES.items():
        schemas[name]["examples"] = [example(file) for file in files]
