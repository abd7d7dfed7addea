"""Data sets from upload to deletion: all or nothing, and nothing from a request becomes a path."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from models_store import datasets
from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets import Upload, Wishes, service
from models_store.errors import ConflictError, InvalidDatasetError, InvalidInputError, NotFoundError
from models_store.tables import Dataset, JobStatus, TrainingJob
from models_store.tasks import TaskName
from tests.models_store.datasets.files import GOOD_CSV, places, refusal, store_files, upload

CONLL = "".join(f"word{i} B-X\nafter O\n\n" for i in range(20))
GRADED = "sentence1,sentence2,score\n" + "".join(f"a{i},b{i},{i % 5}\n" for i in range(20))


def stored_files(store: ArtifactStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def rows_of(store: ArtifactStore, dataset: Dataset, split: str) -> list[Any]:
    return list(datasets.read_split(store.verified_path(datasets.dataset_key(dataset.id)), split))


# ---- what is stored -------------------------------------------------------------------------------------------------


def test_a_data_set_with_three_files(sqlite: Database, store: ArtifactStore) -> None:
    other = "sentence,topic\nother,a\n"
    dataset = store_files(sqlite, store, GOOD_CSV, validation=other, test="text,label\nthird,b\nfourth,a\n")
    assert datasets.get(sqlite, dataset.id) == dataset
    assert (dataset.name, dataset.task, dataset.format) == ("train", "classification", "csv")
    assert dataset.sha256 == hashlib.sha256(GOOD_CSV.encode()).hexdigest()
    assert dataset.size_bytes == len(GOOD_CSV) + len(other) + len("text,label\nthird,b\nfourth,a\n")
    assert dataset.columns == {"text": "text", "label": "label"}
    assert dataset.labels == [{"label": "a", "count": 10}, {"label": "b", "count": 10}]
    assert dataset.warnings == []
    assert dataset.splits == {
        "train": {"rows": 20, "source": "uploaded"},
        "validation": {"rows": 1, "source": "uploaded"},
        "test": {"rows": 2, "source": "uploaded"},
    }
    assert rows_of(store, dataset, "validation") == [{"text": "other", "label": "a"}]
    assert rows_of(store, dataset, "train")[:2] == [
        {"text": "example 0", "label": "a"},
        {"text": "example 1", "label": "b"},
    ]


@pytest.mark.parametrize(
    ("task", "content"),
    [(TaskName.CLASSIFICATION, GOOD_CSV), (TaskName.TAGGING, CONLL), (TaskName.SIMILARITY, GRADED)],
)
def test_without_a_validation_file_one_is_cut_off(
    sqlite: Database, store: ArtifactStore, task: TaskName, content: str
) -> None:
    dataset = store_files(sqlite, store, content, task)
    assert dataset.splits == {
        "train": {"rows": 16, "source": "uploaded"},
        "validation": {"rows": 4, "source": "auto", "seed": 13},
    }
    train, validation = rows_of(store, dataset, "train"), rows_of(store, dataset, "validation")
    assert (len(train), len(validation)) == (16, 4)
    assert not [row for row in validation if row in train]
    assert rows_of(store, dataset, "test") == []


def test_rows_of_every_task(sqlite: Database, store: ArtifactStore) -> None:
    tagging = store_files(sqlite, store, CONLL, TaskName.TAGGING, validation=CONLL)
    assert rows_of(store, tagging, "train")[0] == {"tokens": ["word0", "after"], "tags": ["B-X", "O"]}
    assert (tagging.format, tagging.columns) == ("conll", {"token": "1", "tag": "2"})
    graded = store_files(sqlite, store, GRADED, TaskName.SIMILARITY, validation=GRADED)
    assert rows_of(store, graded, "train")[3] == {"text": "a3", "text_pair": "b3", "score": 3.0}
    assert graded.columns == {"text": "sentence1", "text_pair": "sentence2", "score": "score"}


def test_of_two_equal_uploads_at_the_same_moment_one_is_stored(
    sqlite: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store_files(sqlite, store, GOOD_CSV)
    known = service._known
    asked: list[str] = []

    def too_early(db: Database, fingerprint: str) -> Dataset | None:
        """The first is stored while the second has already looked whether there is one."""
        asked.append(fingerprint)
        return None if len(asked) == 1 else known(db, fingerprint)

    monkeypatch.setattr(service, "_known", too_early)

    second = store_files(sqlite, store, GOOD_CSV)

    assert second.id == first.id
    assert store.keys("datasets") == [datasets.dataset_key(first.id)]


def test_the_seed_draws_other_validation_rows_and_is_recorded(sqlite: Database, store: ArtifactStore) -> None:
    drawn = []
    for seed in (13, 14):
        wishes = Wishes(TaskName.CLASSIFICATION, split_seed=seed)
        dataset = datasets.create(sqlite, store, [upload("train", GOOD_CSV)], wishes)
        assert dataset.splits["validation"]["seed"] == seed
        drawn.append(rows_of(store, dataset, "validation"))
    assert len(drawn[0]) == len(drawn[1])
    assert drawn[0] != drawn[1]


def test_an_explicit_mapping(sqlite: Database, store: ArtifactStore) -> None:
    content = GOOD_CSV.replace("text,label", "corps,etiquette")
    dataset = store_files(sqlite, store, content, columns={"text": "corps", "label": "etiquette"})
    assert dataset.columns == {"text": "corps", "label": "etiquette"}
    assert rows_of(store, dataset, "train")[0].keys() == {"text", "label"}


def test_the_name_is_the_callers_or_the_files(sqlite: Database, store: ArtifactStore) -> None:
    files = [upload("train", GOOD_CSV, "../my data.v2.csv")]
    assert datasets.create(sqlite, store, files, Wishes(TaskName.CLASSIFICATION)).name == "my data.v2"
    files = [upload("train", GOOD_CSV)]
    assert datasets.create(sqlite, store, files, Wishes(TaskName.CLASSIFICATION, "TREC")).name == "TREC"


def test_warnings_are_kept_with_the_data_set(sqlite: Database, store: ArtifactStore) -> None:
    dataset = store_files(sqlite, store, GOOD_CSV + "example 0,b\n")
    codes = [(warning["code"], warning["lines"]) for warning in datasets.get(sqlite, dataset.id).warnings]
    assert codes == [("duplicate_rows", [22]), ("contradictory_labels", [2, 22])]


@pytest.mark.parametrize(
    "filename", ["../../../escape.csv", "/etc/passwd", "..\\..\\x", "manifest.json", "a\0b", "..", ""]
)
def test_file_names_never_become_paths(sqlite: Database, store: ArtifactStore, tmp_path: Path, filename: str) -> None:
    dataset = datasets.create(sqlite, store, [upload("train", GOOD_CSV, filename)], Wishes(TaskName.CLASSIFICATION))
    outside = {path.name for path in tmp_path.iterdir()} - {"t.db", "t.db-wal", "t.db-shm", "artifacts"}
    assert outside == set()
    folder = store.verified_path(datasets.dataset_key(dataset.id))
    names = {path.name for path in folder.iterdir()}
    assert names == {"manifest.json", "source-train", "train.arrow", "validation.arrow"}


def test_large_files_are_streamed(sqlite: Database, store: ArtifactStore) -> None:
    class Stream(io.BytesIO):
        largest = 0

        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert size > 0
            self.largest = max(self.largest, size)
            return super().read(size)

    stream = Stream(b"text,label\n" + b"".join(b"row %d %s,%d\n" % (i, b"x" * 999, i % 2) for i in range(3000)))
    dataset = datasets.create(sqlite, store, [Upload("train", "t.csv", stream)], Wishes(TaskName.CLASSIFICATION))
    assert stream.largest <= 1024 * 1024
    assert dataset.sha256 == hashlib.sha256(stream.getvalue()).hexdigest()


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "others", "place"),
    [
        (GOOD_CSV + "only text\n", {}, ("ragged_row", "train.csv", 22, None)),
        ("a,b\n1,2\n", {}, ("missing_column", "train.csv", 1, "text")),
        ("text,label\nx,a\ny,b\nz,a\n", {}, ("too_few_rows", "train.csv", None, None)),
        ("text,label\nx,a\ny,a\nz,a\nq,a\n", {}, ("single_class", "train.csv", None, "label")),
        (GOOD_CSV, {"test": "text,label\nx,c\n"}, ("unknown_label", "test.csv", 2, "label")),
        (GOOD_CSV, {"validation": ""}, ("empty_file", "validation.csv", None, None)),
        (GOOD_CSV, {"validation": "text,label\n"}, ("no_rows", "validation.csv", None, None)),
        ("text,label\n", {}, ("no_rows", "train.csv", None, None)),
        (GOOD_CSV, {"validation": b"\xff\xfex"}, ("wrong_encoding", "validation.csv", 1, None)),
        (GOOD_CSV, {"validation": b"%PDF-1.4"}, ("unsupported_format", "validation.csv", None, None)),
        (GOOD_CSV, {"test": "text,label\nx,a\nx,\xff".encode("latin-1")}, ("not_utf8", "test.csv", 3, None)),
    ],
)
def test_a_refused_upload_leaves_nothing(
    sqlite: Database,
    store: ArtifactStore,
    train: str,
    others: dict[str, Any],
    place: tuple[str, str, int | None, str | None],
) -> None:
    error = refusal(sqlite, store, train, **others)
    assert places(error.problems)[0] == place
    assert stored_files(store) == []
    with sqlite.reading() as session:
        assert session.exec(select(Dataset)).all() == []


def test_an_upload_that_breaks_off_leaves_nothing(sqlite: Database, store: ArtifactStore) -> None:
    class BreaksOff(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError

    files = [upload("train", GOOD_CSV), Upload("validation", "v.csv", BreaksOff())]
    with pytest.raises(ConnectionResetError):
        datasets.create(sqlite, store, files, Wishes(TaskName.CLASSIFICATION))
    assert stored_files(store) == []
    assert datasets.list_datasets(sqlite, limit=10) == []


def test_the_first_hundred_problems_are_listed_and_all_are_counted(sqlite: Database, store: ArtifactStore) -> None:
    error = refusal(sqlite, store, GOOD_CSV + "x,\n" * 150, test="text,label\n,a\n")
    assert isinstance(error, InvalidDatasetError)
    assert (len(error.problems), error.error_count) == (100, 151)
    assert [problem.line for problem in error.problems] == list(range(22, 122))


def test_problems_of_all_files_are_told_at_once(sqlite: Database, store: ArtifactStore) -> None:
    error = refusal(sqlite, store, GOOD_CSV + "x,\n", validation="foo,label\nx,a\n", test="text,label\n,a\n")
    assert places(error.problems) == [
        ("missing_label", "train.csv", 22, "label"),
        ("missing_column", "validation.csv", 1, "text"),
        ("missing_text", "test.csv", 2, "text"),
    ]


def test_rows_that_were_refused_accuse_no_others(sqlite: Database, store: ArtifactStore) -> None:
    """The only row labelled c is ragged: its label is not unknown, and the training file is not at fault twice."""
    error = refusal(sqlite, store, GOOD_CSV + "x,c,\n", test="text,label\ny,c\n")
    assert places(error.problems) == [("ragged_row", "train.csv", 22, None)]


def test_one_distinct_text_of_each_label_cannot_be_split(sqlite: Database, store: ArtifactStore) -> None:
    train = "text,label\nw,a\nx,b\ny,c\nz,d\nz,d\n"
    error = refusal(sqlite, store, train)
    assert places(error.problems) == [("too_few_rows", "train.csv", None, None)]
    assert "validation file" in error.problems[0].message
    assert store_files(sqlite, store, train, validation=train).splits["validation"]["rows"] == 5


def test_scores_against_labels_in_another_file(sqlite: Database, store: ArtifactStore) -> None:
    train = GRADED.replace(",score", ",label")
    error = refusal(sqlite, store, train, TaskName.SIMILARITY, validation=GRADED)
    assert places(error.problems) == [("other_columns", "validation.csv", 1, None)]


def test_a_mapping_that_does_not_fit_is_refused_before_a_byte_is_read(sqlite: Database, store: ArtifactStore) -> None:
    class Untouchable(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            pytest.fail("the upload was read")

    with pytest.raises(InvalidInputError, match="cannot be mapped"):
        datasets.create(
            sqlite,
            store,
            [Upload("train", "t.csv", Untouchable())],
            Wishes(TaskName.CLASSIFICATION, columns={"score": "x"}),
        )


def test_the_message_names_file_line_and_reason(sqlite: Database, store: ArtifactStore) -> None:
    error = refusal(sqlite, store, GOOD_CSV + "x,\n")
    assert error.message == "1 problem(s) in the data, the first (train.csv, line 22): label is empty"


# ---- read, list, delete ---------------------------------------------------------------------------------------------


def test_preview(sqlite: Database, store: ArtifactStore) -> None:
    dataset = store_files(sqlite, store, GOOD_CSV, test="text,label\none,a\ntwo,b\n")
    assert datasets.preview(store, dataset, split="test", limit=1) == [{"text": "one", "label": "a"}]
    assert len(datasets.preview(store, dataset, split="train", limit=100)) == 16
    without_test = store_files(sqlite, store, GOOD_CSV)
    with pytest.raises(NotFoundError, match="no test split; it has train, validation"):
        datasets.preview(store, without_test, split="test", limit=1)


def test_lists_are_newest_first_and_paged(sqlite: Database, store: ArtifactStore) -> None:
    ids = [store_files(sqlite, store, f"{GOOD_CSV}more {i},a\n").id for i in range(3)]
    newest_first = sorted(ids, reverse=True)
    first = datasets.list_datasets(sqlite, limit=2)
    assert [dataset.id for dataset in first] == newest_first[:2]
    rest = datasets.list_datasets(sqlite, limit=2, after=first[-1].id)
    assert [dataset.id for dataset in rest] == newest_first[2:]
    assert datasets.list_datasets(sqlite, limit=2, task="tagging") == []


def test_delete(sqlite: Database, store: ArtifactStore) -> None:
    dataset = store_files(sqlite, store, GOOD_CSV)
    datasets.delete(sqlite, store, dataset.id)
    assert stored_files(store) == []
    for again in (
        lambda: datasets.get(sqlite, dataset.id),
        lambda: datasets.delete(sqlite, store, dataset.id),
    ):
        with pytest.raises(NotFoundError) as caught:
            again()
        assert caught.value.code == "dataset_not_found"


@pytest.mark.parametrize(
    ("status", "refused"),
    [
        (JobStatus.QUEUED, True),
        (JobStatus.RUNNING, True),
        (JobStatus.SUCCEEDED, False),
        (JobStatus.FAILED, False),
        (JobStatus.CANCELLED, False),
    ],
)
def test_delete_waits_for_jobs_that_have_not_ended(
    sqlite: Database, store: ArtifactStore, status: JobStatus, *, refused: bool
) -> None:
    dataset = store_files(sqlite, store, GOOD_CSV)
    job = TrainingJob(
        status=status, dataset_id=dataset.id, model="m", task="classification", spec={}, request_sha256="0"
    )
    with sqlite.transaction() as session:
        session.add(job)
    if refused:
        with pytest.raises(ConflictError, match=job.id) as caught:
            datasets.delete(sqlite, store, dataset.id)
        assert caught.value.code == "dataset_in_use"
        assert len(rows_of(store, dataset, "train")) == 16
    else:
        datasets.delete(sqlite, store, dataset.id)
        assert stored_files(store) == []
