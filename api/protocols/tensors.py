"""Tensors as they travel: in the JSON itself, or as bytes behind it (Triton's binary tensor data extension).

A text among those bytes is its length, four bytes with the least first, and its UTF-8. Every length is compared with
what is there before anything is taken, so a request decides over no more memory than it came with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from pydantic import ValidationError
from pydantic_core import to_json

from api.protocols.oip import Datatype, InferIn, InputTensor
from models_store.errors import InvalidInputError, Problem, quoted

HEADER_LENGTH = "Inference-Header-Content-Length"
_LENGTH_BYTES = 4
_TOLD = 10  # of the things that are wrong with a request
_PLACE = 64


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of an answer.

    Attributes:
        name: Of the model's outputs.
        datatype: Of its values.
        shape: (rows,) or (rows, columns).
        values: Row by row.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    values: Sequence[Any]

    def to_bytes(self) -> bytes:
        """The values as they stand behind the JSON."""
        if self.datatype == "FP32":
            return np.asarray(self.values, dtype="<f4").tobytes()
        if self.datatype == "BOOL":
            return bytes(self.values)
        texts = [value.encode() for value in self.values]
        return b"".join(part for text in texts for part in (len(text).to_bytes(_LENGTH_BYTES, "little"), text))


def read_request(body: bytes, header_length: str | None) -> tuple[InferIn, dict[str, list[str]]]:
    """A request, and the texts of each of its inputs.

    Args:
        body: All of it.
        header_length: The value of the header `HEADER_LENGTH`: how many bytes of the body are JSON; all unless given.

    Raises:
        InvalidInputError: It is no such request; the message says what is wrong, and where.
    """
    end = _json_end(body, header_length)
    try:
        request = InferIn.model_validate_json(body[:end])
    except ValidationError as error:
        raise _invalid(error) from error
    texts: dict[str, list[str]] = {}
    for index, tensor in enumerate(request.inputs):
        size = tensor.parameters.binary_data_size
        if tensor.name in texts:
            raise refused(f"inputs.{index}", f"a second tensor is called {quoted(tensor.name)}")
        if size is not None and size > len(body) - end:
            raise refused(f"inputs.{index}", f"{len(body) - end} bytes are left of the body, not {size}")
        texts[tensor.name] = _texts(tensor, None if size is None else body[end : end + size], f"inputs.{index}")
        end += size or 0
    if end != len(body):
        raise refused("inputs", f"{len(body) - end} bytes of the body belong to no tensor")
    return request, texts


def write_answer(head: dict[str, Any], tensors: Sequence[tuple[Tensor, bool]]) -> tuple[bytes, int | None]:
    """A body from what stands before the outputs and these, each with whether it goes behind the JSON.

    Returns:
        The body, and how many bytes of it are JSON; None where all are.
    """
    outputs, behind = [], []
    for tensor, binary in tensors:
        output = {"name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype}
        if binary:
            behind.append(tensor.to_bytes())
            outputs.append({**output, "parameters": {"binary_data_size": len(behind[-1])}})
        else:
            outputs.append({**output, "data": tensor.values})
    head_bytes = to_json({**head, "outputs": outputs})
    return b"".join([head_bytes, *behind]), len(head_bytes) if behind else None


def refused(where: str, message: str) -> InvalidInputError:
    """An error with its place in the request."""
    return InvalidInputError(f"{where}: {message}", [Problem("invalid_input", message, column=where)])


def _json_end(body: bytes, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) < 16):
        raise refused(HEADER_LENGTH, "it should be a number of bytes")
    if int(header_length) > len(body):
        raise refused(HEADER_LENGTH, f"the body has {len(body)} bytes, fewer than this header says")
    return int(header_length)


def _invalid(error: ValidationError) -> InvalidInputError:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    problems = [Problem(e["type"], e["msg"], column=_place(e["loc"])) for e in found[:_TOLD]]
    first = problems[0]
    return InvalidInputError(f"{first.column}: {first.message}" if first.column else first.message, problems)


def _place(path: Sequence[int | str]) -> str | None:
    return ".".join(str(part)[:_PLACE] for part in path) or None  # a part may be a name that the request made up


def _texts(tensor: InputTensor, chunk: bytes | None, where: str) -> list[str]:
    """The texts of an input, from its bytes if it has any, else from its data."""
    rows = _rows(tensor.shape, where)
    if (chunk is None) == (tensor.data is None):
        raise refused(where, "either data or the parameter binary_data_size is needed, and not both")
    if chunk is None:
        texts = [_text(value, where) for value in tensor.data or []]
    else:
        texts = [_decoded(value, where) for value in islice(_values(chunk, where), rows + 1)]
    if len(texts) != rows:
        there = "more" if len(texts) > rows else f"{len(texts)}"
        raise refused(where, f"its shape promises {rows} texts, and there are {there}")
    return texts


def _rows(shape: Sequence[int], where: str) -> int:
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return shape[0]
    raise refused(where, f"the shape should be [n] or [n, 1], not {list(shape)[:8]}")


def _text(value: Any, where: str) -> str:
    """A value of a JSON tensor, which may be nested by its shape."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise refused(where, "data should hold texts (JSON strings)")
    return value


def _values(chunk: bytes, where: str) -> Iterator[bytes]:
    at = 0
    while at < len(chunk):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(chunk[at:start], "little")
        if start > len(chunk) or at > len(chunk):
            raise refused(where, "its bytes end inside of a text")
        yield chunk[start:at]


def _decoded(value: bytes, where: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise refused(where, f"a text is not UTF-8: {error.reason} at byte {error.start + 1}") from error
