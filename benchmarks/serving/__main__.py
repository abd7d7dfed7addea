"""Serve one fine-tuned classifier through Thawline and through its peers, in turn, and compare their speed.

    python -m benchmarks.serving --data FILE [--peers infinity,litserve-onnx] [--texts short,mixed,long]
                                 [--precisions auto,fp32,int8] [--connections 1,4,16,64] [--seconds 5] [--rounds 3]
                                 [--rows 300] [--seed 7] [--venvs DIR] [--results FILE] [--plot FILE] [--quick]

FILE is a CSV with the columns ``text`` and ``label``; a job of Thawline's own trains on a few of its rows. Needs wrk, a
package of most distributions, and pip, which makes the peers' environments in DIR once (10 GB for all). A peer that
cannot be installed or started is reported and left out. Without ``--data`` nothing is run and the tables of a results
file are printed. Everything listens on the loopback alone. What is compared, and how: see the package.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TextIO

from benchmarks.serving import comparison
from benchmarks.serving.comparison import PRECISIONS, Wanted
from benchmarks.serving.limit import CORES
from benchmarks.serving.peers import PEERS
from benchmarks.serving.results import Results, Run, curves, read, tables
from benchmarks.serving.texts import KINDS

_QUICK = {"texts": "mixed", "connections": "1,16", "seconds": 2, "rounds": 1}


def main() -> None:
    """Run the comparison and print its tables."""
    arguments = _arguments()
    runs = _run(arguments) if arguments.data else read(arguments.results)
    results = Results(runs)
    print("\n".join(tables(results)))
    if arguments.plot:
        from benchmarks.plots import plot_curves  # nobody else needs its library

        plot_curves(curves(results), arguments.plot, x="connections", y="requests a second")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=300, help="that the classifier learns from, drawn at random")
    parser.add_argument("--seed", type=int, default=7, help="of the job, its rows, and the texts of the load")
    parser.add_argument("--peers", default=",".join(PEERS), help="empty for none")
    parser.add_argument("--venvs", type=Path, help="kept for the next time; by default a temporary folder")
    parser.add_argument("--texts", default=",".join(KINDS))
    parser.add_argument("--precisions", default="fp32,int8", help="auto: what Thawline chose, peers in fp32")
    parser.add_argument("--connections", default="1,4,16,64")
    parser.add_argument("--seconds", type=int, default=5, help="of one run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, help="JSON lines: written, or read where there is no --data")
    parser.add_argument("--plot", type=Path, help="write requests a second as an SVG; needs matplotlib")
    parser.add_argument(
        "--quick", action="store_true", help="a first look: other defaults, for a minute or two of load"
    )
    if parser.parse_known_args()[0].quick:
        parser.set_defaults(**_QUICK)
    arguments = parser.parse_args()
    if not (arguments.data or arguments.results):
        parser.error("give --data to measure, or --results to print what was measured")
    if arguments.data and shutil.which("wrk") is None:
        parser.error("wrk, the client, is not installed")
    for option, known in (("peers", PEERS), ("texts", KINDS), ("precisions", PRECISIONS)):
        if not set(_listed(getattr(arguments, option))) <= set(known):
            parser.error(f"--{option} takes {', '.join(known)}")
    return arguments


def _run(arguments: argparse.Namespace) -> list[Run]:
    """Measure, and write each run down as soon as it is over."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the servers are ended first
    print(f"{platform.machine()}, {CORES} cores, load before the start {os.getloadavg()[0]:.2f}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="thawline-serving-") as folder, _opened(arguments.results) as file:
        wanted = Wanted(
            data=arguments.data.resolve(),
            rows=arguments.rows,
            seed=arguments.seed,
            peers=_listed(arguments.peers),
            venvs=(arguments.venvs or Path(folder) / "venvs").resolve(),
            texts=_listed(arguments.texts),
            precisions=_listed(arguments.precisions),
            connections=[int(number) for number in _listed(arguments.connections)],
            seconds=arguments.seconds,
            rounds=arguments.rounds,
        )
        runs = []
        for run in comparison.run(wanted, Path(folder), lambda line: print(f"- {line}", flush=True)):
            runs.append(run)
            print(run.to_json(), file=file, flush=True)
    print()
    return runs


def _opened(path: Path | None) -> TextIO:
    return (path or Path(os.devnull)).open("w", encoding="utf-8")


def _listed(option: str) -> list[str]:
    return [part for part in option.split(",") if part]


if __name__ == "__main__":
    main()
