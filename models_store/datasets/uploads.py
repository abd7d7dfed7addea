"""What is uploaded, how it is to be understood, and its way to the disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from models_store.datasets.columns import check_mapping
from models_store.datasets.formats import unpacked_size
from models_store.datasets.labels import check_separator
from models_store.datasets.report import OnError
from models_store.datasets.rows import SPLIT_SEED
from models_store.datasets.source import SourceFile, check_encoding, display_name
from models_store.datasets.tables import Reading
from models_store.tasks import TaskName

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a request: its split, the name the user gave it, its bytes."""

    split: str
    filename: str | None
    stream: BinaryIO


@dataclass(frozen=True, slots=True)
class Wishes:
    """How an upload is to be understood.

    Attributes:
        task: What its rows are for.
        name: Of the data set; by default the training file's.
        columns: Our field → the file's column.
        label_separator: Stands between the labels of a row that may have several.
        encoding: Of the text; by default UTF-8, or what a byte order mark says.
        on_error: What is done with rows that are wrong.
        encoder: Which of its texts are longer than this encoder reads at once is told; by default the usual one.
        split_seed: By which validation rows are drawn where there are none.
    """

    task: TaskName
    name: str | None = None
    columns: Mapping[str, object] = field(default_factory=dict)
    label_separator: str | None = None
    encoding: str | None = None
    on_error: OnError = OnError.REFUSE
    encoder: str | None = None
    split_seed: int = SPLIT_SEED

    def to_json(self) -> dict[str, Any]:
        """All of it, in a form that is the same for the same wishes."""
        return {
            "task": self.task.value,
            "name": self.name,
            "columns": dict(sorted(self.columns.items())),
            "label_separator": self.label_separator,
            "encoding": check_encoding(self.encoding),
            "on_error": self.on_error.value,
            "encoder": self.encoder,
            "split_seed": self.split_seed,
        }


def check(wishes: Wishes) -> Reading:
    """How to read the files.

    Raises:
        InvalidInputError: The column mapping, the label separator or the encoding makes no sense.
    """
    mapping = check_mapping(wishes.columns, wishes.task)
    check_separator(wishes.label_separator, wishes.task)
    check_encoding(wishes.encoding)
    return Reading(wishes.task, mapping, wishes.label_separator, split_seed=wishes.split_seed)


@dataclass(frozen=True, slots=True)
class Saved:
    """An upload on the disk.

    Attributes:
        sources: Its files by their splits.
        name: Of the data set.
        sha256: Of the training file.
        size: Of all files, in bytes.
        fingerprint: The same for the same files that are to be understood alike.
    """

    sources: dict[str, SourceFile]
    name: str
    sha256: str
    size: int
    fingerprint: str

    def is_larger(self, most: int) -> bool:
        """Whether the files are larger than so many bytes once they are unpacked."""
        left = most
        for source in self.sources.values():
            left -= unpacked_size(source, left)
            if left < 0:
                return True
        return False


def save(uploads: Sequence[Upload], folder: Path, wishes: Wishes, most: int | None) -> Saved:
    """Stream the uploads to disk."""
    sources: dict[str, SourceFile] = {}
    digests: dict[str, str] = {}
    size = 0
    for upload in uploads:
        path = folder / f"source-{upload.split}"
        sha256 = hashlib.sha256()
        with path.open("wb") as target:
            while chunk := upload.stream.read(_CHUNK):
                sha256.update(chunk)
                size += target.write(chunk)
        name = display_name(upload.filename, upload.split)
        if name in {other.name for other in sources.values()}:
            name = f"{name} ({upload.split})"  # messages say which one is meant
        sources[upload.split] = SourceFile(name, path, most, check_encoding(wishes.encoding))
        digests[upload.split] = sha256.hexdigest()
    name = (wishes.name or Path(sources["train"].name).stem)[:200]
    # A name that only the file has does not make another data set.
    identity = json.dumps({**wishes.to_json(), "files": digests}, sort_keys=True)
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()
    return Saved(sources, name, digests["train"], size, fingerprint)
