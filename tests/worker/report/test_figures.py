"""The counts behind the figures, against numbers worked out by hand and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from models_store.reports import WorstError
from models_store.tasks.metrics import expected_calibration_error
from worker.report.figures import Confusions, ReliabilityCurve, WorstErrors, shortened


def confusions(*pairs: tuple[str | None, str | None]) -> Confusions:
    counted = Confusions()
    for pair in pairs:
        counted.add(*pair)
    return counted


def test_precision_recall_and_f1_of_each_label() -> None:
    # Of three cats two are found, and one dog is taken for a cat.
    counted = confusions(("cat", "cat"), ("cat", "cat"), ("cat", "dog"), ("dog", "cat"))

    cat, dog, owl = counted.classes(["cat", "dog", "owl"])

    assert [cat.precision, cat.recall, cat.f1] == pytest.approx([2 / 3] * 3)
    assert cat.support == 3
    assert (dog.precision, dog.recall, dog.f1, dog.support) == (0.0, 0.0, 0.0, 1)
    assert (owl.precision, owl.recall, owl.f1, owl.support) == (0.0, 0.0, 0.0, 0)


def test_figures_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    labels = ["a", "b", "c", "d"]
    true, predicted = rng.choice(labels, 300), rng.choice(labels, 300)

    counted = confusions(*zip(true.tolist(), predicted.tolist(), strict=True))

    expected = precision_recall_fscore_support(true, predicted, labels=labels)
    found = [(c.precision, c.recall, c.f1, c.support) for c in counted.classes(labels)]
    assert np.allclose(found, np.transpose(expected))
    assert counted.matrix(labels, paired=True).counts == confusion_matrix(true, predicted, labels=labels).tolist()


def test_what_is_missed_and_what_is_spurious_lowers_recall_and_precision() -> None:
    counted = confusions(("PER", "PER"), ("PER", None), (None, "PER"), (None, "PER"), ("LOC", None))

    per, loc = counted.classes(["PER", "LOC"])
    matrix = counted.matrix(["PER", "LOC"], paired=False)

    assert [per.precision, per.recall, per.support] == pytest.approx([1 / 3, 0.5, 2])
    assert (loc.precision, loc.recall, loc.support) == (0.0, 0.0, 1)
    assert (matrix.counts, matrix.missed, matrix.spurious) == ([[1, 0], [0, 0]], [1, 1], [2, 0])


def test_rare_labels_become_one_row_and_column_at_the_end() -> None:
    # A label of the user's may be called "other", too: what is folded stands last, and `folded` says how many.
    pairs = [("x", "x")] * 3 + [("other", "x")] * 2 + [("r1", "r2"), ("r2", "other")]

    matrix = confusions(*pairs).matrix(["r1", "x", "r2", "other"], paired=True, limit=2)

    assert (matrix.labels, matrix.folded) == (["x", "other", "other"], 2)
    assert matrix.counts == [[3, 0, 0], [2, 0, 0], [0, 1, 1]]
    assert (matrix.missed, matrix.spurious) == (None, None)


def test_a_matrix_that_fits_is_not_folded() -> None:
    matrix = confusions(("a", "b")).matrix(["a", "b"], paired=True, limit=2)

    assert (matrix.labels, matrix.folded, matrix.counts) == (["a", "b"], 0, [[0, 1], [0, 0]])


def test_the_reliability_curve() -> None:
    curve = ReliabilityCurve("row", bins=4)
    for confidence, right in [(0.6, True), (0.7, False), (0.8, True), (1.0, True)]:
        curve.add(confidence, right=right)

    found = curve.figures()

    assert found is not None
    assert [(b.lower, b.upper, b.count) for b in found.bins] == [
        (0.0, 0.25, 0),
        (0.25, 0.5, 0),
        (0.5, 0.75, 2),
        (0.75, 1.0, 2),  # closed: 1.0 belongs to it
    ]
    assert (found.bins[0].confidence, found.bins[0].accuracy) == (None, None)
    assert [found.bins[2].confidence, found.bins[2].accuracy] == pytest.approx([0.65, 0.5])
    assert [found.bins[3].confidence, found.bins[3].accuracy] == pytest.approx([0.9, 1.0])
    assert found.ece == pytest.approx(0.5 * 0.15 + 0.5 * 0.1)


def test_the_calibration_error_is_the_one_that_calibration_tells() -> None:
    rng = np.random.default_rng(5)
    probabilities, targets = rng.dirichlet(np.ones(3), 500), rng.integers(3, size=500)
    curve = ReliabilityCurve("row")
    for values, target in zip(probabilities, targets, strict=True):
        curve.add(float(values.max()), right=bool(values.argmax() == target))

    found = curve.figures()

    assert found is not None
    assert found.ece == pytest.approx(expected_calibration_error(probabilities, targets))


def test_no_answers_make_no_curve() -> None:
    assert ReliabilityCurve("word").figures() is None


def error(row: int, score: float) -> WorstError:
    return WorstError(row=row, text="t", shortened=False, true="a", predicted="b", score=score)


def test_the_worst_errors_are_kept_and_all_are_counted() -> None:
    worst, described = WorstErrors(limit=3), []

    def describe(row: int, score: float) -> WorstError:
        described.append(row)
        return error(row, score)

    for row, score in enumerate([0.5, 0.9, 0.5, 0.7, 0.1, 0.9]):
        worst.add(score, row, lambda row=row, score=score: describe(row, score))  # type: ignore[misc]

    assert worst.count == 6
    assert [(e.row, e.score) for e in worst.listed()] == [(1, 0.9), (5, 0.9), (3, 0.7)]
    assert 4 not in described  # it was never among the worst


def test_of_equally_bad_errors_the_first_are_kept() -> None:
    worst = WorstErrors(limit=2)
    for row in range(4):
        worst.add(1.0, row, lambda row=row: error(row, 1.0))  # type: ignore[misc]

    assert [e.row for e in worst.listed()] == [0, 1]


def test_a_long_text_is_shortened_and_marked() -> None:
    assert shortened("four", 4) == "four"
    assert shortened("fives", 4) == "five…"
