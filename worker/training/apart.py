"""Let an encoder read the two texts of a pair each by itself, as if they had been sent one by one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from worker.training.heads.base import masked_mean

Encode = Callable[[Tensor, Tensor, Tensor], Tensor]


def encode_apart(encode: Encode, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
    """Hidden states of a pair, laid out as if it had been read together.

    Both texts become rows of one batch, cut to the longest; the second gets the first one's leading token ([CLS])
    before it, for which the result has no place.

    Args:
        encode: Ids, mask and segments (n, length) → hidden states (n, length, width).
        input_ids: (batch, length), as are the mask and the segments.
        attention_mask: 1 for tokens, 0 for the padding behind them.
        token_type_ids: 0 for the first text, 1 for the second.

    Returns:
        (batch, length, width).
    """
    ids, mask = _separate(input_ids, attention_mask, token_type_ids)
    second = attention_mask * token_type_ids
    starts = (attention_mask - second).sum(dim=1, keepdim=True)  # of the second text
    places = _places(attention_mask)
    last = places[:, : ids.shape[1]].amax(dim=1, keepdim=True)
    of_first, of_second = encode(ids, mask, torch.zeros_like(ids)).chunk(2)
    return torch.where(
        second.unsqueeze(-1) == 1,
        _take(of_second, (places - starts + 1).clamp(min=0).minimum(last)),
        _take(of_first, places.minimum(last).expand_as(second)),
    )


def means_apart(
    encode: Encode, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
) -> tuple[Tensor, Tensor]:
    """The means of both texts' hidden states: what `encode_apart` is for, without laying out a pair again.

    Where no row of the batch has a second text, none is read. (A training on a GPU would have to wait to learn that.)
    The second mean then repeats the first, so that what follows has as many of both.

    Returns:
        (batch, width) each.
    """
    batch = input_ids.shape[0]
    ids, mask = _separate(input_ids, attention_mask, token_type_ids)
    rows = batch + batch * (attention_mask * token_type_ids).amax()
    ids, mask = ids[:rows], mask[:rows]
    hidden = encode(ids, mask, torch.zeros_like(ids))
    first = masked_mean(hidden[:batch], mask[:batch])
    second = masked_mean(hidden[batch:, 1:], mask[batch:, 1:])  # as in the pair, without a leading token of its own
    return first, torch.cat([second, first])[:batch]


def _separate(input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Ids and mask of all first texts and, below them, of all second ones: (2 × batch, length of the longest)."""
    second = attention_mask * token_type_ids
    starts = (attention_mask - second).sum(dim=1, keepdim=True)
    lengths = torch.cat([starts, second.sum(dim=1, keepdim=True) + 1])
    places = _places(attention_mask)
    positions = places[:, : lengths.max()]
    origins = torch.cat([torch.zeros_like(starts), starts - 1])
    taken = torch.minimum(positions + origins, places.amax(dim=1, keepdim=True))
    both = torch.cat([input_ids, input_ids])
    ids = torch.where(positions == 0, both[:, :1], both.gather(1, taken))
    return ids, (positions < lengths).to(attention_mask.dtype)


def _places(attention_mask: Tensor) -> Tensor:
    """0, 1, 2, … (1, length)."""
    return attention_mask.new_ones(1, attention_mask.shape[1]).cumsum(dim=1) - 1


def _take(states: Tensor, index: Tensor) -> Tensor:
    return states.gather(1, index.unsqueeze(-1).expand(-1, -1, states.shape[-1]))
