"""Whole files answered over HTTP: every row in its order, with the very answers of ``/predict``."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from tests.api.checks import problem_of
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import Service, wait_for
from tests.models_store.datasets.corpus import pa, parquet

Trained = dict[str, TrainedModel]


def sent(service: Service, model: str, name: str, content: bytes, **form: str) -> dict[str, Any]:
    answer = service.client.post("/predictions", data={"model": model, **form}, files={"file": (name, content)})
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/predictions/{body['id']}"
    return body


def ended(service: Service, prediction_id: str) -> dict[str, Any]:
    """The prediction once it is over."""

    def over() -> dict[str, Any] | None:
        body: dict[str, Any] = service.client.get(f"/predictions/{prediction_id}").json()
        return None if body["status"] == "running" else body

    found: dict[str, Any] | None = wait_for(over, seconds=60, what="the end of a prediction")
    assert found is not None
    return found


def answers(service: Service, body: dict[str, Any]) -> bytes:
    assert ended(service, body["id"])["status"] == "succeeded"
    return service.client.get(f"/predictions/{body['id']}/file").content


def asked(service: Service, model: str, inputs: list[Any]) -> list[dict[str, Any]]:
    answer = service.client.post(f"/predict/{model}", json={"inputs": inputs})
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


def test_a_csv_file_gets_its_answers_as_columns(service: Service, trained_models: Trained) -> None:
    model = trained_models["classification"].name
    texts = [f"my parcel {i} is late" if i % 2 else f"the invoice, {i}" for i in range(1200)]
    rows = [["id", "Text", "note"], *([str(i), text, 'say "hi"'] for i, text in enumerate(texts))]
    rows[4][1] = "  "
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)

    body = sent(service, f"{model}@1", "rows.csv", buffer.getvalue().encode())
    found = list(csv.reader(io.StringIO(answers(service, body).decode())))

    assert found[0] == [
        "id",
        "Text",
        "note",
        "predicted_label",
        "predicted_score",
        "predicted_labels",
        "prediction_error",
    ]
    assert [row[:3] for row in found] == rows
    assert (found[4][3], found[4][6]) == ("", "the text is empty")
    expected = asked(service, f"{model}@1", texts[:3])
    assert [row[3] for row in found[1:4]] == [one["label"] for one in expected]
    assert [float(row[4]) for row in found[1:4]] == pytest.approx([one["score"] for one in expected], abs=1e-4)
    done = ended(service, body["id"])
    assert (done["progress"]["rows_done"], done["failed_rows"], done["version"]) == (1200, 1, 1)
    assert done["progress"]["fraction"] == 1.0


def test_json_lines_keep_all_their_fields(service: Service, trained_models: Trained) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "Ada met Bob", "meta": {"n": 1}},
        {"text": "Carol\tsaw 😀 Dave", "other": [1, 2]},
        {"text": None},
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()

    body = sent(service, trained_models["tagging"].name, "rows.jsonl", content)
    found = [json.loads(line) for line in answers(service, body).decode().splitlines()]

    assert [{name: row[name] for name in given} for row, given in zip(found, rows, strict=True)] == rows
    for row in found[:2]:
        assert row["predicted_entities"]
        for entity in row["predicted_entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]
    assert found[2]["prediction_error"] == "the text is empty"


def test_parquet_is_answered_in_parquet_or_whatever_is_wanted(service: Service, trained_models: Trained) -> None:
    model = trained_models["similarity"].name
    table = pa.table(
        {"question1": ["refund please", "late parcel"], "question2": ["my refund", "an invoice"], "n": [1, 2]}
    )

    body = sent(service, model, "pairs.parquet", parquet(table))
    found = pq.read_table(io.BytesIO(answers(service, body)))
    as_csv = answers(service, sent(service, model, "pairs.parquet", parquet(table), format="csv")).decode()

    assert found.column_names[:3] == ["question1", "question2", "n"]
    assert found["n"].to_pylist() == [1, 2]
    assert found["predicted_label"].null_count == 0
    assert as_csv.splitlines()[0].startswith("question1,question2,n,predicted_label")


def answering(since: float) -> list[psutil.Process]:
    """The processes that answer files and were started since then."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "models_store.predictions.answering" in process.cmdline() and process.create_time() > since:
                found.append(process)
    return found


def test_a_process_that_is_killed_is_followed_by_one_that_goes_on(service: Service, trained_models: Trained) -> None:
    content = ("text\n" + "".join(f"my parcel {i}\n" for i in range(3000))).encode()
    before = time.time()
    body = sent(service, trained_models["classification"].name, "rows.csv", content)

    wait_for(lambda: answering(before), seconds=30, what="a process that answers")[0].kill()

    found = list(csv.reader(io.StringIO(answers(service, body).decode())))
    assert [row[0] for row in found[1:]] == [f"my parcel {i}" for i in range(3000)]
    assert all(row[1] for row in found[1:])
    assert ended(service, body["id"])["attempt"] == 2


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("rows.csv", b"colour\nx\n", ("missing_column", "text")),
        ("rows.csv", b"text,predicted_label\nx,a\n", ("column_taken", "predicted_label")),
        ("rows.csv", b"%PDF-1.4\n", ("unsupported_format", None)),
    ],
)
def test_a_file_that_cannot_be_answered_is_refused_at_once(
    service: Service, trained_models: Trained, name: str, content: bytes, place: tuple[str, str | None]
) -> None:
    answer = service.client.post(
        "/predictions", data={"model": trained_models["classification"].name}, files={"file": (name, content)}
    )

    (error,) = problem_of(answer, 422)["errors"]
    assert (error["code"], error.get("column")) == place


def test_rows_that_cannot_be_read_are_told_with_their_lines(service: Service, trained_models: Trained) -> None:
    body = sent(service, trained_models["classification"].name, "rows.csv", b"text,n\nx,1\ny\nz,3\n")

    failed = ended(service, body["id"])

    assert (failed["status"], failed["error"]["code"]) == ("failed", "invalid_dataset")
    assert [(error["code"], error["line"]) for error in failed["errors"]] == [("ragged_row", 3)]
    assert service.client.get(f"/predictions/{body['id']}/file").status_code == 409


def test_what_is_over_can_be_deleted_and_not_cancelled(service: Service, trained_models: Trained) -> None:
    body = sent(service, trained_models["classification"].name, "rows.csv", b"text\nx\n")
    answers(service, body)

    assert service.client.post(f"/predictions/{body['id']}/cancel").status_code == 409
    assert body["id"] in [one["id"] for one in service.client.get("/predictions").json()["data"]]
    assert service.client.delete(f"/predictions/{body['id']}").status_code == 204
    assert service.client.get(f"/predictions/{body['id']}").status_code == 404


def test_a_model_that_is_not_there_is_404(service: Service) -> None:
    answer = service.client.post("/predictions", data={"model": "nobody"}, files={"file": ("f.csv", b"text\nx\n")})

    problem_of(answer, 404)
