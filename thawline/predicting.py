"""Inputs as a model takes them, and its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from thawline.frames import pandas_module
from thawline.parsing import parse
from thawline.records import Failure, Record

if TYPE_CHECKING:
    import pandas

One = str | tuple[str, str] | Mapping[str, str]  # one input


@dataclass(frozen=True, kw_only=True)
class LabelScore(Record):
    """A label with its probability."""

    label: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Entity(Record):
    """An entity: ``text[start:end]`` of the input, in characters."""

    label: str
    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, kw_only=True)
class Token(Record):
    """A word and its tag."""

    text: str
    start: int
    end: int
    tag: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Prediction(Record):
    """The answer to one input; what the task does not have is None.

    Attributes:
        label: The likeliest label, of classification and of pairs with labels.
        score: Its probability; of graded pairs the grade.
        labels: Where a text may have several labels: those likelier than not.
        scores: The labels that ``top_k`` asked for.
        entities, tokens: Of tagged text.
        truncated: Whether a pair was too long and was cut.
        error: Why this input has no answer although others have.
    """

    label: str | None = None
    score: float | None = None
    labels: tuple[LabelScore, ...] | None = None
    scores: tuple[LabelScore, ...] | None = None
    entities: tuple[Entity, ...] | None = None
    tokens: tuple[Token, ...] | None = None
    truncated: bool = False
    error: Failure | None = None

    def above(self, threshold: float) -> Prediction:
        """The answer without what is less sure than this; grades stay, because they are no probabilities."""
        kept = dict(self.raw)
        if self.label is not None and (self.score or 0.0) < threshold:
            kept["label"] = None
        for name in ("labels", "scores", "entities"):
            if kept.get(name) is not None:
                kept[name] = [found for found in kept[name] if found["score"] >= threshold]
        return parse(Prediction, kept)

    def columns(self) -> dict[str, Any]:
        """The answer as columns, named as in files that the service has answered; what is several is JSON."""
        values: dict[str, Any] = {}
        if self.entities is not None:
            values["predicted_entities"] = _as_json(self.entities)
            values["predicted_tags"] = json.dumps([token.tag for token in self.tokens or ()], ensure_ascii=False)
        else:
            values = {"predicted_label": self.label, "predicted_score": self.score}
        if self.labels is not None:
            values["predicted_labels"] = _as_json(self.labels)
        if self.scores is not None:
            values["predicted_scores"] = _as_json(self.scores)
        if self.error is not None:
            values["prediction_error"] = self.error.message
        return values


@dataclass(frozen=True)
class Predictions(Sequence[Prediction]):
    """The answers to several inputs, in their order, and which version gave them.

    Attributes:
        model, version, task: Of the model that answered.
        inputs: What was asked.
        answers: What was answered.
    """

    model: str
    version: int
    task: str
    inputs: tuple[Any, ...]
    answers: tuple[Prediction, ...]

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Prediction, ...]: ...
    def __getitem__(self, index: int | slice) -> Prediction | tuple[Prediction, ...]:
        return self.answers[index]

    def __len__(self) -> int:
        return len(self.answers)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each input: its text or texts, and the answer in columns."""
        rows = [
            {**_input_columns(item), **answer.columns()} for item, answer in zip(self.inputs, self.answers, strict=True)
        ]
        frame: pandas.DataFrame = pandas_module().DataFrame(rows)
        return frame


def is_one(inputs: Any) -> bool:
    """Whether this is one input and no list of them: a text, a pair as a tuple, or an object."""
    return isinstance(inputs, str | Mapping) or _is_pair(inputs)


def item_of(item: Any) -> Any:
    """An input as the service takes it."""
    return {"text": item[0], "text_pair": item[1]} if _is_pair(item) else item


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and all(isinstance(text, str) for text in item)


def _input_columns(item: Any) -> dict[str, Any]:
    if isinstance(item, Mapping) or _is_pair(item):
        return dict(item_of(item))
    return {"text": item} if isinstance(item, str) else {"tokens": item}


def _as_json(found: Sequence[Record]) -> str:
    return json.dumps([dict(item.raw) for item in found], ensure_ascii=False)
