"""Servers as child processes: started, waited for, and gone in the end, whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from models_store.process import guarded

_START_SECONDS = 180.0
_STOP_SECONDS = 20.0
_TAIL = 2000  # characters of what a failed server printed


class ServerError(RuntimeError):
    """A server did not start, or does not answer as it should."""


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of a running server, as long as none of them leaves for a group of its own."""

    number: int

    def pause(self) -> None:
        """Stop them where they are, so that they take no time of the CPU."""
        os.killpg(self.number, signal.SIGSTOP)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Let them go on for as long as the block lasts."""
        os.killpg(self.number, signal.SIGCONT)
        try:
            yield
        finally:
            self.pause()


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], log: Path, ready_url: str, cwd: Path
) -> Iterator[Group]:
    """A server for as long as the block lasts, entered once it says that it is ready.

    Args:
        command: Its command line.
        environment: All of its environment.
        log: Where its output goes.
        ready_url: Answers 200 when it is ready.
        cwd: Where it works.

    Raises:
        ServerError: It ended or was not ready in time; the message holds the end of its output.
    """
    with log.open("wb") as output:
        # A group of its own, so that its workers can be ended with it; and the kernel ends it with us.
        process = subprocess.Popen(
            guarded(list(command), signal.SIGTERM),
            env=dict(environment),
            stdout=output,
            stderr=output,
            cwd=cwd,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, ready_url, log)
        yield Group(process.pid)
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    state = "was not ready in time" if process.returncode is None else f"ended with status {process.returncode}"
    raise ServerError(f"{state}: {log.read_text(encoding='utf-8', errors='replace')[-_TAIL:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, then end whatever is left of its group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGCONT)  # a process that is paused cannot stop by itself
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
