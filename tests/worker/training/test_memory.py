"""Memory that runs out: smaller parts, the same gradients; and an honest end where not even one text fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models_store.specs import HeadName, PhaseName
from tests.worker.conftest import CPU, Bench, make_bench, phase, run_to_end
from worker.training.data import TokenInputs
from worker.training.errors import OutOfMemoryError, is_out_of_memory
from worker.training.evaluation import evaluate
from worker.training.events import EpochFinished, Event, Message
from worker.training.features import FeatureStore
from worker.training.hardware import Hardware
from worker.training.loop import train
from worker.training.memory import MemoryBudget
from worker.training.model import TaskModel
from worker.training.stepper import Stepper

KINDS = [
    ("classification", HeadName.DENSE_CNN),
    ("tagging", HeadName.LINEAR),
    ("tagging", HeadName.BILSTM_CRF),
    ("labelled pairs", HeadName.BIMPM),
    ("graded pairs", HeadName.LINEAR),
]
BATCH = [0, 1, 2, 3, 4, 5, 6, 7]  # of texts that differ in length, and sentences in their number of labels


def refuse_more_than(monkeypatch: pytest.MonkeyPatch, model: TaskModel, rows: int, error: Exception) -> list[int]:
    """A machine on which so many texts fit into memory; the sizes of what was tried."""
    encode, tried = model.encode, list[int]()

    def limited(input_ids: Tensor, *args: Tensor, **kwargs: Tensor) -> Tensor:
        tried.append(len(input_ids))
        if len(input_ids) > rows:
            raise error
        return encode(input_ids, *args, **kwargs)

    monkeypatch.setattr(model, "encode", limited)
    return tried


def out_of_memory() -> Exception:
    """What torch says on a CPU when the system refuses so much; nothing is taken."""
    try:
        torch.empty(10**15)
    except RuntimeError as error:
        return error
    raise AssertionError("a petabyte was to be had")


def stepper_of(bench: Bench, model: TaskModel, hardware: Hardware = CPU) -> Stepper:
    inputs = TokenInputs(bench.data.train, bench.data.pad_id)
    options = replace(bench.options(batch_size=len(BATCH)), hardware=hardware)
    return Stepper(model, phase(PhaseName.FULL), bench.goal(model).objective, inputs, options, np.random.default_rng(7))


def gradients(model: TaskModel) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def warnings(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Message) and event.level == "warning"]


@pytest.mark.parametrize(("kind", "head"), KINDS)
def test_the_gradients_of_a_batch_do_not_depend_on_its_parts(
    kind: str, head: HeadName, encoders_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(kind, encoders_dir, tmp_path)
    model = bench.model(head, dropout=0.0).eval()  # nothing random in the encoder either
    stepper = stepper_of(bench, model, Hardware("cpu", precision="no"))
    _, whole_loss = run_to_end(stepper.gradients(BATCH))
    whole = gradients(model)
    tried = refuse_more_than(monkeypatch, model, 3, out_of_memory())

    told, loss = run_to_end(stepper.gradients(BATCH))

    assert tried == [8, 4, 2, 2, 2, 2]
    assert len(warnings(told)) == 2
    assert "a batch of 8 texts is computed 2 at a time" in warnings(told)[-1]
    assert float(loss) == pytest.approx(float(whole_loss), rel=1e-5)
    parts = gradients(model)
    assert set(whole) == set(parts)
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-3, atol=1e-6)
    assert any(gradient.abs().max() > 1e-3 for gradient in whole.values())


def test_a_training_goes_on_from_the_same_step(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bench.model()
    tried = refuse_more_than(monkeypatch, model, 2, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate…"))

    events = list(train(model, [phase(PhaseName.FULL)], bench.data, bench.options(batch_size=4)))

    assert [event.steps for event in events if isinstance(event, EpochFinished)] == [4, 4, 4]  # still 4 rows each
    assert "a batch of 4 texts is computed 2 at a time" in warnings(events)[0]
    evaluated = 3 * len(bench.data.validation)
    assert sum(rows for rows in tried if rows <= 2) == 2 * len(bench.data.train) + evaluated


def test_where_not_even_one_text_fits_the_training_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bench.model()
    refuse_more_than(monkeypatch, model, 0, out_of_memory())

    with pytest.raises(OutOfMemoryError, match="max_length") as raised:
        run_to_end(stepper_of(bench, model).gradients(BATCH))

    assert raised.value.code == "out_of_memory"


def test_other_errors_are_not_taken_for_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bench.model()
    tried = refuse_more_than(monkeypatch, model, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))

    with pytest.raises(RuntimeError, match="shapes"):
        run_to_end(stepper_of(bench, model).gradients(BATCH))

    assert tried == [8]


def evaluated(bench: Bench, model: TaskModel) -> float:
    inputs = TokenInputs(bench.data.validation, bench.data.pad_id)
    _, evaluation = run_to_end(evaluate(model, inputs, bench.task, bench.goal(model), CPU))
    loss: float = evaluation.loss
    return loss


def encoded(bench: Bench, model: TaskModel) -> float:
    store = FeatureStore(bench.data.pad_id, CPU, bench.scratch)
    done, features = run_to_end(store.of(model, bench.data.validation, "all_tokens"))
    assert done[-1] == len(bench.data.validation)
    return float(features.collate([*range(len(bench.data.validation))]).inputs["hidden_states"].abs().sum())


@pytest.mark.parametrize("work", [evaluated, encoded])
def test_evaluation_and_features_are_computed_in_smaller_batches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, work: Callable[[Bench, TaskModel], float]
) -> None:
    model = bench.model()
    expected = work(bench, model)
    tried = refuse_more_than(monkeypatch, model, 3, out_of_memory())

    assert work(bench, model) == pytest.approx(expected, rel=1e-2)  # bfloat16, and other shapes

    assert tried[:3] == [10, 5, 2]
    assert sum(rows for rows in tried if rows <= 3) == len(bench.data.validation)


def test_the_probe_finds_what_fits_and_leaves_no_trace(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bench.model()
    stepper = stepper_of(bench, model)
    weights, random = [p.clone() for p in model.parameters()], torch.get_rng_state()
    tried = refuse_more_than(monkeypatch, model, 3, out_of_memory())

    told = list(stepper.probe())

    assert len(warnings(list(told))) == 2
    assert all(torch.equal(before, now) for before, now in zip(weights, model.parameters(), strict=True))
    assert gradients(model) == {}
    assert torch.equal(torch.get_rng_state(), random)
    # From now on no batch of the longest texts is too much.
    lengths = [len(encoded) for encoded in bench.data.train.encoded]
    longest = sorted(range(len(lengths)), key=lambda i: lengths[i])[-len(BATCH) :]
    tried.clear()
    run_to_end(stepper.gradients(longest))
    assert tried == [2, 2, 2, 2]


def test_batches_of_short_texts_stay_whole() -> None:
    lengths, budget = [10] * 8 + [100] * 8, MemoryBudget()
    short, long = list(range(8)), list(range(8, 16))

    budget.shrink(long, lengths, MemoryError())

    assert [len(part) for part in budget.parts(long, lengths)] == [4, 4]
    assert budget.parts(short, lengths) == [short]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_running_out_of_memory(error: Any, *, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
    assert is_out_of_memory(out_of_memory())
