"""Whether two attempts are at the same training, so that one may go on where the other stopped."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path

from models_store.artifacts import MANIFEST, children, file_sha256
from models_store.encoders import EncoderSource
from worker.request import PipelineRequest

_VERSION = 2  # to be raised by whoever changes what a checkpoint holds or how a training goes on from it
_LIBRARIES = ("thawline", "torch", "transformers", "tokenizers")


def fingerprint_of(request: PipelineRequest, encoder: EncoderSource, device: str) -> str:
    """SHA-256, in hexadecimal, over spec, data, encoder, device and versions."""
    parts = {
        "version": _VERSION,
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "spec": request.spec.model_dump(mode="json"),
        "schema": request.dataset_schema,
        "data": file_sha256(request.dataset_dir / MANIFEST),  # it has the hash of every other file
        "encoder": _identity(encoder),
        "device": device,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _identity(encoder: EncoderSource) -> object:
    """A commit says it all, also after the files were fetched anew; of a folder every file could have been changed."""
    return str(encoder.hub) if encoder.hub else [_stamp(path) for path in children(encoder.folder)]


def _stamp(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return path.name, stat.st_size, stat.st_mtime_ns
