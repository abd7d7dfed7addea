"""What every machine-learning task answers, without torch: parse, encode, decode, score.

Training, evaluation and serving go through the same functions, so they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

FloatArray = NDArray[np.floating[Any]]
Prediction = dict[str, Any]
Row = Mapping[str, Any]
Target = int | float | list[int] | list[float]


class TaskName(StrEnum):
    """The kinds of problem that Thawline solves."""

    CLASSIFICATION = "classification"
    TAGGING = "tagging"
    SIMILARITY = "similarity"


class ObjectiveName(StrEnum):
    """The losses; `worker.training.objectives` holds them under these names."""

    CROSS_ENTROPY = "cross_entropy"
    TOKEN_CROSS_ENTROPY = "token_cross_entropy"  # noqa: S105 (a loss, not a secret)
    GRADED = "graded"
    MULTI_LABEL = "multi_label"


IGNORED_TARGET = -100  # positions that carry no label, e.g. every word piece of a word but its first


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as the encoder sees it.

    Attributes:
        input_ids: Word-piece ids with the special tokens.
        type_ids: Segment of each piece: 0, or 1 for the second text of a pair.
        truncated: Whether text was cut away to fit.
        first_pieces: Tagging only: for each word the position of its first piece, −1 where it has none.
        special: How many special tokens stand in front of the text and behind it.
    """

    input_ids: Sequence[int]
    type_ids: Sequence[int]
    truncated: bool
    first_pieces: Sequence[int] | None = None
    special: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What a caller may ask of a prediction. ``top_k`` > 1 lists that many labels with their scores."""

    top_k: int = 1


ExampleT = TypeVar("ExampleT")


class Task(Protocol[ExampleT]):
    """One task with its label space."""

    name: ClassVar[TaskName]
    windowed: ClassVar[bool]
    """Whether a text that is too long is read in windows; otherwise it is cut."""

    @property
    def objective(self) -> ObjectiveName:
        """The loss that trains it."""

    @property
    def n_outputs(self) -> int:
        """Width of the logits."""

    @property
    def primary_metric(self) -> str:
        """The metric, higher is better, that early stopping watches."""

    @property
    def per_token(self) -> bool:
        """Whether the logits are one row per word piece rather than one per example."""

    @property
    def ranks_labels(self) -> bool:
        """Whether labels compete for an answer, so that ``top_k`` can list the next best."""

    def parse(self, item: Any) -> ExampleT:
        """An input of ``POST /predict``; raises ValueError with a message for the caller."""

    def example(self, row: Row) -> ExampleT:
        """A row of a data set."""

    def encode(self, tokenizer: Tokenizer, examples: Sequence[ExampleT]) -> list[Encoded]:
        """Word pieces of each example."""

    def target(self, row: Row, encoded: Encoded) -> Target:
        """What the objective compares the logits with; whole numbers are indices of labels."""

    def decode(self, logits: FloatArray, example: ExampleT, encoded: Encoded, options: PredictOptions) -> Prediction:
        """The answer for one example from its logits: (n_outputs,), or (length, n_outputs) per token."""

    def score(self, logits: Sequence[FloatArray], rows: Sequence[Row], encoded: Sequence[Encoded]) -> dict[str, float]:
        """Metrics over a split."""

    def to_config(self) -> dict[str, Any]:
        """The label space as JSON; ``from_config`` reads it back."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The task with the label space that ``to_config`` wrote."""


def encoded_from(encoding: Encoding, first_pieces: list[int] | None = None) -> Encoded:
    """Keep what the model needs of a tokenizer's encoding."""
    return Encoded(
        input_ids=encoding.ids,
        type_ids=_segments(encoding),
        truncated=bool(encoding.overflowing),
        first_pieces=first_pieces,
        special=_special(encoding),
    )


def _special(encoding: Encoding) -> tuple[int, int]:
    """Tokens that the tokenizer's post-processor put in front of the text and behind it, whatever its family."""
    sequences = encoding.sequence_ids
    front = next((place for place, sequence in enumerate(sequences) if sequence is not None), len(sequences))
    behind = next((place for place, sequence in enumerate(reversed(sequences)) if sequence is not None), 0)
    return front, behind


def _segments(encoding: Encoding) -> list[int]:
    """Where the second text begins, also for tokenizers that leave the segments to their encoder's imagination."""
    if encoding.n_sequences < 2 or any(encoding.type_ids):
        return list(encoding.type_ids)
    return list(accumulate((int(sequence == 1) for sequence in encoding.sequence_ids), max))


def softmax(logits: FloatArray) -> NDArray[np.float64]:
    """Probabilities over the last axis."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(logits: FloatArray) -> NDArray[np.float64]:
    """Probability of each logit by itself, without overflow."""
    probabilities: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64)))
    return probabilities


def log_sum_exp(values: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Logarithm of the sum of exponentials over an axis, without overflow."""
    highest = values.max(axis=axis, keepdims=True)
    total: NDArray[np.float64] = np.log(np.exp(values - highest).sum(axis=axis)) + highest.squeeze(axis)
    return total


def label_prediction(labels: Sequence[str], logits: FloatArray, options: PredictOptions) -> Prediction:
    """The likeliest label with its probability, and the ``top_k`` likeliest when more than one is asked for."""
    return ranked_prediction(ranked(labels, softmax(logits)), options)


def ranked(labels: Sequence[str], probabilities: NDArray[np.float64]) -> list[Prediction]:
    """Labels with their probabilities (n_labels,), the likeliest first."""
    order = np.argsort(-probabilities, kind="stable").tolist()
    return [{"label": labels[i], "score": float(probabilities[i])} for i in order]


def ranked_prediction(ranking: Sequence[Prediction], options: PredictOptions) -> Prediction:
    """The first of a ranking, and the ``top_k`` first when more than one is asked for."""
    return {**ranking[0], **({"scores": list(ranking[: options.top_k])} if options.top_k > 1 else {})}
