"""Long texts: windows in training, evaluation and the exported model, and a length that fits the data."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models_store.encoders import EncoderSource
from models_store.predictor import Predictor
from models_store.specs import HeadName, PhaseName
from models_store.tasks import Row
from models_store.tasks.base import IGNORED_TARGET
from models_store.windows import Windowing
from tests.worker.conftest import CPU, TASKS, Bench, phase, rows_of, run_to_end
from worker.training import selection
from worker.training.calibration import calibrate
from worker.training.data import Split, TokenInputs, TrainingData, epoch_batches
from worker.training.encoder import load_encoder
from worker.training.errors import ParityError
from worker.training.evaluation import evaluate
from worker.training.export import PARITY_TOLERANCE, check_parity, export_model
from worker.training.features import FeatureStore
from worker.training.long_texts import SHORTEST, fitting_length, tokenise_all
from worker.training.loop import train
from worker.training.selection import choose_head

WINDOWING = Windowing(32, 24)
FILLER = "please help the my want need where is today hello what when how could you".split()  # noqa: SIM905


def long_rows(kind: str, n: int, seed: int) -> list[Row]:
    """Texts of 10 to 90 words whose only evidence, or only name, stands at the very end."""
    rng = random.Random(seed)
    rows: list[Row] = []
    for index in range(n):
        words = rng.choices(FILLER, k=rng.randint(10, 90))
        if kind == "classification":
            evidence = rng.choice(["invoice", "refund"] if index % 2 else ["parcel", "tracking"])
            rows.append({"text": " ".join([*words, evidence]), "label": "money" if index % 2 else "parcel"})
        else:
            rows.append({"tokens": [*words, "Ada", "Bob"], "tags": ["O"] * len(words) + ["B-PERSON", "I-PERSON"]})
    return rows


def long_bench(kind: str, encoders_dir: Path, scratch: Path, n: int = 40) -> Bench:
    """The bench of a kind, with texts of several windows."""
    encoder = load_encoder(EncoderSource("tiny", encoders_dir / "tiny", None))
    rows = {"train": long_rows(kind, n, 1), "validation": long_rows(kind, 20, 2)}
    windowing, splits = tokenise_all(TASKS[kind], encoder, rows, WINDOWING.max_length)
    assert windowing == WINDOWING
    data = TrainingData(TASKS[kind], splits["train"], splits["validation"], encoder.pad_id)
    return Bench(TASKS[kind], data, encoder, scratch)


@pytest.fixture
def long(request: pytest.FixtureRequest, encoders_dir: Path, tmp_path: Path) -> Bench:
    return long_bench(getattr(request, "param", "classification"), encoders_dir, tmp_path)


both = pytest.mark.parametrize("long", ["classification", "tagging"], indirect=True)


def export(bench: Bench, model: Any, folder: Path, stride: int | None = WINDOWING.stride) -> Predictor:
    folder.mkdir()
    export_model(model, bench.encoder, bench.task, folder, max_length=WINDOWING.max_length, stride=stride)
    return Predictor.load(folder, threads=1)


def test_what_stands_at_the_end_of_a_long_text_is_learnt(encoders_dir: Path, tmp_path: Path) -> None:
    long = long_bench("classification", encoders_dir, tmp_path, n=160)
    model = long.model()

    list(train(model, [phase(PhaseName.FULL, 10, learning_rate=0.005)], long.data, long.options(7, batch_size=8)))

    predictor = export(long, model, tmp_path / "out")
    rows = [row for row in long_rows("classification", 60, 3) if len(row["text"].split()) > 60]
    answers = predictor.predict([row["text"] for row in rows])
    right = sum(answer["label"] == row["label"] for answer, row in zip(answers, rows, strict=True))
    assert len(rows) > 10
    assert right >= 0.9 * len(rows)
    assert not any("truncated" in answer for answer in answers)


@pytest.mark.parametrize("long", ["tagging"], indirect=True)
def test_a_name_at_the_end_of_thousands_of_words_is_found_where_it_stands(long: Bench, tmp_path: Path) -> None:
    model = long.model(dropout=0.0)
    list(train(model, [phase(PhaseName.FULL, 6, learning_rate=0.005)], long.data, long.options(7)))
    predictor = export(long, model, tmp_path / "out")
    text = " ".join(random.Random(5).choices(FILLER, k=4000)) + "  — Ada Bob"

    (answer,) = predictor.predict([predictor.task.parse(text)])

    assert [(entity["text"], entity["start"]) for entity in answer["entities"]] == [("Ada Bob", text.index("Ada Bob"))]
    assert len(answer["tokens"]) == 4003


@both
def test_every_label_is_trained_exactly_once(long: Bench) -> None:
    split = long.data.train
    inputs = TokenInputs(split, long.data.pad_id)
    assert split.windowed > len(split) / 2
    assert not split.truncated

    batches = epoch_batches(inputs, 8, np.random.default_rng(0))

    assert len(batches) == -(-split.epoch_size // 8)
    targets = np.concatenate([inputs.collate(indices).targets.numpy().ravel() for indices in batches])
    wanted = np.concatenate([np.atleast_1d(target) for target in split.targets])
    assert (
        np.bincount(targets[targets != IGNORED_TARGET]).tolist()
        == np.bincount(wanted[wanted != IGNORED_TARGET]).tolist()
    )


def test_a_long_text_counts_once_an_epoch_and_all_of_it_in_the_end(long: Bench) -> None:
    split, rng = long.data.train, np.random.default_rng(0)

    epochs = [split.draw(rng) for _ in range(60)]

    for drawn in epochs:
        rows = [next(row for row in range(len(split)) if split.starts[row + 1] > window) for window in drawn]
        assert rows == list(range(len(split)))
    assert {window for drawn in epochs for window in drawn} == set(range(len(split.windows)))


def test_texts_that_fit_are_drawn_without_touching_the_order_of_batches(bench: Bench) -> None:
    rng = np.random.default_rng(3)

    assert bench.data.train.draw(rng) == list(range(len(bench.data.train)))
    assert rng.integers(1000) == np.random.default_rng(3).integers(1000)


@both
def test_serving_and_evaluation_answer_alike(long: Bench, tmp_path: Path) -> None:
    model = long.model(HeadName.LINEAR)
    # Long enough to be sure of its answers: torch computes in bfloat16 here, the exported model in float32.
    list(train(model, [phase(PhaseName.FULL, 12, learning_rate=0.005)], long.data, long.options(7)))
    validation = long.data.validation
    _, found = run_to_end(evaluate(model, TokenInputs(validation, 0), long.task, long.goal(model), CPU))

    predictor = export(long, model, tmp_path / "out")
    encoded = predictor.encode([predictor.task.example(row) for row in validation.rows])
    logits = predictor.logits(encoded)

    assert predictor.task.score(logits, validation.rows, encoded) == pytest.approx(found.metrics)
    assert check_parity(model, predictor, validation) <= PARITY_TOLERANCE
    for one, values in zip(encoded, logits, strict=True):  # each alone, and its windows in batches of their own
        np.testing.assert_allclose(predictor.logits([one])[0], values, atol=1e-5)
        assert values.shape == ((len(one), 3) if long.task.per_token else (2,))


def test_the_loss_and_the_temperature_are_those_of_whole_texts(long: Bench) -> None:
    model, validation = long.model(), long.data.validation
    inputs = TokenInputs(validation, 0)
    with torch.no_grad():
        model.head.layers[-1].weight *= 50  # type: ignore[index, union-attr]
    model.eval()
    with torch.inference_mode():
        apart = [model(**inputs.collate([i]).inputs)[0] for i in range(len(validation.windows))]
        means = torch.stack([torch.stack(apart[first:last]).mean(dim=0) for first, last in pairwise(validation.starts)])
        expected = torch.nn.functional.cross_entropy(means, torch.tensor(validation.targets))

    done, found = run_to_end(evaluate(model, inputs, long.task, long.goal(model), CPU))
    _, calibrated = run_to_end(calibrate(model, inputs, long.task, CPU))

    assert done[-1] == len(validation.windows)
    assert found.loss == pytest.approx(float(expected), rel=0.05)  # in bfloat16 where the machine can
    assert calibrated.examples == len(validation)


@both
def test_the_gate_looks_at_long_rows(long: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = long.model()
    predictor = export(long, model, tmp_path / "out")
    infer = predictor.infer

    def wrong_when_full(batch: Any) -> Any:
        return [
            values + (0.01 if len(encoded) == WINDOWING.max_length else 0)
            for values, encoded in zip(infer(batch), batch, strict=True)
        ]

    monkeypatch.setattr(predictor, "infer", wrong_when_full)

    with pytest.raises(ParityError, match="differ"):
        check_parity(model, predictor, long.data.validation)


@both
def test_heads_are_compared_on_long_texts(long: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "TRIAL_STEPS", 8)
    heads = [HeadName.LINEAR, HeadName.BILSTM if long.task.per_token else HeadName.DENSE_CNN]
    store = FeatureStore(long.data.pad_id, CPU, long.scratch)

    _, ranking = run_to_end(choose_head(long.model(), heads, long.data, long.options(7), store, budget=float("inf")))

    assert len(ranking) == 2
    _, known = run_to_end(store.of(long.model(), long.data.train, "all_tokens"))
    part, whole = known.subset([3, 1]), known
    first = long.data.train.starts[3]
    assert part.split.rows == [long.data.train.rows[3], long.data.train.rows[1]]
    left, right = part.collate([0]), whole.collate([first])
    assert torch.equal(left.inputs["hidden_states"], right.inputs["hidden_states"])
    assert torch.equal(left.targets, right.targets)


def test_a_model_from_before_windows_cuts_as_it_learnt_to(long: Bench, tmp_path: Path) -> None:
    predictor = export(long, long.model(), tmp_path / "out", stride=None)
    config = tmp_path / "out" / "model.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"stride": null,', ""), encoding="utf-8")
    assert "stride" not in config.read_text(encoding="utf-8")

    old = Predictor.load(tmp_path / "out", threads=1)
    (answer,) = old.predict(["parcel " * 100])

    assert answer["truncated"] is True
    assert old.windowing == predictor.windowing == replace(WINDOWING, stride=None)


# ---- max_length: auto -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([10] * 50, SHORTEST),
        ([10] * 99 + [500], SHORTEST),  # one in a hundred is an exception
        ([10] * 98 + [301] * 2, 304),
        ([129], 136),
    ],
)
def test_nearly_all_training_texts_fit_whole(lengths: list[int], expected: int) -> None:
    assert fitting_length(lengths) == expected


@pytest.mark.parametrize(
    ("kind", "asked", "windowing"),
    [
        ("classification", "auto", Windowing(64, 48)),  # no more than the encoder takes
        ("tagging", 5000, Windowing(64, 48)),
        ("tagging", 16, Windowing(16, 12)),
        ("graded pairs", "auto", Windowing(64, None)),  # pairs are cut
        ("graded pairs", 16, Windowing(16, None)),
    ],
)
def test_the_length_is_what_was_asked_for_within_what_the_encoder_takes(
    kind: str, asked: Any, windowing: Windowing, encoders_dir: Path
) -> None:
    encoder = load_encoder(EncoderSource("tiny", encoders_dir / "tiny", None))

    found, splits = tokenise_all(TASKS[kind], encoder, {"train": rows_of(kind), "test": []}, asked)

    assert found == windowing
    for split in splits.values():
        assert isinstance(split, Split)
        assert max((len(window) for window in split.windows), default=0) <= windowing.max_length
