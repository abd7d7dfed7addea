"""Learning rates by depth, and their way through a phase."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from models_store.specs import PhaseName, PhaseSpec
from tests.worker.conftest import CPU, Bench, make_bench, phase
from tests.worker.training.test_families import FAMILIES, bench_of
from worker.training.optimizer import Optimizer, depths_of


def full(**changes: object) -> PhaseSpec:
    return phase(PhaseName.FULL, learning_rate=1.0).model_copy(update={"warmup_fraction": 0.1, **changes})


def rates(module: nn.Module, spec: PhaseSpec, steps: int) -> dict[int, list[float]]:
    """The learning rate of each depth before every step, and after the last."""
    optimizer = Optimizer(module, spec, weight_decay=0.01, total_steps=steps, hardware=CPU)
    seen: dict[int, list[float]] = {}
    for _ in range(steps + 1):
        for group in optimizer._adamw.param_groups:
            seen.setdefault(group["depth"], []).append(group["lr"])
        optimizer.step()
    return {depth: values[:: len(values) // (steps + 1)] for depth, values in seen.items()}


def test_the_schedule_rises_to_its_peak_and_falls_to_zero() -> None:
    (values,) = rates(nn.Linear(2, 2), full(), 100).values()

    assert values[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert max(values) == values[9] == values[10] == 1.0
    assert values[55] == pytest.approx(0.5)
    assert values[100] == 0.0


def test_deeper_layers_learn_more_slowly_and_the_head_by_its_own_factor(bench: Bench) -> None:
    peaks = {depth: max(v) for depth, v in rates(bench.model(), full(layer_decay=0.5, head_factor=4.0), 20).items()}

    assert peaks == {0: 4.0, 1: 0.5, 2: 0.25, 3: 0.125}  # head, two layers, embeddings


def test_layers_begin_one_after_the_other_from_the_top(bench: Bench) -> None:
    seen = rates(bench.model(), full(gradual_unfreezing=True), 90)

    first = {depth: next(step for step, value in enumerate(values) if value > 0) for depth, values in seen.items()}
    assert first == {0: 0, 1: 10, 2: 20, 3: 30}  # all of them after a third
    assert all(values[-1] == 0.0 for values in seen.values())


def test_frozen_parameters_are_left_out() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[0].requires_grad_(requires_grad=False)

    assert set(depths_of(module)) == {"1.weight", "1.bias"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_its_layers_in_order(family: str, tmp_path: Path) -> None:
    depths = depths_of(bench_of(family, "classification", tmp_path).model())

    of = {depth: " ".join(name for name, d in depths.items() if d == depth) for depth in set(depths.values())}
    assert "head." in of[0]
    assert "encoder." not in of[0]
    deepest = max(of)
    assert deepest == (2 if family == "albert" else 3)  # ALBERT's layers share one set of weights
    assert "embeddings" in of[deepest]
    assert not any("embeddings" in of[depth] for depth in range(deepest))


def test_a_step_moves_each_group_by_its_rate(encoders_dir: Path, tmp_path: Path) -> None:
    model = make_bench("classification", encoders_dir, tmp_path).model()
    spec = full(layer_decay=0.1, warmup_fraction=0.0)
    optimizer = Optimizer(model, spec, weight_decay=0.0, total_steps=1, hardware=CPU)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)

    optimizer.step()

    # Adam's first step is the learning rate itself, whatever the gradient's size.
    for name, depth in depths_of(model).items():
        moved = (before[name] - model.get_parameter(name).detach()).mean()
        assert float(moved) == pytest.approx(0.1**depth, rel=1e-3)
