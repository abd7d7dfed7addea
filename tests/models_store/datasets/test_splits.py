"""Cutting a validation split off the training rows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_store.datasets.census import row_key
from models_store.datasets.labels import labels_of
from models_store.datasets.splits import validation_size
from tests.models_store.datasets.reading import cut

Row = dict[str, Any]

several = st.lists(
    st.fixed_dictionaries(
        {"text": st.sampled_from("abcdefghijkl"), "label": st.lists(st.sampled_from("xyz"), unique=True, max_size=3)}
    ),
    min_size=1,
    max_size=60,
)
labelled = st.lists(
    st.fixed_dictionaries({"text": st.sampled_from("abcdefghijkl"), "label": st.sampled_from("xyz")}),
    min_size=1,
    max_size=60,
)
graded = st.lists(
    st.fixed_dictionaries({"text": st.sampled_from("abcdef"), "text_pair": st.just("q"), "score": st.floats(0, 5)}),
    min_size=1,
    max_size=60,
)
tagged = st.lists(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["O", "B-X", "B-Y", "B-Z"])), min_size=1, max_size=3
    ).map(lambda words: {"tokens": [word for word, _ in words], "tags": [tag for _, tag in words]}),
    min_size=1,
    max_size=30,
)


@given(labelled | several | graded | tagged)
def test_splits_are_disjoint_complete_and_the_same_every_time(rows: list[Row]) -> None:
    train, validation = cut(rows)
    assert sorted(train + validation) == list(range(len(rows)))
    assert (train, validation) == (sorted(train), sorted(validation))
    assert train
    assert cut(rows) == (train, validation)


@given(labelled | several | graded | tagged)
def test_rows_with_one_text_stay_together(rows: list[Row]) -> None:
    train, validation = cut(rows)
    assert not {row_key(rows[i]) for i in train} & {row_key(rows[i]) for i in validation}


@given(labelled | several | tagged)
def test_every_label_stays_in_training(rows: list[Row]) -> None:
    train, _ = cut(rows)
    assert answers([rows[i] for i in train]) == answers(rows)


@given(graded.filter(lambda rows: len({row_key(row) for row in rows}) > 1))
def test_graded_rows_always_give_a_validation_split(rows: list[Row]) -> None:
    assert cut(rows)[1]


def answers(rows: list[Row]) -> set[str]:
    return {answer for row in rows for answer in row.get("tags", labels_of(row))} - {"O"}


def test_sentences_that_all_differ_in_their_labels_still_give_a_validation_split() -> None:
    rows = [{"tokens": [str(n)], "tags": [f"B-{x}" for x in "ABCD" if n & 1 << "ABCD".index(x)]} for n in range(1, 16)]
    train, validation = cut(rows)
    assert len(validation) == validation_size(15) == 3
    assert answers([rows[i] for i in train]) == {"B-A", "B-B", "B-C", "B-D"}


def test_one_text_alone_cannot_be_split() -> None:
    rows = [{"text": "x", "text_pair": "y", "score": float(n)} for n in range(10)]
    assert cut(rows) == (list(range(10)), [])


def test_each_label_gives_its_share() -> None:
    rows = [{"text": str(n), "label": "rare" if n % 10 == 0 else "common"} for n in range(1000)]
    _, validation = cut(rows)
    assert Counter(rows[i]["label"] for i in validation) == {"common": 90, "rare": 10}


def test_rows_are_drawn_from_the_whole_file() -> None:
    rows = [{"text": str(n), "label": "ab"[n % 2]} for n in range(1000)]
    _, validation = cut(rows)
    assert min(validation) < 100
    assert max(validation) >= 900


@pytest.mark.parametrize(
    ("rows", "size"), [(4, 1), (10, 2), (100, 20), (500, 100), (1_000, 100), (20_000, 2_000), (1_000_000, 5_000)]
)
def test_size_of_the_validation_split(rows: int, size: int) -> None:
    assert validation_size(rows) == size
