"""Train the shipped recipe on public data sets and compare strategies.

    python -m benchmarks.real_data --data DIR [--datasets sst2,mrpc] [--strategies hybrid,finetune,frozen]
                                   [--head linear] [--rows 2000] [--seeds 7,8] [--set full_learning_rate=5e-5]

DIR holds one folder a data set (see DATASETS). Every run goes through the same upload validation, pipeline, export and
evaluation as a job of the service; only the queue is left out. Prints a Markdown table. *Floor* is a trivial method on
all training rows; for classification, *same rows* is TF-IDF with logistic regression on the very rows of the run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sqlmodel import SQLModel

import models_store.tables  # noqa: F401 (fills the metadata)
from models_store import datasets
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets import Upload, Wishes
from models_store.encoders import EncoderCatalogue
from models_store.specs import JobRequest, resolve_spec
from models_store.tables import Dataset
from models_store.tasks import TaskName, task_from_config
from worker.pipeline import run
from worker.request import PipelineRequest
from worker.training.events import Event, Finished


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A public data set: its files, the split and metric to report, and what no training at all reaches."""

    task: TaskName
    files: dict[str, str]
    report: str
    metrics: tuple[str, ...]
    floor: float


DATASETS = {
    "sst2": Benchmark(TaskName.CLASSIFICATION, {"train": "train.csv", "test": "dev.csv"}, "test", ("accuracy",), 0.818),
    "ag_news": Benchmark(
        TaskName.CLASSIFICATION,
        {"train": "train.csv", "validation": "dev.csv", "test": "test.csv"},
        "test",
        ("accuracy",),
        0.874,
    ),
    "wnut17": Benchmark(
        TaskName.TAGGING,
        {"train": "train.conll", "validation": "dev.conll", "test": "test.conll"},
        "test",
        ("f1",),
        0.060,
    ),
    "ud_ewt_pos": Benchmark(
        TaskName.TAGGING,
        {"train": "train.conll", "validation": "dev.conll", "test": "test.conll"},
        "test",
        ("accuracy",),
        0.862,
    ),
    "stsb": Benchmark(
        TaskName.SIMILARITY,
        {"train": "train.csv", "validation": "dev.csv", "test": "test.csv"},
        "test",
        ("spearman", "pearson"),
        0.641,
    ),
    "mrpc": Benchmark(
        TaskName.SIMILARITY, {"train": "train.csv", "test": "test.csv"}, "test", ("accuracy", "f1"), 0.706
    ),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished run."""

    rows: int
    seconds: float
    result: dict[str, Any]
    same_rows: float | None


def main() -> None:
    """Run the grid and print the table."""
    arguments = _arguments()
    cores = len(os.sched_getaffinity(0))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() and arguments.device != "cpu" else "CPU"
    print(f"{platform.machine()}, {cores} cores, {device}, torch {torch.__version__}; head {arguments.head}\n")
    print("| data set | train rows | strategy | metric | floor | same rows | mean ± sd | seeds | seconds a run |")
    print("|---|---:|---|---|---:|---:|---:|---:|---:|", flush=True)
    for name, strategy in itertools.product(arguments.datasets.split(","), arguments.strategies.split(",")):
        benchmark = DATASETS[name]
        outcomes = [_run(arguments, name, strategy, int(seed)) for seed in arguments.seeds.split(",")]
        reported = [outcome.result["metrics"][benchmark.report] for outcome in outcomes]
        seconds = statistics.mean(outcome.seconds for outcome in outcomes)
        for metric in benchmark.metrics:
            values = [metrics[metric] for metrics in reported]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            floor = f"{benchmark.floor:.3f}" if metric == benchmark.metrics[0] else ""
            baselines = [outcome.same_rows for outcome in outcomes if outcome.same_rows is not None]
            same_rows = f"{statistics.mean(baselines):.3f}" if baselines else ""
            print(
                f"| {name} | {outcomes[0].rows} | {strategy} | {metric} | {floor} | {same_rows} | "
                f"{statistics.mean(values):.4f}{spread} | {len(values)} | {seconds:.0f} |",
                flush=True,
            )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--datasets", default="sst2,wnut17,ud_ewt_pos,stsb,mrpc")
    parser.add_argument("--strategies", default="hybrid")
    parser.add_argument("--head", default="linear")
    parser.add_argument("--rows", type=int, default=0, help="at most so many training rows, drawn at random")
    parser.add_argument("--seeds", default="7")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a hyperparameter")
    parser.add_argument("--events", action="store_true", help="print the events of each run")
    return parser.parse_args()


def _run(arguments: argparse.Namespace, name: str, strategy: str, seed: int) -> Outcome:
    hyperparameters = {key: json.loads(value) for key, _, value in (s.partition("=") for s in arguments.set)}
    return run_job(
        arguments.data,
        name,
        {"strategy": strategy, "head": arguments.head, "seed": seed, "hyperparameters": hyperparameters},
        rows=arguments.rows,
        device=arguments.device,
        threads=arguments.threads,
        tell=_print if arguments.events else lambda event: None,
    )


def _print(event: Event) -> None:
    if event.kind != "step":
        print(event.model_dump_json(exclude={"manifest"}), flush=True)


def run_job(
    data: Path,
    name: str,
    request: dict[str, object],
    *,
    rows: int = 0,
    device: str = "auto",
    threads: int = 0,
    tell: Callable[[Event], None] = lambda event: None,
) -> Outcome:
    """Upload a data set, or a part of its training rows, and run one job over it as the worker would.

    Args:
        data: Holds one folder a data set.
        name: Of `DATASETS`.
        request: Fields of ``POST /jobs`` beside data set and model; the seed also draws the rows.
        rows: At most so many training rows; 0 for all.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: Of the CPU; 0 leaves it to torch.
        tell: Gets each event.
    """
    benchmark = DATASETS[name]
    with tempfile.TemporaryDirectory() as folder:
        job = prepare_job(data, name, request, Path(folder), rows=rows, device=device, threads=threads)
        train_rows = len(datasets.read_split(job.dataset_dir, "train"))
        same_rows = _bag_of_words(job, benchmark) if benchmark.task is TaskName.CLASSIFICATION else None
        started = time.monotonic()
        finished = None
        for event in run(job):
            tell(event)
            if isinstance(event, Finished):
                finished = event
        assert finished is not None
        return Outcome(train_rows, time.monotonic() - started, finished.result, same_rows)


def prepare_job(
    data: Path, name: str, request: dict[str, object], root: Path, *, rows: int, device: str, threads: int
) -> PipelineRequest:
    """Upload a data set, or a part of its training rows, and resolve a job over it; the arguments are `run_job`'s.

    Everything goes into the folder ``root``, of which ``output`` and ``scratch`` are the job's.
    """
    benchmark = DATASETS[name]
    db = Database(f"sqlite:///{root / 'bench.db'}")
    SQLModel.metadata.create_all(db.engine)
    store = ArtifactStore(root / "artifacts")
    asked = JobRequest.model_validate({"dataset_id": "", "model": "bench", **request})
    dataset = upload(db, store, benchmark, data / name, root, rows, asked.seed)
    db.dispose()
    train_rows = dataset.splits["train"]["rows"]
    output, scratch = root / "output", root / "scratch"
    output.mkdir()
    scratch.mkdir()
    encoders = EncoderCatalogue(root, root / "hub")
    return PipelineRequest(
        spec=resolve_spec(asked, task_from_config(dataset.schema_), train_rows, encoders.names()),
        dataset_schema=dataset.schema_,
        dataset_sha256=dataset.sha256,
        dataset_dir=store.path(datasets.dataset_key(dataset.id)),
        encoders=encoders,
        output_dir=output,
        scratch_dir=scratch,
        device=device,
        threads=threads,
    )


def _bag_of_words(request: PipelineRequest, benchmark: Benchmark) -> float:
    """Accuracy of TF-IDF (words and pairs of words) with logistic regression on the same rows."""
    train, test = (datasets.read_split(request.dataset_dir, split) for split in ("train", benchmark.report))
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000)
    )
    model.fit([row["text"] for row in train], [row["label"] for row in train])
    return float(model.score([row["text"] for row in test], [row["label"] for row in test]))


def upload(
    db: Database, store: ArtifactStore, benchmark: Benchmark, folder: Path, root: Path, rows: int, seed: int
) -> Dataset:
    """Create the data set as a user would; ``rows`` > 0 draws that many training rows at random."""
    with ExitStack() as stack:
        uploads = []
        for split, filename in benchmark.files.items():
            path = folder / filename
            if split == "train" and rows:
                path = _sample(path, root / filename, rows, seed)
            uploads.append(Upload(split, filename, stack.enter_context(path.open("rb"))))
        return datasets.create(db, store, uploads, Wishes(benchmark.task))


def _sample(source: Path, target: Path, rows: int, seed: int) -> Path:
    """A random part of a file: rows of a CSV without line breaks inside fields, or sentences of a CoNLL file."""
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".conll":
        header, separator, units = "", "\n\n", [unit for unit in text.split("\n\n") if unit.strip()]
    else:
        header, *units = text.splitlines(keepends=True)
        separator = ""
    chosen = random.Random(seed).sample(units, min(rows, len(units)))
    target.write_text(header + separator.join(chosen) + separator, encoding="utf-8")
    return target


if __name__ == "__main__":
    main()
