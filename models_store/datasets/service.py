"""Data sets: create from uploads, list, look at, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from models_store.artifacts import ArtifactStore
from models_store.database import Database
from models_store.datasets.pieces import EncoderLimit, limit_for
from models_store.datasets.reading import SKIPPED, Outcome, read, stored, write_splits
from models_store.datasets.rows import dataset_key, read_split
from models_store.datasets.skipped import listed
from models_store.datasets.statistics import of_pieces
from models_store.datasets.uploads import Upload, Wishes, check, save
from models_store.encoders import EncoderCatalogue
from models_store.errors import ConflictError, InvalidInputError, NotFoundError, TooLargeError
from models_store.tables import TERMINAL_STATUSES, Dataset, DatasetStatus, TrainingJob
from models_store.tasks import Row

_NOTHING: dict[str, Any] = {"format": "", "columns": {}, "schema_": {}, "labels": [], "splits": {}, "warnings": []}


def create(
    db: Database,
    store: ArtifactStore,
    uploads: Sequence[Upload],
    wishes: Wishes,
    *,
    most_unpacked: int | None = None,
    at_once: int | None = None,
    encoders: EncoderCatalogue | None = None,
) -> Dataset:
    """What `create_or_find` gives, new or not; its arguments and errors."""
    return create_or_find(db, store, uploads, wishes, most_unpacked=most_unpacked, at_once=at_once, encoders=encoders)[
        0
    ]


def create_or_find(
    db: Database,
    store: ArtifactStore,
    uploads: Sequence[Upload],
    wishes: Wishes,
    *,
    most_unpacked: int | None = None,
    at_once: int | None = None,
    encoders: EncoderCatalogue | None = None,
) -> tuple[Dataset, bool]:
    """Validate the files and store them as a data set; if it is refused nothing is stored.

    The same files, to be understood alike, are not stored again: the data set that they have made is handed back.

    Args:
        db: The database.
        store: Where the files go.
        uploads: The files.
        wishes: How they are to be understood.
        most_unpacked: Bytes that each may unpack to.
        at_once: Bytes up to which files are read now; larger ones are only stored, to be read by somebody who has
            claimed them (`pending`). None: any.
        encoders: To say which texts are longer than the encoder reads at once.

    Returns:
        The data set, and whether it is new.

    Raises:
        UnreadableFileError: A file cannot be decoded or parsed.
        InvalidDatasetError: Rows are wrong; carries each with file, line and reason.
        InvalidInputError: The column mapping, the label separator or the encoding makes no sense.
        NotFoundError: The encoder that is named does not exist, or its files are not here.
        TooLargeError: A file unpacks to more than it may.
    """
    reading, limit = check(wishes), limit_for(wishes.encoder, encoders)
    with store.staging() as folder:
        saved = save(uploads, folder, wishes, most_unpacked)
        if (known := _known(db, saved.fingerprint)) is not None:
            return known, False
        dataset = Dataset(
            name=saved.name,
            task=wishes.task,
            size_bytes=saved.size,
            sha256=saved.sha256,
            fingerprint=saved.fingerprint,
            **_NOTHING,
        )
        if at_once is not None and saved.is_larger(at_once):
            dataset.status = DatasetStatus.VALIDATING
            dataset.wishes = {**wishes.to_json(), "files": {split: s.name for split, s in saved.sources.items()}}
            store.keep(folder, dataset.id)
        else:
            outcome = read(saved.sources, reading, wishes.on_error, folder, limit=limit)
            for name, value in stored(outcome, folder).items():
                setattr(dataset, name, value)
            store.publish(folder, dataset_key(dataset.id), manifest_of(dataset.id, dataset.schema_, dataset.splits))
    try:
        with db.transaction() as session:
            session.add(dataset)
    except IntegrityError:  # the same upload at the same moment, and the other one was first
        store.delete(dataset_key(dataset.id))
        store.drop_kept(dataset.id)
        if (known := _known(db, saved.fingerprint)) is None:
            raise
        return known, False
    return dataset, True


def dry_run(
    store: ArtifactStore,
    uploads: Sequence[Upload],
    wishes: Wishes,
    *,
    most_unpacked: int | None = None,
    at_once: int | None = None,
    encoders: EncoderCatalogue | None = None,
) -> tuple[Outcome, dict[str, Any], dict[str, Any]]:
    """Validate the files as `create` would, and store nothing.

    Returns:
        What came of it, and the splits with their statistics as they would be; both empty where the files are refused.

    Raises:
        UnreadableFileError: A file cannot be decoded or parsed.
        InvalidInputError: The column mapping, the label separator or the encoding makes no sense.
        NotFoundError: The encoder that is named does not exist, or its files are not here.
        TooLargeError: A file unpacks to more than it may.
    """
    reading, limit = check(wishes), limit_for(wishes.encoder, encoders)
    with store.staging() as folder:
        saved = save(uploads, folder, wishes, most_unpacked)
        if at_once is not None and saved.is_larger(at_once):
            message = (
                f"files of more than {at_once} bytes, unpacked, are not tried while you wait: upload them, which "
                "validates them as a job, and delete the data set if it is not wanted"
            )
            raise TooLargeError(message)
        outcome = read(saved.sources, reading, wishes.on_error, folder, limit=limit)
        if outcome.findings is None:
            return outcome, {}, {}
        try:
            return outcome, *write_splits(outcome, folder)
        except InvalidInputError as error:
            for problem in error.problems:
                outcome.report.wrong(problem)
            return outcome, {}, {}


def _known(db: Database, fingerprint: str) -> Dataset | None:
    """The data set that the very same upload has made before, if it is still there."""
    same = select(Dataset).where(Dataset.fingerprint == fingerprint, Dataset.status != DatasetStatus.INVALID)
    with db.reading() as session:
        return session.exec(same.limit(1)).first()


def manifest_of(dataset_id: str, schema: dict[str, Any], splits: dict[str, Any]) -> dict[str, Any]:
    """What the manifest of a data set's files says beside their hashes."""
    return {"kind": "dataset", "id": dataset_id, "schema": schema, "splits": splits}


