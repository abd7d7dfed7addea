"""The comparisons of arXiv 1907.05338: strategies × heads × data sets × sizes, over several seeds.

    python -m benchmarks.paper_table --data DIR --results FILE [--datasets sst2,mrpc] [--rows 300,1000,0]
                                     [--heads auto] [--seeds 7,8,9,10,11] [--plot FILE]

For each head there are these runs a seed: *frozen* (phase 1 alone, with the head that hybrid used; for ``auto`` once
more with the head that suits a frozen encoder best, *frozen_auto*), *hybrid* (both phases), and two that fine-tune from
the start, with as many steps as the second phase of hybrid: *baseline* has two fully connected layers, as the paper's
own (on the first token and the mean, where the paper has the first token alone), and *control* has the very head that
hybrid used. Both get the best of three learning rates, by the validation score of
the first seed. Each run is a whole job: upload, training, export, and test metrics of the exported model. Without a
test file the figure is that of the data set's own development rows, which no run is steered by.

Finished runs are appended to FILE as JSON lines and not run again, so a long table can be made in pieces. The gain is
the mean over the seeds of hybrid minus the other, with its 95 % interval (Student's t, pairs of equal seed).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.real_data import DATASETS, run_job

_STRATEGIES = {
    "frozen": "frozen",
    "frozen_auto": "frozen",
    "baseline": "finetune",
    "control": "finetune",
    "hybrid": "hybrid",
}
_KINDS = tuple(_STRATEGIES)
LEARNING_RATES = (3e-5, 1e-4, 2e-4)  # that fine-tuning from the start may choose from; 1e-4 is hybrid's own


@dataclass(frozen=True, slots=True)
class Run:
    """One finished job.

    Attributes:
        rows: Training rows asked for; 0 for all.
        kind: One of `_KINDS`.
        head: As asked for.
        used: The head that was trained.
        learning_rate: Of phase 2 where it was not left to the defaults.
        score: The metric on the rows that are reported.
        validation: The same metric on the validation rows.
    """

    dataset: str
    rows: int
    kind: str
    head: str
    used: str
    seed: int
    learning_rate: float | None
    metric: str
    score: float
    validation: float
    seconds: float


class Results:
    """The runs of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.runs = [Run(**json.loads(line)) for line in lines]

    def add(self, run: Run) -> None:
        """Write a run down."""
        self.runs.append(run)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(run)) + "\n")

    def find(self, **fields: object) -> list[Run]:
        """The runs with these values, by seed."""
        found = [run for run in self.runs if all(getattr(run, name) == value for name, value in fields.items())]
        return sorted(found, key=lambda run: run.seed)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the data lies and where results go."""

    data: Path
    results: Results
    device: str
    threads: int

    def run(
        self, dataset: str, rows: int, kind: str, head: str, seed: int, *, trained: str, rate: float | None = None
    ) -> Run:
        """The run, from the file if it is there."""
        known = self.results.find(dataset=dataset, rows=rows, kind=kind, head=head, seed=seed, learning_rate=rate)
        if known:
            return known[0]
        if kind == "control" and (same := self._baseline(dataset, rows, seed, trained, rate)):
            self.results.add(replace(same, kind=kind, head=head))
            return self.results.runs[-1]
        strategy = _STRATEGIES[kind]
        request = {"strategy": strategy, "head": trained, "seed": seed}
        if rate is not None:
            request["hyperparameters"] = {"full_learning_rate": rate}
        outcome = run_job(self.data, dataset, request, rows=rows, device=self.device, threads=self.threads)
        benchmark = DATASETS[dataset]
        metric, metrics = benchmark.metrics[0], outcome.result["metrics"]
        run = Run(
            dataset=dataset,
            rows=rows,
            kind=kind,
            head=head,
            used=outcome.result["head"],
            seed=seed,
            learning_rate=rate,
            metric=metric,
            score=metrics[benchmark.report][metric],
            validation=metrics["validation"][metric],
            seconds=round(outcome.seconds, 1),
        )
        self.results.add(run)
        print(f"  {dataset} {rows or 'all'} {kind} {run.used} {seed} {rate or ''}: {run.score:.4f}", flush=True)
        return run

    def _baseline(self, dataset: str, rows: int, seed: int, trained: str, rate: float | None) -> Run | None:
        """The baseline's run where it is the very job that is asked for, as with hybrid's own head it may be."""
        runs = self.results.find(
            dataset=dataset, rows=rows, kind="baseline", used=trained, seed=seed, learning_rate=rate
        )
        return next(iter(runs), None)


def fill(bench: Bench, dataset: str, rows: int, head: str, seeds: Sequence[int]) -> None:
    """Do the runs of one part of the table that are missing."""
    for seed in seeds:
        hybrid = bench.run(dataset, rows, "hybrid", head, seed, trained=head)
        bench.run(dataset, rows, "frozen", head, seed, trained=hybrid.used)
        if head == "auto":
            bench.run(dataset, rows, "frozen_auto", head, seed, trained=head)
        for kind, trained in (("baseline", "linear"), ("control", hybrid.used)):
            rate = _tuned(bench, dataset, rows, kind, head, seeds[0], trained)
            bench.run(dataset, rows, kind, head, seed, trained=trained, rate=rate)


def _tuned(bench: Bench, dataset: str, rows: int, kind: str, head: str, seed: int, trained: str) -> float:
    """The learning rate with the best validation score."""
    runs = [bench.run(dataset, rows, kind, head, seed, trained=trained, rate=rate) for rate in LEARNING_RATES]
    return max(zip(runs, LEARNING_RATES, strict=True), key=lambda pair: pair[0].validation)[1]


def table(results: Results) -> Iterator[str]:
    """The whole file as Markdown."""
    kinds = " | ".join(_KINDS)
    yield f"| data set | rows | head | metric | {kinds} | over baseline | over control |"
    yield f"|---|---:|---|---{'|---:' * (len(_KINDS) + 2)}|"
    for dataset, rows, head in _parts(results):
        scores = {kind: _scores(results, dataset, rows, head, kind) for kind in _KINDS}
        used = sorted({run.used for run in results.find(dataset=dataset, rows=rows, head=head, kind="hybrid")})
        cells = [_mean(list(scores[kind].values())) for kind in _KINDS]
        gains = [gain(scores["hybrid"], scores[kind]) for kind in ("baseline", "control")]
        name = head if used == [head] else f"{head} ({', '.join(used)})"
        row = [dataset, str(rows or "all"), name, DATASETS[dataset].metrics[0], *cells, *gains]
        yield f"| {' | '.join(row)} |"


def _parts(results: Results) -> list[tuple[str, int, str]]:
    """Data set, rows and head of each row of the table; all rows come last."""
    found = {(run.dataset, run.rows, run.head) for run in results.runs if run.kind == "hybrid"}
    return sorted(found, key=lambda part: (part[0], part[1] or math.inf, part[2]))


def _scores(results: Results, dataset: str, rows: int, head: str, kind: str) -> dict[int, float]:
    """Score by seed; of learning rates that were tried for one seed alone, only the tuned one counts."""
    runs = results.find(dataset=dataset, rows=rows, head=head, kind=kind)
    if kind in ("baseline", "control") and runs:
        first = [run for run in runs if run.seed == runs[0].seed]
        rate = max(first, key=lambda run: run.validation).learning_rate
        runs = [run for run in runs if run.learning_rate == rate]
    return {run.seed: run.score for run in runs}


def _mean(scores: Sequence[float]) -> str:
    if not scores:
        return "–"
    spread = f" ± {np.std(scores, ddof=1):.3f}" if len(scores) > 1 else ""
    return f"{np.mean(scores):.3f}{spread} ({len(scores)})"


def gain(ours: dict[int, float], other: dict[int, float]) -> str:
    """Points of the metric (× 100) by which one is better on the seeds that both have, and the 95 % interval."""
    differences = [100 * (ours[seed] - other[seed]) for seed in ours if seed in other]
    if len(differences) < 2:
        return f"{differences[0]:+.1f}" if differences else "–"
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    return f"{np.mean(differences):+.1f} ± {half:.1f}"


def main() -> None:
    """Fill the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="without it, nothing is run and the table is printed")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--datasets", default="sst2,ag_news,wnut17,ud_ewt_pos,stsb,mrpc")
    parser.add_argument("--rows", default="300,1000,0")
    parser.add_argument("--heads", default="auto")
    parser.add_argument("--seeds", default="7,8,9,10,11")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--plot", type=Path, help="write the table as an SVG; needs matplotlib")
    arguments = parser.parse_args()
    results = Results(arguments.results)
    if arguments.data:
        bench = Bench(arguments.data, results, arguments.device, arguments.threads)
        seeds = [int(seed) for seed in arguments.seeds.split(",")]
        parts = itertools.product(
            map(int, arguments.rows.split(",")), arguments.datasets.split(","), arguments.heads.split(",")
        )
        for rows, dataset, head in parts:
            fill(bench, dataset, rows, head, seeds)
    print("\n".join(table(results)))
    if arguments.plot:
        from benchmarks.plots import plot  # nobody else needs its library

        plot(panels(results), arguments.plot)


def panels(results: Results) -> dict[str, dict[str, list[float]]]:
    """What `benchmarks.plots` draws: a panel for each row of the table."""
    return {
        f"{dataset}, {rows or 'all'} rows, {head}": {
            kind: list(_scores(results, dataset, rows, head, kind).values())
            for kind in _KINDS
            if results.find(dataset=dataset, rows=rows, head=head, kind=kind)
        }
        for dataset, rows, head in _parts(results)
    }


if __name__ == "__main__":
    main()
