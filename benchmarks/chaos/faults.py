"""What befalls the parts of the service. Each fault is over when its function returns, and is told in a few words."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable

import psutil

from benchmarks.stack.parts import wait_for
from benchmarks.stack.service import Stack

_TRAINING_SECONDS = 30.0  # in which one ought to be found

Fault = Callable[[Stack, random.Random], str]


def kill_training(stack: Stack, draw: random.Random) -> str:
    """SIGKILL for a training process."""
    try:
        victim = draw.choice(wait_for(stack.trainings, "a training process", _TRAINING_SECONDS))
    except TimeoutError:
        return "none ran"
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.kill()
    return f"process {victim.pid}"


def kill_worker(stack: Stack, draw: random.Random) -> str:
    """SIGKILL for a worker, which is started again a little later."""
    worker = draw.choice(stack.workers)
    worker.kill()
    seconds = _away(draw)
    worker.start()
    return f"{worker.name}, for {seconds:.1f} s"


def freeze_worker(stack: Stack, draw: random.Random) -> str:
    """SIGSTOP for a worker, half the time with its training processes, until its lease is long over; then SIGCONT."""
    worker = draw.choice(stack.workers)
    frozen = [psutil.Process(worker.pid), *(worker.trainings() if draw.random() < 0.5 else [])]
    seconds = float(stack.environment["THAWLINE_LEASE_SECONDS"]) + draw.uniform(1, 4)
    for process in frozen:
        _signal(process, signal.SIGSTOP)
    time.sleep(seconds)
    for process in frozen:
        _signal(process, signal.SIGCONT)
    return f"{worker.name} and {len(frozen) - 1} of its training processes, for {seconds:.1f} s"


def kill_broker(stack: Stack, draw: random.Random) -> str:
    """SIGKILL for the broker, which comes back empty."""
    stack.broker.kill()
    seconds = _away(draw)
    stack.broker.start()
    return f"for {seconds:.1f} s"


def kill_api(stack: Stack, draw: random.Random) -> str:
    """SIGKILL for the API."""
    stack.api.kill()
    seconds = _away(draw)
    stack.start_api()
    return f"for {seconds:.1f} s"


def harm_database(stack: Stack, draw: random.Random) -> str:
    """Whatever may befall this kind of database."""
    return stack.database.harm(draw)


def faults(stack: Stack) -> dict[str, Fault]:
    """All of them, by what they are called in the table."""
    return {
        "training killed": kill_training,
        "worker killed": kill_worker,
        "worker frozen": freeze_worker,
        "broker killed": kill_broker,
        "API killed": kill_api,
        stack.database.fault: harm_database,
    }


def _away(draw: random.Random) -> float:
    seconds = draw.uniform(0, 3)
    time.sleep(seconds)
    return seconds


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
