"""What the options of the loss are for: on rows that leave room for doubt, the rare class is found."""

from __future__ import annotations

from typing import Any

import pytest

from models_store.predictor import Predictor
from models_store.specs import PhaseName
from models_store.tasks import Row
from tests.worker.conftest import Bench, phase
from worker.training.data import TrainingData, tokenise
from worker.training.events import EpochFinished, PhaseFinished
from worker.training.export import export_model
from worker.training.loop import train

# The rare answer is one in ten, and one in three where the text says "refund": never the likelier one.
RARE = {"classification": "money", "several labels": "money", "pos": "VERB"}


def doubtful_rows(kind: str) -> list[Row]:
    rows: list[Row] = []
    for i in range(60):
        doubtful = i % 10 < 3
        rare, text = i % 10 == 0, f"{'refund' if doubtful else 'parcel'} please {'help' if i // 10 % 2 else 'today'}"
        if kind == "pos":
            rows.append({"tokens": text.split(), "tags": ["VERB" if rare else "NOUN", "NOUN", "NOUN"]})
        elif kind == "classification":
            rows.append({"text": text, "label": "money" if rare else "parcel"})
        else:
            rows.append({"text": text, "label": ["money"] if rare else ["parcel"] if i // 10 % 2 else []})
    return rows


def answers(kind: str, prediction: dict[str, Any]) -> set[str]:
    if kind == "pos":
        return {token["tag"] for token in prediction["tokens"]}
    return {entry["label"] for entry in prediction.get("labels", [prediction])}


def recall_of_the_rare(bench: Bench, kind: str, **values: Any) -> tuple[float, list[Any]]:
    """Share of the rows with the rare answer that the exported model finds, and what the training told."""
    rows, tokenizer = doubtful_rows(kind), bench.encoder.tokenizer(bench.encoder.max_length)
    split = tokenise(bench.task, tokenizer, rows)
    data = TrainingData(bench.task, split, split, bench.encoder.pad_id)
    model = bench.model(dropout=0.0)
    options = bench.options(7, batch_size=20, dropout=0.0, **values)
    events = list(train(model, [phase(PhaseName.FULL, epochs=20, patience=20)], data, options))
    folder = bench.scratch / f"out-{len(list(bench.scratch.iterdir()))}"
    folder.mkdir()
    export_model(model, bench.encoder, bench.task, folder, max_length=bench.encoder.max_length)
    predictor = Predictor.load(folder, threads=1)
    rare = [row for row in rows if RARE[kind] in (row.get("tags") or row["label"])]
    found = [RARE[kind] in answers(kind, p) for p in predictor.predict([bench.task.example(row) for row in rare])]
    return sum(found) / len(found), events


@pytest.mark.parametrize(("bench", "kind"), [(kind, kind) for kind in RARE], indirect=["bench"], ids=list(RARE))
def test_balanced_weights_find_the_rare_answer(bench: Bench, kind: str) -> None:
    plain, _ = recall_of_the_rare(bench, kind)
    balanced, _ = recall_of_the_rare(bench, kind, class_weights="balanced")

    assert plain == 0.0
    assert balanced == 1.0


def test_the_focal_loss_trains_and_its_losses_compare(bench: Bench) -> None:
    _, events = recall_of_the_rare(bench, "classification", loss="focal")

    losses = [event.validation_loss for event in events if isinstance(event, EpochFinished)]
    assert losses[-1] < losses[0]
    # Training and validation rows are the same here, so without dropout their losses meet: one loss judges both.
    last = [event for event in events if isinstance(event, EpochFinished)][-1]
    assert last.train_loss == pytest.approx(last.validation_loss, rel=0.3)
    assert [event.kept_epoch > 0 for event in events if isinstance(event, PhaseFinished)] == [True]
