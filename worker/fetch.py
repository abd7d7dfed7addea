"""Fetches one encoder from the Hugging Face hub and tells of it on stdout, one event a line.

python -m worker.fetch NAME REPOSITORY COMMIT FOLDER

Three files are fetched by their names and nothing else: no pickle, no code. They gather in ``FOLDER.part`` and become
FOLDER in one step, so that a folder which is there is whole. A lock lets one process at a time fetch; the others wait
and find the folder. What an interrupted fetch has finished is kept, and the file it was at begins anew.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

from models_store.artifacts import file_sha256, fsync
from models_store.encoders import CONFIG_FILE, WEIGHTS_FILE, HubRevision
from models_store.tokenizer import TOKENIZER_FILE
from worker.meanwhile import meanwhile
from worker.training.errors import EncoderError
from worker.training.events import Event, Failed, Message, Working
from worker.training.pacing import REPORT_SECONDS

_FILES = (CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE)
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_TIMEOUT_SECONDS = 30.0
_TOLD_SHARE = 0.1  # of the bytes, between two messages
_MB = 1e6


def tell(event: Event) -> None:
    """Write an event for the process that waits."""
    sys.stdout.write(event.model_dump_json() + "\n")
    sys.stdout.flush()


def main(name: str, hub: HubRevision, folder: Path) -> None:
    """Fetch, and tell how it went; the last event is `Failed` if the folder is not there then."""
    try:
        _fetch(f"base_model {name} ({hub.repo}@{hub.commit[:7]})", hub, folder)
    except Exception as error:  # noqa: BLE001 (whatever it is, the job must say so)
        tell(Failed(code=EncoderError.code, message=f"base_model {name!r} ({hub}): {_reason(error, hub)}"))


def _fetch(what: str, hub: HubRevision, folder: Path) -> None:
    # Nobody's token is sent but the one that the operator set for this.
    token = os.environ.get("HF_TOKEN") or False
    info = HfApi(token=token).model_info(hub.repo, revision=hub.commit, files_metadata=True, timeout=_TIMEOUT_SECONDS)
    if info.sha != hub.commit:
        raise EncoderError(f"the hub answered with another commit, {info.sha}")
    files = _choose({file.rfilename: file for file in info.siblings or []})
    total = sum(file.size or 0 for file in files)
    tell(Message(message=f"fetching {what} once: {total / _MB:.1f} MB", data={**_data(hub), "bytes": total}))
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    with _watched(part, total, what), WeakFileLock(folder.with_name(f"{folder.name}.lock")):
        if folder.is_dir():
            return  # another process was at it
        shutil.rmtree(part / ".cache", ignore_errors=True)  # of a fetch that was interrupted
        for file in files:
            hf_hub_download(
                hub.repo, file.rfilename, revision=hub.commit, token=token, local_dir=part, cache_dir=part / ".cache"
            )
            _check(part / file.rfilename, file)
        shutil.rmtree(part / ".cache")
        part.rename(folder)
    tell(Message(message=f"fetched {what}", data=_data(hub)))


def _data(hub: HubRevision) -> dict[str, str]:
    return {"repository": hub.repo, "commit": hub.commit}


def _choose(offered: dict[str, RepoSibling]) -> list[RepoSibling]:
    """The files that an encoder is made of.

    Raises:
        EncoderError: One is missing; the message says what there is instead.
    """
    missing = [name for name in _FILES if name not in offered]
    if WEIGHTS_FILE in missing:
        if f"{WEIGHTS_FILE}.index.json" in offered:
            raise EncoderError(f"its weights are in several files; only a single {WEIGHTS_FILE} can be used")
        if pickled := next((name for name in offered if name.endswith(_PICKLED)), None):
            raise EncoderError(f"it has no {WEIGHTS_FILE}, and {pickled} is not loaded: such a file can hold code")
    if missing:
        raise EncoderError(f"it has no {' and no '.join(missing)}")
    return [offered[name] for name in _FILES]


def _check(path: Path, file: RepoSibling) -> None:
    """Compare a large file with its hash on the hub, and force it to disk before its folder gets its name."""
    fsync(path)
    if file.lfs is not None and file_sha256(path) != file.lfs.sha256:
        path.unlink()
        raise EncoderError(f"{path.name} arrived damaged: its SHA-256 is not the one that the hub gives")


def _watched(part: Path, total: int, what: str) -> contextlib.AbstractContextManager[None]:
    """Tell meanwhile of the bytes that have come, whoever fetches them, as long as there are more and more."""
    most, told = 0, 0.0

    def watch() -> bool:
        nonlocal most, told
        if (size := _size(part)) > most:  # a fetch that hangs must look like one
            most = size
            tell(Working(stage="prepare", done=size, total=max(total, size)))
            if total and size / total >= told + _TOLD_SHARE:
                told = size / total
                tell(Message(message=f"fetching {what}: {size / _MB:.1f} of {total / _MB:.1f} MB"))
        return True

    return meanwhile(watch, REPORT_SECONDS, "watch")


def _size(folder: Path) -> int:
    """Bytes of all files below a folder in which they come and go."""
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size if path.is_file() else 0
    return size


def _reason(error: Exception, hub: HubRevision) -> str:
    """What went wrong, for the person whose job it is."""
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the library's way to say that it has no older copy either
    if isinstance(error, EncoderError):
        return error.message
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, RevisionNotFoundError):
        return f"{hub.repo} has no commit {hub.commit}"
    if isinstance(error, GatedRepoError) or status == 403:
        return (
            "access is restricted: accept its terms on the hub, and give the worker a token that may read it (HF_TOKEN)"
        )
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return (
            "there is no such repository, or it is private: then the worker needs a token that may read it (HF_TOKEN)"
        )
    reason = str(error).strip().partition("\n")[0]
    return f"fetching it from {constants.ENDPOINT} failed: {type(error).__name__}: {reason}"


if __name__ == "__main__":
    main(sys.argv[1], HubRevision(sys.argv[2], sys.argv[3]), Path(sys.argv[4]))
