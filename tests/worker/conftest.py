"""What the training tests share: a tiny encoder, and one small task of each kind, tokenised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from models_store.encoders import EncoderSource
from models_store.specs import HeadName, PhaseName, PhaseSpec, ResolvedHyperparameters
from models_store.tasks import Row, Task
from models_store.tasks.bio import Scheme
from models_store.tasks.classification import ClassificationTask
from models_store.tasks.similarity import SimilarityTask
from models_store.tasks.tagging import TaggingTask
from models_store.tasks.words import WordSplitter
from worker.training.data import TrainingData, tokenise
from worker.training.encoder import LoadedEncoder, load_encoder
from worker.training.loop import TrainingOptions
from worker.training.model import TaskModel

CPU = torch.device("cpu")

TASKS: dict[str, Task[Any]] = {
    "classification": ClassificationTask(("money", "parcel")),
    "tagging": TaggingTask(("O", "B-PERSON", "I-PERSON"), Scheme.BIO, WordSplitter()),
    "pos": TaggingTask(("NOUN", "VERB"), Scheme.PLAIN, WordSplitter()),
    "labelled pairs": SimilarityTask(labels=("no", "yes")),
    "graded pairs": SimilarityTask(score_range=(0.0, 5.0)),
}
LEGAL_PAIRS = [
    ("classification", HeadName.LINEAR),
    ("tagging", HeadName.LINEAR),
    ("tagging", HeadName.BILSTM),
    ("pos", HeadName.LINEAR),
    ("pos", HeadName.BILSTM),
    ("labelled pairs", HeadName.LINEAR),
    ("graded pairs", HeadName.LINEAR),
]
HYPERPARAMETERS = ResolvedHyperparameters(
    head_epochs=2,
    head_learning_rate=0.01,
    full_epochs=2,
    full_learning_rate=0.003,
    batch_size=4,
    max_length="auto",
    weight_decay=0.01,
    warmup_fraction=0.1,
    dropout=0.1,
    max_grad_norm=1.0,
    patience=10,
)


def rows_of(kind: str, n: int = 16) -> list[Row]:
    """Rows of different lengths for each kind of task."""
    filler = ["please", "help", "the", "my", "want", "need", "where", "is", "today", "hello"]
    rows: list[Row] = []
    for i in range(n):
        text = " ".join(filler[: 1 + i % 9])
        if kind == "classification":
            rows.append({"text": f"{text} {'parcel' if i % 2 else 'invoice'}", "label": "parcel" if i % 2 else "money"})
        elif kind == "tagging":
            rows.append(
                {"tokens": [*text.split(), "Ada", "Bob"], "tags": ["O"] * (1 + i % 9) + ["B-PERSON", "I-PERSON"]}
            )
        elif kind == "pos":
            rows.append({"tokens": [*text.split(), "met"], "tags": ["NOUN"] * (1 + i % 9) + ["VERB"]})
        elif kind == "labelled pairs":
            rows.append({"text": text, "text_pair": "kettle" if i % 2 else text, "label": "no" if i % 2 else "yes"})
        else:
            rows.append({"text": text, "text_pair": "kettle" if i % 2 else text, "score": 0.5 if i % 2 else 4.5})
    return rows


@dataclass
class Bench:
    """Everything a training test needs for one kind of task."""

    task: Task[Any]
    data: TrainingData
    encoder: LoadedEncoder
    scratch: Path

    def model(self, head: HeadName = HeadName.LINEAR, dropout: float = 0.1) -> TaskModel:
        torch.manual_seed(0)
        return TaskModel(self.encoder.model, self.task, head, dropout)

    def options(self, seed: int = 7, **changes: Any) -> TrainingOptions:
        return TrainingOptions(HYPERPARAMETERS.model_copy(update=changes), seed, CPU, self.scratch)


def phase(name: PhaseName, epochs: int = 2, patience: int = 10, learning_rate: float = 0.003) -> PhaseSpec:
    return PhaseSpec(
        name=name,
        trains_encoder=name is PhaseName.FULL,
        epochs=epochs,
        learning_rate=learning_rate,
        watch="metric",
        patience=patience,
    )


def make_bench(kind: str, encoders_dir: Path, scratch: Path) -> Bench:
    encoder = load_encoder(EncoderSource("tiny", encoders_dir / "tiny", None))
    task, tokenizer = TASKS[kind], encoder.tokenizer(encoder.max_length)
    train, validation = tokenise(task, tokenizer, rows_of(kind)), tokenise(task, tokenizer, rows_of(kind, 10))
    return Bench(task, TrainingData(task, train, validation, encoder.pad_id), encoder, scratch)


@pytest.fixture
def bench(request: pytest.FixtureRequest, encoders_dir: Path, tmp_path: Path) -> Bench:
    """The bench of the kind given as an indirect parameter; classification by default."""
    return make_bench(getattr(request, "param", "classification"), encoders_dir, tmp_path)
