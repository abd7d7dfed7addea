"""`make demo` as a newcomer meets it: one command, three models that answer, and nothing left running."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.fixtures.servers import ROOT, free_port, wait_for

pytestmark = pytest.mark.services


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process that was started with this home or works in it, whoever its parent is by now."""
    return [process for process in psutil.process_iter() if belongs_to(process, home)]


def belongs_to(process: psutil.Process, home: Path) -> bool:
    with contextlib.suppress(psutil.Error):  # it ended meanwhile, or is another user's
        if process.environ().get("THAWLINE_HOME") == str(home):
            return True
        return Path(process.cwd()).is_relative_to(home)  # the broker, which overwrites its environment
    return False


def test_the_demo_trains_and_asks_three_models_and_leaves_nothing_running(tmp_path: Path, encoders_dir: Path) -> None:
    home, port = tmp_path / "home", free_port()
    environment = {
        **os.environ,
        "THAWLINE_HOME": str(home),
        "THAWLINE_PORT": str(port),
        "THAWLINE_ENCODERS_DIR": str(encoders_dir),
        "THAWLINE_TRAINING_THREADS": "1",
        "COLUMNS": "200",  # so that no line is broken in two
    }
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), "--base-model", "tiny"]
    demo = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        # Demo, supervisor, broker, worker and API: so the search finds what must be gone in the end.
        wait_for(lambda: len(processes_of(home)) >= 5, seconds=60, what="the demo's service")
        output, _ = demo.communicate(timeout=300)
        left = processes_of(home)
    finally:  # a demo that failed must not go on beside the other tests
        for process in processes_of(home):
            process.kill()

    assert demo.returncode == 0, output
    assert left == []
    for model in ("support-intent", "support-entities", "duplicate-questions"):
        assert re.search(rf"^{model} \(\w+; validation .* \d\.\d{{3}}", output, re.MULTILINE), output
    # Three messages and two pairs are labelled; a tiny encoder need not find an entity in the two sentences.
    assert len(re.findall(r" \w+ \([01]\.\d\d\) *$", output, re.MULTILINE)) >= 5, output
    assert f"http://127.0.0.1:{port} " in output
