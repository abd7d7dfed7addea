"""What a task's answers to a split are worth: one analysis for each kind of answer.

An analysis sees each row once, beside the answer that the API would give to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from models_store.reports import ScoreFigures, ScoreGroup, Span, SplitFigures, WorstError
from models_store.tasks import Prediction, Row
from models_store.tasks.base import ObjectiveName
from models_store.tasks.bio import Scheme, entity_spans, split_tag
from models_store.tasks.classification import ClassificationTask, MultiLabelTask
from models_store.tasks.similarity import SimilarityTask
from models_store.tasks.tagging import TaggingExample, TaggingTask
from worker.report.figures import Confusions, ReliabilityCurve, WorstErrors, shortened

_SPANS = 50  # wrong ones listed of a sentence
_SPAN_CHARACTERS = 200
_GROUPS = 10

Place = tuple[int, int]


class Analysis(Protocol):
    """Collects answers, and tells what they are worth."""

    def add(self, number: int, row: Row, prediction: Prediction) -> None:
        """Take in the answer to a row, which is the split's number so-and-so."""

    def figures(self) -> SplitFigures:
        """What the answers so far are worth."""


class _ByLabel:
    """What analyses of labels have in common.

    Attributes:
        paired: Whether each true label has a predicted one.
        unit: What a confidence belongs to.
    """

    paired: ClassVar[bool]
    unit: ClassVar[Literal["row", "label"]]

    def __init__(self, task: ClassificationTask | MultiLabelTask | SimilarityTask) -> None:
        self._labels = task.labels
        self._confusions = Confusions()
        self._reliability = ReliabilityCurve(self.unit)
        self._worst = WorstErrors()

    def figures(self) -> SplitFigures:
        """By label."""
        return SplitFigures(
            classes=self._confusions.classes(self._labels),
            confusion=self._confusions.matrix(self._labels, paired=self.paired),
            reliability=self._reliability.figures(),
            errors=self._worst.count,
            worst_errors=self._worst.listed(),
        )


class LabelAnalysis(_ByLabel):
    """Answers that are one label; the surest wrong answers are the worst."""

    paired = True
    unit = "row"

    def add(self, number: int, row: Row, prediction: Prediction) -> None:
        """Compare labels."""
        true, predicted, score = row["label"], prediction["label"], prediction["score"]
        self._confusions.add(true, predicted)
        self._reliability.add(score, right=true == predicted)
        if true != predicted:
            self._worst.add(score, number, lambda: _error(number, row, true, predicted, score))


class LabelSetAnalysis(_ByLabel):
    """Answers that are any number of labels; the rows with the most missed or wrongly given are the worst."""

    paired = False
    unit = "label"

    def add(self, number: int, row: Row, prediction: Prediction) -> None:
        """Compare sets of labels."""
        scores = {entry["label"]: entry["score"] for entry in prediction["labels"]}
        true, predicted = set(row["label"]), set(scores)
        for label in true | predicted:
            self._confusions.add(label if label in true else None, label if label in predicted else None)
        for label, score in scores.items():
            self._reliability.add(score, right=label in true)
        if wrong := true ^ predicted:
            missed, spurious = sorted(true - predicted), sorted(predicted - true)
            self._worst.add(len(wrong), number, lambda: _error(number, row, missed, spurious, len(wrong)))


