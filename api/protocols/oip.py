"""Bodies of the Open Inference Protocol (v2, REST), with what Triton's binary tensor extension adds to them.

https://github.com/kserve/open-inference-protocol and, in triton-inference-server/server, docs/protocol.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.examples import shown_as
from models_store.precision import Precision

Datatype = Literal["BYTES", "FP32", "BOOL"]
_MOST = 16  # tensors of a request; no model has as many
_ROWS = "[n], or [n, 1]"


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InputParameters(_In):
    """What a request may say of one of its tensors."""

    binary_data_size: Annotated[
        int | None, Field(strict=True, ge=0, description="Bytes of it behind the JSON, in place of data")
    ] = None
    content_type: Annotated[str | None, Field(description="Read over: texts are all that is taken")] = None


class InputTensor(_In):
    """Texts, one a row."""

    name: Annotated[str, Field(description="text; and text_pair for similarity", examples=["text"])]
    shape: Annotated[list[Annotated[int, Field(strict=True, ge=0, lt=2**31)]], Field(description=_ROWS, examples=[[1]])]
    datatype: Literal["BYTES"]
    parameters: InputParameters = InputParameters()
    data: Annotated[list[Any] | None, Field(examples=[["Where is my parcel?"]])] = None


class OutputParameters(_In):
    """How an answer's tensor is wanted."""

    binary_data: Annotated[bool | None, Field(strict=True, description="Behind the JSON, in place of data")] = None


class OutputWanted(_In):
    """One of the model's outputs."""

    name: str
    parameters: OutputParameters = OutputParameters()


class InferParameters(_In):
    """What else a request may ask for."""

    top_k: Annotated[
        int,
        Field(strict=True, ge=1, le=1000, description="Columns of top_labels and top_scores, which > 1 answers with"),
    ] = 1
    precision: Annotated[
        Precision | None, Field(description="Of the version's models, if not the one that is served by default")
    ] = None
    timeout: Annotated[
        int | None,
        Field(strict=True, ge=1, lt=2**53, description="Microseconds that the caller will wait, as Triton has it"),
    ] = None
    binary_data_output: Annotated[
        bool, Field(strict=True, description="Every tensor behind the JSON, unless it says otherwise")
    ] = False


class InferIn(_In):
    """A request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["Where is my parcel?"]}]}
            ]
        }
    )

    id: Annotated[str | None, Field(max_length=256, description="Comes back with the answer")] = None
    parameters: InferParameters = InferParameters()
    inputs: Annotated[
        list[InputTensor], Field(min_length=1, max_length=_MOST, description="Texts, a tensor for each part of a pair")
    ]
    outputs: Annotated[
        list[OutputWanted] | None,
        Field(max_length=_MOST, description="All that the model has unless given; the top_… ones if top_k says so"),
    ] = None


class OutputTensor(BaseModel):
    """One value a row, or one list of values."""

    name: str
    shape: list[int]
    datatype: Datatype
    parameters: dict[str, int] | None = Field(None, description="binary_data_size, where it follows behind the JSON")
    data: list[Any] | None = Field(None, description="Row by row")


class InferOut(BaseModel):
    """An answer."""

    model_config = shown_as("oip_infer_answer")

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class TensorOut(BaseModel):
    """What a model takes or answers with; −1 is the number of rows, or what the request decides."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadataOut(BaseModel):
    """A model."""

    model_config = shown_as("oip_model")

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorOut]
    outputs: list[TensorOut]


class ServerMetadataOut(BaseModel):
    """The service."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "thawline", "version": "0.1.0", "extensions": ["binary_tensor_data"]}]}
    )

    name: str
    version: str
    extensions: list[str]


class LiveOut(BaseModel):
    """Whether the process is alive."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"live": True}]})

    live: bool


class ReadyOut(BaseModel):
    """Whether the service can do its work."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ready": True}]})

    ready: bool


class ModelReadyOut(BaseModel):
    """Whether a model can answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "support-intent", "ready": True}]})

    name: str
    ready: bool


class OipErrorOut(BaseModel):
    """An error (Open Inference Protocol)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"error": "no model is called 'support-intent'"}]})

    error: str
