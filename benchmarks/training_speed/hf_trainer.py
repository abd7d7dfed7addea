"""The two phases through `transformers.Trainer`, as its documentation leads a competent user to write them.

Frozen parameters by ``requires_grad``, dynamic padding, batches grouped by length, an evaluation and a checkpoint each
epoch, the best one loaded at the end. In its favour: checkpoints hold the weights alone, evaluation rows are sorted by
length and evaluated 64 at a time, and nothing is exported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import (
    AutoModel,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from benchmarks.training_speed.exchange import Assignment, Report, Times, read_rows
from models_store.specs import HeadName, ResolvedHyperparameters
from models_store.tasks import Encoded, Task, task_from_config
from models_store.tasks.base import IGNORED_TARGET
from worker.training.evaluation import Evaluation
from worker.training.heads import HEADS
from worker.training.heads.base import summary
from worker.training.objectives import learnt_task, objective_of

Encode = Callable[[dict[str, Any]], dict[str, Any]]


class Model(nn.Module):
    """Encoder, head and loss, as `Trainer` wants them."""

    def __init__(self, assignment: Assignment, task: Task[Any]) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(assignment.encoder, add_pooling_layer=False)
        width = int(self.encoder.config.hidden_size)
        self.head = HEADS[task.name, HeadName(assignment.head)](width, task.n_outputs, assignment.values["dropout"])
        values = ResolvedHyperparameters.model_validate(assignment.values)
        self._objective = objective_of(self, task, values, [], torch.device(assignment.device))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """A batch → its loss and logits."""
        hidden = self.encoder(input_ids, attention_mask, token_type_ids).last_hidden_state
        if self.head.needs == "summary":
            hidden = summary(hidden, attention_mask)
        logits = self.head(hidden, attention_mask, token_type_ids)
        return {"loss": self._objective(logits, labels), "logits": logits}


class _Trainer(Trainer):
    """Grouping by length would shuffle the evaluation rows, too; they lie sorted already."""

    def _get_eval_sampler(self, eval_dataset: Any) -> SequentialSampler:
        return SequentialSampler(eval_dataset)


class Split:
    """The rows of a split with their word pieces, and what they score."""

    def __init__(self, rows: list[dict[str, Any]], task: Task[Any], tokenizer: Any) -> None:
        pieces = [_encode(row, task, tokenizer) for row in rows]
        order = sorted(range(len(rows)), key=lambda i: len(pieces[i]))
        self.rows, self.encoded = [rows[i] for i in order], [pieces[i] for i in order]
        self.task = task
        self.dataset = Dataset.from_list(
            [
                {
                    "input_ids": e.input_ids,
                    "attention_mask": [1] * len(e),
                    "token_type_ids": e.type_ids,
                    "labels": task.target(row, e),
                }
                for row, e in zip(self.rows, self.encoded, strict=True)
            ]
        )

    def score(self, logits: Any, model: Model) -> dict[str, float]:
        """Metrics of logits (rows, …), padded where they are one row a piece."""
        return learnt_task(model, self.task).score(list(np.asarray(logits)), self.rows, self.encoded)


def _encode(row: dict[str, Any], task: Task[Any], tokenizer: Any) -> Encoded:
    if not task.per_token:
        found = tokenizer(row["text"], row.get("text_pair"), truncation=True)
        return Encoded(found["input_ids"], found["token_type_ids"], truncated=False)
    found = tokenizer(row["tokens"], is_split_into_words=True, truncation=True)
    first = [-1] * len(row["tokens"])
    for position, word in reversed(list(enumerate(found.word_ids()))):
        if word is not None:
            first[word] = position
    return Encoded(found["input_ids"], found["token_type_ids"], truncated=False, first_pieces=first)


class _GapStopping(TrainerCallback):
    """Ends phase 1 as ours does: when the evaluation loss has left the training loss (decision 0013)."""

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        found = Evaluation(kwargs["metrics"]["eval_loss"], metrics={}, score=0.0, examples=0)
        if len(losses) > 1 and not found.generalises(losses[-1]):  # ours keeps the first epoch in any case
            control.should_training_stop = True


def train(
    model: Model, phase: dict[str, Any], splits: dict[str, Split], tokenizer: Any, assignment: Assignment, folder: Path
) -> Trainer:
    """Run one phase; the model is left with the weights of its best epoch."""
    model.encoder.requires_grad_(phase["trains_encoder"])
    values, task = assignment.values, splits["train"].task
    collator = (
        DataCollatorForTokenClassification(tokenizer, label_pad_token_id=IGNORED_TARGET)
        if task.per_token
        else DataCollatorWithPadding(tokenizer)
    )
    trainer = _Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder / phase["name"]),
            num_train_epochs=phase["epochs"],
            learning_rate=phase["learning_rate"],
            per_device_train_batch_size=values["batch_size"],
            per_device_eval_batch_size=64,
            warmup_steps=values["warmup_fraction"],
            weight_decay=values["weight_decay"],
            max_grad_norm=values["max_grad_norm"],
            train_sampling_strategy="group_by_length",
            eval_strategy="epoch",
            save_strategy="epoch",
            logging_strategy="epoch",
            save_total_limit=1,
            save_only_model=True,
            load_best_model_at_end=True,
            metric_for_best_model="eval_loss" if phase["watch"] == "loss" else f"eval_{task.primary_metric}",
            greater_is_better=phase["watch"] != "loss",
            bf16=assignment.bf16,
            use_cpu=assignment.device == "cpu",
            seed=assignment.seed,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=splits["train"].dataset,
        eval_dataset=splits["validation"].dataset,
        data_collator=collator,
        processing_class=tokenizer,
        compute_metrics=lambda found: splits["validation"].score(found.predictions, model),
        callbacks=[EarlyStoppingCallback(phase["patience"]), *([_GapStopping()] if phase["watch"] == "loss" else [])],
    )
    trainer.train()
    return trainer


def main(folder: Path) -> None:
    """Tokenise, train both phases, save, and score the test rows."""
    assignment = Assignment.load(folder)
    if assignment.threads:
        torch.set_num_threads(assignment.threads)
    set_seed(assignment.seed)
    task = task_from_config(assignment.task)
    tokenizer = AutoTokenizer.from_pretrained(assignment.encoder)
    splits = {name: Split(read_rows(folder, name), task, tokenizer) for name in ("train", "validation", "test")}
    model = Model(assignment, task)
    times: dict[str, Times] = {}
    epochs: dict[str, float] = {}
    for phase in assignment.phases:
        started = Times.now()
        trainer = train(model, phase, splits, tokenizer, assignment, folder)
        times[phase["name"]] = Times.now().since(started)
        epochs[phase["name"]] = round(trainer.state.epoch or 0.0)
    trainer.save_model(str(folder / "model"))
    trainer.compute_metrics = None  # it knows the validation rows alone
    logits = trainer.predict(splits["test"].dataset)
    Report(times, epochs, splits["test"].score(logits.predictions, model)).save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
