"""Measure the queue, its list and how soon a job is stopped, and print what came of it.

    python -m benchmarks.queueing [--only slots,listing,stopping] [--database sqlite,postgresql]
                                  [--jobs 40] [--workers 4] [--history 100000] [--calls 200] [--stops 20]

`slots`: so many jobs at once and so many workers with one slot each; how long did a slot stand idle while a job
waited? The jobs are real, and as small as they can be: each still takes ten seconds of a core, nearly all of them for
the start of its interpreter, so that 200 of them keep two cores busy for about twenty minutes. The gaps do not depend
on how many there are: `--jobs 40` tells nearly as much.

`listing`: how long calls take with so many finished jobs in the tables, over HTTP, one call at a time.

`stopping`: so many running jobs are cancelled or paused in turn, up to fifteen seconds after they have begun; how long
does it take until that is done, with their process gone?
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.queueing import listing, slots, stopping


def main() -> None:
    """Measure what was asked for on each database, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="slots,listing,stopping")
    parser.add_argument("--database", default="sqlite,postgresql")
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--history", type=int, default=100_000)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--stops", type=int, default=20)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the servers end with us
    databases = arguments.database.split(",")
    if "slots" in arguments.only:
        _print_table([slots.measure(kind, arguments.jobs, arguments.workers) for kind in databases])
    if "listing" in arguments.only:
        figures = [listing.measure(kind, arguments.history, arguments.calls) for kind in databases]
        print(_row([f"{arguments.history:,} jobs: p50, p95 in ms", *databases]))
        print(_rule(1 + len(databases)))
        for same in zip(*figures, strict=True):
            print(_row([f"`{same[0][0]}`", *(f"{p50:.1f}, {p95:.1f}" for _, p50, p95 in same)]))
        print(flush=True)
    if "stopping" in arguments.only:
        _print_table([row for kind in databases for row in stopping.measure(kind, arguments.stops)])


def _print_table(rows: Sequence[Mapping[str, object]]) -> None:
    print("\n".join([_row(rows[0]), _rule(len(rows[0])), *(_row(row.values()) for row in rows), ""]), flush=True)


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _rule(columns: int) -> str:
    return f"|---|{'---:|' * (columns - 1)}"


if __name__ == "__main__":
    main()
