"""Every file of the corpus is told exactly what is to be said of it, and a good one is stored as it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models_store import datasets
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets import OnError, Outcome, Upload, Wishes
from models_store.errors import InvalidInputError, Problem
from tests.models_store.datasets import corpus, corpus_sheets, corpus_tagging
from tests.models_store.datasets.corpus import Case, Place
from tests.models_store.datasets.files import upload

CASES = [*corpus.CASES, *corpus_sheets.CASES, *corpus_tagging.UNUSUAL]


def wishes(case: Case) -> Wishes:
    form: dict[str, Any] = {**case.form, "on_error": OnError(case.form.get("on_error", "refuse"))}
    return Wishes(case.task, **form)


def files(case: Case) -> list[Upload]:
    return [upload("train", case.content, "file")]


REPORTS = Path(__file__).with_name("reports.json")  # by `python -m tests.models_store.datasets.reports`, and then read
EXACT: dict[str, Any] = json.loads(REPORTS.read_text(encoding="utf-8")) if REPORTS.exists() else {}


def placed(problems: list[Problem]) -> list[Place]:
    return [(problem.code, problem.line, problem.column) for problem in problems]


def dry_run(store: ArtifactStore, case: Case) -> tuple[Outcome, dict[str, Any], dict[str, Any]] | InvalidInputError:
    """What came of the files, or why they cannot be read to their end."""
    try:
        return datasets.dry_run(store, files(case), wishes(case))
    except InvalidInputError as error:
        return error


def report_of(found: tuple[Outcome, dict[str, Any], dict[str, Any]] | InvalidInputError) -> dict[str, Any]:
    """All that is said of a file, without what there is nothing of."""
    if isinstance(found, InvalidInputError):
        said: dict[str, Any] = {"errors": [problem.to_json() for problem in found.problems]}
    else:
        outcome, splits, _ = found
        said = {
            "errors": [problem.to_json() for problem in outcome.report.errors.kept],
            "skipped": [problem.to_json() for problem in outcome.report.skipped.kept],
            "warnings": outcome.warnings,
            "splits": splits,
        }
    return {name: part for name, part in said.items() if part}


def test_the_corpus_is_large_and_each_name_is_one_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 60


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_dry_run_says_exactly_what_is_to_be_said(store: ArtifactStore, case: Case) -> None:
    found = dry_run(store, case)
    if isinstance(found, InvalidInputError):
        assert placed(found.problems) == list(case.errors)
        return
    outcome, splits, statistics = found
    report = outcome.report
    assert placed(report.errors.kept) == list(case.errors)
    assert placed(report.skipped.kept) == list(case.skipped)
    assert {name: split["rows"] for name, split in splits.items()} == dict(case.rows)
    assert {name: split["rows"] for name, split in statistics.items()} == dict(case.rows)
    assert [(one["code"], one["lines"]) for one in outcome.warnings] == [(code, list(at)) for code, at in case.warnings]
    if case.format is not None:
        assert outcome.splits["train"].table.format == case.format
    if case.labels is not None:
        assert outcome.findings is not None
        assert sorted(label["label"] for label in outcome.findings.labels) == case.labels


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_report_is_exact(store: ArtifactStore, case: Case) -> None:
    """Every word of it: file, line, column, code, message, and the value cut short."""
    assert report_of(dry_run(store, case)) == EXACT.get(case.name, {})


def test_no_exact_report_is_of_a_file_that_is_gone() -> None:
    assert EXACT.keys() <= {case.name for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_an_upload_does_what_the_dry_run_says(sqlite: Database, store: ArtifactStore, case: Case) -> None:
    if case.errors:
        with pytest.raises(InvalidInputError) as refused:
            datasets.create(sqlite, store, files(case), wishes(case))
        assert placed(refused.value.problems) == list(case.errors)
        assert store.keys("datasets") == []
        return
    dataset = datasets.create(sqlite, store, files(case), wishes(case))
    assert {name: len(datasets.rows_of(store, dataset, name)) for name in dataset.splits} == dict(case.rows)
    found = datasets.skipped(store, dataset, limit=100)
    assert [(one["code"], one["line"], one.get("column")) for one in found] == list(case.skipped)
    assert dataset.skipped_rows == len(case.skipped)
    assert datasets.create(sqlite, store, files(case), wishes(case)).id == dataset.id
    assert store.keys("datasets") == [datasets.dataset_key(dataset.id)]
    assert store.staged() == []
