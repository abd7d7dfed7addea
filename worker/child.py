"""The training process: reads a request from stdin, writes events to a pipe, and dies with its parent.

python -m worker.child EVENTS_FD PARENT_PID

Asked to end (SIGTERM), it does so after the checkpoint that the training then writes; at the second event from then on
where there is nothing to write.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback

from models_store.errors import ThawlineError
from models_store.process import die_with_parent
from worker.training.errors import StoppedError, is_out_of_memory
from worker.training.events import Event, Failed, StageStarted


def main(events_fd: int) -> int:
    """Run one pipeline; the exit status is 0 when the run ended as it said, well or badly."""
    # torch is imported here and not above, so that whatever goes wrong in it is told, too.
    with os.fdopen(events_fd, "w", encoding="utf-8", buffering=1) as pipe:

        def send(event: Event) -> None:
            pipe.write(event.model_dump_json() + "\n")

        send(StageStarted(stage="prepare"))  # the imports alone take seconds
        try:
            import torch

            from worker.pipeline import run
            from worker.request import PipelineRequest

            request = PipelineRequest.model_validate_json(sys.stdin.read())
            if request.threads:
                torch.set_num_threads(request.threads)
            stop, known = threading.Event(), False
            signal.signal(signal.SIGTERM, lambda *_: stop.set())
            for event in run(request, stop):
                send(event)
                if known:
                    _end_by_sigterm()
                known = stop.is_set()
        except StoppedError:
            _end_by_sigterm()
        except Exception as error:  # noqa: BLE001 (whatever it is, the job must say so)
            traceback.print_exc()
            send(_failure(error))
    return 0


def _end_by_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


def _failure(error: Exception) -> Failed:
    if isinstance(error, ThawlineError):
        return Failed(code=error.code, message=error.message)
    name = type(error).__name__
    if is_out_of_memory(error):
        return Failed(code="out_of_memory", message=f"out of memory: {error}; try a smaller batch_size or max_length")
    return Failed(code="training_failed", message=f"{name}: {error}")


if __name__ == "__main__":
    die_with_parent(int(sys.argv[2]))
    faulthandler.enable()
    sys.exit(main(int(sys.argv[1])))
