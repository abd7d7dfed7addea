"""The finished model as one fused ONNX file, and the gate that compares it with torch.

The TorchScript exporter with eager attention gives the graph whose attention and GELU onnxruntime's transformer
optimiser recognises; docs/decisions/0003-onnx-export.md has the measurements.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model
from torch import nn

from models_store.precision import ONNX_FILES, Precision
from models_store.predictor import CONFIG_FILE, EMBEDDING, LOGITS, Predictor
from models_store.tasks import Encoded, Task
from models_store.tokenizer import TOKENIZER_FILE
from worker.training.data import Split
from worker.training.encoder import LoadedEncoder
from worker.training.ensemble import Ensemble
from worker.training.errors import ParityError
from worker.training.model import TaskModel
from worker.training.objectives import learnt_task
from worker.training.sentences import SentenceEncoder, vectors_of, width_of

OPSET = 17
PARITY_TOLERANCE = 1e-3
_PARITY_LONG_ROWS = 4
# It warns that the rows of a slice may be fewer than the batch; they are.
logging.getLogger("symbolic_shape_infer").setLevel(logging.ERROR)
_MAX_FILE_BYTES = 2 * 1024**3 - 1  # a protobuf ends here; larger weights would need external data


def export_model(
    model: TaskModel | Ensemble,
    encoder: LoadedEncoder,
    task: Task[Any],
    folder: Path,
    *,
    max_length: int,
    stride: int | None = None,
) -> None:
    """Write ``model.onnx``, ``model.json`` and ``tokenizer.json``: everything that `Predictor.load` reads.

    Args:
        model: What was trained.
        encoder: Where its tokenizer lies.
        task: The task with its label space.
        folder: Where to write.
        max_length: Most word pieces of one input.
        stride: Step of the windows in which longer texts are read; None cuts them.
    """
    model.eval().to("cpu")
    width = width_of(model)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        raw = Path(scratch) / "raw.onnx"
        _trace(model if width is None else SentenceEncoder(model), task, raw, embeds=width is not None)
        _fuse(raw, folder / ONNX_FILES[Precision.FP32], model)
    config = {
        "task": learnt_task(model, task).to_config(),
        "max_length": max_length,
        "stride": stride,
        "pad_id": encoder.pad_id,
        **({"embedding": {"width": width}} if width is not None else {}),
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, ensure_ascii=False, indent=2), encoding="utf-8")
    shutil.copyfile(encoder.tokenizer_path, folder / TOKENIZER_FILE)


def _trace(model: nn.Module, task: Task[Any], path: Path, *, embeds: bool) -> None:
    ids = torch.ones((2, 9), dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0  # real padding, so that nothing is traced as constant
    types = torch.zeros_like(ids)
    types[:, 5:7] = 1  # and a second text
    names = ["input_ids", "attention_mask", "token_type_ids"]
    tokens = {0: "batch", 1: "length"}
    outputs = [LOGITS, EMBEDDING] if embeds else [LOGITS]
    axes = dict.fromkeys(names, tokens) | dict.fromkeys(outputs, tokens if task.per_token else {0: "batch"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is deprecated, and tracing warns of every shape it reads
        torch.onnx.export(
            model,
            (ids, mask, types),
            str(path),
            input_names=names,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def _fuse(raw: Path, target: Path, model: TaskModel | Ensemble) -> None:
    config = model.encoder.config
    options = FusionOptions("bert")
    # The default turns the mask into a length, which is wrong wherever padding is not at the end.
    options.use_raw_attention_mask(True)
    # On a CPU this fused operator is slower than Add and LayerNormalization (decision 0003), and with the embedding
    # fusion on, onnxruntime would bring it back while loading.
    options.enable_skip_layer_norm = False
    options.enable_embed_layer_norm = False
    fused = optimize_model(
        str(raw),
        model_type="bert",
        num_heads=int(getattr(config, "num_attention_heads", 0) or 0),
        hidden_size=int(config.hidden_size),
        optimization_options=options,
        opt_level=1,
        use_gpu=False,
    )
    graph = fused.model
    if graph.ByteSize() > _MAX_FILE_BYTES:
        raise ParityError("the model is larger than one ONNX file can hold (2 GiB)")
    onnx.save_model(graph, str(target), save_as_external_data=False)


def check_parity(model: TaskModel | Ensemble, predictor: Predictor, split: Split, *, limit: int = 64) -> float:
    """Compare the production predictor with torch on real rows, single and batched, long ones among them.

    Returns:
        The largest absolute difference of a logit, before the temperature makes it smaller, or of an embedding.

    Raises:
        ParityError: It is above `PARITY_TOLERANCE`.
    """
    rows = [split.rows[i] for i in _sample(split, limit)]
    examples = [predictor.task.example(row) for row in rows]
    worst = max(_logits_apart(model, predictor, examples), _embeddings_apart(model, predictor, examples))
    if not worst <= PARITY_TOLERANCE:
        raise ParityError(
            f"what the exported model answers differs from the trained one's by {worst:.2g} "
            f"(allowed: {PARITY_TOLERANCE:g})"
        )
    return worst


def _logits_apart(model: TaskModel | Ensemble, predictor: Predictor, examples: Sequence[Any]) -> float:
    encoded = predictor.encode(examples)
    owned = [predictor.windows(e) for e in encoded]
    apart = [_torch_logits(model, window.encoded) for windows in owned for window in windows]
    expected = predictor.merge(owned, apart)
    single = [window.encoded for windows in owned for window in windows][:8]
    # As it was before the temperature made all logits smaller: calibration must not loosen the gate.
    return float(model.temperature) * max(
        _difference(expected, predictor.logits(encoded)),
        _difference(apart[:8], [predictor.infer([e])[0] for e in single]),
    )


def _embeddings_apart(model: TaskModel | Ensemble, predictor: Predictor, pairs: Sequence[Any]) -> float:
    """Both texts of each pair, each by itself and all in one batch; 0 for a model that has no embeddings."""
    if predictor.embedding_width is None:
        return 0.0
    encoded = predictor.encode_texts([text for pair in pairs for text in pair])
    with torch.inference_mode():
        expected = [vectors_of(model, torch.tensor([e.input_ids]))[0].numpy() for e in encoded]
    return max(
        _difference(expected, predictor.embed(encoded)),
        _difference(expected[:8], [predictor.embed([e])[0] for e in encoded[:8]]),
    )


def _sample(split: Split, limit: int) -> list[int]:
    """Rows to compare: the shortest of the long ones, whose windows are full, and else the first of those that fit."""
    n_windows = np.diff(split.starts)
    long = sorted(np.flatnonzero(n_windows > 1).tolist(), key=lambda row: n_windows[row])[:_PARITY_LONG_ROWS]
    return [*long, *np.flatnonzero(n_windows == 1)[: limit - len(long)].tolist()]


def _torch_logits(model: TaskModel | Ensemble, encoded: Encoded) -> np.ndarray[Any, np.dtype[np.float32]]:
    ids, types = torch.tensor([encoded.input_ids]), torch.tensor([encoded.type_ids])
    with torch.inference_mode():
        logits = model(ids, torch.ones_like(ids), types)
    result: np.ndarray[Any, np.dtype[np.float32]] = logits[0].numpy()
    return result


def _difference(expected: Sequence[Any], actual: Sequence[Any]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(expected, actual, strict=True))
