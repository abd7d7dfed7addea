"""Matching two texts token by token from several perspectives (Wang et al. 2017, arXiv 1702.03814)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PERSPECTIVES = 20
KINDS = 4  # full, maximum, attentive, maximum-attentive
_EPSILON = 1e-6
_NEVER = -1e4
_SHARPNESS = 20.0


def split_pair(hidden_states: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Part the tokens of a pair that was encoded together, without the first token, which speaks for both.

    Returns:
        Hidden states (2 × batch, longest text, width), all first texts above all second ones, each moved to the front
        of its row; and their mask (2 × batch, longest text).
    """
    first = (attention_mask * (1 - token_type_ids)).sum(dim=1, keepdim=True)
    second = (attention_mask * token_type_ids).sum(dim=1, keepdim=True)
    starts, lengths = torch.cat([torch.ones_like(first), first]), torch.cat([first - 1, second])
    positions = (attention_mask.new_ones(1, attention_mask.shape[1]).cumsum(dim=1) - 1)[:, : lengths.max()]
    index = torch.minimum(positions + starts, attention_mask.shape[1] - torch.ones_like(starts))
    both = torch.cat([hidden_states, hidden_states])
    states = both.gather(1, index.unsqueeze(-1).expand(-1, -1, both.shape[-1]))
    return states, (positions < lengths).to(attention_mask.dtype)


def other(values: Tensor) -> Tensor:
    """Values (2 × batch, …) with the two texts of each pair exchanged."""
    half = values.shape[0] // 2
    return torch.cat([values[half:], values[:half]])


class PerspectiveMatching(nn.Module):
    """Cosines between the tokens of each text and the other text, in `PERSPECTIVES` learnt weightings of the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.rand(KINDS, PERSPECTIVES, width))

    def forward(self, states: Tensor, mask: Tensor, whole: Tensor) -> Tensor:
        """Compare every token with the other text.

        Args:
            states: (2 × batch, length, width), both texts as `split_pair` lays them.
            mask: (2 × batch, length).
            whole: (2 × batch, width), each text as one vector.

        Returns:
            (2 × batch, length, KINDS × PERSPECTIVES): with the other text as a whole, with its best token, with its
            tokens weighted by their cosine, and with those nearest by cosine.
        """
        # The slope of a cosine is one over a length, which half precision has no numbers for.
        with torch.autocast(states.device.type, enabled=False):
            return self._match(states.float(), mask, whole.float())

    def _match(self, states: Tensor, mask: Tensor, whole: Tensor) -> Tensor:
        full, maximum, attentive, most = self.weights.square()
        opposite, present = other(states), other(mask).unsqueeze(1).to(states.dtype)
        cosines = _unit(states) @ _unit(opposite).transpose(1, 2)
        shares = cosines.clamp(min=0) * present
        mean = shares @ opposite / (shares.sum(dim=-1, keepdim=True) + _EPSILON)
        # BIMPM takes the one nearest token. Which one that is may hang on the last digit, and the exported model must
        # answer as the trained one does: hence a sharp average.
        nearest = (_SHARPNESS * cosines + (1 - present) * _NEVER).softmax(dim=-1) @ opposite
        return torch.cat(
            [
                _cosine(states, other(whole).unsqueeze(1), full),
                _best_cosine(states, opposite, present, maximum),
                _cosine(states, mean, attentive),
                _cosine(states, nearest, most),
            ],
            dim=-1,
        )


def _unit(values: Tensor) -> Tensor:
    return values / (values.square().sum(dim=-1, keepdim=True) + _EPSILON).sqrt()


def _cosine(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Tokens (batch, length or 1, width), squared weights (perspectives, width) → (batch, length, perspectives)."""
    products = (a * b) @ weights.t()
    norms = (a.square() @ weights.t() + _EPSILON).sqrt() * (b.square() @ weights.t() + _EPSILON).sqrt()
    return products / norms


def _best_cosine(a: Tensor, b: Tensor, present: Tensor, weights: Tensor) -> Tensor:
    """The highest cosine with a token of b: (batch, length, perspectives)."""
    products = (a.unsqueeze(1) * weights.unsqueeze(1)) @ b.unsqueeze(1).transpose(2, 3)
    norms = (a.square() @ weights.t() + _EPSILON).sqrt().transpose(1, 2).unsqueeze(-1)
    other_norms = (b.square() @ weights.t() + _EPSILON).sqrt().transpose(1, 2).unsqueeze(2)
    cosines = products / (norms * other_norms) + (1 - present).unsqueeze(1) * _NEVER
    any_present = present.amax(dim=-1, keepdim=True)
    return cosines.amax(dim=-1).transpose(1, 2) * any_present