def get(db: Database, dataset_id: str) -> Dataset:
    """A data set by its id.

    Raises:
        NotFoundError: No such data set.
    """
    with db.reading() as session:
        dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise NotFoundError(f"dataset {dataset_id!r} does not exist", code="dataset_not_found")
    return dataset


def get_ready(db: Database, dataset_id: str) -> Dataset:
    """A data set whose rows can be had.

    Raises:
        NotFoundError: No such data set.
        ConflictError: Its files have not been read yet, or were found wrong.
    """
    dataset = get(db, dataset_id)
    if dataset.status == DatasetStatus.VALIDATING:
        message = f"dataset {dataset_id!r} is still being validated; ask for it until its status is ready"
        raise ConflictError(message, code="dataset_not_ready")
    if dataset.status == DatasetStatus.INVALID:
        message = f"dataset {dataset_id!r} is invalid: its `errors` say why; upload it mended"
        raise ConflictError(message, code="dataset_invalid")
    return dataset


def list_datasets(db: Database, *, limit: int, after: str | None = None, task: str | None = None) -> list[Dataset]:
    """Data sets, the newest first, from the one after ``after`` on."""
    query = select(Dataset).order_by(col(Dataset.id).desc()).limit(limit)
    if after:
        query = query.where(col(Dataset.id) < after)
    if task:
        query = query.where(Dataset.task == task)
    with db.reading() as session:
        return list(session.exec(query))


def preview(store: ArtifactStore, dataset: Dataset, *, split: str, limit: int, after: int = 0) -> list[Row]:
    """Some rows of a split, from the one after so many on.

    Raises:
        NotFoundError: The data set has no such split.
    """
    rows = rows_of(store, dataset, split)
    return list(rows[after : after + limit])


def rows_of(store: ArtifactStore, dataset: Dataset, split: str) -> Sequence[Row]:
    """All rows of a split, read as they are needed.

    Raises:
        NotFoundError: The data set has no such split.
    """
    if split not in dataset.splits:
        raise NotFoundError(f"dataset {dataset.id!r} has no {split} split; it has {', '.join(dataset.splits)}")
    return read_split(store.path(dataset_key(dataset.id)), split)


def skipped(store: ArtifactStore, dataset: Dataset, *, limit: int, after: int = 0) -> list[dict[str, Any]]:
    """What was wrong with rows that were left out, in order, from the one after so many on."""
    return list(listed(store.path(dataset_key(dataset.id)) / SKIPPED, limit=limit, after=after))


def piece_lengths(store: ArtifactStore, dataset: Dataset, limit: EncoderLimit) -> dict[str, Any]:
    """Lengths of each split in word pieces of an encoder."""
    folder = store.path(dataset_key(dataset.id))
    return {split: of_pieces(read_split(folder, split), limit) for split in dataset.splits}


def delete(db: Database, store: ArtifactStore, dataset_id: str) -> None:
    """Delete a data set and its files.

    Raises:
        NotFoundError: No such data set.
        ConflictError: A job that has not ended uses it.
    """
    with db.transaction() as session:
        dataset = session.get(Dataset, dataset_id, with_for_update=True)
        if dataset is None:
            raise NotFoundError(f"dataset {dataset_id!r} does not exist", code="dataset_not_found")
        busy = session.exec(
            select(TrainingJob.id).where(
                TrainingJob.dataset_id == dataset_id, col(TrainingJob.status).not_in(TERMINAL_STATUSES)
            )
        ).first()
        if busy:
            raise ConflictError(f"dataset {dataset_id!r} is used by job {busy}", code="dataset_in_use")
        session.delete(dataset)
    store.delete(dataset_key(dataset_id))
    store.drop_kept(dataset_id)
    store.drop_staged(dataset_id)
