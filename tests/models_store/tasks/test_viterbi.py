"""Best paths and marginals against the sum over every sequence, and the rules of BIO."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models_store.tasks.bio import Scheme, check_tags
from models_store.tasks.viterbi import Scores, Transitions, best_path, is_legal, marginals

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def random_case(seed: int, words: int, n_tags: int) -> tuple[Scores, Transitions]:
    rng = np.random.default_rng(seed)
    transitions = Transitions(
        tuple(rng.normal(size=n_tags)),
        tuple(rng.normal(size=n_tags)),
        tuple(map(tuple, rng.normal(size=(n_tags, n_tags)))),
    )
    return rng.normal(size=(words, n_tags)), transitions


def score(path: tuple[int, ...], emissions: Scores, transitions: Transitions) -> float:
    start, end, matrix = transitions.arrays
    steps = sum(matrix[a, b] for a, b in itertools.pairwise(path))
    return float(start[path[0]] + end[path[-1]] + steps + sum(emissions[i, tag] for i, tag in enumerate(path)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("words", "n_tags"), [(1, 3), (2, 4), (5, 3)])
def test_the_best_path_is_the_best_of_all(seed: int, words: int, n_tags: int) -> None:
    emissions, transitions = random_case(seed, words, n_tags)

    paths = itertools.product(range(n_tags), repeat=words)
    assert tuple(best_path(emissions, transitions)) == max(paths, key=lambda p: score(p, emissions, transitions))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("words", "n_tags"), [(1, 3), (2, 4), (5, 3)])
def test_marginals_are_the_shares_of_all_paths(seed: int, words: int, n_tags: int) -> None:
    emissions, transitions = random_case(seed, words, n_tags)
    expected = np.zeros_like(emissions)
    for path in itertools.product(range(n_tags), repeat=words):
        expected[np.arange(words), list(path)] += np.exp(score(path, emissions, transitions))
    expected /= expected.sum(axis=1, keepdims=True)

    np.testing.assert_allclose(marginals(emissions, transitions), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_no_path_breaks_the_rules_of_bio(seed: int) -> None:
    rules = Transitions.of_bio(TAGS)
    emissions = np.random.default_rng(seed).normal(size=(6, len(TAGS)))

    path = best_path(emissions, rules)

    assert is_legal(path, rules)
    assert list(check_tags([TAGS[i] for i in path], Scheme.BIO)) == []


@pytest.mark.parametrize(
    ("tags", "legal"),
    [
        (["O", "B-PER", "I-PER", "I-PER", "B-PER"], True),
        (["I-PER"], False),
        (["O", "I-PER"], False),
        (["B-LOC", "I-PER"], False),
        (["I-LOC", "I-PER"], False),
        ([], True),
    ],
)
def test_legality(tags: list[str], legal: bool) -> None:
    assert is_legal([TAGS.index(tag) for tag in tags], Transitions.of_bio(TAGS)) is legal


def test_rules_and_learnt_scores_add_up_and_travel_as_json() -> None:
    _, learnt = random_case(0, 1, len(TAGS))
    both = Transitions.of_bio(TAGS) + learnt

    assert both.matrix[0][2] < -1e6  # O before I-LOC stays out of the question
    assert both.matrix[1][2] == learnt.matrix[1][2]
    assert Transitions.from_config(both.to_config()) == both


def test_a_sentence_without_words_has_an_empty_path() -> None:
    nothing = np.empty((0, len(TAGS)))

    assert best_path(nothing, Transitions.of_bio(TAGS)) == []
    assert marginals(nothing, Transitions.of_bio(TAGS)).shape == (0, len(TAGS))
