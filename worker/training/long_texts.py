"""Splits in pieces that the encoder can take: ``max_length: auto``, and how many rows are longer than that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from models_store.tasks import Row, Task
from models_store.windows import Windowing
from worker.training.data import Split, tokenise
from worker.training.encoder import LoadedEncoder
from worker.training.events import Message

FITTING = 0.99  # of the training texts are read whole
SHORTEST = 128  # less saves no time, and texts to come may be longer than those of the training (decision 0011)
_MULTIPLE = 8


def tokenise_all(
    task: Task[Any], encoder: LoadedEncoder, rows: Mapping[str, Sequence[Row]], asked: int | Literal["auto"]
) -> tuple[Windowing, dict[str, Split]]:
    """Tokenise the splits and decide, from the training texts, how long ones are read.

    Args:
        task: Says whether its texts can be read in windows; others are cut by the tokenizer.
        encoder: Its limit is never exceeded.
        rows: The rows of ``train`` and of any other split.
        asked: The job's ``max_length``.
    """
    most = encoder.max_length if asked == "auto" else min(asked, encoder.max_length)
    tokenizer = encoder.tokenizer(None if task.windowed else most)
    splits = {name: tokenise(task, tokenizer, members) for name, members in rows.items()}
    if not task.windowed:  # every piece beyond the limit is lost, so nothing is gained by a lower one
        return Windowing(most), splits
    if asked == "auto":
        most = min(most, fitting_length([len(encoded) for encoded in splits["train"].encoded]))
    windowing = Windowing(most, stride=most - most // 4)
    return windowing, {name: split.cut(windowing) for name, split in splits.items()}


def fitting_length(lengths: Sequence[int]) -> int:
    """Word pieces in which nearly all texts of these lengths fit whole."""
    longest = int(np.quantile(lengths, FITTING, method="inverted_cdf"))
    return max(SHORTEST, longest + -longest % _MULTIPLE)


def report_long(windowing: Windowing, splits: Mapping[str, Split], asked: int | Literal["auto"]) -> Iterator[Message]:
    """A message for each split that has rows longer than one input of the encoder; a warning where text is lost.

    And one if the job's ``max_length`` is more than can be had.
    """
    if asked != "auto" and asked > windowing.max_length:
        message = f"max_length {asked} is more than can be read at once; {windowing.max_length} word pieces are"
        yield Message(level="warning", message=message, data={"max_length": windowing.max_length})
    for name, split in splits.items():
        longer = f"{name} rows are longer than {windowing.max_length} word pieces"
        data = {"split": name, "max_length": windowing.max_length}
        if split.windowed:
            message = f"{split.windowed} of {len(split)} {longer} and are read in windows"
            yield Message(message=message, data={**data, "windowed": split.windowed, "stride": windowing.stride})
        if split.truncated:
            message = f"{split.truncated} of {len(split)} {longer} and were cut"
            yield Message(level="warning", message=message, data={**data, "truncated": split.truncated})
