"""Train the same thing with our job and with the usual tools, in turn, and compare wall clock and peak memory.

    python -m benchmarks.training_speed --data DIR [--datasets sst2,wnut17] [--sides thawline,trainer,trainer_bf16]
                                        [--rows 2000] [--seeds 7] [--repeats 1] [--threads 1] [--device cpu]
                                        [--head linear] [--set full_epochs=3]

DIR is that of `benchmarks.real_data`. Needs the extra ``benchmarks``. Phase 1 ends by the same rule on every
side, and early stopping of phase 2 is off (``patience`` 1000), so that all do the same epochs; Trainer still ends with
its best one, and our job with the latest that is not clearly worse. What is compared: see the package.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.real_data import DATASETS, prepare_job
from benchmarks.training_speed import table
from benchmarks.training_speed.exchange import Assignment, write_rows
from benchmarks.training_speed.measure import OURS, SIDES, Outcome, run_side
from models_store import datasets
from models_store.tasks import task_from_config


def main() -> None:
    """Run the comparison and print its table."""
    arguments = _arguments()
    cores = len(os.sched_getaffinity(0))
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(
        f"{platform.machine()}, {cores} cores, {device}, torch {torch.__version__}, {arguments.threads} threads, "
        f"load before the start {load}; head {arguments.head}\n"
    )
    print(table.HEADER, flush=True)
    for name in arguments.datasets.split(","):
        outcomes: dict[str, list[Outcome]] = {}
        for seed in arguments.seeds.split(","):
            for side, outcome in _compare(arguments, name, int(seed)):
                outcomes.setdefault(side, []).append(outcome)
        print("\n".join(table.rows(name, DATASETS[name].metrics[0], outcomes, OURS)), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--datasets", default="sst2,wnut17,stsb")
    parser.add_argument("--sides", default=",".join(SIDES), help="left out where they do not fit the task")
    parser.add_argument("--rows", type=int, default=2000, help="at most so many training rows, drawn at random")
    parser.add_argument("--seeds", default="7")
    parser.add_argument("--repeats", type=int, default=1, help="rounds a seed, every side once in each")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--head", default="linear")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a hyperparameter")
    arguments = parser.parse_args()
    sides = arguments.sides.split(",")
    if OURS not in sides or not set(sides) <= SIDES.keys():
        parser.error(f"--sides takes {', '.join(SIDES)}, and {OURS} must be among them: ratios are to it")
    return arguments


def _compare(arguments: argparse.Namespace, name: str, seed: int) -> list[tuple[str, Outcome]]:
    """Every side, in turn, as often as asked."""
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        assignment = _prepare(arguments, name, seed, root)
        task = task_from_config(assignment.task)
        for number in range(arguments.repeats):
            for side in arguments.sides.split(","):
                if SIDES[side].fits(task):
                    told = replace(assignment, bf16=SIDES[side].bf16)
                    outcomes.append((side, run_side(SIDES[side], told, root / f"{side}-{number}")))
    return outcomes


def _prepare(arguments: argparse.Namespace, name: str, seed: int, root: Path) -> Assignment:
    """Upload the data as a user would, resolve a job's defaults, and write both down for the sides."""
    chosen: dict[str, Any] = {"patience": 1000}
    chosen |= {key: json.loads(value) for key, _, value in (s.partition("=") for s in arguments.set)}
    asked: dict[str, object] = {"head": arguments.head, "seed": seed, "hyperparameters": chosen}
    request = prepare_job(
        arguments.data, name, asked, root, rows=arguments.rows, device=arguments.device, threads=arguments.threads
    )
    for split in ("train", "validation", "test"):
        write_rows(root / f"{split}.jsonl", datasets.read_split(request.dataset_dir, split))
    (root / "pipeline.json").write_text(request.model_dump_json(), encoding="utf-8")
    spec = request.spec
    return Assignment(
        task=request.dataset_schema,
        head=spec.head.value,
        encoder=str(request.encoders.find(spec.base_model).folder),
        phases=[phase.model_dump(mode="json") for phase in spec.phases()],
        values=spec.hyperparameters.model_dump(mode="json"),
        seed=seed,
        threads=arguments.threads,
        device=arguments.device,
    )


if __name__ == "__main__":
    main()
