"""Starts several training processes for one job with torchrun, and ends as the first of them that failed.

python -m worker.launch PROCESSES REQUEST_FILE PARENT_PID

Their events go to the standard output, which is the parent's pipe. They die with this process, and this one with its
parent.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import ProcessFailure, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from models_store.process import die_with_parent


def main(processes: int, request_file: str) -> None:
    """Start so many and wait for their end."""
    sys.stdout = sys.stderr
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    arguments = run.parse_args(  # type: ignore[no-untyped-call]
        [
            "--standalone",
            "--local-addr=127.0.0.1",  # the name of the machine need not lead anywhere
            f"--nproc-per-node={processes}",
            "--module",
            "worker.child",
            request_file,
            str(os.getpid()),
        ]
    )
    try:
        run.run(arguments)  # type: ignore[no-untyped-call]
    except SignalException as end:  # torchrun has handed it on, and waited
        _end_by(end.sigval)
    except ChildFailedError as error:
        rank, failure = first_failure(error.failures)
        if failure.exitcode < 0:
            _end_by(signal.Signals(-failure.exitcode))
        sys.exit(f"process {rank + 1} of {processes} exited with status {failure.exitcode}")


def first_failure(failures: Mapping[int, ProcessFailure]) -> tuple[int, ProcessFailure]:
    """The failure, with its rank, that the others came from.

    Whoever is left alone exits with a status, or is aborted by the library that misses the other, and whoever torchrun
    clears away is ended by SIGTERM: a process that was killed by another signal was there first, and then one aborted.
    """

    def order(rank: int) -> tuple[int, float]:
        ended_by = -failures[rank].exitcode
        of_itself = ended_by <= 0 or ended_by == signal.SIGTERM
        return (2 if of_itself else 1 if ended_by == signal.SIGABRT else 0), failures[rank].timestamp

    rank = min(failures, key=order)
    return rank, failures[rank]


def _end_by(sig: signal.Signals) -> None:
    if sig != signal.SIGKILL:
        signal.signal(sig, signal.SIG_DFL)
    signal.raise_signal(sig)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[3]))
    main(int(sys.argv[1]), sys.argv[2])
