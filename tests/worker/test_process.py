"""The parent's view of a training process, when the process does not end as it should."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from worker import process as process_module
from worker.process import TrainingProcess


def test_half_an_event_ends_the_stream_instead_of_hanging_the_job(tmp_path: Path) -> None:
    process = TrainingProcess("{}", tmp_path)
    read_fd, write_fd = os.pipe()
    os.write(write_fd, b'{"kind":"message","message":"whole"}\n{"kind":"mess')
    os.close(write_fd)

    process._read(read_fd)

    first = process.next_event(timeout=1)
    assert first is not None
    assert first.kind == "message"
    assert process.next_event(timeout=1) is None
    assert process.ended


def test_a_request_that_makes_no_sense_is_told_as_a_failure(tmp_path: Path) -> None:
    with TrainingProcess("this is no JSON", tmp_path) as process:
        first, event = (process.next_event(timeout=60) for _ in range(2))

    assert first is not None
    assert first.kind == "stage_started"  # told at once, before the imports
    assert event is not None
    assert event.kind == "failed"
    assert event.code == "training_failed"


def test_secrets_of_the_worker_are_not_the_training_processs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"THAWLINE_WEBHOOK_SECRET", "THAWLINE_DATABASE_URL", "THAWLINE_BROKER_URL", "THAWLINE_API_KEY"}
    for name in (*secrets, "thawline_api_key"):  # settings are read in either case
        monkeypatch.setenv(name, "a secret")
    monkeypatch.setenv("THAWLINE_LOG_LEVEL", "debug")

    with TrainingProcess("{}", tmp_path) as process:
        environment = psutil.Process(process.pid).environ()

    assert "a secret" not in environment.values()
    assert environment["THAWLINE_LOG_LEVEL"] == "debug"
    assert environment["PATH"] == os.environ["PATH"]


def test_a_process_that_cannot_be_killed_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("_STOP_SECONDS", "_KILL_SECONDS"):
        monkeypatch.setattr(process_module, name, 0.05)
    process = TrainingProcess("{}", tmp_path)
    with process:
        os.kill(process.pid, signal.SIGSTOP)  # it does not end by itself,
        monkeypatch.setattr(process._process, "send_signal", lambda _: None)  # nor by a signal: uninterruptible sleep

        process.stop(0.05)
        end = process.describe_end()

    try:
        assert psutil.pid_exists(process.pid)  # and yet the block was left
        assert "could not be killed" in end
        assert capsys.readouterr().out.count("cannot be killed") == 1
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process._process.wait(30)
        process._reader.join(30)
