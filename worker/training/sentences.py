"""A model that reads the texts of a pair apart, as it is exported: a sentence encoder too (Sentence-BERT)."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.training.apart import means_apart
from worker.training.ensemble import Ensemble
from worker.training.heads.base import masked_mean
from worker.training.heads.siamese import SiameseHead
from worker.training.model import TaskModel


class SentenceEncoder(nn.Module):
    """The same logits as the model's, and of the first text the vector that its head compares.

    The vector has unit length, for it is the cosine that the head looks at. An ensemble's vector is that of all its
    members one behind the other, so that a cosine of two is the mean of the members' cosines.
    """

    def __init__(self, model: TaskModel | Ensemble) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)  # an export leaves the model in the mode in which it finds what is around it

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ids, mask and segments (batch, length) → logits (batch, n_outputs) and vectors (batch, `width_of`)."""
        answers = [_read(member, input_ids, attention_mask, token_type_ids) for member in _members(self.model)]
        if isinstance(self.model, TaskModel):
            return answers[0]
        logits, vectors = zip(*answers, strict=True)
        return torch.stack(logits).mean(dim=0) / self.model.temperature, _joined(vectors)


def width_of(model: TaskModel | Ensemble) -> int | None:
    """Width of the vectors of a model that is a sentence encoder; None of one that is not."""
    members = _members(model)
    if not all(isinstance(member.head, SiameseHead) for member in members):
        return None
    return sum(int(member.encoder.config.hidden_size) for member in members)


def vectors_of(model: TaskModel | Ensemble, input_ids: Tensor) -> Tensor:
    """Vectors (batch, width) of texts (batch, length) without padding, by the way that training took; for the gate."""
    mask, types = torch.ones_like(input_ids), torch.zeros_like(input_ids)
    means = [masked_mean(member.encode(input_ids, mask, types), mask) for member in _members(model)]
    return _joined([functional.normalize(mean, dim=-1) for mean in means])


def _members(model: TaskModel | Ensemble) -> list[TaskModel]:
    return [model] if isinstance(model, TaskModel) else [cast("TaskModel", member) for member in model.members]


def _read(model: TaskModel, ids: Tensor, mask: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
    first, second = means_apart(model.encode_one, ids, mask, types)
    logits = cast("SiameseHead", model.head).compare(first, second)
    return logits / model.temperature, functional.normalize(first, dim=-1)


def _joined(vectors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return vectors[0] if len(vectors) == 1 else torch.cat(tuple(vectors), dim=-1) / math.sqrt(len(vectors))
