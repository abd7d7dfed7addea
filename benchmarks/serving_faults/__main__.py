"""Break things while the endpoint is asked, and print what came of it.

    python -m benchmarks.serving_faults [--only swaps,overload,…] [--quick] [--train FILE --validation FILE]

Trains a small classifier on the sample data (or the files given), publishes copies of it, and lets happen to them:
hot swaps, overload, more models than memory, broken files, odd inputs, SIGTERM, and nothing at all. Callers are
threads of this process on the same machine, so latencies hold their own waiting, too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.serving_faults import scenarios
from benchmarks.serving_faults.home import Home

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "classification"


def main() -> None:
    """Train once, run each scenario, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="scenarios, separated by commas")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time and of the numbers")
    parser.add_argument("--train", type=Path, default=SAMPLE / "train.csv")
    parser.add_argument("--validation", type=Path, default=SAMPLE / "validation.csv")
    arguments = parser.parse_args()
    share = 0.1 if arguments.quick else 1.0
    table: dict[str, Callable[[Home], scenarios.Lines]] = {
        "swaps": lambda home: scenarios.swaps(home, int(50 * share)),
        "overload": lambda home: scenarios.overload(home, 60 * share),
        "rotation": lambda home: scenarios.rotation(home, 60 * share),
        "bad_models": scenarios.bad_models,
        "leaving": lambda home: scenarios.leaving(home, max(1, int(10 * share))),
        "idleness": lambda home: scenarios.idleness(home, 30 * share),
    }
    chosen = arguments.only.split(",") if arguments.only else list(table)
    with tempfile.TemporaryDirectory(prefix="thawline-faults-") as folder:
        home = Home(Path(folder))
        home.train(arguments.train, arguments.validation)
        print("| what befell it | what came of it |\n|---|---|")
        for name in chosen:
            for what, came in table[name](home):
                print(f"| {what} | {came} |", flush=True)
        home.db.dispose()


if __name__ == "__main__":
    main()
