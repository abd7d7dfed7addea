"""The parent's view of a training process, when the process does not end as it should."""

from __future__ import annotations

import os
from pathlib import Path

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
