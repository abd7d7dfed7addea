"""``/datasets``: what an upload may hold, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.api.checks import problem_of
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import ROOT, Service, wait_for

CSV = "text,label\n" + "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(12))


def upload(service: Service, files: dict[str, str | bytes], **form: str) -> httpx.Response:
    parts = {split: (f"{split}.csv", text.encode() if isinstance(text, str) else text) for split, text in files.items()}
    return service.client.post("/datasets", data={"task": "classification", **form}, files=parts)


def stored(service: Service) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = service.client.get("/datasets", params={"limit": 100}).json()["data"]
    return data


def test_an_upload_answers_with_what_was_found_in_it(service: Service) -> None:
    created = upload(service, {"file": CSV}, name="letters")
    dataset = created.json()

    assert created.status_code == 201
    assert created.headers["location"] == f"/datasets/{dataset['id']}"
    assert {key: dataset[key] for key in ("object", "name", "task", "format", "size_bytes", "columns")} == {
        "object": "dataset", "name": "letters", "task": "classification", "format": "csv", "size_bytes": len(CSV),
        "columns": {"text": "text", "label": "label"},
    }  # fmt: skip
    assert dataset["labels"] == [{"label": "a", "count": 6}, {"label": "b", "count": 6}]
    assert dataset["splits"] == {
        "train": {"rows": 10, "source": "uploaded", "seed": None},
        "validation": {"rows": 2, "source": "auto", "seed": 13},
    }
    assert service.client.get(created.headers["location"]).json() == dataset
    assert service.client.get("/datasets", params={"limit": 1}).json()["data"] == [dataset]


def test_samples_of_the_repository_upload_without_a_warning(service: Service) -> None:
    for task, suffix in (("classification", "csv"), ("tagging", "conll"), ("similarity", "csv")):
        folder = ROOT / "examples" / task
        answer = service.upload(task, folder / f"train.{suffix}", folder / f"validation.{suffix}")
        assert answer.status_code == 201, answer.text
        assert answer.json()["warnings"] == []


def test_three_files_are_three_splits(service: Service) -> None:
    other = "text,label\nnew one,a\nnew two,b\n"
    dataset = upload(
        service, {"file": CSV, "validation_file": other, "test_file": other.replace("new", "newer")}
    ).json()

    assert dataset["splits"] == {
        "train": {"rows": 12, "source": "uploaded", "seed": None},
        "validation": {"rows": 2, "source": "uploaded", "seed": None},
        "test": {"rows": 2, "source": "uploaded", "seed": None},
    }
    preview = service.client.get(f"/datasets/{dataset['id']}/preview", params={"split": "test"}).json()
    rows = [{"text": "newer one", "label": "a"}, {"text": "newer two", "label": "b"}]
    assert preview == {"object": "list", "data": rows, "has_more": False}


def test_columns_may_be_named(service: Service) -> None:
    content = CSV.replace("text,label", "worte,art")
    columns = json.dumps({"text": "worte", "label": "art"})

    dataset = upload(service, {"file": content}, columns=columns, name="Wörter").json()

    assert dataset["columns"] == {"text": "worte", "label": "art"}
    assert dataset["name"] == "Wörter"


@pytest.mark.parametrize("columns", ["{text", "[]", '"text"', '{"text": 1}', '{"colour": "text"}'])
def test_columns_that_make_no_sense_are_refused(service: Service, columns: str) -> None:
    body = problem_of(upload(service, {"file": CSV}, columns=columns), 422)

    assert [error["column"] for error in body["errors"]] == ["columns"]


def test_a_column_that_is_not_there_is_named(service: Service) -> None:
    body = problem_of(upload(service, {"file": CSV}, columns='{"text": "worte"}'), 422)

    (error,) = body["errors"]
    assert (error["file"], error["line"], error["column"]) == ("file.csv", 1, "worte")


def test_the_first_hundred_errors_are_told_and_all_are_counted(service: Service) -> None:
    before = stored(service)
    body = problem_of(upload(service, {"file": CSV + "no label,\n" * 150}), 422)

    assert (len(body["errors"]), body["error_count"]) == (100, 150)
    assert [error["line"] for error in body["errors"]] == list(range(14, 114))
    assert stored(service) == before


def test_an_error_names_its_file(service: Service) -> None:
    body = problem_of(upload(service, {"file": CSV, "test_file": "text,label\nfine,a\n,b\n"}), 422)

    assert [(e["file"], e["line"], e["column"], e["code"]) for e in body["errors"]] == [
        ("test_file.csv", 3, "text", "missing_text")
    ]


def test_a_bad_row_is_named_by_its_line_in_the_file(service: Service) -> None:
    before = stored(service)

    body = problem_of(upload(service, {"file": 'text,label\n"two\nlines",a\nno label,\nfine,b\n'}), 422)

    assert body["error_count"] == 1
    assert body["errors"] == [
        {
            "file": "file.csv",
            "line": 4,
            "column": "label",
            "code": "missing_label",
            "message": "label is empty",
            "row": "no label,",
        }
    ]
    assert stored(service) == before


def test_a_label_that_training_lacks_is_an_error_of_the_validation_file(service: Service) -> None:
    body = problem_of(upload(service, {"file": CSV, "validation_file": "text,label\nnew,zebra\n"}), 422)

    (error,) = body["errors"]
    assert (error["file"], error["line"], error["code"]) == ("validation_file.csv", 2, "unknown_label")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "empty_file"),
        ("text,label\n", "no_rows"),
        ("text,label\n" + "x,a\ny,a\n" * 5, "single_class"),
        ("words,label\nx,a\n", "missing_column"),
        (b"text,label\n\xff,a\n", "not_utf8"),
        (b"PK\x03\x04zip", "damaged_archive"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(service: Service, content: str | bytes, code: str) -> None:
    assert problem_of(upload(service, {"file": content}), 422)["errors"][0]["code"] == code


def test_an_unreadable_file_says_where(service: Service) -> None:
    body = problem_of(upload(service, {"file": CSV.encode() + b"caf\xe9,a\n"}), 422)

    assert body["type"] == "urn:thawline:error:unreadable_file"
    assert [(e["file"], e["line"], e["code"]) for e in body["errors"]] == [("file.csv", 14, "not_utf8")]


def test_warnings_carry_their_lines(service: Service) -> None:
    dataset = upload(service, {"file": CSV + "text number 0,a\n"}).json()

    (warning,) = dataset["warnings"]
    assert (warning["code"], warning["lines"]) == ("duplicate_rows", [14])
    assert warning["message"]


@pytest.mark.parametrize("field", ["labels", "colour", "FILE"])
def test_an_unknown_form_field_is_named(service: Service, field: str) -> None:
    body = problem_of(upload(service, {"file": CSV}, **{field: "x"}), 422)

    assert [(error["column"], error["code"]) for error in body["errors"]] == [(field, "unknown_field")]
    assert "validation_file" in body["detail"]


def test_a_field_that_comes_twice_is_refused_rather_than_half_read(service: Service) -> None:
    parts = [("file", ("a.csv", CSV.encode())), ("file", ("b.csv", CSV.encode()))]
    body = problem_of(service.client.post("/datasets", data={"task": "classification"}, files=parts), 422)

    assert [(error["column"], error["code"]) for error in body["errors"]] == [("file", "repeated_field")]


@pytest.mark.parametrize(
    ("form", "column"), [({"task": "translation"}, "task"), ({"task": ""}, "task"), ({"name": "x" * 201}, "name")]
)
def test_a_wrong_form_value_is_named(service: Service, form: dict[str, str], column: str) -> None:
    assert problem_of(upload(service, {"file": CSV}, **form), 422)["errors"][0]["column"] == column


def test_an_upload_without_a_file_is_refused(service: Service) -> None:
    files = {"validation_file": ("v.csv", CSV.encode())}
    body = problem_of(service.client.post("/datasets", data={"task": "classification"}, files=files), 422)

    assert [error["column"] for error in body["errors"]] == ["file"]


def test_an_upload_may_be_larger_than_other_requests(service: Service) -> None:
    # The limit of other calls is 8 MiB; here the file is read, though not at once, and refused for what it holds.
    body = upload(service, {"file": b"text,label\n\xff" + b"x" * (9 * 1024 * 1024)}).json()

    def invalid() -> bool:
        return bool(service.client.get(f"/datasets/{body['id']}").json()["status"] == "invalid")

    wait_for(invalid, seconds=60, what="the end of a validation")
    assert service.client.get(f"/datasets/{body['id']}").json()["errors"][0]["code"] == "not_utf8"


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\data\\a.csv", "a\r\nb.csv", "x" * 300, "…/ü.csv"])
def test_a_file_name_is_only_a_name(service: Service, name: str) -> None:
    files = {"file": (name, CSV.encode())}
    answer = service.client.post("/datasets", data={"task": "classification"}, files=files)
    dataset = answer.json()

    assert answer.status_code == 201
    assert not set("/\\\r\n") & set(dataset["name"])
    assert len(dataset["name"]) <= 200
    assert service.client.delete(f"/datasets/{dataset['id']}").status_code == 204


def test_deletion_takes_the_files_along(service: Service) -> None:
    dataset_id = upload(service, {"file": CSV}).json()["id"]
    folder = service.home / "artifacts" / "datasets" / dataset_id
    assert (folder / "train.arrow").is_file()

    answer = service.client.delete(f"/datasets/{dataset_id}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert not folder.exists()
    for again in (service.client.delete, service.client.get):
        problem_of(again(f"/datasets/{dataset_id}"), 404)
    problem_of(service.client.get(f"/datasets/{dataset_id}/preview"), 404)
    problem_of(service.submit(dataset_id, "m"), 404)


def test_a_split_that_is_not_there_is_said_to_be_missing(service: Service) -> None:
    dataset_id = upload(service, {"file": CSV}).json()["id"]
    body = problem_of(service.client.get(f"/datasets/{dataset_id}/preview", params={"split": "test"}), 404)

    assert "train, validation" in body["detail"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("classification", {"text", "label"}),
        ("tagging", {"tokens", "tags", "text", "entities"}),
        ("similarity", {"text", "text_pair", "label"}),
        ("graded", {"text", "text_pair", "score"}),
    ],
)
def test_a_preview_shows_rows_as_they_are_trained_on(
    service: Service, trained_models: dict[str, TrainedModel], kind: str, fields: set[str]
) -> None:
    dataset_id = trained_models[kind].dataset["id"]
    page = service.client.get(f"/datasets/{dataset_id}/preview", params={"limit": 5}).json()

    assert (len(page["data"]), page["has_more"]) == (5, True)
    assert {frozenset(row) for row in page["data"]} == {frozenset(fields)}


# ---- several labels -------------------------------------------------------------------------------------------------

SEVERAL = "text,label\n" + "".join(f"text number {i},{['a|b', 'b', ''][i % 3]}\n" for i in range(12))


def test_a_separator_makes_several_labels(service: Service) -> None:
    dataset = upload(service, {"file": SEVERAL}, label_separator="|").json()

    assert dataset["multi_label"] is True
    assert dataset["labels"] == [{"label": "b", "count": 8}, {"label": "a", "count": 4}]
    rows = service.client.get(f"/datasets/{dataset['id']}/preview", params={"limit": 100}).json()["data"]
    assert {tuple(row["label"]) for row in rows} == {("a", "b"), ("b",), ()}
    assert upload(service, {"file": CSV}).json()["multi_label"] is False


@pytest.mark.parametrize(("form", "files"), [({"label_separator": "||||"}, SEVERAL), ({"task": "similarity"}, SEVERAL)])
def test_a_separator_that_does_not_fit_is_refused(service: Service, form: dict[str, str], files: str) -> None:
    body = problem_of(upload(service, {"file": files}, **{"label_separator": "|", **form}), 422)

    assert [(error["code"], error["column"]) for error in body["errors"]] == [
        ("invalid_label_separator", "label_separator")
    ]


def test_a_bad_list_of_labels_is_placed(service: Service) -> None:
    rows = [{"text": f"text {i}", "label": ["a"] * (i % 2)} for i in range(8)] + [{"text": "x", "label": "a"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    body = problem_of(upload(service, {"file": lines}), 422)

    assert [(error["line"], error["column"], error["code"]) for error in body["errors"]] == [
        (9, "label", "mixed_labels")
    ]


# ---- dry run, skipped rows, statistics, export ----------------------------------------------------------------------

PARTLY_WRONG = CSV + " ,a\nno label,\nfine after all,b\n"


def test_a_dry_run_tells_all_and_stores_nothing(service: Service) -> None:
    before = stored(service)
    files = {"file": ("rows.csv", PARTLY_WRONG)}

    refused = service.client.post("/datasets/validate", data={"task": "classification"}, files=files).json()
    taken = service.client.post(
        "/datasets/validate", data={"task": "classification", "on_error": "skip"}, files=files
    ).json()

    assert (refused["valid"], refused["error_count"], refused["splits"]) == (False, 2, {})
    assert [(error["line"], error["code"]) for error in refused["errors"]] == [
        (14, "missing_text"),
        (15, "missing_label"),
    ]
    assert (taken["valid"], taken["skipped_rows"], taken["error_count"]) == (True, 2, 0)
    assert sum(split["rows"] for split in taken["splits"].values()) == 13
    assert taken["statistics"]["train"]["characters"]["max"] > 0
    assert stored(service) == before


def test_a_dry_run_of_what_cannot_be_read_says_so(service: Service) -> None:
    files = {"file": ("rows.csv", b"%PDF-1.4")}
    body = service.client.post("/datasets/validate", data={"task": "classification"}, files=files).json()

    assert (body["valid"], body["errors"][0]["code"]) == (False, "unsupported_format")


def test_rows_that_were_left_out_are_all_listed(service: Service) -> None:
    dataset = upload(service, {"file": PARTLY_WRONG}, on_error="skip").json()

    assert dataset["skipped_rows"] == 2
    page = service.client.get(f"/datasets/{dataset['id']}/skipped", params={"limit": 1}).json()
    rest = service.client.get(f"/datasets/{dataset['id']}/skipped", params={"after": 1}).json()
    assert (page["has_more"], rest["has_more"]) == (True, False)
    assert [(one["line"], one["code"]) for one in page["data"] + rest["data"]] == [
        (14, "missing_text"),
        (15, "missing_label"),
    ]


def test_statistics_count_labels_characters_and_word_pieces(
    service: Service, trained_models: dict[str, TrainedModel]
) -> None:
    dataset_id = trained_models["tagging"].dataset["id"]
    path = f"/datasets/{dataset_id}/statistics"

    plain = service.client.get(path).json()["splits"]["train"]
    counted = service.client.get(path, params={"encoder": "tiny"}).json()["splits"]["train"]

    assert plain["word_pieces"] is None
    assert {label["label"] for label in plain["labels"]} == {"PERSON", "DATE", "O"}
    assert sum(one["rows"] for one in plain["characters"]["histogram"]) == plain["rows"]
    assert counted["word_pieces"]["counted_rows"] == counted["rows"]
    assert counted["word_pieces"]["longer_than_encoder"]["rows"] == 0
    assert service.client.get(path, params={"encoder": "nobody"}).status_code == 404


def test_statistics_of_graded_pairs_tell_how_the_scores_are_spread(
    service: Service, trained_models: dict[str, TrainedModel]
) -> None:
    dataset_id = trained_models["graded"].dataset["id"]
    splits = service.client.get(f"/datasets/{dataset_id}/statistics").json()["splits"]

    for split in splits.values():
        scores = split["scores"]
        assert sum(one["rows"] for one in scores["histogram"]) == split["rows"]
        assert scores["min"] <= scores["mean"] <= scores["max"]
        assert (scores["histogram"][0]["lower"], scores["histogram"][-1]["upper"]) == (scores["min"], scores["max"])


@pytest.mark.parametrize(
    ("kind", "form"),
    [("classification", "csv"), ("several", "jsonl"), ("several", "csv"), ("tagging", "conll"), ("graded", "csv")],
)
def test_what_is_exported_can_be_uploaded_again(
    service: Service, trained_models: dict[str, TrainedModel], kind: str, form: str
) -> None:
    dataset = trained_models[kind].dataset
    answer = service.client.get(f"/datasets/{dataset['id']}/export", params={"format": form, "split": "train"})
    assert "attachment" in answer.headers["content-disposition"]

    more = {"label_separator": "|"} if (kind, form) == ("several", "csv") else {}
    again = upload(service, {"file": answer.content}, task=dataset["task"], **more).json()

    assert {label["label"] for label in again["labels"]} == {label["label"] for label in dataset["labels"]}
    rows = sum(split["rows"] for split in again["splits"].values())
    assert rows == dataset["splits"]["train"]["rows"]


@pytest.mark.parametrize(("kind", "form"), [("tagging", "csv"), ("classification", "conll")])
def test_an_export_that_cannot_hold_the_rows_is_refused(
    service: Service, trained_models: dict[str, TrainedModel], kind: str, form: str
) -> None:
    path = f"/datasets/{trained_models[kind].dataset['id']}/export"

    assert "take" in problem_of(service.client.get(path, params={"format": form}), 409)["detail"]
