"""Artifacts: folders that appear whole or not at all, and whose corruption is found."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models_store import artifacts
from models_store.artifacts import MANIFEST, ArtifactStore, file_sha256
from models_store.errors import ArtifactCorruptError, NotFoundError

KEY = "models/job_1.1"


def publish(store: ArtifactStore, key: str = KEY, content: bytes = b"weights") -> int:
    with store.staging() as folder:
        (folder / "model.onnx").write_bytes(content)
        (folder / "sub").mkdir()
        (folder / "sub" / "tökens.json").write_text("{}", encoding="utf-8")
        return store.publish(folder, key, {"kind": "model", "note": "grün"})


def files_under(store: ArtifactStore) -> list[str]:
    return sorted(p.relative_to(store.root).as_posix() for p in store.root.rglob("*") if p.is_file())


def test_published_files_lie_under_their_key(store: ArtifactStore) -> None:
    publish(store)
    folder = store.verified_path(KEY)
    assert folder == store.path(KEY) == store.root / KEY
    assert (folder / "model.onnx").read_bytes() == b"weights"
    assert files_under(store) == [f"{KEY}/{name}" for name in (MANIFEST, "model.onnx", "sub/tökens.json")]


def test_the_manifest_describes_every_file(store: ArtifactStore) -> None:
    size = publish(store)
    manifest = store.root / KEY / MANIFEST
    assert json.loads(manifest.read_text(encoding="utf-8")) == {
        "kind": "model",
        "note": "grün",
        "files": {
            "model.onnx": {"sha256": hashlib.sha256(b"weights").hexdigest(), "bytes": 7},
            "sub/tökens.json": {"sha256": hashlib.sha256(b"{}").hexdigest(), "bytes": 2},
        },
    }
    assert size == 7 + 2 + manifest.stat().st_size


def test_everything_is_forced_to_disk_before_it_gets_its_name(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    monkeypatch.setattr(artifacts, "fsync", lambda path: synced.append((path.name, (store.root / KEY).exists())))
    publish(store)
    before = {name for name, in_place in synced if not in_place}
    after = {name for name, in_place in synced if in_place}
    assert before >= {"model.onnx", "tökens.json", MANIFEST}
    assert after == {"models"}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: (folder / "model.onnx").write_bytes(b"weight"), id="cut short"),
        pytest.param(lambda folder: (folder / "model.onnx").write_bytes(b"weightz"), id="one byte altered"),
        pytest.param(lambda folder: (folder / "model.onnx").write_bytes(b""), id="emptied"),
        pytest.param(lambda folder: (folder / "model.onnx").unlink(), id="missing"),
        pytest.param(lambda folder: (folder / "sub" / "tökens.json").unlink(), id="missing in a sub-folder"),
        pytest.param(lambda folder: (folder / MANIFEST).write_text('{"files": {'), id="manifest cut short"),
        pytest.param(lambda folder: (folder / MANIFEST).write_bytes(b"\xff"), id="manifest is no text"),
        pytest.param(lambda folder: (folder / MANIFEST).write_text("{}"), id="manifest without files"),
    ],
)
def test_corruption_is_found(store: ArtifactStore, damage: Callable[[Path], object]) -> None:
    publish(store)
    damage(store.root / KEY)
    with pytest.raises(ArtifactCorruptError, match=KEY):
        store.verified_path(KEY)


def test_one_file_is_read(store: ArtifactStore) -> None:
    publish(store)

    assert store.read(KEY, "model.onnx") == b"weights"
    assert store.read(KEY, "sub/tökens.json") == b"{}"
    for unpublished in ("report.json", MANIFEST, "../job_1.1/model.onnx", "/etc/passwd"):
        assert store.read(KEY, unpublished) is None


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"weightz"), lambda path: path.unlink()])
def test_a_file_is_compared_with_the_manifest_when_it_is_read(
    store: ArtifactStore, damage: Callable[[Path], object]
) -> None:
    publish(store)
    damage(store.root / KEY / "model.onnx")

    with pytest.raises(ArtifactCorruptError, match=r"model\.onnx"):
        store.read(KEY, "model.onnx")
    assert store.read(KEY, "sub/tökens.json") == b"{}"  # the others do not matter


def test_an_artifact_without_a_manifest_does_not_exist(store: ArtifactStore) -> None:
    publish(store)
    (store.root / KEY / MANIFEST).unlink()
    for find in (store.path, store.verified_path):
        with pytest.raises(NotFoundError, match=KEY):
            find(KEY)


def test_an_exception_inside_staging_leaves_nothing(store: ArtifactStore) -> None:
    def crash() -> None:
        with store.staging() as folder:
            (folder / "model.onnx").write_bytes(b"half")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        crash()
    assert files_under(store) == []


def test_a_process_killed_inside_publish_leaves_nothing_under_the_key(store: ArtifactStore) -> None:
    """The process dies between the last fsync and the rename: the worst moment there is."""
    code = f"""
import os, signal
from pathlib import Path
from models_store.artifacts import ArtifactStore
Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store = ArtifactStore(Path({str(store.root)!r}))
with store.staging() as folder:
    (folder / "model.onnx").write_bytes(b"weights")
    store.publish(folder, {KEY!r}, {{}})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert all(name.startswith(".staging/") for name in files_under(store))
    with pytest.raises(NotFoundError):
        store.path(KEY)
    publish(store)  # what the dead process left does not stand in the way
    assert store.verified_path(KEY)


def test_publishing_twice_is_refused_and_changes_nothing(store: ArtifactStore) -> None:
    publish(store)
    with pytest.raises(FileExistsError, match=KEY):
        publish(store, content=b"other")
    assert (store.verified_path(KEY) / "model.onnx").read_bytes() == b"weights"
    assert len(files_under(store)) == 3


@pytest.mark.parametrize(
    "key",
    [
        "",
        "models",
        "models/",
        "models/..",
        "models/a..b",
        "models/../../etc",
        "../models/a",
        "/models/a",
        "models/a/b",
        "models/.hidden",
        "models/A",
        "models/a b",
        "models/a\n",
        "models/a\0",
        "other/a",
        ".staging/a",
    ],
)
def test_bad_keys_are_refused(store: ArtifactStore, key: str) -> None:
    with store.staging() as folder:
        for use in (store.path, store.verified_path, store.delete, lambda key: store.publish(folder, key, {})):
            with pytest.raises(ValueError, match="not an artifact key"):
                use(key)


def test_delete(store: ArtifactStore) -> None:
    publish(store)
    publish(store, "models/job_2.1")
    store.delete(KEY)
    with pytest.raises(NotFoundError):
        store.path(KEY)
    assert store.verified_path("models/job_2.1")
    assert not [name for name in files_under(store) if "job_1" in name]
    store.delete(KEY)  # a second time is no error: deletion is repeated after a crash


def test_file_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = os.urandom(300_000)
    path.write_bytes(content)
    assert file_sha256(path) == hashlib.sha256(content).hexdigest()
