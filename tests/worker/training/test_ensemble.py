"""Ensembles: members with seeds of their own, one model in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models_store.predictor import Predictor
from models_store.specs import HeadName, PhaseName
from models_store.tasks.tagging import TaggingTask
from tests.worker.conftest import CPU, Bench, make_bench, phase, run_to_end
from worker.training.checkpoints import Checkpoints
from worker.training.data import TokenInputs
from worker.training.ensemble import Ensemble, train_ensemble
from worker.training.events import Event, PhaseFinished
from worker.training.export import PARITY_TOLERANCE, check_parity, export_model
from worker.training.features import FeatureStore
from worker.training.loop import train
from worker.training.model import TaskModel
from worker.training.objectives import crf_of, learnt_task

PHASES = [phase(PhaseName.HEAD), phase(PhaseName.FULL)]


def trained(bench: Bench, size: int, head: HeadName = HeadName.LINEAR) -> tuple[list[Event], TaskModel | Ensemble]:
    store = FeatureStore(bench.data.pad_id, CPU, bench.scratch)
    work = train_ensemble(bench.model(head), size, PHASES, bench.data, bench.options(7), store, Checkpoints())
    events, model = run_to_end(work)
    return events, model.eval()


def ensemble(bench: Bench, size: int, head: HeadName = HeadName.LINEAR) -> tuple[Ensemble, list[TaskModel]]:
    model = trained(bench, size, head)[1]
    assert isinstance(model, Ensemble)
    return model, [member for member in model.members if isinstance(member, TaskModel)]


def answers(model: TaskModel | Ensemble, bench: Bench) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(**TokenInputs(bench.data.validation, 0).collate([0, 1, 2]).inputs)
    return logits


def test_the_answer_is_the_mean_of_members_that_differ(bench: Bench) -> None:
    model, members = ensemble(bench, 3)

    each = [answers(member, bench) for member in members]
    torch.testing.assert_close(answers(model, bench), torch.stack(each).mean(dim=0))
    assert not torch.equal(each[0], each[1])
    assert not torch.equal(each[1], each[2])


def test_each_member_goes_through_both_phases(bench: Bench) -> None:
    events, _ = trained(bench, 2)

    assert [event.phase for event in events if isinstance(event, PhaseFinished)] == ["head", "full"] * 2


def test_the_first_member_is_what_the_job_would_have_been_without(encoders_dir: Path, tmp_path: Path) -> None:
    one, other = (make_bench("classification", encoders_dir, tmp_path) for _ in range(2))
    alone = one.model()
    list(train(alone, PHASES, one.data, one.options(7)))

    _, members = ensemble(other, 2)

    first = members[0].state_dict()
    assert all(torch.equal(tensor, first[name]) for name, tensor in alone.state_dict().items())


def test_an_ensemble_of_one_is_the_model_itself(bench: Bench) -> None:
    assert isinstance(trained(bench, 1)[1], TaskModel)


def test_the_frozen_encoder_is_run_once_for_all_members(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    compute = FeatureStore._compute

    def counted(self: FeatureStore, model: TaskModel, split: Any, needs: Any) -> Any:
        computed.append(len(split))
        return compute(self, model, split, needs)

    monkeypatch.setattr(FeatureStore, "_compute", counted)

    trained(bench, 3)

    assert computed == [len(bench.data.train), len(bench.data.validation)]


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("classification", HeadName.LINEAR),
        ("graded pairs", HeadName.SIAMESE),
        ("tagging", HeadName.BILSTM_CRF),
    ],
)
def test_an_ensemble_is_one_exported_model(kind: str, head: HeadName, encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench(kind, encoders_dir, tmp_path)
    model, _ = ensemble(bench, 2, head)
    (tmp_path / "out").mkdir()

    export_model(model, bench.encoder, bench.task, tmp_path / "out", max_length=bench.encoder.max_length)

    predictor = Predictor.load(tmp_path / "out", threads=1)
    assert check_parity(model, predictor, bench.data.validation) <= PARITY_TOLERANCE
    assert predictor.task == learnt_task(model, bench.task)


def test_transitions_are_averaged(encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench("tagging", encoders_dir, tmp_path)
    model, members = ensemble(bench, 2, HeadName.CRF)
    matrices = [crf.transitions().matrix for member in members if (crf := crf_of(member)) is not None]

    task = learnt_task(model, bench.task)

    assert isinstance(task, TaggingTask)
    assert task.transitions is not None
    np.testing.assert_allclose(task.transitions.matrix, np.mean(matrices, axis=0), rtol=1e-6)
    assert not np.allclose(matrices[0], matrices[1])
