"""Small uploads for the tests of data sets."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets import Upload, Wishes, create
from models_store.datasets.source import SourceFile
from models_store.errors import InvalidInputError, Problem
from models_store.tables import Dataset
from models_store.tasks import TaskName

GOOD_CSV = "text,label\n" + "".join(f"example {i},{'ab'[i % 2]}\n" for i in range(20))


def as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def source(folder: Path, content: str | bytes, name: str = "train.csv") -> SourceFile:
    path = folder / "source"
    path.write_bytes(as_bytes(content))
    return SourceFile(name, path)


def upload(split: str, content: str | bytes, filename: str | None = None) -> Upload:
    return Upload(split, f"{split}.csv" if filename is None else filename, io.BytesIO(as_bytes(content)))


def store_files(
    db: Database,
    artifacts: ArtifactStore,
    train: str | bytes,
    task: TaskName = TaskName.CLASSIFICATION,
    *,
    columns: dict[str, object] | None = None,
    label_separator: str | None = None,
    **others: str | bytes,
) -> Dataset:
    """Upload a training file, and others by the name of their split."""
    uploads = [upload("train", train), *(upload(split, content) for split, content in others.items())]
    return create(db, artifacts, uploads, Wishes(task, columns=columns or {}, label_separator=label_separator))


def refusal(
    db: Database,
    artifacts: ArtifactStore,
    train: str | bytes,
    task: TaskName = TaskName.CLASSIFICATION,
    *,
    columns: dict[str, object] | None = None,
    label_separator: str | None = None,
    **others: str | bytes,
) -> InvalidInputError:
    """The error with which these files are refused."""
    with pytest.raises(InvalidInputError) as caught:
        store_files(db, artifacts, train, task, columns=columns, label_separator=label_separator, **others)
    return caught.value


def places(problems: list[Problem]) -> list[tuple[str, str | None, int | None, str | None]]:
    """Code, file, line and column of each problem."""
    return [(p.code, p.file, p.line, p.column) for p in problems]
