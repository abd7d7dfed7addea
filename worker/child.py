"""The training process: reads a request from a file, writes events to its standard output, and dies with its parent.

python -m worker.child REQUEST_FILE PARENT_PID

Asked to end (SIGTERM), it does so after the checkpoint that the training then writes; at the second event from then on
where there is nothing to write. Of several that `worker.launch` has started for one job, the main one tells and writes.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TextIO

from models_store.errors import ThawlineError
from models_store.process import die_with_parent
from worker.training.errors import PeerLostError, StoppedError, is_out_of_memory
from worker.training.events import Event, Failed, StageStarted


def main(request_file: Path) -> int:
    """Run one pipeline; the exit status is 0 when the run ended as it said, well or badly.

    One of several processes that has failed ends with another status, for the others have to end, too.
    """
    is_main, alone = os.environ.get("RANK", "0") == "0", "RANK" not in os.environ
    # torch is imported here and not above, so that whatever goes wrong in it is told, too.
    with _events() as pipe:

        def send(event: Event) -> None:
            if is_main or isinstance(event, Failed):  # the main process would know no more than that it was left alone
                pipe.write(event.model_dump_json() + "\n")

        send(StageStarted(stage="prepare"))  # the imports alone take seconds
        try:
            import torch

            from worker.pipeline import run
            from worker.request import PipelineRequest

            request = PipelineRequest.model_validate_json(request_file.read_text(encoding="utf-8"))
            if request.threads:
                torch.set_num_threads(request.threads)
            stop, known = threading.Event(), False
            # The others take the steps that the main process still needs for its checkpoint, and end with it.
            signal.signal(signal.SIGTERM, (lambda *_: stop.set()) if is_main else signal.SIG_IGN)
            for event in run(request, stop):
                send(event)
                if known:
                    _end_by_sigterm()
                known = stop.is_set()
        except StoppedError:
            _end_by_sigterm()
        except PeerLostError as error:
            print(error, file=sys.stderr)  # noqa: T201 (the log of the process)
            return 1
        except Exception as error:  # noqa: BLE001 (whatever it is, the job must say so)
            traceback.print_exc()
            send(_failure(error))
            return 0 if alone else 1
    return 0


def _events() -> TextIO:
    """Standard output as the parent reads it; whatever else is printed goes where errors go from now on."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return events


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
    sys.exit(main(Path(sys.argv[1])))
