"""Texts that are longer than the encoder takes: read in overlapping windows, answered as one. No torch.

Each window repeats the special tokens of the text around a stretch of its content. Training, evaluation and serving
cut with the same numbers, so a long text is served as it was trained. docs/decisions/0011-sliding-windows.md says why.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.tasks import Encoded

Logits = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a text, as the encoder sees it.

    Attributes:
        encoded: The stretch between the special tokens of the text.
        shift: What a piece's position in the whole text is ahead of its position in the window.
        start: First position in the whole that this window answers for; each position belongs to one window, the
            one in which it has most context on its poorer side.
        stop: The position behind the last one.
    """

    encoded: Encoded
    shift: int
    start: int
    stop: int

    def __len__(self) -> int:
        return len(self.encoded)

    @property
    def own(self) -> slice:
        """The positions in the window that it answers for."""
        return slice(self.start - self.shift, self.stop - self.shift)


@dataclass(frozen=True, slots=True)
class Windowing:
    """How long texts are read.

    Attributes:
        max_length: Most word pieces at a time, special tokens included.
        stride: Pieces by which one window starts behind the one before; the rest of the window is overlap. None
            where texts are cut instead, by the tokenizer.
    """

    max_length: int
    stride: int | None = None

    @property
    def truncation(self) -> int | None:
        """Where the tokenizer has to cut; None where it must leave texts whole."""
        return self.max_length if self.stride is None else None

    def windows(self, encoded: Encoded) -> list[Window]:
        """The windows of a text; a text that fits is one, and the very same pieces."""
        if self.stride is None or len(encoded) <= self.max_length:
            return [whole(encoded)]
        return windows(encoded, self.max_length, self.stride)


def whole(encoded: Encoded) -> Window:
    """A text that is not cut up."""
    return Window(encoded, 0, 0, len(encoded))


def windows(encoded: Encoded, max_length: int, stride: int) -> list[Window]:
    """Cut a text into windows of at most ``max_length`` pieces.

    All are as full as they can be, the last one too. Where the text has words, no window begins or ends inside of one,
    unless the word itself is about as long as a window.

    Raises:
        ValueError: The special tokens leave no room for text.
    """
    front, behind = encoded.special
    room = max_length - front - behind
    if room < 1 or stride < 1:
        raise ValueError(f"no room for text in windows of {max_length} pieces every {stride}")
    end = len(encoded) - behind
    cuts = [position for position in encoded.first_pieces or () if position >= 0]
    spans = list(_spans(front, end, room, min(stride, room), cuts))
    middles = [(first[1] + second[0]) // 2 for first, second in pairwise(spans)]
    owned = pairwise([0, *middles, len(encoded)])
    return [
        Window(_stretch(encoded, *span), span[0] - front, start, stop)
        for span, (start, stop) in zip(spans, owned, strict=True)
    ]


def merge(parts: Sequence[Window], logits: Sequence[Logits], *, per_token: bool) -> Logits:
    """Logits of the whole text from those of its windows.

    Per token, each piece's logits are those of the window that answers for it: (pieces of the whole, n_outputs). Per
    text they are the mean: (n_outputs,). The mean of logits, unlike that of probabilities, is the same before and
    after a temperature, and serves softmax and sigmoid alike.
    """
    if len(parts) == 1:
        return logits[0]
    if per_token:
        return np.concatenate([values[part.own] for part, values in zip(parts, logits, strict=True)])
    mean: Logits = np.mean(np.stack(logits), axis=0)
    return mean


def merge_all(owned: Iterable[Sequence[Window]], logits: Iterable[Logits], *, per_token: bool) -> list[Logits]:
    """`merge` for each text, from the logits of all their windows one after the other."""
    following = iter(logits)
    return [merge(parts, list(islice(following, len(parts))), per_token=per_token) for parts in owned]


def _spans(start: int, end: int, room: int, stride: int, cuts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First position and the one behind the last of each window's content, in order and without a gap."""
    while start + room < end:
        yield start, _last_cut(cuts, start + stride, start + room)
        start = _last_cut(cuts, start + 1, start + stride)
    index = bisect_left(cuts, end - room)  # the last window reaches back as far as there is room
    yield (cuts[index] if index < len(cuts) and cuts[index] <= start else end - room), end


def _last_cut(cuts: Sequence[int], low: int, high: int) -> int:
    """The last beginning of a word in low…high, or high where none is."""
    index = bisect_right(cuts, high) - 1
    return cuts[index] if index >= 0 and cuts[index] >= low else high


def _stretch(encoded: Encoded, start: int, stop: int) -> Encoded:
    front, behind = encoded.special
    places = [*range(front), *range(start, stop), *range(len(encoded) - behind, len(encoded))]
    return Encoded(
        input_ids=[encoded.input_ids[place] for place in places],
        type_ids=[encoded.type_ids[place] for place in places],
        truncated=encoded.truncated,
        special=encoded.special,
    )
