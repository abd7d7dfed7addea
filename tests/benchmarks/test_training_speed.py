from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.training_speed import table
from benchmarks.training_speed.exchange import Assignment, Report, Times, read_rows, write_rows
from benchmarks.training_speed.measure import SIDES, Outcome, Side, run_side
from models_store.tasks.classification import ClassificationTask
from models_store.tasks.similarity import SimilarityTask

ASSIGNMENT = Assignment(task={}, head="linear", encoder="", phases=[], values={}, seed=7, threads=1, bf16=True)


def outcome(wall: float, cpu: float, peak: float, accuracy: float) -> Outcome:
    times = {"head": Times(wall / 10, cpu / 10), "full": Times(wall / 2, cpu / 2)}
    return Outcome(Times(wall, cpu), peak, Report(times, {"head": 10, "full": 9}, {"accuracy": accuracy}))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_holds_medians_and_ratios_on_both_clocks() -> None:
    ours = [outcome(10.0, 8.0, 500.0, 0.80), outcome(30.0, 8.0, 500.0, 0.84), outcome(12.0, 8.0, 500.0, 0.82)]

    lines = table.rows("sst2", "accuracy", {"ours": ours, "other": [outcome(36.0, 20.0, 250.0, 0.81)]}, "ours")

    first, second, third, fourth = map(cells, lines)
    shared = ["sst2", "ours", "3", "accuracy 0.8200", "10 + 9", "500", "1.00"]
    assert first == [*shared, "wall", "12.0", "1.00", "1.2", "6.0", "4.8", "10.0%"]
    assert second[7:] == ["cpu", "8.0", "1.00", "0.8", "4.0", "3.2", "10.0%"]
    assert third[5:10] == ["250", "0.50", "wall", "36.0", "3.00"]
    assert fourth[7:10] == ["cpu", "20.0", "2.50"]
    assert all(len(cells(line)) == len(first) for line in [*lines, *table.HEADER.splitlines()])


def test_a_side_without_phases_has_only_a_rest() -> None:
    run = Outcome(Times(5.0, 4.0), 100.0, Report({}, {}, {"accuracy": 0.5}))

    wall, _ = table.rows("sst2", "accuracy", {"ours": [run]}, "ours")

    assert cells(wall)[8:] == ["5.0", "1.00", "0.0", "0.0", "5.0", "0.0%"]


def test_what_a_side_is_told_and_tells_survives_the_way_through_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "side"
    folder.mkdir()
    report = Report({"head": Times(1.5, 1.25)}, {"head": 10}, {"accuracy": 0.5})

    ASSIGNMENT.save(folder)
    report.save(folder)
    write_rows(tmp_path / "train.jsonl", [{"text": "line\u2028separator", "label": "a"}, {"text": "é", "label": "b"}])

    assert Assignment.load(folder) == ASSIGNMENT
    assert Report.load(folder) == report
    assert [row["label"] for row in read_rows(folder, "train")] == ["a", "b"]


def test_sides_take_part_where_they_fit() -> None:
    graded, labelled = SimilarityTask(score_range=(0.0, 5.0)), SimilarityTask(labels=("0", "1"))

    assert SIDES["sentence_transformers"].fits(graded)
    assert not SIDES["sentence_transformers"].fits(labelled)
    assert SIDES["setfit"].fits(ClassificationTask(labels=("a", "b")))
    assert not SIDES["setfit"].fits(graded)


def test_a_side_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="No module named"):
        run_side(Side("no_such_side"), ASSIGNMENT, tmp_path / "side")
