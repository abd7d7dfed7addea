"""``python -m api``: the HTTP server in the foreground, until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
from types import FrameType

import uvicorn

from api.main import create_app
from api.sockets import refuse_new_connections
from models_store.logging import configure_logging, get_logger
from models_store.settings import Settings, get_settings

_GC_THRESHOLDS = (50_000, 20, 20)  # Python: 700, 10, 10
_LAST_CONNECTIONS_SECONDS = 0.5  # for a request to arrive whose connection was made just in time
log = get_logger(__name__)


class DrainingServer(uvicorn.Server):
    """Leaves without losing a request.

    Told to stop, it first says so (``/readyz``, and ``Connection: close`` in every answer) and goes on for as long as a
    load balancer needs to notice. Then it takes no more connections, and ends when all requests are answered.
    """

    def __init__(self, settings: Settings) -> None:
        self._app = create_app(settings)
        super().__init__(
            uvicorn.Config(
                self._app,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http="httptools",
                access_log=False,
                server_header=False,
                log_config=None,  # its messages go where ours go
                timeout_graceful_shutdown=int(settings.predict_timeout_seconds) + 1,
            )
        )
        self._drain_seconds = settings.drain_seconds
        self._leaving: tuple[float, int] | None = None  # when, and told so by which signal

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the draining, another one ends it."""
        if self._leaving is not None:
            super().handle_exit(sig, frame)
            return
        self._app.state.draining = True
        self._leaving = time.monotonic() + self._drain_seconds, sig
        log.info("draining", seconds=self._drain_seconds)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; whether it is time to stop."""
        if self._leaving is not None and not self.should_exit and time.monotonic() >= self._leaving[0]:
            super().handle_exit(self._leaving[1], None)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take the connections that were made already, and no more; then wait for their answers."""
        for listening in sockets or []:
            refuse_new_connections(listening)
        await asyncio.sleep(_LAST_CONNECTIONS_SECONDS)
        await super().shutdown(sockets)


def main() -> None:
    """Serve until told to stop."""
    settings = get_settings()
    configure_logging(settings)
    server = DrainingServer(settings)
    _collect_garbage_seldom()
    with contextlib.suppress(KeyboardInterrupt):  # told once more by uvicorn when it has stopped
        server.run(sockets=[server.config.bind_socket()])


def _collect_garbage_seldom() -> None:
    """A body may be millions of lists: looked through again and again while it is parsed, it holds everybody up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


if __name__ == "__main__":
    main()
