"""``python -m worker``: take jobs until SIGTERM."""

from __future__ import annotations

import sys
import warnings

from celery.exceptions import SecurityWarning

from models_store.settings import get_settings
from worker.app import app


def main() -> None:
    """Run the worker in the foreground."""
    settings = get_settings()
    if settings.broker_url is None:
        sys.exit("THAWLINE_BROKER_URL is not set; `thawline serve` brings a broker of its own")
    # It warns root of pickle, which this worker never accepts.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    app.worker_main(["--quiet", "worker", f"--loglevel={settings.log_level}", "--without-gossip", "--without-mingle"])


if __name__ == "__main__":
    main()
