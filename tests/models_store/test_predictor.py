"""The predictor by itself: what a caller can do while many windows are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models_store.execution import Device
from models_store.predictor import DEFAULT_OPTIONS, Predictor
from models_store.tasks.classification import ClassificationTask
from models_store.windows import Windowing


class Flat:
    """An executor whose model gives nothing but zeros."""

    device = Device.CPU
    input_names = ("input_ids",)

    def __init__(self) -> None:
        self.runs = 0

    def padded(self, rows: int, length: int) -> tuple[int, int]:
        return rows, length

    def run(self, _: str, feed: Mapping[str, NDArray[np.int64]], __: object) -> NDArray[np.float32]:
        self.runs += 1
        return np.zeros((len(feed["input_ids"]), 2), np.float32)


def test_a_caller_is_asked_before_each_batch(tokenizer_of: Callable[[int | None], Tokenizer]) -> None:
    executor: Any = Flat()
    predictor = Predictor(ClassificationTask(("a", "b")), tokenizer_of(None), executor, 0, Windowing(16, 8))
    asked: list[int] = []

    def stop_in_time() -> None:
        asked.append(executor.runs)
        if len(asked) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        predictor.predict(["late parcel " * 100], DEFAULT_OPTIONS, batch_tokens=16, tick=stop_in_time)

    assert asked == [0, 1, 2]
