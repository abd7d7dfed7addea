"""What answers are worth, task by task, against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from models_store.reports import Span, SplitFigures
from models_store.tasks import Row
from models_store.tasks.base import ObjectiveName
from models_store.tasks.bio import Scheme
from models_store.tasks.classification import ClassificationTask, MultiLabelTask
from models_store.tasks.metrics import entity_metrics
from models_store.tasks.similarity import SimilarityTask
from models_store.tasks.tagging import TaggingTask
from models_store.tasks.words import WordSplitter
from worker.report.analyses import ANALYSES

ENTITIES = TaggingTask(("O", "B-PER", "I-PER", "B-LOC"), Scheme.BIO, WordSplitter())
PLAIN = TaggingTask(("NOUN", "VERB"), Scheme.PLAIN, WordSplitter())


def figures(task: Any, *answers: tuple[Row, dict[str, Any]]) -> SplitFigures:
    analysis = ANALYSES[task.objective](task)
    for number, (row, prediction) in enumerate(answers):
        analysis.add(number, row, prediction)
    return analysis.figures()


def labelled(text: str, true: str, predicted: str, score: float) -> tuple[Row, dict[str, Any]]:
    return {"text": text, "label": true}, {"label": predicted, "score": score}


def tagged(text: str, true: str, predicted: str, score: float = 0.9) -> tuple[Row, dict[str, Any]]:
    tokens = [{"tag": tag, "score": score} for tag in predicted.split()]
    return {"tokens": text.split(), "tags": true.split()}, {"tokens": tokens}


def test_every_kind_of_answer_can_be_analysed() -> None:
    assert set(ANALYSES) == set(ObjectiveName)


def test_wrong_labels_come_by_the_confidence_in_them() -> None:
    found = figures(
        ClassificationTask(("cat", "dog")),
        labelled("miaow", "cat", "cat", 0.95),
        labelled("grr", "dog", "cat", 0.6),
        labelled("x" * 1_001, "dog", "cat", 0.8),
    )

    assert found.classes is not None
    assert [(c.label, c.support) for c in found.classes] == [("cat", 1), ("dog", 2)]
    assert found.confusion is not None
    assert found.confusion.counts == [[1, 0], [2, 0]]
    assert found.errors == 2
    assert [(e.row, e.true, e.predicted, e.score, e.shortened) for e in found.worst_errors] == [
        (2, "dog", "cat", 0.8, True),
        (1, "dog", "cat", 0.6, False),
    ]
    assert found.worst_errors[0].text == "x" * 1_000 + "…"
    assert found.reliability is not None
    assert (found.reliability.unit, sum(b.count for b in found.reliability.bins)) == ("row", 3)
    assert (found.word_tags, found.scores) == (None, None)


def test_of_several_labels_what_was_missed_and_what_was_too_much_is_told() -> None:
    def given(text: str, true: str, **scores: float) -> tuple[Row, dict[str, Any]]:
        labels = [{"label": label, "score": score} for label, score in scores.items()]
        return {"text": text, "label": true.split()}, {"labels": labels, "label": "a", "score": 0.1}

    found = figures(
        MultiLabelTask(("a", "b", "c")),
        given("right", "a b", a=0.9, b=0.8),
        given("one missed, one too much", "a b", a=0.7, c=0.6),
        given("nothing", ""),
        given("missed", "c"),
    )

    assert found.classes is not None
    assert [(c.label, c.precision, c.recall, c.support) for c in found.classes] == [
        ("a", 1.0, 1.0, 2), ("b", 1.0, 0.5, 2), ("c", 0.0, 0.0, 1),
    ]  # fmt: skip
    assert found.confusion is not None
    assert (found.confusion.missed, found.confusion.spurious) == ([0, 1, 1], [0, 0, 1])
    assert found.errors == 2
    assert [(e.row, e.true, e.predicted, e.score) for e in found.worst_errors] == [
        (1, ["b"], ["c"], 2),
        (3, ["c"], [], 1),
    ]
    assert found.reliability is not None
    assert (found.reliability.unit, sum(b.count for b in found.reliability.bins)) == ("label", 4)


def test_of_a_pair_both_texts_are_shown() -> None:
    row = {"text": "one", "text_pair": "two", "label": "no"}

    found = figures(SimilarityTask(labels=("no", "yes")), (row, {"label": "yes", "score": 0.7}))

    assert [(e.text, e.text_pair) for e in found.worst_errors] == [("one", "two")]


def test_entities_are_compared_whole() -> None:
    sentences = [
        ("Ada Bob met Rome .", "B-PER I-PER O B-LOC O", "B-PER O O B-PER O"),  # too short, and of another type
        ("in Oslo", "O B-LOC", "O B-LOC"),
        ("Carl", "O", "B-PER"),
    ]

    found = figures(ENTITIES, *(tagged(*sentence) for sentence in sentences))

    assert found.classes is not None
    # Predicted persons: `Ada`, `Rome` and `Carl`, none of them right; of two places one is found.
    assert [(c.label, c.precision, c.recall, c.support) for c in found.classes] == [
        ("PER", 0.0, 0.0, 1),
        ("LOC", 1.0, 0.5, 2),
    ]
    assert found.confusion is not None
    assert found.confusion.labels == ["PER", "LOC"]
    assert found.confusion.counts == [[0, 0], [1, 1]]
    assert (found.confusion.missed, found.confusion.spurious) == ([1, 0], [2, 0])
    assert found.word_tags is not None
    assert {c.label: (c.recall, c.support) for c in found.word_tags} == {
        "O": (pytest.approx(3 / 4), 4),
        "B-PER": (1.0, 1),
        "I-PER": (0.0, 1),
        "B-LOC": (0.5, 2),
    }
    metrics = entity_metrics([s[1].split() for s in sentences], [s[2].split() for s in sentences])
    hits = sum(c.recall * c.support for c in found.classes)
    assert metrics["recall"] == pytest.approx(hits / sum(c.support for c in found.classes))


def test_of_a_sentence_only_what_is_wrong_is_listed_and_the_most_wrong_comes_first() -> None:
    found = figures(
        ENTITIES,
        tagged("in Oslo", "O B-LOC", "O O"),
        tagged("Ada Bob met Rome", "B-PER I-PER O B-LOC", "B-PER O O B-LOC"),
    )

    assert found.errors == 2
    second, first = found.worst_errors
    assert (second.row, second.text, second.score) == (1, "Ada Bob met Rome", 2.0)
    assert second.true == [Span(label="PER", text="Ada Bob", start=0, end=7)]
    assert second.predicted == [Span(label="PER", text="Ada", start=0, end=3)]
    assert (first.row, first.true, first.predicted) == (0, [Span(label="LOC", text="Oslo", start=3, end=7)], [])


def test_plain_tags_are_compared_word_by_word() -> None:
    found = figures(PLAIN, tagged("dogs bark", "NOUN VERB", "NOUN NOUN"), tagged("cats", "NOUN", "NOUN"))

    assert found.classes is not None
    assert [(c.label, c.precision, c.recall) for c in found.classes] == [
        ("NOUN", pytest.approx(2 / 3), 1.0),
        ("VERB", 0.0, 0.0),
    ]
    assert found.confusion is not None
    assert (found.confusion.counts, found.confusion.missed) == ([[2, 0], [1, 0]], None)
    assert found.word_tags is None
    (wrong,) = found.worst_errors
    assert wrong.true == [Span(label="VERB", text="bark", start=5, end=9)]
    assert wrong.predicted == [Span(label="NOUN", text="bark", start=5, end=9)]


def test_words_that_the_encoder_has_not_seen_say_nothing_of_its_confidence() -> None:
    found = figures(PLAIN, tagged("dogs", "NOUN", "NOUN", 0.9), tagged("bark", "VERB", "NOUN", 0.0))

    assert found.reliability is not None
    assert (found.reliability.unit, sum(b.count for b in found.reliability.bins)) == ("word", 1)
    assert found.errors == 1  # wrong it is all the same


def test_a_long_sentence_lists_a_bounded_number_of_its_errors() -> None:
    found = figures(PLAIN, tagged("w " * 80, "NOUN " * 80, "VERB " * 80))

    (wrong,) = found.worst_errors
    assert wrong.score == 80
    assert isinstance(wrong.true, list)
    assert len(wrong.true) == 50


def test_scores_come_by_tenths_of_the_true_ones() -> None:
    rows: list[tuple[Row, dict[str, Any]]] = [
        ({"text": str(i), "text_pair": "p", "score": i / 4}, {"score": i / 4 + 0.5}) for i in range(20)
    ]
    rows[3] = (rows[3][0], {"score": 3.75})

    found = figures(SimilarityTask(score_range=(0.0, 5.0)), *rows)

    assert found.scores is not None
    assert found.scores.mean_absolute_error == pytest.approx((19 * 0.5 + 3.0) / 20)
    assert [group.count for group in found.scores.deciles] == [2] * 10
    first, second = found.scores.deciles[:2]
    assert (first.lower, first.upper, first.true_mean, first.predicted_mean) == (0.0, 0.25, 0.125, 0.625)
    assert [second.true_mean, second.predicted_mean] == pytest.approx([0.625, (1.0 + 3.75) / 2])
    assert (found.worst_errors[0].row, found.worst_errors[0].true, found.worst_errors[0].predicted) == (3, 0.75, 3.75)
    assert (found.classes, found.confusion, found.reliability, found.errors) == (None, None, None, None)


def test_fewer_scores_than_tenths_make_a_group_each() -> None:
    row: Row = {"text": "a", "text_pair": "b", "score": 1.0}

    found = figures(SimilarityTask(score_range=(0.0, 5.0)), (row, {"score": 1.0}), (row, {"score": 2.0}))

    assert found.scores is not None
    assert [group.count for group in found.scores.deciles] == [1, 1]
