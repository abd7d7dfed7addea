"""The heads. A change that only concerns hidden states → logits belongs here."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from models_store.specs import HeadName
from models_store.tasks import TaskName
from worker.training.heads.base import Head
from worker.training.heads.bilstm import BiLstmHead
from worker.training.heads.linear import LinearHead, TokenLinearHead

HeadFactory = Callable[[int, int, float], nn.Module]

HEADS: dict[tuple[TaskName, HeadName], HeadFactory] = {
    (TaskName.CLASSIFICATION, HeadName.LINEAR): LinearHead,
    (TaskName.SIMILARITY, HeadName.LINEAR): LinearHead,
    (TaskName.TAGGING, HeadName.LINEAR): TokenLinearHead,
    (TaskName.TAGGING, HeadName.BILSTM): BiLstmHead,
}

__all__ = ["HEADS", "Head", "HeadFactory"]
