"""Models that give the right answers and yet are a burden: one that is slow, and one that is large."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from models_store.predictor import LOGITS

_SIZE = 512
_ROUNDS = 50  # 13 billion operations: a quarter of a second of one core, give or take
_BALLAST_VALUES = 75 * 2**20  # 300 MiB
_TO, _WITHIN = "slow_", "slow_within_"


def enlarge(path: Path) -> None:
    """Put 300 MiB that nothing reads into an ONNX file."""
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(_BALLAST_VALUES, np.float32), "ballast"))
    onnx.save_model(model, path)


def slow_down(path: Path) -> None:
    """Have each run of an ONNX model take a good part of a second more, for matrix products that change no logits."""
    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        node.output[:] = [f"{_TO}{name}" if name == LOGITS else name for name in node.output]
    constants = {
        "rounds": np.array(_ROUNDS, np.int64),
        "go_on": np.array(True),
        "matrix": np.full((_SIZE, _SIZE), 1 / _SIZE, np.float32),  # times itself it is itself again
        "nothing": np.array(0, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, f"{_TO}{name}") for name, value in constants.items())
    graph.node.extend(_nodes(graph.input[0].name))
    onnx.save_model(model, path)


def _nodes(ids: str) -> list[NodeProto]:
    """Begins with what was asked, or onnxruntime would compute it all when it loads the model."""
    return [
        helper.make_node("Cast", [ids], [f"{_TO}ids"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", [f"{_TO}ids"], [f"{_TO}largest"], keepdims=0),
        helper.make_node("Mul", [f"{_TO}largest", f"{_TO}nothing"], [f"{_TO}zero"]),
        helper.make_node("Add", [f"{_TO}matrix", f"{_TO}zero"], [f"{_TO}begin"]),
        helper.make_node("Loop", [f"{_TO}rounds", f"{_TO}go_on", f"{_TO}begin"], [f"{_TO}end"], body=_body()),
        helper.make_node("ReduceMax", [f"{_TO}end"], [f"{_TO}one"], keepdims=0),
        helper.make_node("Mul", [f"{_TO}one", f"{_TO}nothing"], [f"{_TO}added"]),
        helper.make_node("Add", [f"{_TO}{LOGITS}", f"{_TO}added"], [LOGITS]),
    ]


def _body() -> GraphProto:
    """A round: the matrix so far times the constant one."""
    values = {name: f"{_WITHIN}{name}" for name in ("round", "go_on", "matrix", "go_on_out", "product")}
    square = [_SIZE, _SIZE]
    return helper.make_graph(
        [
            helper.make_node("Identity", [values["go_on"]], [values["go_on_out"]]),
            helper.make_node("MatMul", [values["matrix"], f"{_TO}matrix"], [values["product"]]),
        ],
        "round",
        [
            helper.make_tensor_value_info(values["round"], TensorProto.INT64, []),
            helper.make_tensor_value_info(values["go_on"], TensorProto.BOOL, []),
            helper.make_tensor_value_info(values["matrix"], TensorProto.FLOAT, square),
        ],
        [
            helper.make_tensor_value_info(values["go_on_out"], TensorProto.BOOL, []),
            helper.make_tensor_value_info(values["product"], TensorProto.FLOAT, square),
        ],
    )
