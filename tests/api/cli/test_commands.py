"""The commands against a real service: what they print where, and their exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import thawline
from api.cli import app
from api.cli.session import ExitStatus
from tests.fixtures.models import SampleFiles, TrainedModel
from tests.fixtures.scripted import Scripted, says
from tests.fixtures.servers import ROOT, Service, free_port

pytestmark = pytest.mark.services
# A shell lets what it runs in the background ignore Ctrl-C, and this the processes that it starts.
HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
COMMAND = [sys.executable, "-c", f"{HEARS}; from api.cli import app; app()"]


@dataclass(frozen=True)
class Shell:
    """Runs ``thawline`` with a pipe on every side."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "THAWLINE_URL": self.url, "COLUMNS": "200"}

    def run(self, *words: object, status: int = 0, stdin: str = "") -> Result:
        ended = CliRunner().invoke(app, list(map(str, words)), env=self.environment, input=stdin)
        assert ended.exit_code == status, (ended.stdout, ended.stderr)
        return ended

    def json(self, *words: object, **given: Any) -> Any:
        return json.loads(self.run(*words, "--json", **given).stdout)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A process of its own."""
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*COMMAND, *words], cwd=ROOT, env=self.environment, text=True, **pipes)


@pytest.fixture
def shell(
    service: Service, trained_models: dict[str, TrainedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(f"http://127.0.0.1:{service.port}")


@pytest.fixture
def job_id(shell: Shell, trained_models: dict[str, TrainedModel]) -> Iterator[str]:
    """A job that no worker takes."""
    dataset_id = trained_models["classification"].dataset["id"]
    started = shell.run("train", dataset_id, "--name", "waits", "--queue", "gpu", "--set", "full_epochs=2")
    assert "thawline jobs watch job_" in started.stderr
    yield started.stdout.strip()
    with thawline.Client(shell.url) as client:
        client.job(started.stdout.strip()).cancel()


def test_data_sets(shell: Shell, sample_files: dict[str, SampleFiles]) -> None:
    files = sample_files["similarity"]
    words = [files.train, "--task", "similarity", "--validation", files.validation, "--name", "pairs"]
    assert "can be uploaded" in shell.run("datasets", "validate", *words[:-2]).stderr
    dataset_id = shell.run("datasets", "upload", *words).stdout.strip()
    shown = shell.run("datasets", "show", dataset_id).stdout

    assert "train rows\t80\n" in shown
    assert shell.json("datasets", "show", dataset_id)["id"] == dataset_id
    assert dataset_id in [found["id"] for found in shell.json("datasets", "list", "--task", "similarity")]
    assert shell.run("datasets", "list").stdout.startswith("id\tname\ttask\tstatus\trows\tcreated\n")
    assert shell.json("datasets", "delete", dataset_id) == {"id": dataset_id, "deleted": True}
    gone = shell.run("datasets", "show", dataset_id, status=ExitStatus.NOT_FOUND)
    assert gone.stdout == ""
    assert "Next: " in gone.stderr


def test_wrong_rows(shell: Shell, tmp_path: Path) -> None:
    rows = [f"a {n},x\nb {n},y\n" for n in range(6)]
    (tmp_path / "bad.csv").write_text("".join(["text,label\n", *rows, ",x\n"]))
    words = ["bad.csv", "--task", "classification"]
    refused = shell.run("datasets", "upload", *words, status=ExitStatus.REFUSED_DATA)
    told = shell.json("train", *words, "--name", "m", status=ExitStatus.REFUSED_DATA)["error"]
    listed = shell.run("datasets", "validate", *words, status=ExitStatus.REFUSED_DATA).stdout

    assert refused.stdout == ""
    assert "bad.csv, line 14, text" in refused.stderr
    assert "--on-error skip" in refused.stderr
    assert (told["type"], told["problems"][0]["line"]) == ("InvalidData", 14)
    assert "bad.csv\t14\ttext\tmissing_text\t" in listed
    assert "    | ,x\n" in refused.stderr
    (tmp_path / "body.csv").write_text("body,label\n" + "".join(f"a {n},{n % 2}\n" for n in range(6)))
    unnamed = shell.run(
        "train", "body.csv", "--task", "classification", "--name", "m", "--column", "label=label", "--column", "text=x",
        status=ExitStatus.REFUSED_DATA,
    )  # fmt: skip
    assert "'x'" in unnamed.stderr
    spelled = shell.run("datasets", "validate", "body.csv", "--task", "similarity", status=ExitStatus.REFUSED_DATA)
    assert "text_pair" in spelled.stdout
    asked = shell.run("datasets", "upload", "body.csv", "--task", "similarity", status=ExitStatus.REFUSED_DATA)
    assert "--column OURS=YOURS" in asked.stderr
    assert shell.run("datasets", "upload", *words, "--on-error", "skip").stdout.startswith("ds_")


def test_a_job_is_looked_at_and_stopped(shell: Shell, job_id: str) -> None:
    assert shell.json("jobs", "show", job_id)["spec"]["hyperparameters"]["full_epochs"] == 2
    assert "waits because\t" in shell.run("jobs", "show", job_id).stdout
    assert job_id in shell.run("jobs", "list", "--model", "waits", "--status", "queued").stdout
    assert shell.run("jobs", "pause", job_id).stdout == "paused\n"
    assert shell.run("jobs", "resume", job_id).stdout == "queued\n"
    assert shell.json("jobs", "cancel", job_id)["status"] == "cancelled"
    assert "was cancelled" in shell.run("jobs", "watch", job_id, status=ExitStatus.JOB_FAILED).stderr
    assert shell.run("jobs", "pause", job_id, status=ExitStatus.USAGE).stderr.startswith("thawline: ")
    again = shell.json("jobs", "retry", job_id)
    assert again["retry_of"] == job_id
    shell.run("jobs", "cancel", again["id"])


def test_ctrl_c_leaves_the_job_running(shell: Shell, job_id: str) -> None:
    with shell.start("jobs", "watch", job_id) as watching:
        assert watching.stderr is not None
        assert "queued" in watching.stderr.readline()
        watching.send_signal(signal.SIGINT)
        rest = watching.stderr.read()

    assert watching.returncode == ExitStatus.INTERRUPTED
    assert f"thawline jobs watch {job_id}" in rest
    assert shell.json("jobs", "show", job_id)["status"] == "queued"


def test_a_finished_job_shows_its_result(shell: Shell, trained_models: dict[str, TrainedModel]) -> None:
    job = trained_models["tagging"].job
    watched = shell.run("jobs", "watch", job["id"])

    assert watched.stdout.splitlines()[0].startswith("\t")
    assert [line.split("\t")[0] for line in watched.stdout.splitlines()[1:]] == [
        "phase head", "phase full", "validation", "test",
    ]  # fmt: skip
    assert shell.json("jobs", "watch", job["id"])["result"]["metrics"] == job["result"]["metrics"]


def test_models(shell: Shell, tmp_path: Path) -> None:
    assert "tiny-graded\tsimilarity\t1\tproduction=1" in shell.run("models", "list").stdout
    assert shell.run("models", "show", "tiny-graded").stdout.startswith("version\taliases\tstrategy\thead\t")
    assert shell.run("models", "promote", "tiny-graded", 1, "--alias", "blue").stdout == "tiny-graded@1\n"
    assert shell.json("models", "show", "tiny-graded")["aliases"]["blue"] == 1
    assert shell.run("models", "rollback", "tiny-graded", "--alias", "blue", status=ExitStatus.USAGE).stdout == ""
    told = shell.json("models", "export", "tiny-graded@blue", "--out", tmp_path)
    assert zipfile.is_zipfile(told["path"])
    shell.run("models", "export", "tiny-graded@red", status=ExitStatus.USAGE)


def test_predictions(shell: Shell, sample_files: dict[str, SampleFiles], tmp_path: Path) -> None:
    told = shell.json("predict", "tiny-classification", "my parcel", "--top-k", 2)
    pair = shell.json("predict", "tiny-similarity", "my kettle", "--pair", "kettle")
    tagged = shell.run("predict", "tiny-tagging", "--to", "csv", stdin="Ada met Bob.\n").stdout
    rows = sample_files["similarity"].test.read_text()
    piped = shell.run("predict", "tiny-similarity", stdin=rows).stdout.splitlines()
    lines = shell.run("predict", "tiny-several", "--json", stdin="refund now\nparcel\n").stdout.splitlines()

    assert (told["version"], len(told["scores"])) == (1, 2)
    assert pair["label"] in ("yes", "no")
    assert tagged.startswith("text,predicted_entities,predicted_tags,prediction_error\nAda met Bob.,")
    assert piped[0] == "question1,question2,is_duplicate,predicted_label,predicted_score,prediction_error"
    assert len(piped) == 31
    assert all("labels" in json.loads(line)["prediction"] for line in lines)
    own = shell.run("predict", "tiny-classification", "--json", stdin="text,label\nmy parcel,mine\n").stdout
    assert json.loads(own)["label"] == "mine"  # what the row has is not overwritten
    unclear = shell.run("predict", "tiny-classification", stdin="Body,Label\nmy parcel,mine\n", status=ExitStatus.USAGE)
    assert "--column" in unclear.stderr
    for words, name in ((["--column", "text=Body"], "Body"), ([], "Text")):
        named = shell.run("predict", "tiny-classification", *words, stdin=f"{name},Label\nmy parcel,mine\n")
        assert named.stdout.startswith(f"{name},Label,predicted_label,")
    shell.run("predict", "nobody", "text", status=ExitStatus.NOT_FOUND)


def test_a_pipe_goes_on_behind_a_row_without_an_answer(shell: Shell) -> None:
    words = ["predict", "tiny-classification"]
    csv = shell.run(*words, stdin="text,n\n,1\nmy parcel,2\n,3,4\n", status=ExitStatus.REFUSED_DATA)
    lines = csv.stdout.splitlines()
    assert lines[:2] == ["text,n,predicted_label,predicted_score,prediction_error", ",1,,,the text is empty"]
    assert lines[2].startswith("my parcel,2,")
    assert lines[3].endswith("the row has more fields than the header")
    assert "2 of 3 rows have no answer" in csv.stderr

    given = '{"text": "my parcel"}\n{"body": "b"}\n{"text": 3}\nnonsense\n'
    told = shell.run(*words, stdin=given, status=ExitStatus.REFUSED_DATA)
    answers = [json.loads(line) for line in told.stdout.splitlines()]
    assert ["prediction_error" in answer for answer in answers] == [False, True, True]
    assert "line 4 is no JSON" in told.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["hello", "--to", "csv"], "--to"),
        (["hello", "--from", "csv"], "--from"),
        (["--pair", "x"], "--pair"),
        (["--from", "lines", "--column", "text=x"], "--column"),
        (["--out", "x"], "--out"),
    ],
)
def test_options_are_never_passed_over(shell: Shell, words: list[str], told: str) -> None:
    refused = shell.run("predict", "tiny-classification", *words, stdin="a\n", status=ExitStatus.USAGE)
    assert told in refused.stderr
    as_json = shell.run("predict", "tiny-classification", *words, "--json", stdin="a\n", status=ExitStatus.USAGE)
    assert told in json.loads(as_json.stdout)["error"]["message"]


def test_a_whole_file(shell: Shell, sample_files: dict[str, SampleFiles], tmp_path: Path) -> None:
    words = ["predict", "tiny-classification", "--file", sample_files["classification"].test]
    shown = shell.run(*words)
    saved = shell.json(*words, "--out", tmp_path / "answers.csv")

    assert shown.stdout.startswith("text,label,predicted_label,")
    assert "100 %, 30 rows" in shown.stderr
    assert Path(saved["path"]).read_text().splitlines() == shown.stdout.splitlines()
    shell.run(*words, "--top-k", 2, status=ExitStatus.USAGE)


def test_nobody_there() -> None:
    shell = Shell(f"http://127.0.0.1:{free_port()}")

    assert "thawline serve" in shell.run("jobs", "list", status=ExitStatus.UNAVAILABLE).stderr
    shell.run("jobs", "list", "--url", "nonsense", status=ExitStatus.USAGE)
    shell.run("train", "none.csv", "--task", "tagging", "--name", "m", status=ExitStatus.USAGE)
    shell.run("train", "none.csv", "--name", "m", status=ExitStatus.USAGE)


def test_a_reader_that_has_seen_enough(scripted: Scripted) -> None:
    models = [{"name": f"m{n}", "task": "tagging", "aliases": {}, "versions": []} for n in range(3000)]
    scripted.script = [says(200, {"object": "list", "data": models, "has_more": False})]
    with Shell(scripted.url).start("models", "list") as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        reading.stdout.readline()
        reading.stdout.close()
        assert "Traceback" not in reading.stderr.read()
