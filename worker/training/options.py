"""How to train, beside the phases themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from models_store.specs import ResolvedHyperparameters
from worker.training.hardware import Hardware
from worker.training.team import Team


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What all phases and heads of a run have in common.

    Attributes:
        values: The job's hyperparameters.
        seed: Of everything that is drawn.
        hardware: What to train on.
        scratch: A folder for what is too large for memory.
        team: The processes that share each step; this one alone, unless given.
    """

    values: ResolvedHyperparameters
    seed: int
    hardware: Hardware
    scratch: Path
    team: Team = field(default_factory=Team)

    @property
    def device(self) -> torch.device:
        """Where the modules are."""
        return self.hardware.device
