"""The weights of a published model as a folder of transformers, so that every peer serves the very same function.

The ONNX file that Thawline serves is the source. The exporter keeps the names of most parameters; matrices of plain
products are known by the node that reads them, and query, key and value lie side by side in one of the fused operator.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import save_file

from benchmarks.serving.servers import modeling_classifier
from models_store.encoders import DEFAULT_ENCODER, EncoderCatalogue

Weights = dict[str, NDArray[np.float32]]

_HEAD = {"head.layers.1": "dense", "head.layers.4": "classifier"}
_TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def convert(published: Path, target: Path, max_length: int) -> None:
    """Write configuration, weights, code and tokenizer of the model in single precision.

    Args:
        published: Folder of the version: ``model.onnx``, ``model.json``, ``tokenizer.json``.
        target: A new folder.
        max_length: Most word pieces that the tokenizer says the model takes.
    """
    target.mkdir()
    encoder = EncoderCatalogue(target, target).find(DEFAULT_ENCODER).folder
    labels = json.loads((published / "model.json").read_text(encoding="utf-8"))["task"]["labels"]
    save_file(read_weights(published / "model.onnx"), target / "model.safetensors", metadata={"format": "pt"})
    code = Path(modeling_classifier.__file__)
    shutil.copy(code, target)
    _write(target / "config.json", _config(_read(encoder / "config.json"), labels, code.stem))
    # A raw tokenizer file may also say how to cut and pad; that is for those who run it to decide.
    tokenizer = {**_read(published / "tokenizer.json"), "truncation": None, "padding": None}
    _write(target / "tokenizer.json", tokenizer)
    for name in _TOKENIZER_FILES:
        shutil.copy(encoder / name, target)
    settings = _read(target / "tokenizer_config.json")
    _write(target / "tokenizer_config.json", {**settings, "model_max_length": max_length})


def _config(config: dict[str, Any], labels: list[str], module: str) -> dict[str, Any]:
    name = modeling_classifier.FirstAndMeanForSequenceClassification.__name__
    return {
        **config,
        "architectures": [name],
        "auto_map": {"AutoModelForSequenceClassification": f"{module}.{name}"},
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "problem_type": "single_label_classification",
    }


def read_weights(path: Path) -> Weights:
    """The parameters of a fused classifier with the head `linear`, by the names that `modeling_classifier` has."""
    graph = onnx.load(str(path)).graph
    stored: Weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {name: values for name, values in stored.items() if name.startswith(("encoder.", "head."))}
    layers = [node for node in graph.node if node.op_type == "Attention"]
    for number, node in enumerate(layers):
        weights |= _attention(f"encoder.encoder.layer.{number}", stored[node.input[1]], stored[node.input[2]])
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored:
            # The output is called like the module: /encoder/encoder/layer.0/output/dense/MatMul_output_0
            module = node.output[0].strip("/").rpartition("/")[0].replace("/", ".")
            weights[f"{module}.weight"] = stored[node.input[1]].T
    for part in ("weight", "bias"):  # what the last layer says is divided by the temperature
        weights[f"head.layers.4.{part}"] = weights[f"head.layers.4.{part}"] / stored["temperature"]
    return {_renamed(name): np.ascontiguousarray(values) for name, values in weights.items()}


def _attention(layer: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Weights:
    weights: Weights = {}
    for index, name in enumerate(("query", "key", "value")):
        weights[f"{layer}.attention.self.{name}.weight"] = np.split(weight, 3, axis=1)[index].T
        weights[f"{layer}.attention.self.{name}.bias"] = np.split(bias, 3)[index]
    return weights


def _renamed(name: str) -> str:
    module, _, part = name.rpartition(".")
    return f"{_HEAD[module]}.{part}" if module in _HEAD else f"bert.{name.removeprefix('encoder.')}"


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
