"""``python -m api``: the HTTP server in the foreground, until SIGINT or SIGTERM."""

from __future__ import annotations

import uvicorn

from models_store.logging import configure_logging
from models_store.settings import get_settings


def main() -> None:
    """Serve until told to stop."""
    settings = get_settings()
    configure_logging(settings)
    uvicorn.run(
        "api.main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        server_header=False,
        log_config=None,  # its messages go where ours go
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
