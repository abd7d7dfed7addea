"""The table of the paper's comparisons: which runs count, and what is a gain. No training here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import paper_table
from benchmarks.paper_table import LEARNING_RATES, Bench, Results, Run, fill, gain, table
from benchmarks.real_data import Outcome

RUN = Run("mrpc", 300, "hybrid", "auto", "siamese", 7, None, "accuracy", 0.75, 0.7, 30.0)


def test_a_gain_is_that_of_pairs_of_equal_seed() -> None:
    # Differences 1, 2 and 3 points: standard error 1 / √3, Student's t of two degrees of freedom 4.303.
    assert gain({7: 0.71, 8: 0.72, 9: 0.73, 10: 0.1}, {7: 0.70, 8: 0.70, 9: 0.70}) == "+2.0 ± 2.5"
    assert gain({7: 0.71}, {7: 0.70}) == "+1.0"
    assert gain({7: 0.71}, {8: 0.70}) == "–"


def test_of_the_learning_rates_only_the_tuned_one_counts(tmp_path: Path) -> None:
    results = Results(tmp_path / "runs.jsonl")
    results.add(RUN)
    results.add(replace(RUN, seed=8, score=0.77))
    for rate, validation, score in ((1e-4, 0.70, 0.60), (2e-4, 0.72, 0.70)):
        results.add(replace(RUN, kind="baseline", learning_rate=rate, validation=validation, score=score))
    results.add(replace(RUN, kind="baseline", learning_rate=2e-4, seed=8, score=0.71))

    row = list(table(Results(tmp_path / "runs.jsonl")))[-1]

    assert "| mrpc | 300 | auto (siamese) | accuracy | – | – | 0.705 ± 0.007 (2) | – | 0.760 ± 0.014 (2) |" in row
    assert "+5.5 ± 6.4" in row


def jobs_asked_for(monkeypatch: pytest.MonkeyPatch, chosen: str) -> list[tuple[str, str, Any]]:
    """Strategy, head and learning rate of each job, none of which is run: the higher the rate, the better its score."""
    asked: list[tuple[str, str, Any]] = []

    def job(data: Path, name: str, request: dict[str, Any], **options: Any) -> Outcome:
        rate = request.get("hyperparameters", {}).get("full_learning_rate")
        asked.append((request["strategy"], request["head"], rate))
        head = chosen if request["head"] == "auto" else request["head"]
        score = {"accuracy": 0.5 + (rate or 0.0)}
        return Outcome(300, 1.0, {"head": head, "metrics": {"validation": score, "test": score}}, None)

    monkeypatch.setattr(paper_table, "run_job", job)
    return asked


def test_what_is_in_the_file_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = jobs_asked_for(monkeypatch, chosen="siamese")
    bench = Bench(tmp_path, Results(tmp_path / "runs.jsonl"), "cpu", 1)

    fill(bench, "mrpc", 300, "auto", [7, 8])

    best = max(LEARNING_RATES)
    rates = [("finetune", head, rate) for head in ("linear", "siamese") for rate in LEARNING_RATES]
    first = [("hybrid", "auto", None), ("frozen", "siamese", None), ("frozen", "auto", None), *rates]
    second = [*first[:3], ("finetune", "linear", best), ("finetune", "siamese", best)]
    assert asked == first + second
    asked.clear()

    fill(Bench(tmp_path, Results(tmp_path / "runs.jsonl"), "cpu", 1), "mrpc", 300, "auto", [7, 8])

    assert asked == []


def test_where_hybrid_has_the_head_of_the_baseline_that_is_the_control_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = jobs_asked_for(monkeypatch, chosen="linear")
    results = Results(tmp_path / "runs.jsonl")

    fill(Bench(tmp_path, results, "cpu", 1), "sst2", 300, "auto", [7])

    rates = [("finetune", "linear", rate) for rate in LEARNING_RATES]
    assert asked == [("hybrid", "auto", None), ("frozen", "linear", None), ("frozen", "auto", None), *rates]
    baseline, control = (results.find(kind=kind) for kind in ("baseline", "control"))
    assert [replace(run, kind="baseline") for run in control] == baseline
