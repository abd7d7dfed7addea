"""Classification: one label out of several for a text, or any number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from tokenizers import Tokenizer

from models_store.tasks.base import (
    Encoded,
    FloatArray,
    ObjectiveName,
    Prediction,
    PredictOptions,
    Row,
    TaskName,
    encoded_from,
    label_prediction,
    ranked,
    ranked_prediction,
    sigmoid,
)
from models_store.tasks.metrics import label_metrics, multi_label_metrics

THRESHOLD = 0.5  # of a label's probability, where a text may get several


@dataclass(frozen=True)
class LabelledText:
    """What both kinds share: a text is read, and each of ``labels`` has a logit."""

    name: ClassVar[TaskName] = TaskName.CLASSIFICATION
    windowed: ClassVar[bool] = True
    per_token: ClassVar[bool] = False
    ranks_labels: ClassVar[bool] = True

    labels: tuple[str, ...]

    @property
    def n_outputs(self) -> int:
        """One logit a label."""
        return len(self.labels)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self.labels)}

    def parse(self, item: Any) -> str:
        """A text."""
        if not isinstance(item, str):
            raise ValueError("expected a text (a JSON string)")
        if not item.strip():
            raise ValueError("the text is empty")
        return item

    def example(self, row: Row) -> str:
        """The text of a row."""
        return str(row["text"])

    def encode(self, tokenizer: Tokenizer, examples: Sequence[str]) -> list[Encoded]:
        """Word pieces of each text."""
        return [encoded_from(encoding) for encoding in tokenizer.encode_batch_fast(list(examples))]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The task with the labels that ``to_config`` wrote."""
        return cls(labels=tuple(config["labels"]))


@dataclass(frozen=True)
class ClassificationTask(LabelledText):
    """A text gets exactly one of ``labels``."""

    objective: ClassVar[ObjectiveName] = ObjectiveName.CROSS_ENTROPY
    primary_metric: ClassVar[str] = "accuracy"

    def target(self, row: Row, encoded: Encoded) -> int:
        """Index of the label."""
        return self._index[row["label"]]

    def decode(self, logits: FloatArray, example: str, encoded: Encoded, options: PredictOptions) -> Prediction:
        """Label and probability from logits (n_labels,)."""
        return label_prediction(self.labels, logits, options)

    def score(self, logits: Sequence[FloatArray], rows: Sequence[Row], encoded: Sequence[Encoded]) -> dict[str, float]:
        """Accuracy and macro F1."""
        predicted = [self.labels[int(values.argmax())] for values in logits]
        return label_metrics([row["label"] for row in rows], predicted)

    def to_config(self) -> dict[str, Any]:
        """The labels as JSON."""
        return {"task": self.name.value, "labels": list(self.labels)}


@dataclass(frozen=True)
class MultiLabelTask(LabelledText):
    """A text gets any number of ``labels``, none too; a row's ``label`` is a list. Each is decided by itself."""

    objective: ClassVar[ObjectiveName] = ObjectiveName.MULTI_LABEL
    primary_metric: ClassVar[str] = "f1_micro"

    def target(self, row: Row, encoded: Encoded) -> list[float]:
        """1 for each label of the row, 0 for the others (n_labels,)."""
        given = set(row["label"])
        return [float(label in given) for label in self.labels]

    def decode(self, logits: FloatArray, example: str, encoded: Encoded, options: PredictOptions) -> Prediction:
        """From logits (n_labels,) the labels likelier than not, and beside them the likeliest in any case."""
        ranking = ranked(self.labels, sigmoid(logits))
        chosen = [entry for entry in ranking if entry["score"] > THRESHOLD]
        return {"labels": chosen, **ranked_prediction(ranking, options)}

    def score(self, logits: Sequence[FloatArray], rows: Sequence[Row], encoded: Sequence[Encoded]) -> dict[str, float]:
        """Micro and macro F1, and the share of rows whose labels are all right.

        Rows of other data may have labels that this model does not know: it misses them.
        """
        given = [set(row["label"]) for row in rows]
        unknown = sorted(set().union(*given) - set(self.labels))
        truth = np.asarray([[label in labels for label in (*self.labels, *unknown)] for labels in given])
        decided = sigmoid(np.stack(logits)) > THRESHOLD
        return multi_label_metrics(truth, np.pad(decided, ((0, 0), (0, len(unknown)))))

    def to_config(self) -> dict[str, Any]:
        """The labels as JSON."""
        return {"task": self.name.value, "multi_label": True, "labels": list(self.labels)}
