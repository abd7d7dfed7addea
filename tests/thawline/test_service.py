"""The client and a real service, on the models that the whole run shares."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import thawline
from tests.fixtures.models import TASKS, SampleFiles, TrainedModel
from tests.fixtures.servers import Service
from tests.services.test_story import INPUTS, without_scores

pytestmark = pytest.mark.services
Models = dict[str, TrainedModel]


@pytest.fixture
def client(service: Service, trained_models: Models) -> Iterator[thawline.Client]:
    with thawline.Client(f"http://127.0.0.1:{service.port}") as client:
        yield client


def waiting_job(client: thawline.Client, files: SampleFiles) -> thawline.Job:
    """A job that no worker takes."""
    return client.train(files.train, task=files.task, validation=files.validation, model="waits", queue="gpu")


def test_files_frames_and_lists_of_rows_are_the_same_data(
    client: thawline.Client, sample_files: dict[str, SampleFiles]
) -> None:
    files = sample_files["classification"]
    frame = pd.read_csv(files.train)
    rows: Any = frame.to_dict("records")
    found = [client.upload(data, task="classification", validation=files.validation) for data in (frame, rows)]
    found.append(client.upload(files.train, task="classification", validation=files.validation))

    assert [d.splits["train"].rows for d in found] == [80, 80, 80]
    assert found[0].labels == found[1].labels == found[2].labels
    assert next(iter(client.rows(found[2]))) == rows[0]
    assert client.dataset(found[0].id) == found[0]
    assert found[0] in client.datasets(task="classification").to_list()
    assert client.statistics(found[0])["train"]["rows"] == 80
    client.delete_dataset(found[0])
    with pytest.raises(thawline.NotFound, match=r"client.datasets\(\)"):
        client.dataset(found[0].id)


def test_wrong_rows(client: thawline.Client) -> None:
    rows = [{"text": f"{word} {n}", "label": word} for word in ("a", "b") for n in range(6)] + [
        {"text": "", "label": "a"}
    ]
    report = client.validate(rows, task="classification")
    with pytest.raises(thawline.InvalidData) as caught:
        client.upload(rows, task="classification")
    dataset = client.upload(rows, task="classification", on_error="skip", name="skipped")

    assert not report.valid
    assert [(p.line, p.column, p.code) for p in report.errors] == [(13, "text", "missing_text")]
    assert caught.value.problems == report.errors
    assert (dataset.name, dataset.skipped_rows) == ("skipped", 1)
    assert [p.line for p in client.skipped_rows(dataset)] == [13]
    assert thawline.to_pandas(report.errors)["code"].tolist() == ["missing_text"]


def test_a_data_set_can_be_taken_out(client: thawline.Client, trained_models: Models, tmp_path: Path) -> None:
    path = client.export_dataset(trained_models["similarity"].dataset["id"], tmp_path / "rows.jsonl")
    assert len(path.read_text().splitlines()) == 80


@pytest.mark.parametrize("kind", TASKS)
def test_one_input_and_several(client: thawline.Client, trained_models: Models, kind: str) -> None:
    model = client.model(f"tiny-{kind}")
    asked: Any = INPUTS[kind]
    if isinstance(asked, dict):
        asked = (asked["text"], asked["text_pair"])
    one = model.predict(asked)
    many = model.predict([asked, INPUTS[kind]])

    assert (many.model, many.version, len(many)) == (f"tiny-{kind}", 1, 2)
    assert without_scores(dict(many[0].raw)) == without_scores(dict(one.raw)) == without_scores(dict(many[1].raw))
    assert len(many.to_pandas()) == 2


def test_options_of_a_prediction(client: thawline.Client, trained_models: Models) -> None:
    model = client.model("tiny-classification@production")
    answer = model.predict("where is my parcel", top_k=2, precision="fp32", timeout=20, routing_key="me")

    assert answer.scores is not None
    assert answer.scores[0].label == answer.label
    assert model.predict("where is my parcel", threshold=1.0).label is None
    with pytest.raises(thawline.InvalidData, match="inputs"):
        model.predict(["fine", 3])
    with pytest.raises(thawline.NotFound):
        client.model("nobody").predict("text")


def test_a_finished_job(client: thawline.Client, trained_models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    job = client.job(trained_models["tagging"].job["id"]).wait(progress=True)
    events = job.events().to_list()

    assert job.has_ended
    assert job.metrics["validation"]["f1"] >= 0.8
    assert job.metrics.to_pandas().loc["validation", "f1"] == job.metrics["validation"]["f1"]
    assert [e.data["phase"] for e in events if e.type == "phase"][:3] == ["prepare", "head", "full"]
    assert events == job.past_events().to_list()
    assert job.past_events(after=events[-2].id).to_list() == events[-1:]
    assert "full started" in capsys.readouterr().err
    with pytest.raises(thawline.Conflict):
        job.cancel()


def test_a_job_that_waits(client: thawline.Client, sample_files: dict[str, SampleFiles]) -> None:
    job = waiting_job(client, sample_files["classification"])

    assert job.waiting_reason is not None
    assert job.pause().status == "paused"
    assert job.resume().status == "queued"
    with pytest.raises(thawline.WaitTimeout):
        job.wait(timeout=0.1)
    assert job.cancel().status == "cancelled"
    with pytest.raises(thawline.JobCancelled):
        job.wait()
    again = job.retry()
    assert again.retry_of == job.id
    assert again.cancel().has_ended


def test_events_come_while_the_job_lives(service: Service, sample_files: dict[str, SampleFiles]) -> None:
    with thawline.Client(f"http://127.0.0.1:{service.port}") as client:
        job = waiting_job(client, sample_files["classification"])
        events = iter(job.events())
        assert next(events).message == "queued"
        job.pause()
        assert next(events).message == "paused"
        job.cancel()
        assert [event.message for event in events] == ["cancelled"]


def test_the_same_key_gets_the_same_job(client: thawline.Client, trained_models: Models) -> None:
    dataset_id = trained_models["classification"].dataset["id"]
    jobs = [client.train(dataset_id, model="waits", queue="gpu", idempotency_key="one") for _ in range(2)]

    assert jobs[0].id == jobs[1].id
    jobs[0].cancel()


def test_a_spec_that_does_not_fit(client: thawline.Client, trained_models: Models) -> None:
    dataset = client.dataset(trained_models["classification"].dataset["id"])
    with pytest.raises(thawline.InvalidRequest, match="does not fit") as caught:
        client.train(dataset, model="waits", head="crf")
    assert not isinstance(caught.value, thawline.InvalidData)
    with pytest.raises(thawline.ConfigurationError, match="belongs to its upload"):
        client.train(dataset, model="waits", columns={"text": "body"})
    with pytest.raises(thawline.ConfigurationError, match="which task"):
        client.train([{"text": "a"}], model="waits")


def test_all_pages(client: thawline.Client, trained_models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thawline.pages._PAGE", 2)
    names = [model.name for model in client.models()]

    assert names == sorted(names)
    assert {f"tiny-{kind}" for kind in TASKS} <= set(names)
    assert len(list(islice(client.jobs(), 3))) == 3
    assert len(client.rows(trained_models["classification"].dataset["id"], "validation").to_list()) == 24
    assert {"id", "model.name", "progress.fraction"} <= set(client.jobs(model="tiny-tagging").to_pandas())


def test_versions_and_aliases(client: thawline.Client, trained_models: Models, tmp_path: Path) -> None:
    model = client.model("tiny-similarity@1")
    model.promote(1, "staging")
    alias = model.aliases()["staging"]

    assert repr(model) == "Model('tiny-similarity@1')"
    assert model.version(1) == model.versions()[0] == model.info().versions[0]
    assert model.versions()[0].metrics["test"]
    assert (alias.version, alias.previous) == (1, None)
    with pytest.raises(thawline.Conflict):
        model.rollback("staging")
    assert model.report(1)["task"] == "similarity"
    path = model.export(1, tmp_path)
    assert path.name == "tiny-similarity-1-onnx.zip"
    assert zipfile.is_zipfile(path)


def test_a_whole_file(
    client: thawline.Client, trained_models: Models, sample_files: dict[str, SampleFiles], tmp_path: Path
) -> None:
    sent = client.predict_file(sample_files["classification"].test, model="tiny-classification", format="jsonl")
    path = sent.wait(progress=True, timeout=60).save(tmp_path)

    assert sent.id in [found.id for found in client.predictions(model="tiny-classification")]
    assert path.name == f"{sent.id}.jsonl"
    assert pd.read_json(path, lines=True)["predicted_label"].notna().all()
    client.prediction(sent.id).delete()
    with pytest.raises(thawline.InvalidData, match="text"):
        client.predict_file([{"words": "a"}], model="tiny-classification")


def test_the_async_client(service: Service, trained_models: Models, tmp_path: Path) -> None:
    async def story() -> None:
        async with thawline.AsyncClient(f"http://127.0.0.1:{service.port}") as client:
            assert await client.is_ready()
            model = client.model("tiny-classification")
            answers = await asyncio.gather(*(model.predict(text) for text in ("my parcel", "my refund")))
            assert all(answer.label in ("delivery", "money") for answer in answers)
            assert len(await model.predict(["a", "b"])) == 2
            job = await client.job(trained_models["classification"].job["id"])
            assert (await job.wait(progress=True)).status == "succeeded"
            assert [e.message async for e in job.events()][-1] == "succeeded"
            frame = await client.jobs().to_pandas()
            assert len(frame) == len(await client.jobs().to_list())
            file = await client.predict_file([{"text": "my parcel"}], model="tiny-classification")
            assert (await (await file.wait()).save(tmp_path / "a.jsonl")).exists()
            assert (await model.export(1, tmp_path)).exists()
            waits = await client.train(job.dataset_id or "", model="waits", queue="gpu")
            assert (await waits.cancel()).status == "cancelled"

    asyncio.run(story())


def test_a_wrong_key(tmp_path: Path) -> None:
    api = Service(tmp_path / "home", {"THAWLINE_API_KEY": "right"}, command=[*Service(tmp_path).command[:-1], "api"])
    api.start(ready=False)
    try:
        with (
            thawline.Client(f"http://127.0.0.1:{api.port}", "wrong", retries=8) as client,
            pytest.raises(thawline.NotAllowed, match="THAWLINE_API_KEY"),
        ):
            client.models().to_list()
    finally:
        api.stop()
        api.client.close()
