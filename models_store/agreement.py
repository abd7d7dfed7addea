"""Whether two models decide alike: of a precision against the original, and of a shadow against what is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models_store.tasks import Prediction, Task
from models_store.tasks.base import ObjectiveName

_SAME_SCORE = 0.02  # of the range of graded scores


def agreement(task: Task[Any], first: Sequence[Prediction], second: Sequence[Prediction]) -> float:
    """The share of answers that are the same: labels, sets of labels, tags of words, or scores that are very near."""
    same = [equal for one, other in zip(first, second, strict=True) for equal in _same(task, one, other)]
    return sum(same) / max(1, len(same))


def decides_alike(task: Task[Any], one: Prediction, other: Prediction) -> bool:
    """Whether two answers to one input are the same decision: for tagging, the same words with the same tags.

    Args:
        task: Of the first answer. The second may come from a model of another label space or range.
        one: An answer.
        other: To the same input.
    """
    return all(_same(task, one, other))


def decision_of(prediction: Prediction) -> Any:
    """What an answer says without its certainty: a label, labels, tags, or a score where there is nothing else."""
    if "tokens" in prediction:
        return [token["tag"] for token in prediction["tokens"]]
    if "labels" in prediction:
        return [entry["label"] for entry in prediction["labels"]]
    return prediction["label"] if "label" in prediction else prediction["score"]


def _same(task: Task[Any], one: Prediction, other: Prediction) -> list[bool]:
    """Versions of one name may answer in different kinds (one label or several): those never decide alike."""
    if task.objective is ObjectiveName.TOKEN_CROSS_ENTROPY:
        if _places(one) != _places(other):  # the texts were split into other words
            return [False]
        return [a["tag"] == b["tag"] for a, b in zip(one["tokens"], other["tokens"], strict=True)]
    if task.objective is ObjectiveName.MULTI_LABEL:
        return ["labels" in other and _labels(one) == _labels(other)]
    if task.objective is ObjectiveName.GRADED:
        low, high = task.to_config()["score_range"]
        return ["label" not in other and abs(one["score"] - other["score"]) <= _SAME_SCORE * (high - low)]
    return ["labels" not in other and one["label"] == other.get("label")]


def _places(prediction: Prediction) -> list[tuple[int | None, int | None]]:
    return [(token.get("start"), token.get("end")) for token in prediction["tokens"]]


def _labels(prediction: Prediction) -> set[str]:
    return {entry["label"] for entry in prediction["labels"]}
