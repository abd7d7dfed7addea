"""A service that is busy, away, or breaks off: what is tried again, how soon, and what the caller is told."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

import thawline
from tests.fixtures.scripted import Scripted, drops, problem, says, streams
from tests.fixtures.servers import free_port
from thawline import asking

JOB = {"id": "job_1", "status": "queued", "model": {"name": "m", "version": None}}
EMPTY = {"object": "list", "data": [], "has_more": False}
QUICK = thawline.Retries(most=3, first_seconds=0.001, patience_seconds=5)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which lasts."""
    made: list[float] = []
    monkeypatch.setattr("thawline.engines.time.sleep", made.append)
    return made


def client(scripted: Scripted, retries: thawline.Retries = QUICK) -> thawline.Client:
    return thawline.Client(scripted.url, "secret", retries=retries)


def event(number: int, message: str = "hello") -> bytes:
    body = {"id": number, "created_at": "2026-01-01T00:00:00Z", "message": message}
    return f"event: message\nid: {number}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


def test_a_busy_service_is_asked_again_when_it_wants_to_be(scripted: Scripted, pauses: list[float]) -> None:
    scripted.script = [says(429, retry_after="7"), says(503), says(200, JOB)]
    with client(scripted) as asked:
        assert asked.job("job_1").status == "queued"

    assert pauses[0] == 7.0
    assert 0 < pauses[1] < 1
    assert {request.headers["authorization"] for request in scripted.asked} == {"Bearer secret"}


def test_a_service_that_stays_busy_is_told_of(scripted: Scripted, pauses: list[float]) -> None:
    scripted.script = [says(503, problem(503, "unavailable", "the database is away"))] * 4
    with client(scripted) as asked, pytest.raises(thawline.Unavailable, match="the database is away; try again"):
        asked.job("job_1")

    assert len(scripted.asked) == 4


def test_a_pause_that_is_too_long_is_not_waited_for(scripted: Scripted, pauses: list[float]) -> None:
    scripted.script = [says(429, retry_after="3600")]
    with client(scripted) as asked, pytest.raises(thawline.Unavailable):
        asked.job("job_1")

    assert pauses == []


def test_a_deadline_that_has_passed_is_not_tried_again(scripted: Scripted) -> None:
    scripted.script = [says(503, problem(503, "deadline_exceeded", "no answer within 0.1 s"))]
    with client(scripted) as asked, pytest.raises(thawline.Unavailable, match="no answer within"):
        asked.model("m").predict("text", timeout=0.1)

    assert scripted.asked[0].path == "/predict/m?timeout=0.1"


def test_pauses_double_up_to_the_longest_and_differ() -> None:
    retries = asking.Retries(first_seconds=1, longest_seconds=8)
    for tries, most in enumerate([1, 2, 4, 8, 8]):
        drawn = [retries.pause(tries) for _ in range(50)]
        assert most / 2 <= min(drawn) < max(drawn) <= most


def test_a_job_is_asked_for_under_one_key_however_often_it_is_sent(scripted: Scripted, pauses: list[float]) -> None:
    scripted.script = [drops, says(503), says(202, JOB)]
    with client(scripted) as asked:
        asked.train("ds_1", model="m", head="auto")

    keys = {request.headers["idempotency-key"] for request in scripted.asked}
    assert len(keys) == 1
    assert {request.body for request in scripted.asked} == {b'{"dataset_id":"ds_1","model":"m","head":"auto"}'}


