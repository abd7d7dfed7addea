"""What the training process is told: everything it needs, for it has no database and no broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from models_store.encoders import EncoderCatalogue
from models_store.specs import TrainingSpec


class Incumbent(BaseModel):
    """The version in production when the training began; its files may be altered or gone by the end."""

    version: int
    folder: Path


class PipelineRequest(BaseModel):
    """One job for `worker.pipeline.run`."""

    spec: TrainingSpec
    dataset_schema: dict[str, Any]
    dataset_sha256: str
    dataset_dir: Path
    encoders: EncoderCatalogue
    output_dir: Path
    scratch_dir: Path
    checkpoint_dir: Path | None = None  # without one, every attempt begins at the beginning
    checkpoint_seconds: float = 60.0
    device: str
    threads: int
    incumbent: Incumbent | None = None  # to be compared with, where the promotion hangs on it
