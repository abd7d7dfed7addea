"""What tests of the batcher run in place of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from api.batching import MicroBatcher
from api.calls import Call, Logits, Results
from api.engines import Engines
from api.figures import ModelFigures
from models_store.execution import Interrupt
from models_store.tasks import Encoded

FIGURES = ModelFigures("of-a-test", 1)


@dataclass(frozen=True)
class FunctionEngine:
    """An engine made of a function."""

    run: Callable[[Sequence[Encoded]], Sequence[Logits]]

    def infer(self, batch: Sequence[Encoded], interrupt: Interrupt) -> Sequence[Logits]:
        return self.run(batch)


@dataclass(frozen=True)
class Asked:
    """A call that was submitted, and its results."""

    future: Future[Results]
    call: Call

    def values(self) -> list[Any]:
        """The single value of each text's logits, or the error in its place."""
        return [one if isinstance(one, Exception) else one.item() for one in self.future.result(20).outcomes]


def start(
    narrow: Callable[[Sequence[Encoded]], Sequence[Logits]],
    *,
    wide: Callable[[Sequence[Encoded]], Sequence[Logits]] | None = None,
    runners: int = 1,
    batch_tokens: int = 512,
) -> MicroBatcher:
    shared = FunctionEngine(wide) if wide else None
    return MicroBatcher(Engines(FunctionEngine(narrow), shared, runners, batch_tokens=batch_tokens), FIGURES)


def ask(running: MicroBatcher, texts: Sequence[Encoded], *, seconds: float = 60) -> Asked:
    """Submit texts of one call."""
    future: Future[Results] = Future()
    return Asked(future, running.submit(texts, future.set_result, seconds=seconds))


def text(length: int, token: int = 1) -> Encoded:
    return Encoded([token] * length, [0] * length, truncated=False)