def test_an_upload_begins_anew_with_each_try(scripted: Scripted, pauses: list[float], tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,label\na,x\n")
    scripted.script = [drops, says(429), says(201, {"id": "ds_1", "name": "train", "task": "classification"})]
    with client(scripted) as asked, path.open("rb") as file:
        asked.upload(file, task="classification")

    assert all(b"text,label\na,x\n" in request.body for request in scripted.asked)
    assert all(b'filename="train.csv"' in request.body for request in scripted.asked)


def test_what_may_have_been_done_is_not_asked_for_twice(scripted: Scripted) -> None:
    scripted.script = [drops]
    with client(scripted) as asked, pytest.raises(thawline.Unavailable, match="look whether it was done"):
        asked.predict_file([{"text": "a"}], model="m")

    assert len(scripted.asked) == 1


def test_nobody_there() -> None:
    with (
        thawline.Client(f"http://127.0.0.1:{free_port()}", retries=0) as asked,
        pytest.raises(thawline.Unavailable, match=r"cannot be reached.*thawline serve"),
    ):
        asked.job("job_1")
    assert not asked_is_ready(f"http://127.0.0.1:{free_port()}")


def asked_is_ready(url: str) -> bool:
    with thawline.Client(url) as asked:
        return asked.is_ready()


@pytest.mark.parametrize("cut", [True, False])
def test_a_cut_event_stream_goes_on_behind_the_last_event(scripted: Scripted, pauses: list[float], cut: bool) -> None:
    whole = event(1) + b": still here\n\n" + event(2, "a line\u2028of two")
    half = event(3)[:20]
    scripted.script = [
        says(200, JOB), streams(whole[:30], whole[30:], half, cut=cut), says(503), streams(event(3)), says(204)
    ]  # fmt: skip
    with client(scripted) as asked:
        found = list(asked.job("job_1").events())

    assert [e.id for e in found] == [1, 2, 3]
    assert found[1].message == "a line\u2028of two"
    assert [request.headers["last-event-id"] for request in scripted.asked[1:]] == ["0", "2", "2", "3"]


def test_a_stream_that_tells_nothing_is_given_up(scripted: Scripted, pauses: list[float]) -> None:
    scripted.script = [says(200, JOB), *[streams()] * 4]
    with client(scripted) as asked, pytest.raises(thawline.Unavailable, match="break off"):
        list(asked.job("job_1").events())


def test_waiting_bears_a_service_that_is_away(scripted: Scripted, pauses: list[float]) -> None:
    ended = {**JOB, "status": "succeeded"}
    scripted.script = [says(200, JOB), says(200, JOB), *[says(503)] * 5, drops, says(200, ended)]
    with client(scripted) as asked:
        assert asked.job("job_1").wait().status == "succeeded"


@pytest.mark.parametrize(("status", "kind"), [("failed", thawline.JobFailed), ("cancelled", thawline.JobCancelled)])
def test_a_job_without_a_model_is_an_error(scripted: Scripted, status: str, kind: type[thawline.JobFailed]) -> None:
    ended = {**JOB, "status": status, "error": {"code": "out_of_memory", "message": "no memory is left"}}
    scripted.script = [says(200, JOB), says(200, ended)]
    with client(scripted) as asked, pytest.raises(kind) as caught:
        asked.job("job_1").wait()

    assert caught.value.job.error == thawline.Failure(code="out_of_memory", message="no memory is left")
    assert caught.value.hint is not None


def test_waiting_has_an_end(scripted: Scripted) -> None:
    scripted.script = [says(200, JOB)] * 2
    with client(scripted) as asked, pytest.raises(thawline.WaitTimeout, match="goes on"):
        asked.job("job_1").wait(timeout=0.01)


def test_a_deadline_is_kept_while_the_service_is_away_or_silent(scripted: Scripted) -> None:
    silent = threading.Event()

    def says_nothing(handler: BaseHTTPRequestHandler) -> None:
        silent.wait(60)

    began = time.monotonic()
    with client(scripted, thawline.Retries()) as asked:
        scripted.script = [says(200, JOB), *[says(503, retry_after="2")] * 9]
        with pytest.raises(thawline.WaitTimeout, match="nothing was heard"):
            asked.job("job_1").wait(timeout=1)
        scripted.script = [says(200, JOB), says_nothing]
        with pytest.raises(thawline.WaitTimeout, match="nothing was heard"):
            asked.job("job_1").wait(timeout=1)
        scripted.script = [says(503, retry_after="10")] * 9
        with pytest.raises(thawline.Unavailable):
            asked.model("m").predict("x", timeout=1)
    silent.set()
    assert time.monotonic() - began < 30  # a patience of 300 seconds else


def test_a_download_that_breaks_begins_anew_and_leaves_no_half(scripted: Scripted, tmp_path: Path) -> None:
    scripted.script = [streams(b"half", cut=True), streams(b"half", b" and half")]
    with client(scripted) as asked:
        path = asked.model("m").export(1, tmp_path)
    assert (path.name, path.read_bytes()) == ("m-1-onnx.zip", b"half and half")

    scripted.script = [streams(b"half", cut=True)] * 4
    with client(scripted) as asked, pytest.raises(thawline.Unavailable):
        asked.model("m").export(2, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["m-1-onnx.zip"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, thawline.NotAllowed),
        (404, thawline.NotFound),
        (409, thawline.Conflict),
        (422, thawline.InvalidRequest),
        (500, thawline.Refused),
    ],
)
def test_each_refusal_has_its_exception(scripted: Scripted, status: int, kind: type[thawline.Refused]) -> None:
    scripted.script = [says(status, problem(status, "some_code", "because"))]
    with client(scripted) as asked, pytest.raises(thawline.Refused, match="because") as caught:
        asked.job("job_1")

    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (status, "some_code", "r1")


