"""Which column holds what: synonyms, explicit mappings, and refusals that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from models_store.datasets.columns import check_mapping, map_columns
from models_store.datasets.source import SourceFile
from models_store.errors import InvalidDatasetError, InvalidInputError
from models_store.tasks import TaskName
from tests.models_store.datasets.files import places

SOURCE = SourceFile("train.csv", Path("never-opened"))
CLASSIFICATION, SIMILARITY, TAGGING = TaskName.CLASSIFICATION, TaskName.SIMILARITY, TaskName.TAGGING


@pytest.mark.parametrize(
    ("header", "text", "label"),
    [
        ("text,label", "text", "label"),
        ("sentence,category", "sentence", "category"),
        ("content,class", "content", "class"),
        ("Review , Sentiment", "Review ", " Sentiment"),
        ("id,TEXT,note,Gold Label", "TEXT", "Gold Label"),
        ("question,is-duplicate", "question", "is-duplicate"),
        ("label,sentence,text", "text", "label"),  # the plain name wins, wherever it stands
    ],
)
def test_spellings_of_text_and_label(header: str, text: str, label: str) -> None:
    assert map_columns(SOURCE, header.split(","), CLASSIFICATION, {}) == {"text": text, "label": label}


@pytest.mark.parametrize(
    "pair",
    [
        "text,text_pair",
        "sentence1,sentence2",
        "question1,question2",
        "premise,hypothesis",
        "text_a,text_b",
        "text1,text2",
        "Sentence_1,Sentence_2",
        "query,passage",
    ],
)
@pytest.mark.parametrize(("answer", "field"), [("score", "score"), ("similarity", "score"), ("is_duplicate", "label")])
def test_spellings_of_pairs(pair: str, answer: str, field: str) -> None:
    first, second = pair.split(",")
    columns = map_columns(SOURCE, ["id", first, second, answer], SIMILARITY, {})
    assert columns == {"text": first, "text_pair": second, field: answer}


def test_scores_are_preferred_to_labels_unless_the_mapping_says_otherwise() -> None:
    header = ["text", "text_pair", "score", "label"]
    assert "label" not in map_columns(SOURCE, header, SIMILARITY, {})
    assert "score" not in map_columns(SOURCE, header, SIMILARITY, {"label": "label"})


def test_a_mapping_overrules_the_names() -> None:
    columns = map_columns(SOURCE, ["text", "label", "body"], CLASSIFICATION, {"text": "body"})
    assert columns == {"text": "body", "label": "label"}


def test_a_column_serves_one_field_only() -> None:
    """`tag` is mapped to the text, so it is not found as the label again."""
    columns = map_columns(SOURCE, ["tag", "topic"], CLASSIFICATION, {"text": "tag"})
    assert columns == {"text": "tag", "label": "topic"}


@pytest.mark.parametrize(
    ("header", "task", "mapping", "expected"),
    [
        ("text,label,Text", CLASSIFICATION, {}, [("duplicate_column", "Text")]),
        ("text,foo", CLASSIFICATION, {}, [("missing_column", "label")]),
        ("foo,bar", CLASSIFICATION, {}, [("missing_column", "text"), ("missing_column", "label")]),
        ("text,label", CLASSIFICATION, {"text": "body"}, [("unknown_column", "body")]),
        ("text,score", SIMILARITY, {}, [("missing_column", "text"), ("missing_column", "text_pair")]),
        ("sentence1,sentence2", SIMILARITY, {}, [("missing_column", "score (or label)")]),
    ],
)
def test_problems_of_the_header(
    header: str, task: TaskName, mapping: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    with pytest.raises(InvalidDatasetError) as caught:
        map_columns(SOURCE, header.split(","), task, mapping)
    assert places(caught.value.problems) == [(code, "train.csv", 1, column) for code, column in expected]


def test_a_missing_column_is_told_with_the_header_and_the_way_out() -> None:
    with pytest.raises(InvalidDatasetError) as caught:
        map_columns(SOURCE, ["text", "foo"], CLASSIFICATION, {})
    message = caught.value.problems[0].message
    assert "the header has 'text', 'foo'" in message
    assert 'columns={"label": "<your column>"}' in message


def test_an_unknown_column_is_told_with_the_header() -> None:
    with pytest.raises(InvalidDatasetError, match="the header has 'text', 'label'"):
        map_columns(SOURCE, ["text", "label"], CLASSIFICATION, {"text": "body"})


def test_columns_without_a_name_are_ignored() -> None:
    """Spreadsheets write them at the end of every line."""
    columns = map_columns(SOURCE, ["text", "label", "", " "], CLASSIFICATION, {})
    assert columns == {"text": "text", "label": "label"}


@pytest.mark.parametrize(
    ("mapping", "task", "known"),
    [
        ({"body": "text"}, CLASSIFICATION, "fields of classification: text, label"),
        ({"text_pair": "b"}, CLASSIFICATION, "fields of classification: text, label"),
        ({"text": 1}, SIMILARITY, "fields of similarity: text, text_pair, score, label"),
        ({"label": "token"}, TAGGING, "fields of tagging: token, tag, tokens"),
        ({"token": "1", "tags": "ner"}, TAGGING, "give token and tag"),
        ({"token": "2", "tag": 2}, TAGGING, "'2' is given for both"),
        ({"tokens": 1}, TAGGING, "cannot be mapped"),
        ({"text": "body", "label": "body"}, CLASSIFICATION, "'body' is given for both 'text' and 'label'"),
    ],
)
def test_mappings_that_do_not_fit_the_task(mapping: dict[str, object], task: TaskName, known: str) -> None:
    with pytest.raises(InvalidInputError, match=known) as caught:
        check_mapping(mapping, task)
    assert places(caught.value.problems) == [("invalid_columns", None, None, "columns")]


def test_a_mapping_that_fits_is_kept() -> None:
    assert check_mapping({"text": "body"}, CLASSIFICATION) == {"text": "body"}


def test_a_header_of_very_many_columns_is_refused_at_once() -> None:
    with pytest.raises(InvalidDatasetError) as caught:
        map_columns(SOURCE, [f"c{i}" for i in range(1_001)], CLASSIFICATION, {})

    assert places(caught.value.problems) == [("too_many_columns", "train.csv", 1, None)]
    assert "separator" in caught.value.problems[0].message


def test_a_refusal_lists_no_more_of_the_header_than_a_reader_wants_to_see() -> None:
    with pytest.raises(InvalidDatasetError) as caught:
        map_columns(SOURCE, [f"c{i}" for i in range(1_000)], CLASSIFICATION, {})

    message = caught.value.problems[0].message
    assert "'c19' and 980 more" in message
    assert len(message) < 400
