"""What tests of the batcher run in place of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.batching import Engines, Logits, MicroBatcher
from api.figures import ModelFigures
from models_store.predictor import Interrupt
from models_store.tasks import Encoded

FIGURES = ModelFigures("of-a-test", 1)


@dataclass(frozen=True)
class FunctionEngine:
    """An engine made of a function."""

    run: Callable[[Sequence[Encoded]], Sequence[Logits]]

    def infer(self, batch: Sequence[Encoded], interrupt: Interrupt) -> Sequence[Logits]:
        return self.run(batch)


def start(
    narrow: Callable[[Sequence[Encoded]], Sequence[Logits]],
    *,
    wide: Callable[[Sequence[Encoded]], Sequence[Logits]] | None = None,
    runners: int = 1,
    batch_tokens: int = 512,
) -> MicroBatcher:
    engines = Engines(FunctionEngine(narrow), FunctionEngine(wide) if wide else None, runners)
    return MicroBatcher(engines, batch_tokens=batch_tokens, figures=FIGURES)


def text(length: int, token: int = 1) -> Encoded:
    return Encoded([token] * length, [0] * length, truncated=False)
