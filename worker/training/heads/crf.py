"""A conditional random field over the tags of the words (Lafferty et al. 2001; after a BiLSTM: arXiv 1508.01991).

The head's logits are the emissions; what it learns of the succession of tags goes into the task, which finds the best
sequence. Only first word pieces count, as everywhere: a word has one tag.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models_store.tasks.base import IGNORED_TARGET
from models_store.tasks.viterbi import Transitions
from worker.training.heads.bilstm import BiLstmHead
from worker.training.heads.linear import TokenLinearHead


class Crf(nn.Module):
    """Scores of the first tag, the last one, and of each tag (row) being followed by another."""

    def __init__(self, n_tags: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(n_tags))
        self.end = nn.Parameter(torch.zeros(n_tags))
        self.matrix = nn.Parameter(torch.zeros(n_tags, n_tags))

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (batch, length, n_tags) and targets (batch, length) → negative log-likelihood per word."""
        emissions, tags, present = _words(logits.float(), targets)
        if emissions.shape[1] == 0:  # no word survived the tokenizer
            return logits.sum() * 0.0
        return (self._partition(emissions, present) - self._score(emissions, tags, present)).sum() / present.sum()

    def transitions(self) -> Transitions:
        """What was learnt, without torch."""
        start, end, matrix = (values.detach().cpu().tolist() for values in (self.start, self.end, self.matrix))
        return Transitions(tuple(start), tuple(end), tuple(map(tuple, matrix)))

    def _score(self, emissions: Tensor, tags: Tensor, present: Tensor) -> Tensor:
        """Score (batch,) of the true tags."""
        real = present.to(emissions.dtype)
        emitted = (emissions.gather(2, tags.unsqueeze(-1)).squeeze(-1) * real).sum(dim=1)
        followed = (self.matrix[tags[:, :-1], tags[:, 1:]] * real[:, 1:]).sum(dim=1)
        last = tags.gather(1, (present.sum(dim=1, keepdim=True) - 1).clamp(min=0)).squeeze(1)
        return (self.start[tags[:, 0]] + self.end[last]) * real[:, 0] + emitted + followed

    def _partition(self, emissions: Tensor, present: Tensor) -> Tensor:
        """Log of the sum (batch,) over all sequences of tags, by the forward algorithm."""
        alpha = self.start + emissions[:, 0]
        for word in range(1, emissions.shape[1]):
            following = (alpha.unsqueeze(2) + self.matrix).logsumexp(dim=1) + emissions[:, word]
            alpha = torch.where(present[:, word, None], following, alpha)
        return (alpha + self.end).logsumexp(dim=1) * present[:, 0].to(alpha.dtype)


def _words(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Move the labelled pieces to the front: emissions (batch, words, n_tags), tags and presence (batch, words)."""
    labelled = targets != IGNORED_TARGET
    longest = int(labelled.sum(dim=1).max())
    order = labelled.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :longest]
    emissions = logits.gather(1, order.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))
    present = labelled.gather(1, order)
    return emissions, targets.gather(1, order).clamp(min=0), present


class CrfHead(TokenLinearHead):
    """The linear head with a CRF over its logits."""

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__(width, n_outputs, dropout)
        self.crf = Crf(n_outputs)


class BiLstmCrfHead(BiLstmHead):
    """The BiLSTM head with a CRF over its logits."""

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__(width, n_outputs, dropout)
        self.crf = Crf(n_outputs)
