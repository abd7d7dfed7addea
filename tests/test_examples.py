"""The examples of docs/client.md and docs/cli.md, run as they stand; only the encoder is a tiny one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.models import SampleFiles
from tests.fixtures.servers import ROOT, Service

pytestmark = pytest.mark.services


@pytest.fixture
def folder(tmp_path: Path, sample_files: dict[str, SampleFiles]) -> Path:
    """A folder with the files that the examples name, and a `thawline` that is this checkout's."""
    files = sample_files["classification"]
    (tmp_path / "train.csv").write_bytes(files.train.read_bytes())
    (tmp_path / "mails.csv").write_bytes(files.test.read_bytes())
    command = tmp_path / "bin" / "thawline"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m api.cli "$@"\n')
    command.chmod(0o755)
    return tmp_path


def examples(document: str, language: str) -> str:
    """Its code blocks in this language, one after the other."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def run(command: list[str], folder: Path, service: Service) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "THAWLINE_URL": f"http://127.0.0.1:{service.port}",
    }
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, (ended.stdout, ended.stderr)
    return ended.stdout


def test_the_client(folder: Path, service: Service) -> None:
    code = examples("docs/client.md", "python").replace(
        'model="support-intent")\njob', 'model="support-intent", base_model="tiny")\njob'
    )
    printed = run([sys.executable, "-W", "error", "-c", code], folder, service)

    assert "base_model" in code
    assert "'accuracy'" in printed
    assert "train.jsonl 4 text text is empty" in printed
    assert (folder / "answers.csv").read_text().startswith("text,label,predicted_label")
    assert (folder / "support-intent.zip").exists()


def test_the_command_line(folder: Path, service: Service) -> None:
    code = examples("docs/cli.md", "sh").replace("--name support-intent", "--name support-intent --base-model tiny")
    printed = run(["bash", "-euo", "pipefail", "-c", code], folder, service)

    assert "phase full" in printed
    assert (folder / "answers.csv").read_text().startswith("text,label,predicted_label")
    assert (folder / "answered.csv").read_text().startswith("text,label,predicted_label")
    assert (folder / "support-intent.zip").exists()


def test_the_readme_shows_what_is_run_here() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("### From a shell, from Python")[2]
    shown = {
        line
        for block in re.findall(r"```\w+\n(.*?)```", section.partition("\n### ")[0], re.DOTALL)
        for line in block.splitlines()
    }
    run_here = {*examples("docs/client.md", "python").splitlines(), *examples("docs/cli.md", "sh").splitlines()}

    assert len(shown) > 10
    assert shown <= run_here
