"""Validate files of each format and size, beside a plain read of the same file, and print a table.

    python -m benchmarks.ingest [--rows 10000,100000,1000000] [--formats csv,parquet,…] [--rounds 3]

Thawline reads, checks every row, compares all with all, cuts off a validation split, counts, and writes Arrow files.
The plain read is pyarrow's (calamine's for Excel, Python's for a JSON array and CoNLL) and does no more: the floor.
Each is a process of its own, in turn; seconds are medians of the rounds, memory is the most that a process had.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.ingest.files import FORMATS

_HEADER = "| format | rows | MB | seconds | rows/s | peak, MiB | plain read, s | peak, MiB | ratio |"


def main() -> None:
    """Write the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{_HEADER}\n|---|{'---:|' * 8}", flush=True)
    for form in arguments.formats.split(","):
        for number in map(int, arguments.rows.split(",")):
            print(line(form, number, arguments.rounds), flush=True)


def line(form: str, number: int, rounds: int) -> str:
    """One line of the table."""
    with tempfile.TemporaryDirectory(prefix="thawline-ingest-") as folder:
        path = Path(folder) / f"train.{form}"
        FORMATS[form](path, number)
        ours, plain = [], []
        for _ in range(rounds):
            ours.append(_run(form, path, "thawline"))
            plain.append(_run(form, path, "plain"))
        size = path.stat().st_size / 1e6
    seconds, floor = (statistics.median(run["seconds"] for run in runs) for runs in (ours, plain))
    ratio = statistics.median(a["seconds"] / b["seconds"] for a, b in zip(ours, plain, strict=True))
    most, least = (max(run["mib"] for run in runs) for runs in (ours, plain))
    cells = [form, f"{number:,}", f"{size:.0f}", f"{seconds:.2f}", f"{number / seconds:,.0f}", f"{most:.0f}"]
    return f"| {' | '.join([*cells, f'{floor:.2f}', f'{least:.0f}', f'{ratio:.1f}'])} |"


def _run(form: str, path: Path, how: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.ingest.once", form, str(path), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-1000:])
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
