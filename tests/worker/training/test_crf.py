"""The CRF: its loss against the sum over every sequence; what it learns of the succession of tags reaches serving."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models_store.predictor import Predictor
from models_store.specs import HeadName, PhaseName
from models_store.tasks.base import IGNORED_TARGET, PredictOptions
from models_store.tasks.tagging import TaggingTask
from tests.worker.conftest import CPU, HYPERPARAMETERS, Bench, make_bench, phase
from worker.training.export import export_model
from worker.training.heads import Crf
from worker.training.loop import train
from worker.training.objectives import CrossEntropy, learnt_task, objective_of

TAGS = 3


def random_crf(seed: int = 0) -> Crf:
    torch.manual_seed(seed)
    crf = Crf(TAGS)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


@torch.no_grad()
def loss_of(crf: Crf, logits: Tensor, targets: Tensor) -> float:
    return float(crf.loss(logits, targets))


@torch.no_grad()
def likelihood(crf: Crf, emissions: Tensor, tags: list[int]) -> float:
    """Log-likelihood of one sentence, the long way."""

    def score(path: tuple[int, ...]) -> float:
        steps = sum(crf.matrix[a, b] for a, b in itertools.pairwise(path))
        emitted = sum(emissions[i, tag] for i, tag in enumerate(path))
        return float(crf.start[path[0]] + crf.end[path[-1]] + steps + emitted)

    everything = [score(path) for path in itertools.product(range(TAGS), repeat=len(tags))]
    return score(tuple(tags)) - float(np.logaddexp.reduce(everything))


def test_the_loss_is_the_negative_log_likelihood_a_word() -> None:
    crf = random_crf()
    logits = torch.randn(2, 5, TAGS)
    # The first sentence has four words over five pieces, the second two and padding.
    targets = torch.tensor([[0, IGNORED_TARGET, 2, 1, 1], [IGNORED_TARGET, 2, 0, IGNORED_TARGET, IGNORED_TARGET]])

    expected = likelihood(crf, logits[0, [0, 2, 3, 4]], [0, 2, 1, 1]) + likelihood(crf, logits[1, [1, 2]], [2, 0])

    assert loss_of(crf, logits, targets) == pytest.approx(-expected / 6, abs=1e-5)


def test_pieces_without_a_tag_and_sentences_without_a_word_do_not_matter() -> None:
    crf = random_crf()
    logits = torch.randn(1, 3, TAGS)
    targets = torch.tensor([[1, IGNORED_TARGET, 2]])
    changed = logits.clone()
    changed[0, 1] += 5.0
    nothing = torch.full((1, 3), IGNORED_TARGET)

    loss = loss_of(crf, logits, targets)

    assert loss_of(crf, changed, targets) == pytest.approx(loss)
    with_empty = loss_of(crf, torch.cat([logits, logits]), torch.cat([targets, nothing]))
    assert with_empty == pytest.approx(loss, abs=1e-5)
    assert loss_of(crf, logits, nothing) == 0.0


@pytest.mark.parametrize("head", [HeadName.CRF, HeadName.BILSTM_CRF])
def test_the_crf_learns_and_the_file_holds_what_it_learnt(encoders_dir: Path, tmp_path: Path, head: HeadName) -> None:
    bench = make_bench("tagging", encoders_dir, tmp_path)
    model = bench.model(head)
    list(train(model, [phase(PhaseName.HEAD, epochs=3, learning_rate=0.05)], bench.data, bench.options(7)))

    trained = learnt_task(model, bench.task)
    (tmp_path / "out").mkdir()
    export_model(model, bench.encoder, bench.task, tmp_path / "out", max_length=bench.encoder.max_length)
    served = Predictor.load(tmp_path / "out", threads=1).task

    assert isinstance(trained, TaggingTask)
    assert trained.transitions is not None
    assert served == trained
    matrix = np.asarray(trained.transitions.matrix)
    outside, begin, inside = range(3)
    assert matrix[begin, inside] > matrix[outside, inside]  # as in the rows: O never precedes I-PERSON
    assert trained.transitions.start[outside] > trained.transitions.start[inside]


def test_answers_follow_the_learnt_succession(encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench("tagging", encoders_dir, tmp_path)
    crf = Crf(TAGS)
    with torch.no_grad():
        crf.matrix[1, 2] = 10.0  # after B-PERSON comes I-PERSON, whatever the emissions say
    task = learnt_task(crf, bench.task)
    example = bench.task.example({"tokens": ["Ada", "Bob"]})
    (encoded,) = bench.task.encode(bench.encoder.tokenizer(32), [example])
    logits = np.zeros((len(encoded), TAGS), dtype=np.float32)
    logits[encoded.first_pieces[0], 1] = 3.0  # type: ignore[index]
    logits[encoded.first_pieces[1], 0] = 3.0  # type: ignore[index]

    tags = [token["tag"] for token in task.decode(logits, example, encoded, PredictOptions())["tokens"]]
    without = [token["tag"] for token in bench.task.decode(logits, example, encoded, PredictOptions())["tokens"]]

    assert tags == ["B-PERSON", "I-PERSON"]
    assert without == ["B-PERSON", "O"]


def test_other_heads_keep_the_loss_of_their_task(bench: Bench) -> None:
    model = bench.model()

    objective = objective_of(model, bench.task, HYPERPARAMETERS, bench.data.train.targets, CPU.device)
    assert objective == CrossEntropy()
    assert learnt_task(model, bench.task) is bench.task
