"""Batches and the features of the frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from models_store.specs import HeadName
from models_store.tasks import Task
from tests.worker.conftest import CPU, Bench, make_bench, run_to_end
from worker.training import data, vectors
from worker.training.data import TokenInputs, shuffled_batches
from worker.training.features import FeatureInputs, FeatureStore
from worker.training.hardware import Hardware
from worker.training.heads.base import summary


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=300), batch_size=st.integers(1, 40))
def test_an_epoch_meets_every_example_once(lengths: list[int], batch_size: int) -> None:
    batches = shuffled_batches(lengths, batch_size, np.random.default_rng(0))

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert max(len(batch) for batch in batches) <= batch_size


def test_batches_waste_little_padding() -> None:
    lengths = np.random.default_rng(3).integers(3, 100, 2000).tolist()

    batches = shuffled_batches(lengths, 16, np.random.default_rng(0))

    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    assert padded < 1.1 * sum(lengths)


def test_the_order_differs_from_epoch_to_epoch_and_repeats_with_the_seed() -> None:
    lengths = list(range(1, 65))
    rng = np.random.default_rng(5)
    first, second = shuffled_batches(lengths, 4, rng), shuffled_batches(lengths, 4, rng)

    assert first != second
    assert first == shuffled_batches(lengths, 4, np.random.default_rng(5))


def cached(bench: Bench, head: HeadName, hardware: Hardware = CPU) -> FeatureInputs:
    model, store = bench.model(head), FeatureStore(0, hardware, bench.scratch)
    progress, inputs = run_to_end(store.of(model, bench.data.train, model.needs))
    assert progress[-1] == len(bench.data.train)
    assert isinstance(inputs, FeatureInputs)
    return inputs


@pytest.mark.parametrize(
    ("bench", "head"),
    [("classification", HeadName.LINEAR), ("tagging", HeadName.LINEAR), ("tagging", HeadName.BILSTM)],
    indirect=["bench"],
)
def test_the_head_on_remembered_features_answers_as_the_whole_model_does(bench: Bench, head: HeadName) -> None:
    model = bench.model(head).eval()
    indices = [0, 3, 8]

    batch = cached(bench, head, Hardware("cpu", precision="no")).collate(indices)  # to compare exactly
    whole = TokenInputs(bench.data.train, 0).collate(indices)

    with torch.inference_mode():
        remembered, computed = model.head(**batch.inputs), model(**whole.inputs)
    targets = [batch.targets, whole.targets]
    if bench.task.per_token:  # what a network says about padding is of no concern, and the two are padded differently
        masks = [inputs["attention_mask"].bool() for inputs in (batch.inputs, whole.inputs)]
        remembered, computed = remembered[masks[0]], computed[masks[1]]
        targets = [values[mask] for values, mask in zip(targets, masks, strict=True)]
    torch.testing.assert_close(remembered, computed, atol=1e-5, rtol=1e-4)
    assert torch.equal(*targets)


def test_features_spill_to_a_file_when_they_are_large(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = cached(bench, HeadName.LINEAR)

    monkeypatch.setattr(vectors, "MEMORY_LIMIT_BYTES", 100)
    on_disk = cached(bench, HeadName.LINEAR)

    assert [path.suffix for path in Path(bench.scratch).iterdir()] == [".features"]
    left, right = in_memory.collate([1, 2]), on_disk.collate([1, 2])
    torch.testing.assert_close(left.inputs["hidden_states"], right.inputs["hidden_states"])


def test_the_encoder_is_run_once_however_many_heads_ask(bench: Bench) -> None:
    model, store = bench.model(), FeatureStore(0, CPU, bench.scratch)
    _, everything = run_to_end(store.of(model, bench.data.train, "all_tokens"))

    progress, short = run_to_end(store.of(model, bench.data.train, "summary"))
    progress_again, again = run_to_end(store.of(model, bench.data.train, "all_tokens"))

    assert progress == progress_again == []
    assert again is everything
    batch = everything.collate([0, 5]).inputs
    expected = summary(batch["hidden_states"], batch["attention_mask"])
    torch.testing.assert_close(short.collate([0, 5]).inputs["hidden_states"], expected)
    _, fresh = run_to_end(FeatureStore(0, CPU, bench.scratch).of(model, bench.data.train, "summary"))
    torch.testing.assert_close(fresh.collate([0, 5]).inputs["hidden_states"], expected)


def test_texts_of_a_pair_read_apart_have_features_of_their_own(encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench("graded pairs", encoders_dir, tmp_path)
    model, store = bench.model(HeadName.LINEAR), FeatureStore(0, CPU, tmp_path)
    _, together = run_to_end(store.of(model, bench.data.train, "all_tokens"))

    model.put_head(bench.task, HeadName.SIAMESE, 0.1)
    progress, apart = run_to_end(store.of(model, bench.data.train, "all_tokens"))

    assert progress
    left, right = (part.collate([0]).inputs["hidden_states"] for part in (together, apart))
    assert left.shape == right.shape
    assert not torch.allclose(left, right)


def test_a_subset_of_the_features_is_that_of_its_examples(bench: Bench) -> None:
    model, store = bench.model(HeadName.LINEAR), FeatureStore(0, CPU, bench.scratch)
    _, everything = run_to_end(store.of(model, bench.data.train, "all_tokens"))

    batch, expected = everything.subset([4, 1, 9]).collate([0, 2]), everything.collate([4, 9])

    assert torch.equal(batch.targets, expected.targets)
    for name, values in expected.inputs.items():
        assert torch.equal(batch.inputs[name], values)


def test_rows_are_tokenised_a_few_at_a_time_and_share_their_ids(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, sizes = bench.split(list(bench.data.train.rows)), []
    encode = type(bench.task).encode

    def watched(self: Task[Any], tokenizer: Tokenizer, examples: Sequence[Any]) -> object:
        sizes.append(len(examples))
        return encode(self, tokenizer, examples)

    monkeypatch.setattr(type(bench.task), "encode", watched)
    monkeypatch.setattr(data, "_TOKENISED_ROWS", 7)

    parts = bench.split(list(bench.data.train.rows))

    assert sizes == [7, 7, 2]
    assert (parts.encoded, parts.targets) == (whole.encoded, whole.targets)
