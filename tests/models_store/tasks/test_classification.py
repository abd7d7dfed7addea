"""Classification: one label out of several for a text, or any number of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from models_store.tasks import PredictOptions, TaskName, task_from_config
from models_store.tasks.base import Encoded, ObjectiveName
from models_store.tasks.classification import ClassificationTask, MultiLabelTask

TASK = ClassificationTask(("ham", "maybe", "spam"))
ANY = Encoded([101, 102], [0, 0], truncated=False)


def test_shape_of_the_task() -> None:
    assert (TASK.name, TASK.n_outputs, TASK.per_token) == (TaskName.CLASSIFICATION, 3, False)
    assert (TASK.objective, TASK.primary_metric) == (ObjectiveName.CROSS_ENTROPY, "accuracy")


def test_a_text_is_taken_as_sent() -> None:
    assert TASK.parse("  Buy now! ") == "  Buy now! "


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("", "the text is empty"),
        (" \n\t", "the text is empty"),
        (7, "expected a text"),
        (None, "expected a text"),
        (["a"], "expected a text"),
        ({"text": "a"}, "expected a text"),
    ],
)
def test_what_is_no_text_is_refused(item: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TASK.parse(item)


def test_a_row_becomes_text_and_target() -> None:
    row = {"text": "Buy now!", "label": "spam"}
    assert TASK.example(row) == "Buy now!"
    assert TASK.target(row, ANY) == 2


def test_encoding_marks_only_the_texts_that_were_cut(tokenizer_of: Callable[[int], Tokenizer]) -> None:
    long, short = TASK.encode(tokenizer_of(8), ["one two three four five six seven", "one two three four five six"])
    assert (long.truncated, short.truncated) == (True, False)
    assert long.input_ids == short.input_ids == [101, 2028, 2048, 2093, 2176, 2274, 2416, 102]
    assert long.type_ids == [0] * len(long)


def test_the_likeliest_label_with_its_probability() -> None:
    logits = np.log(np.array([0.2, 0.1, 0.7], dtype=np.float32))
    prediction = TASK.decode(logits, "x", ANY, PredictOptions())
    assert prediction == {"label": "spam", "score": pytest.approx(0.7)}
    assert type(prediction["score"]) is float


@pytest.mark.parametrize(("top_k", "labels"), [(2, ["spam", "ham"]), (9, ["spam", "ham", "maybe"])])
def test_top_k_lists_the_likeliest_labels(top_k: int, labels: list[str]) -> None:
    logits = np.log(np.array([0.2, 0.1, 0.7], dtype=np.float32))
    scores = TASK.decode(logits, "x", ANY, PredictOptions(top_k))["scores"]
    assert [entry["label"] for entry in scores] == labels
    assert [entry["score"] for entry in scores] == pytest.approx([0.7, 0.2, 0.1][:top_k])


def test_huge_logits_stay_finite() -> None:
    prediction = TASK.decode(np.array([1e4, -1e4, 0], dtype=np.float32), "x", ANY, PredictOptions())
    assert prediction == {"label": "ham", "score": 1.0}


def test_score() -> None:
    logits = [np.eye(3, dtype=np.float32)[i] for i in (0, 2, 2, 2)]
    rows = [{"text": "x", "label": label} for label in ("ham", "spam", "spam", "ham")]
    metrics = TASK.score(logits, rows, [ANY] * 4)
    assert metrics == {"accuracy": 0.75, "f1_macro": pytest.approx((2 / 3 + 4 / 5) / 2)}


def test_config_round_trip() -> None:
    assert task_from_config(TASK.to_config()) == TASK


# ---- several labels -------------------------------------------------------------------------------------------------

SEVERAL = MultiLabelTask(("angry", "late", "refund"))


def logits_of(*probabilities: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    shares = np.asarray(probabilities)
    return np.asarray(np.log(shares / (1 - shares)), dtype=np.float32)


def test_shape_of_the_task_with_several_labels() -> None:
    assert (SEVERAL.name, SEVERAL.n_outputs, SEVERAL.per_token) == (TaskName.CLASSIFICATION, 3, False)
    assert (SEVERAL.objective, SEVERAL.primary_metric) == (ObjectiveName.MULTI_LABEL, "f1_micro")
    assert task_from_config(SEVERAL.to_config()) == SEVERAL


@pytest.mark.parametrize(
    ("labels", "target"), [([], [0.0, 0.0, 0.0]), (["refund"], [0.0, 0.0, 1.0]), (["refund", "angry"], [1.0, 0.0, 1.0])]
)
def test_a_row_with_several_labels_becomes_a_choice_for_each(labels: list[str], target: list[float]) -> None:
    assert SEVERAL.target({"text": "x", "label": labels}, ANY) == target


def test_labels_likelier_than_not_are_the_answer_best_first() -> None:
    prediction = SEVERAL.decode(logits_of(0.6, 0.2, 0.9), "x", ANY, PredictOptions())

    assert prediction == {
        "label": "refund",
        "score": pytest.approx(0.9),
        "labels": [{"label": "refund", "score": pytest.approx(0.9)}, {"label": "angry", "score": pytest.approx(0.6)}],
    }


def test_without_any_label_the_likeliest_is_told_all_the_same() -> None:
    prediction = SEVERAL.decode(logits_of(0.4, 0.1, 0.3), "x", ANY, PredictOptions(top_k=2))

    assert prediction["labels"] == []
    assert (prediction["label"], prediction["score"]) == ("angry", pytest.approx(0.4))
    assert [entry["label"] for entry in prediction["scores"]] == ["angry", "refund"]


def test_answers_and_metrics_decide_alike() -> None:
    # Exactly on the threshold, and far out where probabilities round to 0 and 1.
    for logits in np.asarray([[0.0, 1e-30, -1e-30], [1e4, -1e4, 40.0]], dtype=np.float32):
        answer = {entry["label"] for entry in SEVERAL.decode(logits, "x", ANY, PredictOptions())["labels"]}
        metrics = SEVERAL.score([logits], [{"text": "x", "label": sorted(answer)}], [ANY])
        assert metrics["accuracy"] == 1.0


def test_score_of_several_labels() -> None:
    logits = [logits_of(0.9, 0.1, 0.9), logits_of(0.9, 0.1, 0.1), logits_of(0.1, 0.1, 0.1)]
    rows = [{"text": "x", "label": labels} for labels in (["angry", "refund"], ["refund"], [])]

    metrics = SEVERAL.score(logits, rows, [ANY] * 3)

    # angry: 1 hit, 1 false; refund: 1 hit, 1 missed; late occurs nowhere and is left out.
    assert metrics == {
        "f1_micro": pytest.approx(2 / 3),
        "f1_macro": pytest.approx((2 / 3 + 2 / 3) / 2),
        "accuracy": pytest.approx(2 / 3),
    }


def test_a_label_that_the_model_does_not_know_is_missed() -> None:
    logits = [logits_of(0.9, 0.1, 0.1), logits_of(0.9, 0.1, 0.1)]
    rows = [{"text": "x", "label": labels} for labels in (["angry", "new"], ["angry"])]

    metrics = SEVERAL.score(logits, rows, [ANY] * 2)

    assert metrics == {  # angry: 2 hits; new: 1 missed
        "f1_micro": pytest.approx(2 * 2 / (2 * 2 + 1)),
        "f1_macro": pytest.approx((1 + 0) / 2),
        "accuracy": 0.5,
    }


def test_a_split_without_any_label_scores_nothing() -> None:
    metrics = SEVERAL.score([logits_of(0.1, 0.1, 0.1)], [{"text": "x", "label": []}], [ANY])
    assert metrics == {"f1_micro": 0.0, "f1_macro": 0.0, "accuracy": 1.0}
