"""Similarity: a graded score for a pair of texts, or a label such as yes/no.

The pair is encoded as one input; whether the encoder reads its texts together or apart is up to the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
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
    sigmoid,
)
from models_store.tasks.metrics import correlation_metrics, label_metrics

_POSITIVE_SPELLINGS = (
    "1", "true", "yes", "y", "duplicate", "paraphrase", "same", "similar", "match", "equivalent", "entailment",
    "positive",
)  # fmt: skip


class TextPair(NamedTuple):
    """Two texts to compare."""

    text: str
    text_pair: str


@dataclass(frozen=True)
class SimilarityTask:
    """Either graded, with scores in ``score_range``, or one of ``labels``.

    Attributes:
        score_range: Lowest and highest score of the training data; predictions stay inside.
        labels: The labels of a yes/no (or finer) comparison; empty when graded.
    """

    name: ClassVar[TaskName] = TaskName.SIMILARITY
    windowed: ClassVar[bool] = False
    per_token: ClassVar[bool] = False

    score_range: tuple[float, float] | None = None
    labels: tuple[str, ...] = ()

    @property
    def graded(self) -> bool:
        """Whether answers are scores rather than labels."""
        return self.score_range is not None

    @property
    def ranks_labels(self) -> bool:
        """A grade has no next best."""
        return not self.graded

    @property
    def objective(self) -> ObjectiveName:
        """Cross-entropy against the score as a probability, or over the labels."""
        return ObjectiveName.GRADED if self.graded else ObjectiveName.CROSS_ENTROPY

    @property
    def n_outputs(self) -> int:
        """One logit for the score, or one a label."""
        return 1 if self.graded else len(self.labels)

    @property
    def primary_metric(self) -> str:
        """Rank correlation, or accuracy."""
        return "spearman" if self.graded else "accuracy"

    @cached_property
    def positive(self) -> str | None:
        """Of two labels the one that means "alike", whose F1 is reported."""
        if len(self.labels) != 2:
            return None
        return next((label for label in self.labels if label.casefold() in _POSITIVE_SPELLINGS), self.labels[-1])

    @cached_property
    def _index(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self.labels)}

    def parse(self, item: Any) -> TextPair:
        """An object with ``text`` and ``text_pair``."""
        if not isinstance(item, dict) or set(item) != {"text", "text_pair"}:
            raise ValueError('expected an object {"text": "…", "text_pair": "…"}')
        for side in ("text", "text_pair"):
            if not isinstance(item[side], str):
                raise ValueError(f"{side} is not a text (a JSON string)")
            if not item[side].strip():
                raise ValueError(f"{side} is empty")
        return TextPair(item["text"], item["text_pair"])

    def example(self, row: Row) -> TextPair:
        """The pair of a row."""
        return TextPair(row["text"], row["text_pair"])

    def encode(self, tokenizer: Tokenizer, examples: Sequence[TextPair]) -> list[Encoded]:
        """Word pieces of each pair, as one input."""
        pairs = [(example.text, example.text_pair) for example in examples]
        return [encoded_from(encoding) for encoding in tokenizer.encode_batch_fast(pairs)]

    def target(self, row: Row, encoded: Encoded) -> int | float:
        """The score scaled to 0…1, or the label's index."""
        if self.score_range is None:
            return self._index[row["label"]]
        low, high = self.score_range
        return float(np.clip((row["score"] - low) / (high - low), 0.0, 1.0))

    def decode(self, logits: FloatArray, example: TextPair, encoded: Encoded, options: PredictOptions) -> Prediction:
        """Score in the data's range from a logit (1,), or label and probability from logits (n_labels,)."""
        if self.score_range is None:
            return label_prediction(self.labels, logits, options)
        return {"score": float(self._scores(logits[None, :])[0])}

    def score(self, logits: Sequence[FloatArray], rows: Sequence[Row], encoded: Sequence[Encoded]) -> dict[str, float]:
        """Rank and linear correlation; accuracy and F1 for labels."""
        if self.graded:
            truth = np.asarray([row["score"] for row in rows], dtype=np.float64)
            return correlation_metrics(truth, self._scores(np.stack(logits)))
        predicted = [self.labels[int(values.argmax())] for values in logits]
        return label_metrics([row["label"] for row in rows], predicted, self.positive)

    def to_config(self) -> dict[str, Any]:
        """Range or labels as JSON."""
        space: dict[str, Any] = (
            {"score_range": list(self.score_range)} if self.score_range else {"labels": list(self.labels)}
        )
        return {"task": self.name.value, **space}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The task that ``to_config`` wrote."""
        if "score_range" in config:
            low, high = config["score_range"]
            return cls(score_range=(float(low), float(high)))
        return cls(labels=tuple(config["labels"]))

    def _scores(self, logits: FloatArray) -> NDArray[np.float64]:
        """Logits (n, 1) → scores (n,) in the data's own range."""
        assert self.score_range is not None  # noqa: S101 (narrows the type; callers have checked)
        low, high = self.score_range
        scores: NDArray[np.float64] = low + sigmoid(logits[:, 0]) * (high - low)
        return scores
