"""Bodies of OpenAI's embeddings and models endpoints, as far as a sentence encoder can serve them.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from api.examples import shown_as
from models_store.characters import half_pair
from models_store.errors import InvalidInputError, Problem

Vector = NDArray[np.floating[Any]]
EncodingFormat = Literal["float", "base64"]
_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class EmbeddingsIn(BaseModel):
    """The body of ``POST /v1/embeddings``."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"model": "duplicate-questions", "input": ["How do I cancel?", "Cancel my order"]}]
        },
    )

    input: Annotated[
        Any, Field(description="A text or a list of texts", json_schema_extra=_TEXTS, examples=[["my parcel is late"]])
    ]
    model: Annotated[
        str, Field(description="name, name@3 or name@alias of a similarity model", examples=["duplicate-questions"])
    ]
    encoding_format: Annotated[
        EncodingFormat, Field(description="base64: of the vector's float32, least significant byte first")
    ] = "float"
    dimensions: Annotated[
        int | None, Field(strict=True, ge=1, description="Nothing but the model's own width, for it learnt no other")
    ] = None
    user: Annotated[str | None, Field(description="Read over")] = None


class EmbeddingOut(BaseModel):
    """A vector of unit length."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: Annotated[list[float] | str, Field(description="Numbers; or base64, if that was asked for")]


class Usage(BaseModel):
    """Word pieces that were read, special tokens included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsOut(BaseModel):
    """Vectors in the order of the texts."""

    model_config = shown_as("embeddings")

    object: Literal["list"] = "list"
    data: list[EmbeddingOut]
    model: Annotated[str, Field(description="name@version")]
    usage: Usage


class EmbeddingModel(BaseModel):
    """A model that can embed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "duplicate-questions", "object": "model", "created": 1795788000, "owned_by": "thawline"}
            ]
        }
    )

    id: str
    object: Literal["model"] = "model"
    created: Annotated[int, Field(description="Unix time of the version that answers")]
    owned_by: str = "thawline"


class EmbeddingModels(BaseModel):
    """All of them, by name."""

    model_config = shown_as("embedding_models")

    object: Literal["list"] = "list"
    data: list[EmbeddingModel]


class OpenAIError(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorOut(BaseModel):
    """An error (OpenAI)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "message": "'input' is empty",
                        "type": "invalid_request_error",
                        "param": "input",
                        "code": "invalid_input",
                    }
                }
            ]
        }
    )

    error: OpenAIError


def texts_of(body: EmbeddingsIn) -> list[str]:
    """The texts of a request.

    Raises:
        InvalidInputError: There is none, or something else than texts.
    """
    texts = body.input if isinstance(body.input, list) else [body.input]
    if not texts:
        raise _refused("there is nothing to embed")
    if all(isinstance(text, int) or (isinstance(text, list) and text) for text in texts):
        raise _refused(
            "token ids of another model's tokenizer mean nothing to this one: send texts "
            "(LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False)"
        )
    for index, text in enumerate(texts):
        where = f" {index}" if isinstance(body.input, list) else ""
        if not isinstance(text, str):
            raise _refused(f"input{where} is not a text (a JSON string)")
        if not text.strip():
            raise _refused(f"input{where} is empty")
        if half_pair(text) is not None:
            raise _refused(f"input{where} holds half a surrogate pair, which is no character")
    return texts


def check_dimensions(asked: int | None, width: int) -> None:
    """Refuse any width but the model's own.

    Raises:
        InvalidInputError: It is another one.
    """
    if asked not in (None, width):
        message = f"this model's vectors have {width} dimensions and no others"
        raise InvalidInputError(message, [Problem("invalid_input", message, column="dimensions")])


def embeddings(vectors: Sequence[Vector], encoding_format: EncodingFormat) -> list[dict[str, Any]]:
    """What `EmbeddingOut` describes, of each vector; plain, for there may be many numbers."""
    return [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, encoding_format)}
        for index, vector in enumerate(vectors)
    ]


def _encoded(vector: Vector, encoding_format: EncodingFormat) -> list[float] | str:
    if encoding_format == "float":
        numbers: list[float] = vector.tolist()
        return numbers
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _refused(message: str) -> InvalidInputError:
    return InvalidInputError(message, [Problem("invalid_input", message, column="input")])
