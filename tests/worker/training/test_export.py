"""Export: the production predictor answers as torch does, for every legal pair, and the gate finds what does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from models_store.predictor import Predictor
from models_store.specs import HeadName
from tests.worker.conftest import LEGAL_PAIRS, Bench, make_bench, rows_of
from worker.training.errors import ParityError
from worker.training.export import PARITY_TOLERANCE, check_parity, export_model
from worker.training.model import TaskModel


def export(bench: Bench, head: HeadName, folder: Path) -> tuple[TaskModel, Predictor]:
    model = bench.model(head)
    folder.mkdir(exist_ok=True)
    export_model(model, bench.encoder, bench.task, folder, max_length=bench.encoder.max_length)
    return model, Predictor.load(folder, threads=1)


@pytest.mark.parametrize(("kind", "head"), LEGAL_PAIRS)
def test_every_legal_pair_exports_with_parity(kind: str, head: HeadName, encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench(kind, encoders_dir, tmp_path)

    model, predictor = export(bench, head, tmp_path / "out")

    assert check_parity(model, predictor, bench.data.validation) <= PARITY_TOLERANCE
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.json", "model.onnx", "tokenizer.json"]
    answers = predictor.predict([bench.task.example(row) for row in rows_of(kind, 3)])
    assert len(answers) == 3


def test_attention_and_gelu_are_fused_and_no_weight_lies_outside_the_file(bench: Bench, tmp_path: Path) -> None:
    export(bench, HeadName.LINEAR, tmp_path / "out")

    graph = onnx.load(str(tmp_path / "out" / "model.onnx"), load_external_data=False).graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("Attention") == 2  # one per layer
    assert operators.count("BiasGelu") == 2
    assert all(tensor.data_location != onnx.TensorProto.EXTERNAL for tensor in graph.initializer)


@pytest.mark.parametrize("bench", ["classification", "tagging"], indirect=True)
def test_a_text_gets_the_same_logits_alone_and_in_any_batch(bench: Bench, tmp_path: Path) -> None:
    _, predictor = export(bench, HeadName.LINEAR, tmp_path / "out")
    encoded = bench.data.train.encoded

    together = predictor.infer(encoded)

    for one, batched in zip(encoded, together, strict=True):
        np.testing.assert_allclose(predictor.infer([one])[0], batched, atol=1e-5)


def test_the_gate_refuses_a_model_whose_file_differs(bench: Bench, tmp_path: Path) -> None:
    model, predictor = export(bench, HeadName.LINEAR, tmp_path / "out")
    with torch.no_grad():
        model.head.layers[-1].bias += 0.01  # type: ignore[index, union-attr]

    with pytest.raises(ParityError, match="differ"):
        check_parity(model, predictor, bench.data.validation)
