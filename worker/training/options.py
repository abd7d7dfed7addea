"""How to train, beside the phases themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from models_store.specs import ResolvedHyperparameters


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What all phases and heads of a run have in common."""

    values: ResolvedHyperparameters
    seed: int
    device: torch.device
    scratch: Path
