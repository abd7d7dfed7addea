"""What a process loads: serving needs no training library, and the two halves agree on the task's name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fixtures.servers import ROOT

HEAVY = ("torch", "transformers", "sklearn", "scipy", "safetensors", "onnx", "pandas")


def fresh(code: str) -> str:
    """What the code prints in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("module", ["api.main", "api.cli"])
def test_the_api_loads_no_training_library(module: str) -> None:
    assert fresh(f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])") == "[]"


def test_the_worker_loads_them_only_in_the_process_that_trains() -> None:
    assert fresh("import sys, worker.app; print([m for m in ('torch', 'transformers') if m in sys.modules])") == "[]"


def test_the_worker_registers_the_task_that_the_api_sends() -> None:
    code = "import worker.app; from models_store.queue import TASK_NAME; print(TASK_NAME in worker.app.app.tasks)"

    assert fresh(code) == "True"
