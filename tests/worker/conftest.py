"""What the training tests share: a tiny encoder, and one small task of each kind, tokenised."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlmodel import SQLModel
from torch import nn

from models_store import datasets, jobs
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets import Upload, Wishes
from models_store.encoders import EncoderSource
from models_store.queue import JobQueue
from models_store.settings import Settings
from models_store.specs import (
    HEADS_OF_TASK,
    HeadName,
    JobRequest,
    PhaseName,
    PhaseSpec,
    ResolvedHyperparameters,
    TrainingSpec,
    resolve_spec,
)
from models_store.tables import Dataset, TrainingJob
from models_store.tasks import Row, Task, TaskName, task_from_config
from models_store.tasks.bio import Scheme
from models_store.tasks.classification import ClassificationTask, MultiLabelTask
from models_store.tasks.similarity import SimilarityTask
from models_store.tasks.tagging import TaggingTask
from models_store.tasks.words import WordSplitter
from tests.fixtures.models import SampleFiles
from tests.fixtures.servers import Valkey
from worker.request import PipelineRequest
from worker.training.data import Split, TrainingData, tokenise
from worker.training.encoder import LoadedEncoder, load_encoder
from worker.training.hardware import Hardware
from worker.training.model import TaskModel
from worker.training.objectives import Goal, goal_of
from worker.training.options import TrainingOptions

CPU = Hardware("cpu")
torch.set_num_threads(1)  # a tiny encoder gains nothing from two, and beside other work they wait for each other

TASKS: dict[str, Task[Any]] = {
    "classification": ClassificationTask(("money", "parcel")),
    "several labels": MultiLabelTask(("money", "parcel", "urgent")),
    "tagging": TaggingTask(("O", "B-PERSON", "I-PERSON"), Scheme.BIO, WordSplitter()),
    "pos": TaggingTask(("NOUN", "VERB"), Scheme.PLAIN, WordSplitter()),
    "labelled pairs": SimilarityTask(labels=("no", "yes")),
    "graded pairs": SimilarityTask(score_range=(0.0, 5.0)),
}
LEGAL_PAIRS = [(kind, head) for kind, task in TASKS.items() for head in HEADS_OF_TASK[task.name]]
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
        elif kind == "several labels":
            given = {"parcel": i % 2, "money": i % 3 == 0, "urgent": i % 4 == 1}
            labels = [label for label, there in given.items() if there]
            rows.append({"text": " ".join([text, *labels]), "label": labels})
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


def run_to_end(work: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    """What a generator yields, and what it returns."""
    yielded = []
    while True:
        try:
            yielded.append(next(work))
        except StopIteration as end:
            return yielded, end.value


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

    def split(self, rows: list[Row]) -> Split:
        """Rows of one's own, tokenised."""
        return tokenise(self.task, self.encoder.tokenizer(self.encoder.max_length), rows)

    def goal(self, module: nn.Module) -> Goal:
        """Loss and metric of a training with the usual options."""
        return goal_of(module, self.task, HYPERPARAMETERS, self.data.train.targets, CPU.device)

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


def make_bench(kind: str, encoders_dir: Path, scratch: Path, name: str = "tiny") -> Bench:
    encoder = load_encoder(EncoderSource(name, encoders_dir / name, None))
    task, tokenizer = TASKS[kind], encoder.tokenizer(encoder.max_length)
    train, validation = tokenise(task, tokenizer, rows_of(kind)), tokenise(task, tokenizer, rows_of(kind, 10))
    return Bench(task, TrainingData(task, train, validation, encoder.pad_id), encoder, scratch)


@pytest.fixture
def bench(request: pytest.FixtureRequest, encoders_dir: Path, tmp_path: Path) -> Bench:
    """The bench of the kind given as an indirect parameter; classification by default."""
    return make_bench(getattr(request, "param", "classification"), encoders_dir, tmp_path)


# ---- what the tests of the worker's own parts share -----------------------------------------------------------------

SHORT = {"head_epochs": 1, "full_epochs": 1, "batch_size": 8}
# Long enough to be interrupted.
LONG = {**SHORT, "full_epochs": 200, "batch_size": 1, "patience": 1000, "full_learning_rate": 0.0001}


class Clock:
    """Stands in for the module `time`, and stands still unless the test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Workshop:
    """What a worker works with: real folders, a real database, and encoders to start from."""

    settings: Settings
    db: Database
    store: ArtifactStore
    files: dict[str, SampleFiles]

    def add_dataset(self, kind: str, *, test: bool = False) -> Dataset:
        """A data set of the sample files; its test split, if wanted, is the validation file once more."""
        sample = self.files[kind]
        paths = {"train": sample.train, "validation": sample.validation} | ({"test": sample.validation} if test else {})
        with ExitStack() as stack:
            uploads = [Upload(name, path.name, stack.enter_context(path.open("rb"))) for name, path in paths.items()]
            return datasets.create(self.db, self.store, uploads, Wishes(TaskName(sample.task)))

    def resolve(self, dataset: Dataset, model: str = "model", **fields: Any) -> tuple[JobRequest, TrainingSpec]:
        """A request for a training of a second or two, unless the fields say otherwise."""
        # Not auto: which precision is quicker would differ from one test run to the next.
        wanted = {"base_model": "tiny", "hyperparameters": SHORT, "export": {"precision": "fp32"}, **fields}
        if wanted.get("strategy") == "frozen":
            wanted.setdefault("head", "linear")  # on a frozen encoder `auto` tries all heads there are
        request = JobRequest.model_validate({"dataset_id": dataset.id, "model": model, **wanted})
        encoders = self.settings.encoders.names()
        return request, resolve_spec(
            request, task_from_config(dataset.schema_), dataset.splits["train"]["rows"], encoders
        )

    def submit(self, kind: str = "classification", *, max_attempts: int = 3, **fields: Any) -> str:
        """A queued job on a data set of its own."""
        request, spec = self.resolve(self.add_dataset(kind), **fields)
        return jobs.submit(self.db, request, spec, max_attempts=max_attempts).id

    def job(self, job_id: str) -> TrainingJob:
        return jobs.get(self.db, job_id)

    def pipeline_request(self, kind: str = "classification", *, test: bool = False, **fields: Any) -> PipelineRequest:
        """What a training process would be told, with empty folders to write to."""
        dataset = self.add_dataset(kind, test=test)
        output, scratch = (self.settings.home / name for name in ("output", "scratch"))
        for folder in (output, scratch):
            folder.mkdir(exist_ok=True)
        return PipelineRequest(
            spec=self.resolve(dataset, **fields)[1],
            dataset_schema=dataset.schema_,
            dataset_sha256=dataset.sha256,
            dataset_dir=self.store.verified_path(datasets.dataset_key(dataset.id)),
            encoders=self.settings.encoders,
            output_dir=output,
            scratch_dir=scratch,
            device="cpu",
            threads=1,
        )


@pytest.fixture
def workshop(tmp_path: Path, encoders_dir: Path, sample_files: dict[str, SampleFiles]) -> Iterator[Workshop]:
    home = tmp_path / "home"
    settings = Settings(_env_file=None, home=home, encoders_dir=encoders_dir, device="cpu", training_threads=1)
    db = Database(settings.resolved_database_url)
    SQLModel.metadata.create_all(db.engine)
    yield Workshop(settings, db, ArtifactStore(settings.artifacts_dir), sample_files)
    db.dispose()


@pytest.fixture
def queue(valkey: Valkey) -> Iterator[JobQueue]:
    """The way to a real broker that the test may kill."""
    sender = JobQueue(valkey.url)
    yield sender
    sender.close()