def test_wrong_rows_are_told_with_their_places(scripted: Scripted) -> None:
    errors = [
        {"file": "train.csv", "line": line, "column": "label", "code": "missing_label", "message": "label is empty"}
        for line in range(2, 9)
    ]
    scripted.script = [says(422, problem(422, "invalid_dataset", "7 problems", errors=errors, error_count=7))]
    with client(scripted) as asked, pytest.raises(thawline.InvalidData) as caught:
        asked.upload([{"text": "a"}], task="classification")

    assert (caught.value.problems[0].line, caught.value.problem_count) == (2, 7)
    assert "train.csv, line 2, label: label is empty" in str(caught.value)
    assert "and 2 more" in str(caught.value)


@pytest.mark.parametrize("answer", [says(200, ["no object"]), says(200, {"id": 1}), says(404), streams(b"<html>")])
def test_another_program_at_that_address(scripted: Scripted, answer: Any) -> None:
    scripted.script = [answer]
    with client(scripted) as asked, pytest.raises(thawline.UnexpectedAnswer, match="Thawline service"):
        asked.job("job_1")


@pytest.mark.parametrize(
    "answer", [says(200, []), says(200, {"data": []}), says(200, {"data": [{}], "has_more": False})]
)
def test_another_programs_lists(scripted: Scripted, answer: Any) -> None:
    scripted.script = [answer]
    with client(scripted) as asked, pytest.raises(thawline.UnexpectedAnswer):
        list(asked.jobs())


def test_another_programs_answers(scripted: Scripted) -> None:
    whole = {"model": "m", "version": 1, "task": "classification", "predictions": []}
    scripted.script = [says(200, JOB), streams(b"<html>", kind="text/html"), says(200, []), says(200, whole)]
    with client(scripted) as asked:
        job = asked.job("job_1")
        with pytest.raises(thawline.UnexpectedAnswer, match="no stream"):
            list(job.events())
        for _ in range(2):
            with pytest.raises(thawline.UnexpectedAnswer):
                asked.model("m").predict("x")


def test_what_cannot_be_sent() -> None:
    with thawline.Client("http://127.0.0.1:9") as asked:
        for odd in (float("nan"), "\ud800", object()):
            with pytest.raises(thawline.ConfigurationError):
                asked.model("m").predict([odd])
        for name in ("", ".", "a/b"):
            with pytest.raises(thawline.ConfigurationError, match="no name"):
                asked.job(name)


def test_errors_and_jobs_travel_between_processes(scripted: Scripted) -> None:
    failed = {**JOB, "status": "failed", "error": {"code": "x", "message": "y"}}
    scripted.script = [says(200, failed), says(200, failed), says(404, problem(404, "some_code", "gone"))]
    with client(scripted) as asked:
        job = asked.job("job_1")
        with pytest.raises(thawline.JobFailed) as ended:
            job.wait()
        with pytest.raises(thawline.NotFound) as gone:
            asked.job("job_1")
    assert pickle.loads(pickle.dumps(job)) == copy.deepcopy(job) == job
    for error in (ended.value, gone.value):
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert (type(twin), str(twin), twin.hint) == (type(error), str(error), error.hint)


def test_a_newer_server_may_say_more(scripted: Scripted) -> None:
    scripted.script = [says(200, {**JOB, "mood": "good", "progress": {"fraction": 0.5, "colour": "red"}})]
    with client(scripted) as asked:
        job = asked.job("job_1")

    assert (job.progress.fraction, job.raw["mood"], job.progress.raw["colour"]) == (0.5, "good", "red")


def test_the_async_client_does_the_same(scripted: Scripted) -> None:
    scripted.script = [
        says(429), drops, says(200, JOB), streams(event(1), cut=True), streams(event(2)), says(204), says(200, EMPTY)
    ]  # fmt: skip

    async def story() -> list[int]:
        async with thawline.AsyncClient(scripted.url, retries=QUICK) as asked:
            job = await asked.job("job_1")
            found = [e.id async for e in job.events()]
            assert await asked.jobs().to_list() == []
            return found

    assert asyncio.run(story()) == [1, 2]


@pytest.mark.parametrize("url", ["nonsense", "ftp://host"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(thawline.ConfigurationError, match="no URL"):
        thawline.Client(url)


def test_url_and_key_come_from_the_environment(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAWLINE_URL", scripted.url)
    monkeypatch.setenv("THAWLINE_API_KEY", "from outside")
    scripted.script = [says(200, JOB)]
    with thawline.Client() as asked:
        asked.job("job_1")

    assert scripted.asked[0].headers["authorization"] == "Bearer from outside"
