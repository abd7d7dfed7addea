"""This process: what it may use, and that it dies with its parent, so that no failure leaves an orphan behind.

``python -m models_store.process PROGRAM ARG …`` becomes PROGRAM, which the kernel then ends with the parent.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import socket
import sys
from pathlib import Path

_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # Linux, and Linux within Windows
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container that is given a share of the cores


def worker_name() -> str:
    """What this process is called where workers are told apart."""
    return f"{socket.gethostname()}:{os.getpid()}"


def usable_cores() -> int:
    """How many cores this process may use: those it may run on, within the container's share of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max"
        return cores


def gpu_present() -> bool:
    """Whether this machine has a GPU's driver, and nobody has hidden the GPUs from this process.

    Whether torch can use it, the training finds out: to ask torch takes seconds and memory.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    return not hidden and any(Path(path).exists() for path in _GPU_DRIVERS)


def die_with_parent(parent: int, sig: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to signal this process when its parent ends (Linux; elsewhere nothing happens).

    Args:
        parent: The parent's process id, taken by the parent itself: if it has died before this call,
            the kernel would never send the signal, so the process ends at once.
        sig: The signal to be sent.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), sig)


def guarded(command: list[str], sig: signal.Signals = signal.SIGKILL) -> list[str]:
    """The command line that runs ``command`` as a process that dies with the caller."""
    return [sys.executable, "-m", "models_store.process", str(os.getpid()), str(int(sig)), *command]


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]), signal.Signals(int(sys.argv[2])))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606
