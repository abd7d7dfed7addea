"""Encoders from the Hugging Face hub: what the training process does when one is not on this machine yet.

It stays offline itself. The network is `worker.fetch`'s, a process that fetches one encoder, tells of it, and ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from models_store.encoders import EncoderSource
from models_store.process import guarded
from worker.training.errors import EncoderError
from worker.training.events import EVENTS, Event, Failed

# What the library reads when it is imported. Plain HTTP keeps the traffic on the hub's own addresses and leaves no
# second cache in the user's home; without the last, a token that somebody once logged in with would be sent.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
}


def fetch(source: EncoderSource) -> Iterator[Event]:
    """See to it that an encoder's files are in its folder; nothing happens where they are, or it is not from the hub.

    Raises:
        EncoderError: It cannot be had from the hub, or not in a form that is safe to load.
    """
    if source.hub is None or source.folder.is_dir():
        return
    command = guarded(
        [sys.executable, "-m", "worker.fetch", source.name, source.hub.repo, source.hub.commit, str(source.folder)]
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **_ENVIRONMENT}) as process:
        try:
            assert process.stdout is not None  # noqa: S101
            for line in process.stdout:
                event = EVENTS.validate_json(line)
                if isinstance(event, Failed):
                    raise EncoderError(event.message)
                yield event
        finally:
            process.kill()  # it has ended already, unless nobody waits for it any more
    if not source.folder.is_dir():
        raise EncoderError(f"base_model {source.name!r}: the process that fetches it ended without a word")
