"""Run one side in a process of its own and measure it from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.training_speed.exchange import Assignment, Report, Times
from models_store.tasks import Task, TaskName

# Encoders are local files: nothing is looked up on a hub. For every side alike.
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
_TAIL = 3000  # characters of what a failed side printed


@dataclass(frozen=True, slots=True)
class Side:
    """A way to train: a module of this package, in single precision or in bfloat16."""

    module: str
    bf16: bool = False
    tasks: frozenset[TaskName] = frozenset(TaskName)
    primary_metric: str | None = None  # it is of use for this kind of data alone

    def fits(self, task: Task[Any]) -> bool:
        """Whether it can learn this data."""
        return task.name in self.tasks and self.primary_metric in (None, task.primary_metric)


OURS = "thawline"
SIDES = {
    OURS: Side("ours"),
    "trainer": Side("hf_trainer"),
    "trainer_bf16": Side("hf_trainer", bf16=True),
    "sentence_transformers": Side(
        "sentence_bi_encoder", tasks=frozenset({TaskName.SIMILARITY}), primary_metric="spearman"
    ),
    "setfit": Side("setfit_pairs", tasks=frozenset({TaskName.CLASSIFICATION})),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished run: times and peak memory of the whole process, and what the side itself reports."""

    times: Times
    peak_mib: float
    report: Report


def run_side(side: Side, assignment: Assignment, folder: Path) -> Outcome:
    """Start the side, wait for it to end, and read its report.

    Raises:
        RuntimeError: It failed; the message holds the end of what it printed.
    """
    folder.mkdir()
    assignment.save(folder)
    environment = {**os.environ, **_ENVIRONMENT, "TMPDIR": str(folder), "HF_HOME": str(folder / "hf")}
    if assignment.threads:
        environment["OMP_NUM_THREADS"] = environment["RAYON_NUM_THREADS"] = str(assignment.threads)
    command = [sys.executable, "-m", f"benchmarks.training_speed.{side.module}", str(folder)]
    started = time.monotonic()
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        # The kernel's own peak: the largest resident set of the process or of a child that it waited for. It is never
        # below what this process held when it started the side, which imports no less than we do.
        _, status, usage = os.wait4(process.pid, 0)
    times = Times(time.monotonic() - started, usage.ru_utime + usage.ru_stime)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        printed = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{side.module} failed: {printed[-_TAIL:]}")
    return Outcome(times, usage.ru_maxrss / 1024, Report.load(folder))
