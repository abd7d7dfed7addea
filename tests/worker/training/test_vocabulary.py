"""The compact word embedding: same outputs, same gradients, and the whole table is back in its place at the end."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.worker.conftest import Bench
from worker.training.data import TokenInputs
from worker.training.model import TaskModel
from worker.training.vocabulary import compact_vocabulary


def word_embedding(model: TaskModel) -> torch.nn.Module:
    return model.encoder.get_input_embeddings()


def table(model: TaskModel) -> torch.nn.Parameter:
    return word_embedding(model).get_parameter("weight")


def gradient_of(parameter: torch.nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.clone()


def logits(model: TaskModel, bench: Bench) -> Tensor:
    inputs = TokenInputs(bench.data.train, bench.data.pad_id)
    output: Tensor = model(**inputs.collate(list(range(len(bench.data.train)))).inputs)
    return output


def test_outputs_and_gradients_are_those_of_the_whole_table(bench: Bench) -> None:
    model = bench.model().eval()
    expected = logits(model, bench)
    expected.square().sum().backward()
    whole = table(model)
    positions = model.encoder.get_parameter("embeddings.position_embeddings.weight")
    gradient, other = gradient_of(whole), gradient_of(positions)
    model.zero_grad()

    with compact_vocabulary(model.encoder, [bench.data.train], bench.data.pad_id):
        actual = logits(model, bench)
        actual.square().sum().backward()
        rows, used = table(model), word_embedding(model).get_buffer("used")

    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    assert 0 < len(used) < len(whole)
    torch.testing.assert_close(gradient_of(rows), gradient[used], rtol=0, atol=1e-6)
    assert gradient.abs().sum(dim=1).nonzero().flatten().tolist() == [
        i for i in used.tolist() if i != bench.data.pad_id
    ]
    torch.testing.assert_close(gradient_of(positions), other, rtol=0, atol=1e-6)


def test_what_the_rows_learnt_is_in_the_whole_table_afterwards(bench: Bench) -> None:
    model = bench.model()
    whole = word_embedding(model)
    before = table(model).detach().clone()

    with compact_vocabulary(model.encoder, [bench.data.train], bench.data.pad_id), torch.no_grad():
        used = word_embedding(model).get_buffer("used")
        table(model).add_(1.0)

    assert word_embedding(model) is whole
    changed = (table(model) - before).abs().sum(dim=1).nonzero().flatten()
    assert changed.tolist() == used.tolist()


def test_the_whole_table_is_back_when_training_breaks_off(bench: Bench) -> None:
    model = bench.model()
    whole = word_embedding(model)

    with (
        pytest.raises(RuntimeError, match="stop"),
        compact_vocabulary(model.encoder, [bench.data.train], bench.data.pad_id),
    ):
        raise RuntimeError("stop")

    assert word_embedding(model) is whole


def test_a_word_piece_of_no_split_is_refused_rather_than_mistaken(bench: Bench) -> None:
    model = bench.model()

    with compact_vocabulary(model.encoder, [bench.data.train], bench.data.pad_id):
        used = set(word_embedding(model).get_buffer("used").tolist())
        stranger = next(i for i in range(len(used) + 1) if i not in used)
        with pytest.raises(IndexError):
            word_embedding(model)(torch.tensor([[stranger]]))
