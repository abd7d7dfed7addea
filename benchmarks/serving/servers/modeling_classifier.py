"""The classifier that Thawline's head `linear` makes of BERT, as a model of transformers.

`benchmarks.serving.conversion` lays this file beside the weights, and ``auto_map`` in their ``config.json`` names it:
transformers' own way to share a model whose head is none of its own. Its class for BERT reads the first token alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class FirstAndMeanForSequenceClassification(BertPreTrainedModel):  # type: ignore[no-untyped-call]
    """BERT, its first token beside the mean of its tokens, two fully connected layers.

    Servers tell by the end of its name what it is for.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dense = nn.Linear(2 * config.hidden_size, 2 * config.hidden_size)
        self.classifier = nn.Linear(2 * config.hidden_size, config.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Ids, mask and segments (batch, length) → logits (batch, labels)."""
        hidden = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state
        weights = torch.ones_like(hidden[..., :1]) if attention_mask is None else attention_mask.unsqueeze(-1)
        mean = (hidden * weights).sum(1) / weights.sum(1)
        pooled = torch.cat([hidden[:, 0], mean], dim=1)
        return SequenceClassifierOutput(logits=self.classifier(nn.functional.gelu(self.dense(pooled))))
