"""What is said of files while they are read."""

from __future__ import annotations

from models_store.datasets.report import MAX_LINES, Report


def test_notices_are_counted_and_the_first_lines_are_told() -> None:
    report = Report()
    for line in range(1, 31):
        report.notice("odd_rows", "row(s) are odd", "train.csv", line)
    report.notice("odd_rows", "row(s) are odd", "test.csv", 7)
    report.notice("odd_file", "the file is odd", "train.csv")

    assert report.warnings() == [
        {
            "code": "odd_rows",
            "message": "30 row(s) are odd",
            "file": "train.csv",
            "lines": list(range(1, MAX_LINES + 1)),
        },
        {"code": "odd_rows", "message": "1 row(s) are odd", "file": "test.csv", "lines": [7]},
        {"code": "odd_file", "message": "the file is odd", "file": "train.csv", "lines": []},
    ]
    assert report.errors.count == 0
