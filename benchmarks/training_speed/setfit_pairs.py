"""Classification through SetFit, by its defaults: the encoder learns on pairs of texts, then logistic regression.

SetFit is meant for a few rows a label, and makes many pairs of them; the pairs are bounded, so that it takes no more
optimizer steps than phase 2 of the other sides. Its own phases come in the other order, and are both told as phase 2.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

from benchmarks.training_speed.exchange import Assignment, Report, Times, read_rows
from models_store.tasks import Encoded, task_from_config


def main(folder: Path) -> None:
    """Train, save, and score the test rows."""
    assignment = Assignment.load(folder)
    if assignment.threads:
        torch.set_num_threads(assignment.threads)
    task = task_from_config(assignment.task)
    train, test = (read_rows(folder, split) for split in ("train", "test"))
    started = Times.now()
    model = SetFitModel.from_pretrained(assignment.encoder, device=assignment.device)
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=math.ceil(len(train) / assignment.values["batch_size"]) * assignment.phases[-1]["epochs"],
        seed=assignment.seed,
        report_to="none",
        show_progress_bar=False,
        save_strategy="no",
    )
    nothing = Encoded([], [], truncated=False)
    data = Dataset.from_dict(
        {"text": [row["text"] for row in train], "label": [task.target(row, nothing) for row in train]}
    )
    Trainer(model=model, args=arguments, train_dataset=data).train()
    times = Times.now().since(started)
    model.save_pretrained(str(folder / "model"))
    shares = np.asarray(model.predict_proba([row["text"] for row in test], as_numpy=True))
    metrics = task.score(list(np.log(np.clip(shares, 1e-9, 1.0))), test, [nothing] * len(test))
    Report({"full": times}, {"full": arguments.num_epochs[0]}, metrics).save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
