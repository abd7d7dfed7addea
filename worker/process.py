"""The parent's view of a training process: start it, read its events, stop it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from models_store.logging import get_logger
from worker.training.events import EVENTS, Event, Failed

log = get_logger(__name__)

_STOP_SECONDS = 5.0
_KILL_SECONDS = 30.0  # a process in uninterruptible sleep, of a broken disk or driver, cannot even be killed
_TAIL_BYTES = 4000
_REQUEST = "request.json"
# Nothing is ever looked up on a hub (what is fetched from one, `worker.hub` fetches), nothing is reported to anybody,
# and progress bars have no reader.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
# What torchrun tells the processes that it starts, and nobody else is to tell ours.
_TORCHRUN = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"})

# What a training has no use for, and whatever it runs (an encoder's code, a library) must not get to know.
_SECRETS = frozenset({"THAWLINE_API_KEY", "THAWLINE_BROKER_URL", "THAWLINE_DATABASE_URL", "THAWLINE_WEBHOOK_SECRET"})


class TrainingProcess:
    """A fresh interpreter that trains one model. A context manager: at its end the process is gone, or given up."""

    def __init__(self, request_json: str, scratch: Path, processes: int = 1) -> None:
        """Prepare to start it.

        Args:
            request_json: A `worker.request.PipelineRequest`.
            scratch: Takes the request and the temporary files of the process and of its libraries, to be removed with
                it.
            processes: How many share the work, one to a GPU; several have a launcher, which then is *the* process.
        """
        self._request = request_json
        self._scratch = scratch
        self._processes = processes
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._ended = False
        self._given_up = False

    def __enter__(self) -> Self:
        request_file = self._scratch / _REQUEST
        request_file.write_text(self._request, encoding="utf-8")
        module = ["worker.child"] if self._processes == 1 else ["worker.launch", str(self._processes)]
        read_fd, write_fd = os.pipe()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *module, str(request_file), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=write_fd,
            stderr=self._stderr,
            env={**_handed_on(os.environ), **_ENVIRONMENT, "TMPDIR": str(self._scratch)},
            start_new_session=True,  # a Ctrl-C in the terminal is the parent's to handle
        )
        os.close(write_fd)
        self._reader = threading.Thread(target=self._read, args=(read_fd,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._reader.join(_STOP_SECONDS)  # what cannot be ended keeps its end of the pipe open
        self._stderr.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether its last event has been read."""
        return self._ended

    def next_event(self, timeout: float) -> Event | None:
        """The next event, or None when none came in time or the process has `ended`."""
        if self._ended:
            return None
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        self._ended = event is None
        return event

    def stop(self, patience: float = _STOP_SECONDS) -> None:
        """End the process: first politely, and for good after so many seconds.

        One that outlives even that is left alone, so that it does not keep the worker from other jobs.
        """
        if self._given_up or self._process.poll() is not None:
            return
        self._process.terminate()
        if self._ends_within(patience):
            return
        self._process.kill()
        self._given_up = not self._ends_within(_KILL_SECONDS)
        if self._given_up:
            log.error("training process cannot be killed; it is left alone", pid=self.pid)

    def describe_end(self) -> str:
        """How a process ended that did not say so itself, for a job's error message."""
        if not self._ends_within(_STOP_SECONDS):
            self.stop()
        code = self._process.returncode
        if code is None:
            return "the training process told nothing more and could not be killed"
        if code == -signal.SIGKILL:
            return "the training process was killed (SIGKILL), perhaps for using too much memory"
        if code < 0:
            return f"the training process was ended by {signal.Signals(-code).name}"
        last = self.log_tail().strip().splitlines()
        return f"the training process exited with status {code}" + (f": {last[-1]}" if last else "")

    def log_tail(self) -> str:
        """The last of what the process printed."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _TAIL_BYTES))
        return self._stderr.read().decode("utf-8", "replace")

    def _ends_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _read(self, fd: int) -> None:
        try:
            with os.fdopen(fd, encoding="utf-8") as pipe:
                for line in pipe:
                    self._events.put(event := EVENTS.validate_json(line))
                    if isinstance(event, Failed):
                        break  # what other processes of the job say after it comes of it
        except ValueError as error:  # a process killed while it wrote leaves half a line
            log.warning("unreadable event of a training process", error=str(error))
        finally:
            self._events.put(None)


def _handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What of the worker's environment is the training's, too; settings are read in either case."""
    withheld = _TORCHRUN | _SECRETS
    return {name: value for name, value in environment.items() if name.upper() not in withheld}
