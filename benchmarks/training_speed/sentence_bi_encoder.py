"""Graded similarity through sentence-transformers, by its usual recipe for STS-B.

A bi-encoder: `CosineSimilarityLoss`, 4 epochs, batches of 16, 2e-5 with a tenth of warm-up, the best epoch by
`EmbeddingSimilarityEvaluator`. No phases, no head, and each text is encoded alone, so that quality belongs to the time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

from benchmarks.training_speed.exchange import Assignment, Report, Times, read_rows
from models_store.tasks import Encoded, Row, Task, task_from_config

EPOCHS, BATCH_SIZE, LEARNING_RATE, WARMUP = 4, 16, 2e-5, 0.1
_NOTHING = Encoded([], [], truncated=False)


def main(folder: Path) -> None:
    """Train, save, and score the test rows."""
    assignment = Assignment.load(folder)
    if assignment.threads:
        torch.set_num_threads(assignment.threads)
    task = task_from_config(assignment.task)
    rows = {split: read_rows(folder, split) for split in ("train", "validation", "test")}
    model = SentenceTransformer(assignment.encoder, device=assignment.device)
    started = Times.now()
    _train(model, _dataset(rows["train"], task), _evaluator(rows["validation"], task), folder, assignment)
    times = Times.now().since(started)
    model.save_pretrained(str(folder / "model"))
    logits = _logits(model, rows["test"])
    metrics = task.score(list(logits), rows["test"], [_NOTHING] * len(rows["test"]))
    Report({"full": times}, {"full": EPOCHS}, metrics).save(folder)


def _train(
    model: SentenceTransformer,
    train: Dataset,
    evaluator: EmbeddingSimilarityEvaluator,
    folder: Path,
    assignment: Assignment,
) -> None:
    SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(folder / "checkpoints"),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            warmup_steps=WARMUP,
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=1,
            save_only_model=True,
            load_best_model_at_end=True,
            metric_for_best_model="eval_validation_spearman_cosine",
            use_cpu=assignment.device == "cpu",
            seed=assignment.seed,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=train,
        loss=CosineSimilarityLoss(model),
        evaluator=evaluator,
    ).train()


def _dataset(rows: Sequence[Row], task: Task[object]) -> Dataset:
    columns = {
        "sentence1": [row["text"] for row in rows],
        "sentence2": [row["text_pair"] for row in rows],
        "score": [task.target(row, _NOTHING) for row in rows],
    }
    return Dataset.from_dict(columns)


def _evaluator(rows: Sequence[Row], task: Task[object]) -> EmbeddingSimilarityEvaluator:
    data = _dataset(rows, task)
    return EmbeddingSimilarityEvaluator(
        list(data["sentence1"]), list(data["sentence2"]), list(data["score"]), name="validation", write_csv=False
    )


def _logits(model: SentenceTransformer, rows: Sequence[Row]) -> NDArray[np.float64]:
    """Cosines as logits (rows, 1), so that our own metrics read them as shares of the range."""
    first, second = (model.encode([row[name] for row in rows]) for name in ("text", "text_pair"))
    cosines = (first * second).sum(axis=1) / (np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))
    share = np.clip(cosines.astype(np.float64), 1e-6, 1 - 1e-6)
    logits: NDArray[np.float64] = np.log(share / (1 - share))[:, None]
    return logits


if __name__ == "__main__":
    main(Path(sys.argv[1]))
