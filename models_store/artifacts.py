"""Artifacts: folders that appear whole or not at all.

A folder is filled in a staging area, described by a manifest with the SHA-256 of every file, forced to disk, and
renamed into place. What a reader finds under a key is therefore complete; a crash leaves at most a staging folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from ulid import ULID

from models_store.errors import ArtifactCorruptError, NotFoundError

MANIFEST = "manifest.json"
_KEY = re.compile(r"(datasets|models)/[a-z0-9_][a-z0-9_.-]*")
_STAGING = ".staging"
_KEPT = "uploads"


class _FileEntry(BaseModel):
    """What a file must be."""

    sha256: str
    bytes: int


class _Manifest(BaseModel):
    """The part of a manifest that the store itself reads."""

    files: dict[str, _FileEntry]


class ArtifactStore:
    """A local folder of artifacts. Keys are made from ids only, never from a request."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def staging(self, name: str | None = None) -> Iterator[Path]:
        """A fresh folder on the store's own disk; whatever is not published is removed at the end.

        Args:
            name: What to call it, so that housekeeping knows whose it is; by default something random.
        """
        with passing_folder(self.root / _STAGING / (name or str(ULID()).lower())) as folder:
            yield folder

    @contextmanager
    def attempt(self, name: str, number: int) -> Iterator[Path]:
        """A staging folder for an attempt at something; what earlier ones left that were killed goes."""
        self.drop_staged(name)
        with self.staging(f"{name}-{number}") as folder:
            yield folder

    def keep(self, folder: Path, name: str) -> None:
        """Put a staged folder aside, whole, until somebody has read it."""
        target = self.kept(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            fsync(path)
        folder.rename(target)
        fsync(target.parent)

    def kept(self, name: str) -> Path:
        """Where a folder lies that was put aside."""
        return self.root / _KEPT / name

    def all_kept(self) -> list[Path]:
        """All folders that were put aside."""
        return children(self.root / _KEPT)

    def drop_kept(self, name: str) -> None:
        """Remove a folder that was put aside, if it is there."""
        shutil.rmtree(self.kept(name), ignore_errors=True)

    def drop_staged(self, name: str) -> None:
        """Remove staged folders whose names begin so: nobody works on them any more."""
        for folder in self.staged():
            if folder.name.startswith(name):
                shutil.rmtree(folder, ignore_errors=True)

    def staged(self) -> list[Path]:
        """Folders in the staging area: of work under way, or left by a process that was killed."""
        return children(self.root / _STAGING)

    def keys(self, kind: Literal["datasets", "models"]) -> list[str]:
        """The keys of everything published."""
        return [f"{kind}/{path.name}" for path in children(self.root / kind)]

    def publish(self, folder: Path, key: str, info: dict[str, Any]) -> int:
        """Move a staged folder to its key, with a manifest of ``info`` and of every file.

        Returns:
            The size of the artifact in bytes.

        Raises:
            FileExistsError: The key is taken (artifacts are immutable), or a staged file is called like the manifest.
        """
        target = self._path(key)
        if target.exists() or (folder / MANIFEST).exists():
            raise FileExistsError(key)
        return seal(folder, target, info)

    def path(self, key: str) -> Path:
        """The folder of an artifact, unchecked.

        Raises:
            NotFoundError: There is none under this key.
        """
        folder = self._path(key)
        if not (folder / MANIFEST).is_file():
            raise NotFoundError(f"artifact {key!r} does not exist")
        return folder

    def verified_path(self, key: str, *, but: Collection[str] = ()) -> Path:
        """The folder of an artifact after every file was compared with the manifest.

        Args:
            key: Of the artifact.
            but: Files that are not going to be read, and so need not be compared.

        Raises:
            NotFoundError: There is none under this key.
            ArtifactCorruptError: A file is missing, cut short or altered.
        """
        folder = self.path(key)
        verified_manifest(folder, f"artifact {key!r}", but=but)
        return folder

    def read(self, key: str, name: str) -> bytes | None:
        """One small file of an artifact, after it alone was compared with the manifest; None where there is none.

        Raises:
            NotFoundError: There is no artifact under this key.
            ArtifactCorruptError: The file is missing, cut short or altered.
        """
        folder = self.path(key)
        entry = _manifest(folder, f"artifact {key!r}")[1].get(name)
        if entry is None:
            return None
        path = folder / name
        content = path.read_bytes() if path.is_file() else None
        if content is None or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise ArtifactCorruptError(f"artifact {key!r}: {name} differs from its manifest")
        return content

    def delete(self, key: str) -> None:
        """Remove an artifact: out of sight by one rename first, then from the disk."""
        folder = self._path(key)
        grave = self.root / _STAGING / f"deleted-{folder.name}"
        grave.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            folder.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key) or ".." in key:
            raise ValueError(f"not an artifact key: {key!r}")
        return self.root / key


def seal(folder: Path, target: Path, info: dict[str, Any]) -> int:
    """Describe a folder by a manifest of ``info`` and of every file, force it to disk, and rename it to its target.

    Returns:
        Its size in bytes.
    """
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        fsync(path)
        files[path.relative_to(folder).as_posix()] = _FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size)
    manifest = folder / MANIFEST
    content = {**info, **_Manifest(files=files).model_dump()}
    manifest.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    fsync(manifest)
    fsync(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    fsync(target.parent)
    return sum(entry.bytes for entry in files.values()) + (target / MANIFEST).stat().st_size


def verified_manifest(folder: Path, called: str, *, but: Collection[str] = ()) -> dict[str, Any]:
    """The manifest of a sealed folder after every file was compared with it.

    Raises:
        ArtifactCorruptError: A file is missing, cut short or altered; the message names the folder as ``called``.
    """
    content, files = _manifest(folder, called)
    for name, entry in files.items():
        path = folder / name
        if name in but:
            continue
        if not path.is_file() or path.stat().st_size != entry.bytes or file_sha256(path) != entry.sha256:
            raise ArtifactCorruptError(f"{called}: {name} differs from its manifest")
    return content


def _manifest(folder: Path, called: str) -> tuple[dict[str, Any], dict[str, _FileEntry]]:
    """All that a manifest says, and of this the files; neither has been compared with anything."""
    try:
        content: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        return content, _Manifest.model_validate(content).files
    except (OSError, ValueError) as error:
        raise ArtifactCorruptError(f"{called}: the manifest is unreadable") from error


@contextmanager
def passing_folder(folder: Path) -> Iterator[Path]:
    """Make a folder for this user alone, and remove it with all it holds at the end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def children(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where there is no such folder."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fsync(path: Path) -> None:
    """Force a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
