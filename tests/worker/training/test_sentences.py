"""Sentence encoders: the vectors of a siamese model, exported beside its logits, are those that its head compares."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models_store.precision import Precision
from models_store.predictor import Predictor
from models_store.specs import HEADS_OF_TASK, HeadName
from models_store.tasks import TaskName
from tests.worker.conftest import Bench, make_bench
from worker.training.data import TokenInputs
from worker.training.ensemble import Ensemble
from worker.training.errors import ParityError
from worker.training.export import PARITY_TOLERANCE, check_parity, export_model
from worker.training.heads.siamese import SiameseHead
from worker.training.model import TaskModel
from worker.training.precision import quantise
from worker.training.sentences import SentenceEncoder, vectors_of, width_of

TEXTS = ["hello", "where is my parcel today", "my parcel is late, please help", "kettle"]


@pytest.fixture
def bench(encoders_dir: Path, tmp_path: Path) -> Bench:
    return make_bench("graded pairs", encoders_dir, tmp_path)


def export(bench: Bench, model: TaskModel | Ensemble, folder: Path) -> Predictor:
    folder.mkdir()
    export_model(model, bench.encoder, bench.task, folder, max_length=bench.encoder.max_length)
    return Predictor.load(folder, threads=1)


def test_both_ways_to_the_logits_are_the_same(bench: Bench) -> None:
    model = bench.model(HeadName.SIAMESE).eval()
    inputs = TokenInputs(bench.data.train, bench.data.pad_id).collate(list(range(8))).inputs

    with torch.inference_mode():
        logits, vectors = SentenceEncoder(model)(**inputs)
        torch.testing.assert_close(logits, model(**inputs))

    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(8))


def test_a_text_has_the_vector_that_the_head_sees_of_it_in_a_pair(bench: Bench) -> None:
    model = bench.model(HeadName.SIAMESE).eval()
    row = {"text": TEXTS[1], "text_pair": TEXTS[2], "score": 1.0}
    inputs = TokenInputs(bench.split([row]), bench.data.pad_id).collate([0]).inputs
    alone = bench.encoder.tokenizer(64).encode(TEXTS[1]).ids

    with torch.inference_mode():
        _, vectors = SentenceEncoder(model)(**inputs)
        torch.testing.assert_close(vectors, vectors_of(model, torch.tensor([alone])))


def test_the_export_keeps_the_model_in_its_mode(bench: Bench, tmp_path: Path) -> None:
    model = bench.model(HeadName.SIAMESE)
    export(bench, model, tmp_path / "out")

    assert not any(module.training for module in model.modules())


def test_the_width_is_written_down_and_the_vectors_have_it(bench: Bench, tmp_path: Path) -> None:
    predictor = export(bench, bench.model(HeadName.SIAMESE), tmp_path / "out")

    vectors = predictor.embed(predictor.encode_texts(TEXTS))

    assert json.loads((tmp_path / "out" / "model.json").read_text())["embedding"] == {"width": 32}
    assert predictor.embedding_width == 32
    assert [vector.shape for vector in vectors] == [(32,)] * len(TEXTS)
    np.testing.assert_allclose([np.linalg.norm(vector) for vector in vectors], 1, atol=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):  # whatever the batch
        np.testing.assert_allclose(predictor.embed(predictor.encode_texts([text]))[0], vector, atol=1e-5)


def test_a_text_that_is_too_long_is_cut(bench: Bench, tmp_path: Path) -> None:
    predictor = export(bench, bench.model(HeadName.SIAMESE), tmp_path / "out")

    (encoded,) = predictor.encode_texts(["parcel " * 500])

    assert len(encoded) == bench.encoder.max_length
    assert encoded.truncated
    assert np.isfinite(predictor.embed([encoded])[0]).all()


def test_the_cosine_of_two_vectors_goes_through_the_head_to_the_score_of_the_pair(bench: Bench, tmp_path: Path) -> None:
    model = bench.model(HeadName.SIAMESE)
    head = model.head
    assert isinstance(head, SiameseHead)
    last = head.layers[-1]
    assert isinstance(last, nn.Linear)
    for parameter in (last.weight, last.bias):  # what is learnt beside the cosine keeps still
        nn.init.zeros_(parameter)
    predictor = export(bench, model, tmp_path / "out")
    pairs = [bench.task.example({"text": a, "text_pair": b}) for a in TEXTS for b in TEXTS]

    logits = np.concatenate(predictor.logits(predictor.encode(pairs)))
    vectors = np.stack(predictor.embed(predictor.encode_texts(TEXTS)))
    cosines = torch.tensor((vectors @ vectors.T).reshape(-1, 1))

    # Not equal: in a pair the second text's leading token does not count.
    with torch.inference_mode():
        np.testing.assert_allclose(head.cosine(cosines)[:, 0].numpy(), logits, atol=0.6)
    assert np.corrcoef(cosines[:, 0], logits)[0, 1] > 0.85


def test_eight_bits_change_the_vectors_little(bench: Bench, tmp_path: Path) -> None:
    original = export(bench, bench.model(HeadName.SIAMESE), tmp_path / "out")
    quantise(tmp_path / "out")
    quantised = Predictor.load(tmp_path / "out", 1, Precision.INT8)

    encoded = original.encode_texts(TEXTS)
    cosines = [float(a @ b) for a, b in zip(original.embed(encoded), quantised.embed(encoded), strict=True)]

    assert quantised.embedding_width == original.embedding_width
    assert min(cosines) > 0.98


def test_the_vector_of_an_ensemble_has_the_mean_cosine_of_its_members(bench: Bench, tmp_path: Path) -> None:
    members = [bench.model(HeadName.SIAMESE), make_other(bench)]
    model = Ensemble(members).eval()
    predictor = export(bench, model, tmp_path / "out")

    first, second = predictor.embed(predictor.encode_texts(TEXTS[:2]))

    assert predictor.embedding_width == 64
    assert check_parity(model, predictor, bench.data.validation) <= PARITY_TOLERANCE
    ids = [torch.tensor([e.input_ids]) for e in predictor.encode_texts(TEXTS[:2])]
    with torch.inference_mode():
        each = [float(vectors_of(m, ids[0])[0] @ vectors_of(m, ids[1])[0]) for m in members]
    assert math.isclose(float(first @ second), sum(each) / 2, abs_tol=1e-4)


def make_other(bench: Bench) -> TaskModel:
    """A model whose encoder differs from the bench's."""
    model = copy.deepcopy(bench.model(HeadName.SIAMESE))
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model


def test_the_gate_refuses_vectors_that_differ(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bench.model(HeadName.SIAMESE)
    predictor = export(bench, model, tmp_path / "out")
    embed = predictor.embed
    monkeypatch.setattr(predictor, "embed", lambda batch: [vector + 0.01 for vector in embed(batch)])

    with pytest.raises(ParityError, match="differs"):
        check_parity(model, predictor, bench.data.validation)


@pytest.mark.parametrize("head", [head for head in HEADS_OF_TASK[TaskName.SIMILARITY] if head is not HeadName.SIAMESE])
def test_a_head_that_reads_a_pair_together_makes_no_sentence_encoder(bench: Bench, head: HeadName) -> None:
    assert width_of(bench.model(head)) is None