class TaggingAnalysis:
    """Answers that are a tag for each word. Entities are compared whole, plain tags word by word."""

    def __init__(self, task: TaggingTask) -> None:
        self._entities = task.scheme is not Scheme.PLAIN
        self._tags = task.tags
        types = [label for label in dict.fromkeys(split_tag(tag)[1] for tag in task.tags) if label]
        self._labels = types if self._entities else list(task.tags)
        self._words, self._spans = Confusions(), Confusions()
        self._reliability = ReliabilityCurve("word")
        self._worst = WorstErrors()

    def add(self, number: int, row: Row, prediction: Prediction) -> None:
        """Compare words, and what they stand for."""
        tags = [token["tag"] for token in prediction["tokens"]]
        for true, tag, token in zip(row["tags"], tags, prediction["tokens"], strict=True):
            self._words.add(true, tag)
            if token["score"]:  # it is 0 for a word that the encoder has not seen, of which the model says nothing
                self._reliability.add(token["score"], right=true == tag)
        gold, found = self._places(row["tags"]), self._places(tags)
        for place in gold.keys() | found.keys():
            self._spans.add(gold.get(place), found.get(place))
        if wrong := gold.items() ^ found.items():
            self._worst.add(len({place for place, _ in wrong}), number, lambda: self._error(number, row, gold, found))

    def figures(self) -> SplitFigures:
        """By entity type or plain tag; the sentences with the most that is wrong are the worst."""
        return SplitFigures(
            classes=self._spans.classes(self._labels),
            word_tags=self._words.classes(self._tags) if self._entities else None,
            confusion=self._spans.matrix(self._labels, paired=not self._entities),
            reliability=self._reliability.figures(),
            errors=self._worst.count,
            worst_errors=self._worst.listed(),
        )

    def _places(self, tags: Sequence[str]) -> dict[Place, str]:
        """What stands where, from its first word to the one after its last."""
        if self._entities:
            return {(first, last): label for label, first, last in entity_spans(tags)}
        return {(index, index + 1): tag for index, tag in enumerate(tags)}

    def _error(self, number: int, row: Row, gold: dict[Place, str], found: dict[Place, str]) -> WorstError:
        example = TaggingExample.from_row(row)

        def spans(mine: dict[Place, str], others: dict[Place, str]) -> list[Span]:
            wrong = sorted((place, label) for place, label in mine.items() if others.get(place) != label)
            return [_span(example, place, label) for place, label in wrong[:_SPANS]]

        missed, spurious = spans(gold, found), spans(found, gold)
        wrong = {place for place, _ in gold.items() ^ found.items()}
        return _error(number, {"text": example.text}, missed, spurious, len(wrong))


class ScoreAnalysis:
    """Answers that are a score."""

    def __init__(self, task: SimilarityTask) -> None:
        self._true: list[float] = []
        self._predicted: list[float] = []
        self._worst = WorstErrors()

    def add(self, number: int, row: Row, prediction: Prediction) -> None:
        """Compare scores."""
        true, predicted = float(row["score"]), float(prediction["score"])
        self._true.append(true)
        self._predicted.append(predicted)
        error = abs(true - predicted)
        self._worst.add(error, number, lambda: _error(number, row, true, predicted, error))

    def figures(self) -> SplitFigures:
        """By tenths of the true scores; the largest differences are the worst."""
        true, predicted = np.asarray(self._true), np.asarray(self._predicted)
        groups = np.array_split(np.argsort(true, kind="stable"), min(_GROUPS, len(true)))
        return SplitFigures(
            scores=ScoreFigures(
                mean_absolute_error=float(np.abs(true - predicted).mean()),
                deciles=[
                    ScoreGroup(
                        lower=float(true[group].min()),
                        upper=float(true[group].max()),
                        count=len(group),
                        true_mean=float(true[group].mean()),
                        predicted_mean=float(predicted[group].mean()),
                    )
                    for group in groups
                ],
            ),
            errors=None,
            worst_errors=self._worst.listed(),
        )


ANALYSES: dict[ObjectiveName, Callable[[Any], Analysis]] = {
    ObjectiveName.CROSS_ENTROPY: LabelAnalysis,
    ObjectiveName.MULTI_LABEL: LabelSetAnalysis,
    ObjectiveName.TOKEN_CROSS_ENTROPY: TaggingAnalysis,
    ObjectiveName.GRADED: ScoreAnalysis,
}


def _span(example: TaggingExample, place: Place, label: str) -> Span:
    start, end = example.words[place[0]].start, example.words[place[1] - 1].end
    return Span(label=label, text=shortened(example.text[start:end], _SPAN_CHARACTERS), start=start, end=end)


def _error(number: int, row: Row, true: Any, predicted: Any, score: float) -> WorstError:
    texts = {side: row[side] for side in ("text", "text_pair") if side in row}
    short = {side: shortened(text) for side, text in texts.items()}
    return WorstError(row=number, shortened=short != texts, true=true, predicted=predicted, score=score, **short)
