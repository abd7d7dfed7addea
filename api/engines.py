"""What runs a model: engines, and how they are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from api.calls import Logits
from api.throughput import Throughput
from models_store.execution import Interrupt
from models_store.tasks import Encoded


class Engine(Protocol):
    """What runs a batch."""

    def infer(self, batch: Sequence[Encoded], interrupt: Interrupt) -> Sequence[Logits]:
        """The logits of each text."""


@dataclass(frozen=True, slots=True)
class Engines:
    """A model, ready to run.

    Attributes:
        narrow: Run by several runners at a time.
        wide: Run while nothing else is; None where it would be no quicker.
        wide_from: How many word pieces a batch must have for the wide one to be quicker.
        runners: How many run the narrow one.
        batch_tokens: Most padded tokens of a batch.
        batch_texts: Most texts of a batch.
        throughput: Of these runners; begun with what was measured.
    """

    narrow: Engine
    wide: Engine | None
    runners: int
    wide_from: int = 0
    batch_tokens: int = 512
    batch_texts: int = 64
    throughput: Throughput = field(default_factory=Throughput)
