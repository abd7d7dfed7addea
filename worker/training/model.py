"""The task model: an encoder with a head."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from models_store.specs import HeadName
from models_store.tasks import Task
from worker.training.apart import encode_apart
from worker.training.dropout import use_byte_dropout
from worker.training.heads import HEADS, Head, Needs, Reads
from worker.training.heads.base import summary


class TaskModel(nn.Module):
    """Encoder and head; `forward` is what is exported.

    Attributes:
        temperature: Divides the logits; 1 until `worker.training.calibration` finds a better value.
    """

    temperature: Tensor

    def __init__(self, encoder: PreTrainedModel, task: Task[Any], head: HeadName, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.put_head(task, head, dropout)
        use_byte_dropout(encoder)
        self.register_buffer("temperature", torch.ones(()))
        self.uses_types = int(getattr(encoder.config, "type_vocab_size", 0) or 0) > 1

    def put_head(self, task: Task[Any], head: HeadName, dropout: float) -> None:
        """Give the encoder a new head with random weights."""
        self.head_name = head
        self.head = HEADS[task.name, head](int(self.encoder.config.hidden_size), task.n_outputs, dropout)
        use_byte_dropout(self.head)
        self.head.to(self.encoder.device)

    @property
    def needs(self) -> Needs:
        """What the head reads of the hidden states."""
        return cast("Head", self.head).needs

    @property
    def reads(self) -> Reads:
        """Whether the encoder reads the texts of a pair together or apart."""
        return cast("Head", self.head).reads

    def encode(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Ids, mask and segments (batch, length) → last hidden states (batch, length, width)."""
        if self.reads == "apart":
            return encode_apart(self.encode_one, input_ids, attention_mask, token_type_ids)
        return self.encode_one(input_ids, attention_mask, token_type_ids)

    def encode_one(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """The same of inputs that the encoder reads as they are, whatever the head."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.uses_types:
            inputs["token_type_ids"] = token_type_ids
        hidden: Tensor = self.encoder(**inputs).last_hidden_state
        return hidden

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Ids, mask and segments (batch, length) → logits."""
        hidden = self.encode(input_ids, attention_mask, token_type_ids)
        if self.needs == "summary":
            hidden = summary(hidden, attention_mask)
        logits: Tensor = self.head(hidden, attention_mask, token_type_ids)
        return logits / self.temperature
