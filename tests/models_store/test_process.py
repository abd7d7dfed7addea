"""Processes that die with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models_store import process
from models_store.process import guarded

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a feature of the Linux kernel")

_CHILD = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("asked to stop", flush=True)))
print("up", flush=True)
signal.pause()
"""
_PARENT = """
import signal, subprocess, sys
from models_store.process import guarded
child = subprocess.Popen(guarded([sys.executable, "-c", sys.argv[1]], signal.Signals(int(sys.argv[2]))))
print(child.pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize(("sig", "last_words"), [(signal.SIGKILL, ""), (signal.SIGTERM, "asked to stop\n")])
def test_a_child_dies_with_its_parent(sig: signal.Signals, last_words: str) -> None:
    """Both write to one pipe, which ends only when the last of them is gone."""
    command = [sys.executable, "-c", _PARENT, _CHILD, str(int(sig))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
        (child,) = (int(line) for line in lines - {"up"})
        parent.kill()
        try:
            rest, _ = parent.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.kill(child, signal.SIGKILL)
            raise
    assert rest == last_words


def test_the_guard_becomes_the_program() -> None:
    code = "import os, sys; print(os.getpid(), *sys.argv[1:]); sys.exit(7)"
    with subprocess.Popen(
        guarded([sys.executable, "-c", code, "a b", "--c"]), stdout=subprocess.PIPE, text=True
    ) as process:
        out, _ = process.communicate(timeout=20)
    assert (out, process.returncode) == (f"{process.pid} a b --c\n", 7)


def test_a_parent_that_is_gone_already_ends_the_child_at_once() -> None:
    """The kernel would never send the signal, so the child compares its parent with the one it was told."""
    code = "import os, signal; from models_store.process import die_with_parent as d; d(os.getpid(), signal.SIGTERM)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('alive')"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 4),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("900000 100000", 4),
        (None, 4),
    ],
)
def test_a_containers_share_bounds_the_cores(
    quota: str | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(process, "_CPU_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert process.usable_cores() == cores
