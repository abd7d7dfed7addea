"""Texts of a pair read apart: as if each had been sent by itself, in the layout of the pair."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models_store.specs import HeadName
from models_store.tasks import Row
from tests.worker.conftest import make_bench
from worker.training.data import TokenInputs

PAIRS = [("hello", "where is my parcel today"), ("my parcel is late, please help", "kettle"), ("help", "help")]


@pytest.fixture
def states(encoders_dir: Path, tmp_path: Path) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """States of pairs in one batch, their segments (−1 for padding), and the states of each text alone, in order."""
    bench = make_bench("graded pairs", encoders_dir, tmp_path)
    model = bench.model(HeadName.SIAMESE).eval()
    tokenizer = bench.encoder.tokenizer(64)
    rows: list[Row] = [{"text": a, "text_pair": b, "score": 1.0} for a, b in PAIRS]
    inputs = TokenInputs(bench.split(rows), bench.data.pad_id).collate([0, 1, 2]).inputs
    with torch.inference_mode():
        together = model.encode(**inputs)
        alone = [
            model.encoder(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0]
            for pair in PAIRS
            for text in pair
        ]
    segments = inputs["token_type_ids"].masked_fill(inputs["attention_mask"] == 0, -1)
    return together, segments, alone


def test_each_text_is_read_as_if_it_were_alone(
    states: tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]],
) -> None:
    together, segments, alone = states

    for row in range(len(PAIRS)):
        torch.testing.assert_close(together[row][segments[row] == 0], alone[2 * row])
        # The second text has no place for its own [CLS].
        torch.testing.assert_close(together[row][segments[row] == 1], alone[2 * row + 1][1:])
