"""Remove what killed processes left behind: staged folders, scratch space, and artifacts that no row names.

A folder of an attempt is called ``<job id>.<attempt>``, so the database knows whether anybody still works in it.
Checkpoints are called by their job alone, and stay until it is over.
Whatever else lies about, an upload cut off half-way, is given a day.
"""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from sqlmodel import col, select

from models_store.artifacts import ArtifactStore, children
from models_store.database import Database
from models_store.datasets import dataset_key
from models_store.tables import (
    HELD_STATUSES,
    TERMINAL_STATUSES,
    Dataset,
    DatasetStatus,
    FilePrediction,
    ModelVersion,
    TrainingJob,
)

UPLOAD_SECONDS = 24 * 3600.0
_OF_ATTEMPT = re.compile(r"job_[a-z0-9]+\.[0-9]+")  # what `attempt_folder` makes


def attempt_folder(job_id: str, attempt: int) -> str:
    """The name of a folder that belongs to one attempt of a job."""
    return f"{job_id}.{attempt}"


def tidy(db: Database, store: ArtifactStore, scratch: Path, checkpoints: Path) -> list[Path]:
    """Remove what nobody works on any more. Safe beside running workers and in many of them at once.

    Args:
        db: Tells which attempts are running and which artifacts have a row.
        store: Its staged folders and its artifacts are looked at.
        scratch: The folder in which the workers of this machine keep their temporary files.
        checkpoints: The folder in which they keep the checkpoints of each job.

    Returns:
        The folders removed.
    """
    # The folders are listed before the database is asked: what is made in between is left alone.
    working = [*(path for path in children(scratch) if path.is_dir()), *store.staged()]
    resumable = children(checkpoints)
    uploads = store.all_kept()
    keys = [*store.keys("models"), *store.keys("datasets")]
    with db.reading() as session:
        running = {
            attempt_folder(job_id, attempt)
            for job_id, attempt in session.exec(
                select(TrainingJob.id, TrainingJob.attempt).where(col(TrainingJob.status).in_(HELD_STATUSES))
            )
        }
        unfinished = set(session.exec(select(TrainingJob.id).where(col(TrainingJob.status).not_in(TERMINAL_STATUSES))))
        known = set(session.exec(select(ModelVersion.artifact)))
        waiting = set(session.exec(select(Dataset.id).where(Dataset.status == DatasetStatus.VALIDATING)))
        waiting |= set(session.exec(select(FilePrediction.id)))
        known |= {dataset_key(dataset_id) for dataset_id in session.exec(select(Dataset.id))}
    # A row failed to follow its files, or the files outlived their row.
    orphans = [store.root / key for key in keys if key not in known]
    removed = [path for path in [*working, *orphans] if _is_abandoned(path, running)]
    removed += [path for path in resumable if path.name not in unfinished]
    removed += [path for path in uploads if path.name not in waiting and _age(path) > UPLOAD_SECONDS]
    for path in removed:
        _remove(path)
    return removed


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)  # another worker may be at it
    else:
        path.unlink(missing_ok=True)


def _is_abandoned(path: Path, running: set[str]) -> bool:
    if _OF_ATTEMPT.fullmatch(path.name):
        return path.name not in running
    return _age(path) > UPLOAD_SECONDS


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # another worker was faster
        return 0.0
