"""Heads: shapes, independence of padding, and gradients, for every legal pair of task and head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models_store.specs import HEADS_OF_TASK, HeadName
from models_store.tasks import TaskName
from worker.training.heads import HEADS
from worker.training.heads.base import summary

WIDTH, OUTPUTS = 16, 5
PAIRS = sorted(HEADS)


def inputs(batch: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random hidden states, no padding, and a second text from the middle on."""
    types = (torch.arange(length) >= length // 2).long().expand(batch, -1)
    return torch.randn(batch, length, WIDTH), torch.ones(batch, length, dtype=torch.int64), types


def answer(module: nn.Module, hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
    """What a head makes of hidden states, as the model gives them to it."""
    if module.needs == "summary":
        hidden_states = summary(hidden_states, attention_mask)
    logits: Tensor = module(hidden_states, attention_mask, token_type_ids)
    return logits


def test_the_table_holds_exactly_the_heads_that_the_specs_allow() -> None:
    assert set(HEADS) == {(task, head) for task, heads in HEADS_OF_TASK.items() for head in heads}


@pytest.mark.parametrize(("task", "head"), PAIRS)
def test_logits_have_the_shape_that_the_task_decodes(task: TaskName, head: HeadName) -> None:
    logits = answer(HEADS[task, head](WIDTH, OUTPUTS, 0.1), *inputs(3, 7))

    assert logits.shape == ((3, 7, OUTPUTS) if task is TaskName.TAGGING else (3, OUTPUTS))


@pytest.mark.parametrize(("task", "head"), PAIRS)
def test_padding_never_changes_an_answer(task: TaskName, head: HeadName) -> None:
    torch.manual_seed(1)
    module = HEADS[task, head](WIDTH, OUTPUTS, 0.1).eval()
    hidden, mask, types = inputs(1, 4)
    nothing = torch.zeros(1, 6, dtype=torch.int64)

    alone = answer(module, hidden, mask, types)
    in_batch = answer(
        module,
        torch.cat([hidden, torch.randn(1, 6, WIDTH)], dim=1),
        torch.cat([mask, nothing], 1),
        torch.cat([types, nothing], 1),
    )

    torch.testing.assert_close(in_batch[:, :4] if task is TaskName.TAGGING else in_batch, alone)


@pytest.mark.parametrize(("task", "head"), PAIRS)
def test_every_parameter_learns(task: TaskName, head: HeadName) -> None:
    module = HEADS[task, head](WIDTH, OUTPUTS, 0.0)

    answer(module, *inputs(2, 8)).pow(2).sum().backward()

    still = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in still if not name.startswith("crf.")] == []  # the logits do not pass through a CRF


def test_a_bilstm_reads_in_both_directions() -> None:
    torch.manual_seed(1)
    module = HEADS[TaskName.TAGGING, HeadName.BILSTM](WIDTH, OUTPUTS, 0.0).eval()
    hidden, mask, types = inputs(1, 6)
    changed = hidden.clone()
    changed[0, 3] += 1.0

    difference = (module(changed, mask, types) - module(hidden, mask, types)).abs().sum(-1)[0]

    assert (difference > 1e-6).all()  # before and after the word that changed


@pytest.mark.parametrize("head", [head for task, head in PAIRS if task is TaskName.SIMILARITY])
def test_a_text_without_pieces_makes_no_pair_head_shout(head: HeadName) -> None:
    torch.manual_seed(1)
    module = HEADS[TaskName.SIMILARITY, head](WIDTH, OUTPUTS, 0.0).eval()
    hidden, mask, types = inputs(1, 6)

    usual, alone = (answer(module, hidden, mask, segments) for segments in (types, torch.zeros_like(types)))

    assert alone.isfinite().all()
    assert alone.abs().max() < 10 * usual.abs().max()
