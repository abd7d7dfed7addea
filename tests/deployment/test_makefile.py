"""The Makefile: what is installed already is not installed again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.servers import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose `.venv` was set up by an earlier run."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "web").mkdir()
    for name in ("package-lock.json", "build.mjs"):
        shutil.copy(ROOT / "web" / name, tmp_path / "web")
    assert installs(tmp_path)
    database = subprocess.run(["make", "-pn"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    (recipe,) = [line for line in database.splitlines() if line.startswith(("LOCK :=", "LOCK ::="))]
    stamp = tmp_path / ".venv" / f".installed-{recipe.split()[-1]}"
    stamp.parent.mkdir()
    stamp.touch()
    return tmp_path


def installs(checkout: Path) -> bool:
    """Whether `make setup` would run pip."""
    answer = subprocess.run(["make", "-n", "setup"], cwd=checkout, capture_output=True, text=True, check=True)
    return "pip install" in answer.stdout


def test_a_second_run_installs_nothing(checkout: Path) -> None:
    assert not installs(checkout)


def test_a_tool_that_is_set_otherwise_installs_nothing(checkout: Path) -> None:
    with (checkout / "pyproject.toml").open("a") as stream:
        stream.write("\n[tool.other]\nsetting = 1\n")
    assert not installs(checkout)


@pytest.mark.parametrize(("file", "text"), [("constraints.txt", "more==1.0\n"), ("pyproject.toml", None)])
def test_other_dependencies_are_installed(checkout: Path, file: str, text: str | None) -> None:
    path = checkout / file
    old = path.read_text()
    path.write_text(old + text if text else old.replace("dependencies = [", 'dependencies = ["more",', 1))
    assert installs(checkout)
