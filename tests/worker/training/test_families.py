"""Encoders of other families: each trains for a few steps and answers after its export as it did in torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import RobertaProcessing
from transformers import AutoConfig, AutoModel

from models_store.predictor import Predictor
from models_store.specs import HeadName, PhaseName
from tests.fixtures.encoders import build_tokenizer
from tests.worker.conftest import Bench, make_bench, phase
from worker.training.export import PARITY_TOLERANCE, check_parity, export_model
from worker.training.loop import train

_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": _SIZES,
    "roberta": _SIZES,
    "xlm-roberta": _SIZES,
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "electra": {**_SIZES, "embedding_size": 16},
    "albert": {**_SIZES, "embedding_size": 16},
    "mpnet": _SIZES,
    "deberta-v2": {**_SIZES, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16},
    "modernbert": {**_SIZES, "global_attn_every_n_layers": 2, "local_attention": 8},
}


COUNT_FROM_PADDING = ("roberta", "xlm-roberta", "mpnet")  # their padding has id 1, and positions begin behind it


def bench_of(family: str, kind: str, folder: Path, *, half: bool = False) -> Bench:
    """A tiny encoder of the family with random weights, in a folder as an operator would put it there."""
    source = folder / family
    source.mkdir()
    tokenizer = build_tokenizer()
    if family in COUNT_FROM_PADDING:  # theirs leave all segments at 0
        vocabulary = tokenizer.get_vocab()
        tokenizer.post_processor = RobertaProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    tokenizer.save(str(source / "tokenizer.json"))
    special = {
        "pad_token_id": 1 if family in COUNT_FROM_PADDING else tokenizer.token_to_id("[PAD]"),
        "cls_token_id": tokenizer.token_to_id("[CLS]"),
        "sep_token_id": tokenizer.token_to_id("[SEP]"),
        "bos_token_id": tokenizer.token_to_id("[CLS]"),
        "eos_token_id": tokenizer.token_to_id("[SEP]"),
    }
    config = AutoConfig.for_model(
        family, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=64, **special, **FAMILIES[family]
    )
    model = AutoModel.from_config(config)
    (model.half() if half else model).save_pretrained(source)
    return make_bench(kind, folder, folder, family)


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("labelled pairs", HeadName.BIMPM_LITE),
        ("graded pairs", HeadName.SIAMESE),
        ("tagging", HeadName.LINEAR),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_and_exports_with_parity(family: str, kind: str, head: HeadName, tmp_path: Path) -> None:
    bench = bench_of(family, kind, tmp_path)
    model = bench.model(head)
    assert kind == "tagging" or all({0, 1} == set(encoded.type_ids) for encoded in bench.data.train.encoded)

    list(train(model, [phase(PhaseName.HEAD, 1), phase(PhaseName.FULL, 2)], bench.data, bench.options(7)))
    (tmp_path / "out").mkdir()
    export_model(model, bench.encoder, bench.task, tmp_path / "out", max_length=bench.encoder.max_length)

    predictor = Predictor.load(tmp_path / "out", threads=1)
    assert check_parity(model, predictor, bench.data.validation) <= PARITY_TOLERANCE
    # The longest text that the encoder is said to take really fits.
    word = "kettle " * 100
    (answer,) = predictor.predict([bench.task.parse({"text": word, "text_pair": word} if head != "linear" else word)])
    assert answer["truncated"]


def test_weights_in_half_precision_are_trained_in_single(tmp_path: Path) -> None:
    bench = bench_of("bert", "tagging", tmp_path, half=True)

    assert {parameter.dtype for parameter in bench.model().parameters()} == {torch.float32}
