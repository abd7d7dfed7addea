"""The exception tree, and how problems of an upload are told."""

from __future__ import annotations

import re

import pytest

from models_store import errors
from models_store.errors import (
    InvalidDatasetError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    Problem,
    ProblemList,
    ThawlineError,
)


def subclasses(kind: type[ThawlineError]) -> list[type[ThawlineError]]:
    return [descendant for child in kind.__subclasses__() for descendant in (child, *subclasses(child))]


ALL = [kind for kind in subclasses(ThawlineError) if kind.__module__ == errors.__name__]


def test_every_error_has_a_code_of_its_own() -> None:
    assert len({kind.code for kind in ALL}) == len(ALL)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_no_error_knows_http(kind: type[ThawlineError]) -> None:
    assert re.fullmatch(r"[a-z_]+", kind.code)
    assert not {"status", "status_code"} & set(dir(kind))


def test_an_error_may_carry_a_finer_code() -> None:
    assert NotFoundError("x").code == "not_found"
    error = NotFoundError("dataset 'ds_1' does not exist", code="dataset_not_found")
    assert (error.code, error.message, str(error)) == ("dataset_not_found", *["dataset 'ds_1' does not exist"] * 2)
    assert NotFoundError.code == "not_found"


def test_places_that_are_not_known_are_left_out() -> None:
    assert Problem("a", "b").to_json() == {"code": "a", "message": "b"}
    assert Problem("missing_label", "label is empty", "train.csv", 17, "label").to_json() == {
        "file": "train.csv",
        "line": 17,
        "column": "label",
        "code": "missing_label",
        "message": "label is empty",
    }


def test_a_list_of_problems_keeps_the_first_and_counts_all() -> None:
    problems = ProblemList(limit=2)
    for line in (1, 2, 3):
        problems.add(Problem("x", "y", line=line))
    assert ([problem.line for problem in problems.kept], problems.count) == ([1, 2], 3)


def test_an_invalid_data_set_says_how_many_problems_and_shows_the_first() -> None:
    problems = ProblemList(limit=1)
    problems.add(Problem("missing_label", "label is empty", "train.csv", 17, "label"))
    problems.add(Problem("missing_label", "label is empty", "train.csv", 18, "label"))
    error = InvalidDatasetError(problems)
    assert error.message == "2 problem(s) in the data, the first (train.csv, line 17): label is empty"
    assert (error.error_count, len(error.problems), error.code) == (2, 1, "invalid_dataset")


def test_an_invalid_input_counts_its_problems() -> None:
    error = InvalidInputError("no", [Problem("a", "b"), Problem("c", "d")])
    assert (error.error_count, error.code) == (2, "invalid_input")
    assert InvalidInputError("no").problems == []


def test_an_overload_says_when_to_come_back() -> None:
    assert OverloadedError("full", retry_after=3).retry_after == 3


def test_the_tree_at_the_top_of_the_module_is_the_real_one() -> None:
    """Each level is indented by four; the parent of a line is the nearest one further left."""
    drawn: dict[str, str] = {}
    path = ["ThawlineError"]
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([│├└─ ]+)(\w+Error)", line):
            depth = len(match[1]) // 4
            drawn[match[2]] = path[depth - 1]
            path[depth:] = [match[2]]
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in ALL}
