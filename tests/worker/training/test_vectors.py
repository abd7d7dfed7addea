"""Vectors in memory and in a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.servers import ROOT
from worker.training import vectors
from worker.training.vectors import Vectors


@pytest.mark.parametrize("limit", [10**9, 0])
def test_what_is_written_is_read_again(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "MEMORY_LIMIT_BYTES", limit)
    values = np.random.default_rng(0).random((50, 3), dtype=np.float32)
    stored = Vectors(50, 3, tmp_path)

    for start in range(0, 50, 5):
        stored.rows(start, start + 5)[:] = values[start : start + 5]

    assert all(np.array_equal(stored.rows(i, i + 1), values[i : i + 1]) for i in reversed(range(50)))
    assert len(list(tmp_path.iterdir())) == (limit == 0)


def test_no_vectors_at_all(tmp_path: Path) -> None:
    assert Vectors(0, 3, tmp_path).rows(0, 0).shape == (0, 3)


def test_a_large_file_does_not_stay_in_memory(tmp_path: Path) -> None:
    code = f"""
import resource
from pathlib import Path
from worker.training import vectors
vectors.MEMORY_LIMIT_BYTES = 20 * 2**20
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stored = vectors.Vectors(400_000, 128, Path({str(tmp_path)!r}))  # 200 MiB
for turn in range(2):
    for start in range(0, 400_000, 1_000):
        stored.rows(start, start + 1_000)[:] = turn
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    grown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)

    assert int(grown.stdout) < 60
