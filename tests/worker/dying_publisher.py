"""A worker that publishes what a training seems to have left, and is killed on the way.

python -m tests.worker.dying_publisher HOME STEP
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from models_store import artifacts, jobs, registry
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.jobs import doing
from models_store.queue import JobQueue
from models_store.settings import Settings
from worker import runner as runner_module
from worker.request import PipelineRequest
from worker.runner import JobRunner
from worker.training.events import Event, Finished

FINISHED = Finished(result={"head": "linear", "metrics": {"test": {"accuracy": 0.9}}}, manifest={"kind": "model"})
FILES = ("model.json", "model.onnx", "tokenizer.json")


class FinishedTraining:
    """Stands in for `TrainingProcess`: its files are there, and it says that it is done."""

    pid = 0
    ended = False

    def __init__(self, request_json: str, *_: object) -> None:
        self._folder = PipelineRequest.model_validate_json(request_json).output_dir

    def __enter__(self) -> Self:
        for name in FILES:
            (self._folder / name).write_bytes(name.encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def next_event(self, timeout: float) -> Event:
        return FINISHED


def die(*_: object, **__: object) -> None:
    """As by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(number: int, before: Callable[..., Any]) -> Callable[..., Any]:
    """What a function does, up to a call of which nothing is done."""
    calls = []

    def called(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return die() if len(calls) == number else before(*arguments, **options)

    return called


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a function does, and nothing after it."""

    def called(*arguments: Any, **options: Any) -> None:
        function(*arguments, **options)
        die()

    return called


# Where the process is killed, in the order of publishing. What was written and not forced to disk, the kernel keeps:
# only a power cut would lose it.
STEPS: dict[str, tuple[object, str, Callable[[Callable[..., Any]], Callable[..., Any]]]] = {
    "before a file is described": (artifacts, "file_sha256", lambda real: at_call(1, real)),
    "between two files": (artifacts, "file_sha256", lambda real: at_call(2, real)),
    "before the manifest is forced to disk": (artifacts, "fsync", lambda real: at_call(len(FILES) + 1, real)),
    "before the rename": (Path, "rename", lambda real: at_call(1, real)),
    "after the rename": (Path, "rename", after),
    "before the transaction": (jobs, "succeed", lambda real: at_call(1, real)),
    "within the transaction": (registry, "publish", after),
    "at the end of the transaction": (doing, "end_attempt", after),
    "after the transaction": (jobs, "succeed", after),
}


def runner_of(home: Path) -> JobRunner:
    """A runner whose trainings are over at once."""
    settings = Settings(_env_file=None, home=home, encoders_dir=home.parent)
    setattr(runner_module, "TrainingProcess", FinishedTraining)  # noqa: B010
    db = Database(settings.resolved_database_url)
    return JobRunner(settings, db, ArtifactStore(settings.artifacts_dir), JobQueue(None))


if __name__ == "__main__":
    target, name, killed = STEPS[sys.argv[2]]
    runner = runner_of(Path(sys.argv[1]))
    setattr(target, name, killed(getattr(target, name)))
    runner.run_next()
