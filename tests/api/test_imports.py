"""What a process loads: serving needs no training library, and the two halves agree on the task's name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.servers import ROOT

HEAVY = ("torch", "transformers", "accelerate", "sklearn", "scipy", "safetensors", "onnx", "pandas")


def fresh(code: str, environment: dict[str, str] | None = None) -> str:
    """What the code prints in a process of its own."""
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("module", ["api.main", "api.cli"])
def test_the_api_loads_no_training_library(module: str) -> None:
    assert fresh(f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])") == "[]"


def test_the_worker_loads_them_only_in_the_process_that_trains() -> None:
    assert (
        fresh("import sys, worker.app; print([m for m in ('torch', 'transformers', 'accelerate') if m in sys.modules])")
        == "[]"
    )


def test_the_worker_registers_the_task_that_the_api_sends() -> None:
    code = "import worker.app; from models_store.queue import TASK_NAME; print(TASK_NAME in worker.app.app.tasks)"

    assert fresh(code) == "True"


@pytest.mark.parametrize("module", ["api.main", "models_store.predictor", "worker.child"])
def test_onnxruntime_is_told_not_to_report_and_leaves_no_identifier(module: str, tmp_path: Path) -> None:
    places = dict.fromkeys(("TMPDIR", "HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"), str(tmp_path))
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | places

    told = fresh(f"import os, {module}, onnxruntime; print(os.environ['ORT_DISABLE_TELEMETRY'])", environment)

    assert told == "1"
    assert list(tmp_path.iterdir()) == []
