"""A model as Triton's model repository wants it: ``config.pbtxt`` beside a numbered folder with the ONNX file.

https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models_store.predictor import EMBEDDING, LOGITS, Predictor
from models_store.tables import ModelVersion
from models_store.tasks import Task

LABELS_FILE = "labels.txt"
CONFIG_FILE = "config.pbtxt"
_MAX_BATCH = 64
_QUEUE_MICROSECONDS = 100  # a model takes some milliseconds; waiting longer for company would cost more than it saves


@dataclass(frozen=True, slots=True)
class _Output:
    name: str
    dims: Sequence[int]
    labels: bool = False


def labels_of(task: Task[Any]) -> list[str]:
    """What the logits stand for, in their order; nothing where they are a grade."""
    config = task.to_config()
    names: list[str] = config.get("labels") or config.get("tags") or []
    return [" ".join(name.split()) for name in names]  # a label is a line


def config_pbtxt(version: ModelVersion, predictor: Predictor) -> str:
    """The configuration, in protobuf's text format.

    Inputs are ids of word pieces (batch, length), for Triton does not tokenise; the first dimension is not written.
    """
    task = predictor.task
    labelled = bool(labels_of(task)) and not task.per_token
    outputs = [_Output(LOGITS, (-1, task.n_outputs) if task.per_token else (task.n_outputs,), labelled)]
    if predictor.embedding_width is not None:
        outputs.append(_Output(EMBEDDING, (predictor.embedding_width,)))
    parts = [
        f"name: {json.dumps(version.model)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {_MAX_BATCH}",
        f"version_policy {{ specific {{ versions: [ {version.version} ] }} }}",
        *(_field("input", name, "TYPE_INT64", (-1,)) for name in predictor.input_names),
        *(_field("output", out.name, "TYPE_FP32", out.dims, labels=out.labels) for out in outputs),
        f"dynamic_batching {{ max_queue_delay_microseconds: {_QUEUE_MICROSECONDS} }}",
        "instance_group [ { count: 1 kind: KIND_CPU } ]",
    ]
    return "\n".join(parts) + "\n"


def _field(kind: str, name: str, data_type: str, dims: Sequence[int], *, labels: bool = False) -> str:
    shape = ", ".join(map(str, dims))
    file = f' label_filename: "{LABELS_FILE}"' if labels else ""
    return f'{kind} [ {{ name: "{name}" data_type: {data_type} dims: [ {shape} ]{file} }} ]'
