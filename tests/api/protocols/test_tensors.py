"""Tensors on their way: what is sent is what is read, and no length is believed before it was compared."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.protocols.tensors import Tensor, read_request, write_answer
from models_store.errors import InvalidInputError

TEXTS = st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12), max_size=6)


def as_bytes(texts: list[str]) -> bytes:
    return b"".join(len(raw).to_bytes(4, "little") + raw for raw in (text.encode() for text in texts))


def tensor(texts: list[str], name: str = "text", **fields: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(texts)], "datatype": "BYTES", **fields}


def request(*inputs: dict[str, Any], behind: bytes = b"", **fields: Any) -> tuple[bytes, str]:
    """A body with bytes behind the JSON, and the header that says where they begin."""
    head = json.dumps({"inputs": inputs, **fields}).encode()
    return head + behind, str(len(head))


def binary(texts: list[str], **fields: Any) -> dict[str, Any]:
    return tensor(texts, parameters={"binary_data_size": len(as_bytes(texts))}, **fields)


@given(first=TEXTS, second=TEXTS)
def test_texts_are_read_from_both_places(first: list[str], second: list[str]) -> None:
    body, length = request(binary(first, name="a"), tensor(second, "b", data=second), behind=as_bytes(first))

    assert read_request(body, length)[1] == {"a": first, "b": second}


def test_a_column_may_have_a_second_dimension_of_one() -> None:
    body, _ = request({**tensor(["x", "y"], data=[["x"], ["y"]]), "shape": [2, 1]})

    assert read_request(body, None)[1] == {"text": ["x", "y"]}


@pytest.mark.parametrize(
    ("inputs", "behind", "words"),
    [
        ([tensor(["x"])], b"", "either data or the parameter binary_data_size"),
        ([binary(["x"], data=["x"])], as_bytes(["x"]), "and not both"),
        ([binary(["x"])], b"", "0 bytes are left of the body, not 5"),
        ([binary(["x"])], as_bytes(["x"]) + b"more", "4 bytes of the body belong to no tensor"),
        ([tensor(["x"], data=["x"])], b"more", "belong to no tensor"),
        ([tensor(["x"], parameters={"binary_data_size": 3})], b"\1\0\0", "end inside of a text"),
        ([tensor(["x"], parameters={"binary_data_size": 5})], b"\xff\xff\xff\xffx", "end inside of a text"),
        ([tensor(["x"], parameters={"binary_data_size": 5})], b"\1\0\0\0\xff", "not UTF-8"),
        (
            [tensor(["x", "y"], parameters={"binary_data_size": 5})],
            as_bytes(["x"]),
            "promises 2 texts, and there are 1",
        ),
        ([tensor([], parameters={"binary_data_size": 5})], as_bytes(["x"]), "promises 0 texts, and"),
        ([tensor(["x"], parameters={"binary_data_size": -1})], b"", "greater than or equal to 0"),
        ([tensor(["x"], parameters={"binary_data_size": 2**70})], b"", "bytes are left of the body"),
        ([{**tensor(["x"], data=["x"]), "shape": [2**30]}], b"", "promises"),
        ([{**tensor(["x"], data=["x"]), "shape": [2**62]}], b"", "inputs.0.shape.0"),
        ([{**tensor(["x"], data=["x"]), "shape": [1, 2]}], b"", r"should be \[n\] or \[n, 1\]"),
        ([{**tensor(["x"], data=["x"]), "shape": []}], b"", r"should be \[n\] or \[n, 1\]"),
        ([{**tensor(["x"], data=["x"]), "shape": [-1]}], b"", "inputs.0.shape.0"),
        ([{**tensor(["x"], data=["x"]), "datatype": "FP32"}], b"", "BYTES"),
        ([tensor(["x"], data=[7])], b"", "JSON strings"),
        ([tensor(["x"], data=[["x", "y"]])], b"", "JSON strings"),
        ([tensor(["x"], data=["x"]), tensor(["x"], data=["x"])], b"", "a second tensor is called 'text'"),
        ([tensor(["x"], data=["x"], parameters={"shared_memory_region": "r"})], b"", "shared_memory_region"),
        ([tensor(["x"], data=["x"])] * 17, b"", "at most 16"),
        ([], b"", "at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(inputs: list[dict[str, Any]], behind: bytes, words: str) -> None:
    body, length = request(*inputs, behind=behind)

    with pytest.raises(InvalidInputError, match=words):
        read_request(body, length)


@pytest.mark.parametrize("length", ["", "-1", "1.5", "many", "²", "9" * 40, "1000000"])
def test_a_header_that_is_no_length_of_the_body_is_refused(length: str) -> None:
    body, _ = request(tensor(["x"], data=["x"]))

    with pytest.raises(InvalidInputError, match="Inference-Header-Content-Length"):
        read_request(body, length)


def test_a_name_of_megabytes_does_not_come_back() -> None:
    long = "x" * 1_000_000
    twice = request(tensor([], long, data=[]), tensor([], long, data=[]))
    unknown = request({**tensor([], data=[]), long: 1})
    for body, _ in (twice, unknown):
        with pytest.raises(InvalidInputError) as caught:
            read_request(body, None)
        assert len(caught.value.message) < 1000


def test_broken_requests_are_refused_and_nothing_else() -> None:
    rng = random.Random(7)
    body, length = request(binary(["Ada", "met"]), tensor(["x"], "b", data=["x"]), behind=as_bytes(["Ada", "met"]))
    for _ in range(2000):
        broken = bytearray(body)
        for _ in range(rng.randint(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        with suppress(InvalidInputError):
            read_request(bytes(broken[: rng.randint(0, 2 * len(broken))]), rng.choice([length, None, "40"]))


def test_an_answer_says_how_long_its_tensors_are() -> None:
    tensors = [
        (Tensor("label", "BYTES", (2,), ["é", ""]), True),
        (Tensor("score", "FP32", (2,), [0.5, 0.25]), True),
        (Tensor("truncated", "BOOL", (2,), [True, False]), True),
        (Tensor("top", "FP32", (1, 2), [1.0, 2.0]), False),
    ]

    body, length = write_answer({"model_name": "m"}, tensors)

    assert length is not None
    head = json.loads(body[:length])
    assert [output.get("parameters") for output in head["outputs"]] == [
        {"binary_data_size": 10},
        {"binary_data_size": 8},
        {"binary_data_size": 2},
        None,
    ]
    assert head["outputs"][3] == {"name": "top", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
    assert body[length:] == as_bytes(["é", ""]) + b"\0\0\0\x3f\0\0\x80\x3e" + b"\1\0"


def test_an_answer_in_json_alone_has_no_such_length() -> None:
    assert write_answer({}, [(Tensor("score", "FP32", (1,), [0.5]), False)])[1] is None
