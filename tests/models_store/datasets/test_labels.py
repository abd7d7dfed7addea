"""Rows with several labels, from the file to the splits."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from models_store import datasets
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets.labels import suspected_separator
from models_store.datasets.splits import validation_size
from models_store.tasks import TaskName, task_from_config
from models_store.tasks.classification import MultiLabelTask
from tests.models_store.datasets.files import places, refusal, store_files
from tests.models_store.datasets.reading import cut

ROWS = [
    {"text": f"text {i}", "label": ["b", "a"] if i % 4 == 0 else ["a"] if i % 4 == 1 else ["c"] if i % 4 == 2 else []}
    for i in range(40)
]


def json_lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def csv_of(separator: str) -> str:
    return "text,label\n" + "".join(f'{row["text"]},"{separator.join(row["label"])}"\n' for row in ROWS)


def stored(store: ArtifactStore, dataset: Any, split: str = "train") -> list[Any]:
    return list(datasets.read_split(store.verified_path(datasets.dataset_key(dataset.id)), split))


@pytest.mark.parametrize(
    ("content", "separator", "format_"),
    [
        (json_lines(ROWS), None, "json"),
        (json.dumps(ROWS, indent=1), None, "json"),
        (csv_of("|"), "|", "csv"),
        (csv_of(" ; "), ";", "csv"),
        (csv_of(", "), ",", "csv"),
        (json_lines([{**row, "label": " ".join(row["label"])} for row in ROWS]), " ", "json"),
    ],
)
def test_lists_and_separated_labels_are_several_labels(
    sqlite: Database, store: ArtifactStore, content: str, separator: str | None, format_: str
) -> None:
    dataset = store_files(sqlite, store, content, label_separator=separator, validation=content)

    assert dataset.multi_label
    assert dataset.format == format_
    assert dataset.schema_ == {"task": "classification", "multi_label": True, "labels": ["a", "b", "c"]}
    assert task_from_config(dataset.schema_) == MultiLabelTask(("a", "b", "c"))
    assert dataset.labels == [{"label": "a", "count": 20}, {"label": "b", "count": 10}, {"label": "c", "count": 10}]
    assert [row["label"] for row in stored(store, dataset)[:4]] == [["a", "b"], ["a"], ["c"], []]
    assert datasets.preview(store, dataset, split="train", limit=1) == [{"text": "text 0", "label": ["a", "b"]}]


def test_a_data_set_of_one_label_a_row_is_none_of_several(sqlite: Database, store: ArtifactStore) -> None:
    dataset = store_files(sqlite, store, json_lines([{**row, "label": str(row["label"])} for row in ROWS]))
    assert not dataset.multi_label
    assert "multi_label" not in dataset.schema_


def test_a_label_twice_in_a_row_is_there_once(sqlite: Database, store: ArtifactStore) -> None:
    dataset = store_files(sqlite, store, csv_of("|").replace('"c"', '"c| c|c"'), label_separator="|", test=csv_of("|"))
    assert {"label": "c", "count": 10} in dataset.labels


def test_a_split_without_any_label_is_stored(sqlite: Database, store: ArtifactStore) -> None:
    dataset = store_files(sqlite, store, json_lines(ROWS), test='{"text": "new", "label": []}\n')
    assert stored(store, dataset, "test") == [{"text": "new", "label": []}]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"text": "x", "label": ["a", ""]}, "empty_label"),
        ({"text": "x", "label": ["a", None]}, "empty_label"),
        ({"text": "x", "label": ["a", ["b"]]}, "not_a_text"),
        ({"text": "x", "label": ["a\0"]}, "nul_byte"),
        ({"text": "x", "label": ["a" * 201]}, "label_too_long"),
        ({"text": "x", "label": "a"}, "mixed_labels"),
        ({"text": "x", "label": None}, "missing_label"),
    ],
)
def test_bad_lists_are_placed(sqlite: Database, store: ArtifactStore, row: dict[str, Any], code: str) -> None:
    error = refusal(sqlite, store, json_lines([*ROWS, row]))
    assert places(error.problems) == [(code, "train.csv", 41, "label")]


@pytest.mark.parametrize("field", ["a|", "|a", "a||b", "|"])
def test_an_empty_label_between_separators_is_placed(sqlite: Database, store: ArtifactStore, field: str) -> None:
    error = refusal(sqlite, store, csv_of("|") + f"x,{field}\n", label_separator="|")
    assert places(error.problems) == [("empty_label", "train.csv", 42, "label")]


def test_every_unknown_label_of_another_split_is_told(sqlite: Database, store: ArtifactStore) -> None:
    error = refusal(sqlite, store, json_lines(ROWS), test=json_lines([{"text": "x", "label": ["a", "y", "z"]}]))
    assert places(error.problems) == [("unknown_label", "test.csv", 1, "label")] * 2


def test_files_must_agree_on_what_a_label_is(sqlite: Database, store: ArtifactStore) -> None:
    error = refusal(sqlite, store, json_lines(ROWS), validation="text,label\nx,a\n")
    assert places(error.problems) == [("other_label_kind", "validation.csv", None, "label")]


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "b"]])
def test_rows_that_all_have_the_same_labels_teach_nothing(
    sqlite: Database, store: ArtifactStore, labels: list[str]
) -> None:
    error = refusal(sqlite, store, json_lines([{"text": str(i), "label": labels} for i in range(10)]))
    assert [problem.code for problem in error.problems] == ["single_class"]


def test_one_label_that_some_rows_have_can_be_learnt(sqlite: Database, store: ArtifactStore) -> None:
    rows = [{"text": str(i), "label": ["spam"] * (i % 2)} for i in range(10)]
    assert store_files(sqlite, store, json_lines(rows)).schema_["labels"] == ["spam"]


@pytest.mark.parametrize(
    ("separator", "task"),
    [("||||", "classification"), ("\n", "classification"), ("", "classification"), ("|", "similarity")],
)
def test_separators_that_make_no_sense_are_refused(
    sqlite: Database, store: ArtifactStore, separator: str, task: str
) -> None:
    error = refusal(sqlite, store, csv_of("|"), TaskName(task), label_separator=separator)
    assert places(error.problems) == [("invalid_label_separator", None, None, "label_separator")]


# ---- warnings -------------------------------------------------------------------------------------------------------


def test_the_order_of_labels_is_no_contradiction_and_other_labels_are(sqlite: Database, store: ArtifactStore) -> None:
    again = [{"text": "text 0", "label": ["a", "b"]}, {"text": "text 1", "label": ["c"]}]
    dataset = store_files(sqlite, store, json_lines([*ROWS, *again]))
    assert [(warning["code"], warning["lines"]) for warning in dataset.warnings] == [
        ("duplicate_rows", [41, 42]),
        ("contradictory_labels", [2, 42]),
    ]


@pytest.mark.parametrize(
    ("labels", "separator"),
    [
        (["a|b", "b|c", "a", "c"], "|"),
        (["anger;fear", "fear", "joy", "fear;joy", "anger;fear;joy"], ";"),
        (["a, b", "b, c", "a, c"], ","),
        (["a", "b", "c"], None),
        (["Paris, France", "Lyon, France", "Nice, France"], None),  # places, each with a name of its own
        (["World", "Sports", "Business", "Sci/Tech"], None),
        (["HUM/ind", "HUM/gr", "NUM/date", "NUM/count"], None),
        (["a|b", "c"], None),
        ([], None),
    ],
)
def test_labels_that_look_like_several(labels: list[str], separator: str | None) -> None:
    assert suspected_separator(labels) == separator


def test_a_file_that_seems_to_have_several_labels_is_stored_with_a_warning(
    sqlite: Database, store: ArtifactStore
) -> None:
    fields = ["a|b", "b|c", "a", "a|c"]
    content = "text,label\n" + "".join(f"text {i},{fields[i % 4]}\n" for i in range(20))
    (warning,) = store_files(sqlite, store, content).warnings
    assert (warning["code"], warning["lines"][:4]) == ("joint_labels", [2, 3, 5, 6])
    assert "label_separator=|" in warning["message"]
    assert store_files(sqlite, store, content, label_separator="|").warnings == []


# ---- the validation split -------------------------------------------------------------------------------------------


def rows_with(labels_of: Any, n: int = 1000) -> list[dict[str, Any]]:
    return [{"text": str(i), "label": labels_of(i)} for i in range(n)]


def counts(rows: list[dict[str, Any]], indices: list[int]) -> Counter[str]:
    return Counter(label for i in indices for label in rows[i]["label"])


def test_frequent_sets_of_labels_give_their_share() -> None:
    rows = rows_with(lambda i: ["a", "b"] if i % 10 == 0 else [["a"], ["b"], []][i % 3])
    _, validation = cut(rows)
    assert Counter(tuple(rows[i]["label"]) for i in validation) == {
        labels: pytest.approx(count / 10, abs=1) for labels, count in Counter(tuple(r["label"]) for r in rows).items()
    }


def test_rare_sets_of_labels_are_shared_out_by_their_rarest_label() -> None:
    # Nearly every row has a set of its own, made of 12 labels of which the last is the rarest.
    rows = rows_with(lambda i: [f"l{bit}" for bit in range(12) if i * 2654435761 >> bit & 1 and i % (bit + 2) == 0])
    train, validation = cut(rows)

    assert len(validation) == pytest.approx(validation_size(1000), abs=2)
    total, given = counts(rows, range(1000)), counts(rows, validation)  # type: ignore[arg-type]
    for label, count in total.items():
        assert given[label] == pytest.approx(count / 10, abs=max(3, 0.04 * count))
    assert set(counts(rows, train)) == set(total)


def test_a_label_of_one_row_alone_stays_in_training() -> None:
    rows = rows_with(lambda i: ["common", "only"] if i == 5 else ["common"] if i % 2 else [], 40)
    train, validation = cut(rows)
    assert 5 in train
    assert validation
