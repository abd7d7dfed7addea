"""Checkpoints on disk: folders that are whole or recognised as broken, of which the two newest are kept.

A checkpoint is a JSON file and some safetensors files, sealed as an artifact is: described by a manifest with hashes,
forced to disk, and renamed into place. docs/training.md says what lies in them and how often they are written.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models_store.artifacts import children, passing_folder, seal, verified_manifest
from models_store.errors import ArtifactCorruptError
from worker.training.errors import StoppedError
from worker.training.events import Message

_SHARE = 0.02  # of the time, at most, goes into writing,
_LONGEST = 600.0  # unless that would leave so many seconds of work to be lost
_AT_REST = 0.25  # of the interval is enough between two epochs, where nothing would have to be done again
_WORTH_KEEPING = 30.0  # seconds of training, however slow the disk: what is written at its end are the weights alone
_KEPT = 2
_STATE = "state.json"
_SUFFIX = ".safetensors"
_WRITING = ".writing-"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a training stands.

    Attributes:
        state: What JSON can say.
        tensors: The rest, by the name of the group (a file each) and of the tensor.
    """

    state: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run, in a folder of their own."""

    def __init__(
        self,
        folder: Path | None = None,
        fingerprint: str = "",
        *,
        interval: float = 60.0,
        asked: threading.Event | None = None,
    ) -> None:
        """Prepare to read and write; the folder is made with the first checkpoint.

        Args:
            folder: Where they lie. Without one, nothing is ever due and nothing is found.
            fingerprint: Of all that must be the same for a run to be resumed: spec, data, versions.
            interval: Seconds between two of them.
            asked: Set by whoever wants one as soon as possible, because the process is about to be stopped.
        """
        self._folder = folder
        self._fingerprint = fingerprint
        self._interval = interval
        self._asked = asked or threading.Event()
        self._answered = False
        self._warned = False
        self._cost = 0.0  # of writing the last one, in seconds
        self._began = self._saved_at = time.monotonic()

    def scope(self, name: str) -> Checkpoints:
        """The checkpoints of a part of the run that is resumed by itself, such as one member of an ensemble."""
        folder = self._folder / name if self._folder else None
        part = Checkpoints(folder, self._fingerprint, interval=self._interval, asked=self._asked)
        part._began = self._began  # many short parts are as much to lose as a long one
        return part

    def due(self, *, at_rest: bool = False) -> bool:
        """Whether it is time for one; between two epochs (``at_rest``) a little earlier.

        Raises:
            StoppedError: One was asked for and there it is. What was told since then belongs to it.
        """
        if self._folder is None:
            return False
        if self._answered:
            raise StoppedError
        if self._asked.is_set():
            return True
        wait = max(min(self._cost / _SHARE, _LONGEST), self._interval * (_AT_REST if at_rest else 1.0))
        return time.monotonic() - self._saved_at >= wait

    def due_at_end(self) -> bool:
        """Whether the trained model is worth one: where the run has taken 30 seconds, always, for more may be to come.

        Then a pause, a deploy or a failure while the model is exported and evaluated costs nothing of the training. One
        that was quicker is trained again rather than made slower.

        Raises:
            StoppedError: As `due` does.
        """
        return self.due(at_rest=True) or (self._folder is not None and time.monotonic() - self._began >= _WORTH_KEEPING)

    def save(self, checkpoint: Checkpoint) -> Iterator[Message]:
        """Write one and drop the oldest; a disk that does not take it is told of once and costs nothing else."""
        if self._folder is None:
            return
        started = time.monotonic()
        try:
            self._write(self._folder, checkpoint)
        except (OSError, SafetensorError) as error:
            if not self._warned:
                yield Message(level="warning", message=f"no checkpoint could be written: {error}")
            self._warned = True
        self._answered = self._asked.is_set()
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started

    def newest(self) -> Generator[Message, None, Checkpoint | None]:
        """The newest one that is whole and of this very run; others are told of and removed."""
        self._saved_at = time.monotonic()
        self._clear()
        for folder in reversed(self._whole()):
            try:
                return self._read(folder)
            except (ArtifactCorruptError, OSError, SafetensorError, ValueError) as error:
                yield Message(level="warning", message=f"checkpoint {int(folder.name)} is not used: {error}")
                shutil.rmtree(folder, ignore_errors=True)
        return None

    def _whole(self) -> list[Path]:
        """The finished ones, oldest first."""
        return [path for path in children(self._folder) if path.name.isdecimal()] if self._folder else []

    def _clear(self) -> None:
        """Remove what a process left that was killed over it."""
        for path in children(self._folder) if self._folder else []:
            if path.name.startswith(_WRITING):
                shutil.rmtree(path, ignore_errors=True)

    def _write(self, folder: Path, checkpoint: Checkpoint) -> None:
        before = self._whole()
        number = int(before[-1].name) + 1 if before else 1
        with passing_folder(folder / f"{_WRITING}{os.getpid()}") as fresh:
            (fresh / _STATE).write_text(json.dumps(checkpoint.state), encoding="utf-8")
            for group, tensors in checkpoint.tensors.items():
                save_file({name: t.detach().contiguous() for name, t in tensors.items()}, fresh / (group + _SUFFIX))
            seal(fresh, folder / f"{number:08d}", {"fingerprint": self._fingerprint})
        for path in before[: 1 - _KEPT]:
            shutil.rmtree(path, ignore_errors=True)

    def _read(self, folder: Path) -> Checkpoint:
        if verified_manifest(folder, "it is damaged").get("fingerprint") != self._fingerprint:
            raise ValueError("it belongs to another spec, data set or version")
        tensors = {path.stem: load_file(path) for path in children(folder) if path.suffix == _SUFFIX}
        return Checkpoint(json.loads((folder / _STATE).read_text(encoding="utf-8")), tensors)
