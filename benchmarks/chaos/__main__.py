"""Break the service at random while jobs run, and print whether every promise about them was kept.

    python -m benchmarks.chaos [--rounds 100] [--database sqlite,postgresql] [--seed 7]

A real broker without persistence, a real database, the API and two workers with short leases. Each round asks for one
to three small jobs and then breaks one thing; the table says how often which. The exit status is 1 if any promise was
broken, and the evidence is printed. What happens when is told on the standard error.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import sys
import time
from collections import Counter

from sqlmodel import select

from benchmarks.chaos.caller import Caller
from benchmarks.chaos.promises import Broken, broken_promises, evidence
from benchmarks.chaos.storm import Storm
from benchmarks.stack.databases import DATABASES
from benchmarks.stack.service import Stack, running
from models_store.tables import TERMINAL_STATUSES, TrainingJob

SETTINGS = {
    "THAWLINE_LEASE_SECONDS": "3",
    "THAWLINE_HEARTBEAT_SECONDS": "0.5",
    "THAWLINE_SWEEP_SECONDS": "1",
    "THAWLINE_MAX_ATTEMPTS": "50",  # our own kills must not use them up
}
_WORKERS = 2
_HEADER = (
    "| database | rounds | jobs | terminal | published twice | missing | partial artifacts | other promises broken "
    "| attempts per job (median, max) | seconds |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def main() -> int:
    """Run the rounds on each database; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--database", default="sqlite,postgresql")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the servers end with us
    lines, befell, broken = [], {}, False
    for kind in arguments.database.split(","):
        line, befell[kind], found = weather(kind, arguments.rounds, arguments.seed)
        lines.append(line)
        broken |= bool(found)
    print("\n".join([_HEADER, *lines, ""]))
    print(_faults(befell))
    return int(broken)


def weather(kind: str, rounds: int, seed: int) -> tuple[str, Counter[str], list[Broken]]:
    """One storm; the line of the table, the faults by kind, and what was found broken, which has been printed."""
    started = time.monotonic()
    with running(DATABASES[kind], _WORKERS, **SETTINGS) as stack:
        caller = Caller(stack.url)
        storm = Storm(stack, caller, random.Random(seed))
        storm.poison()
        storm.rounds(rounds)
        late = _until_all_have_ended(storm)
        storm.repeat()
        caller.close()
        exits = _stop(stack)
        found = broken_promises(stack.db, stack.store, stack.settings, caller.told, caller.cancelled)
        found += [*late, *exits, *storm.broken]
        for one in found:
            print(f"{kind}: {one.promise}: {one.what} {one.job_id or ''}")
            print("\n".join(evidence(stack.db, one.job_id)) if one.job_id else "", flush=True)
        print(f"{kind}: calls that had to be repeated: {dict(caller.unanswered)}", file=sys.stderr)
        return _line(stack, rounds, found, time.monotonic() - started), storm.befell, found


def _until_all_have_ended(storm: Storm) -> list[Broken]:
    try:
        storm.wait_for_all()
    except TimeoutError as error:
        return [Broken("terminal", str(error))]
    return []


def _stop(stack: Stack) -> list[Broken]:
    """Stop the workers and the API in good order; those that do not leave so, and processes left over."""
    statuses = {part.name: part.stop() for part in (*stack.workers, stack.api)}
    orderly = (0, -signal.SIGTERM)  # uvicorn ends by the signal that it was told to end by
    found = [
        Broken("left", f"{name} ended with {status}") for name, status in statuses.items() if status not in orderly
    ]
    return [*found, *(Broken("left", f"process {one.pid} still trains") for one in stack.trainings())]


def _line(stack: Stack, rounds: int, found: list[Broken], seconds: float) -> str:
    with stack.db.reading() as session:
        jobs = session.exec(select(TrainingJob)).all()
    counts = Counter(one.promise for one in found)
    named = [counts.pop(promise, 0) for promise in ("once", "missing", "partial")]
    ended = sum(job.status in TERMINAL_STATUSES for job in jobs)
    attempts = [job.attempt for job in jobs]
    cells = [stack.database.kind, rounds, len(jobs), f"{100 * ended / len(jobs):.0f} %", *named, counts.total()]
    told = f"{statistics.median(attempts):g}, {max(attempts)}"
    return f"| {' | '.join(map(str, cells))} | {told} | {seconds:.0f} |"


def _faults(befell: dict[str, Counter[str]]) -> str:
    kinds = list(dict.fromkeys(kind for counter in befell.values() for kind in sorted(counter)))
    rows = [f"| {kind} | {' | '.join(str(counter[kind]) for counter in befell.values())} |" for kind in kinds]
    head = f"| fault | {' | '.join(befell)} |\n|---|{'---:|' * len(befell)}"
    return "\n".join([head, *rows])


if __name__ == "__main__":
    sys.exit(main())
