"""Several models as one: each trained from the same encoder with its own seed, their logits averaged.

Members differ in the head's first weights, in dropout and in the order of the data, and err in different places. The
mean of logits is the mean of scores, of CRFs too when their transitions are averaged, and goes into one ONNX file.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from models_store.specs import HeadName, PhaseSpec
from worker.training.checkpoints import Checkpoints
from worker.training.data import TrainingData
from worker.training.events import Event, MemberStarted
from worker.training.features import FeatureStore
from worker.training.loop import train
from worker.training.model import TaskModel
from worker.training.options import TrainingOptions


class Ensemble(nn.Module):
    """The mean of its members' logits.

    Attributes:
        temperature: Divides it; 1 until `worker.training.calibration` finds a better value.
    """

    temperature: Tensor

    def __init__(self, members: Sequence[TaskModel]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("temperature", torch.ones(()))

    @property
    def _first(self) -> TaskModel:
        return cast("TaskModel", self.members[0])

    @property
    def encoder(self) -> PreTrainedModel:
        """The encoder of a member; all have the same configuration."""
        return self._first.encoder

    @property
    def head_name(self) -> HeadName:
        """The head that all members have."""
        return self._first.head_name

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Ids, mask and segments (batch, length) → logits."""
        logits = [member(input_ids, attention_mask, token_type_ids) for member in self.members]
        return torch.stack(logits).mean(dim=0) / self.temperature


def train_ensemble(
    model: TaskModel,
    size: int,
    phases: Sequence[PhaseSpec],
    data: TrainingData,
    options: TrainingOptions,
    features: FeatureStore,
    checkpoints: Checkpoints,
) -> Generator[Event, None, TaskModel | Ensemble]:
    """Train so many members one after the other; the features of the frozen encoder are computed once for all.

    Args:
        model: The first member, with the head that all will have.
        size: How many there are; one alone is trained as `train` does it.
        phases: What to train of each.
        data: Both splits.
        options: The first member's; the others count its seed on.
        features: Keeps the frozen encoder's outputs.
        checkpoints: Each member keeps its own among them.

    Returns:
        The ensemble, or the one model (``yield from``).
    """
    members = [model, *(copy.deepcopy(model) for _ in range(size - 1))]
    for number, member in enumerate(members):
        own = replace(options, seed=options.seed + number)
        if number:
            yield MemberStarted(member=number + 1, members=size)
            torch.manual_seed(own.seed)
            member.put_head(data.task, model.head_name, options.values.dropout)
        features.kept = number + 1 < size
        yield from train(member, phases, data, own, features, checkpoints.scope(f"member-{number}"))
        member.to("cpu")
    return Ensemble(members) if size > 1 else model
