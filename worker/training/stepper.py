"""Optimizer steps: an epoch of them, each over one batch, which is computed in parts where memory is short."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from models_store.specs import PhaseSpec
from models_store.tasks.base import IGNORED_TARGET
from worker.training.data import Inputs, epoch_batches
from worker.training.errors import DivergedError
from worker.training.events import Event, Message, Step
from worker.training.features import autocast
from worker.training.memory import MemoryBudget
from worker.training.objectives import Objective
from worker.training.optimizer import Optimizer
from worker.training.options import TrainingOptions
from worker.training.pacing import REPORT_SECONDS
from worker.training.resuming import Journal, Learner, PhaseState


class Stepper:
    """Optimizer, schedule and memory of one phase; runs its epochs.

    Attributes:
        steps: Of an epoch.
        learner: What every step changes.
    """

    def __init__(
        self,
        module: nn.Module,
        phase: PhaseSpec,
        objective: Objective,
        inputs: Inputs,
        options: TrainingOptions,
        rng: np.random.Generator,
    ) -> None:
        self._module = module
        self._phase = phase
        self._inputs = inputs
        self._values = options.values
        self._device = options.device
        self._objective = objective
        self.steps = math.ceil(inputs.split.epoch_size / self._values.batch_size)
        self._optimizer = Optimizer(module, phase, self._values.weight_decay, self.steps * phase.epochs)
        self._budget = MemoryBudget()
        self.learner = Learner(module, self._optimizer, self._budget, rng, options.device)

    @property
    def learning_rate(self) -> float:
        """The learning rate that the next step will use."""
        return self._optimizer.learning_rate

    def run_epoch(self, state: PhaseState, journal: Journal) -> Generator[Event, None, float]:
        """The rest of an epoch; returns the mean loss of the whole (``yield from``)."""
        self._module.train()
        started = time.monotonic()
        report_at, seen = started + REPORT_SECONDS, 0
        batches = epoch_batches(self._inputs, self._values.batch_size, self.learner.rng)
        for indices in batches[state.step :]:
            state.losses += yield from self._step(indices)
            state.step += 1
            seen += len(indices)
            yield from journal.checkpoint(state, self.learner)
            if (now := time.monotonic()) >= report_at:
                report_at = now + REPORT_SECONDS
                _check_finite(float(state.losses))
                yield self._event(state, seen / (now - started))
        mean = float(state.losses) / len(batches)
        _check_finite(mean)
        return mean

    def probe(self) -> Iterator[Message]:
        """Find out before the first step what fits into memory, with the batch that needs the most of it.

        Neither weights nor random numbers are touched.
        """
        lengths = self._inputs.lengths
        longest = sorted(range(len(lengths)), key=lambda i: lengths[i])[-self._values.batch_size :]
        self._module.train()
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            told = list(self.gradients(longest))
        self._optimizer.zero_grad()
        yield from told

    def gradients(self, indices: list[int]) -> Generator[Message, None, Tensor]:
        """Leave the gradients of a batch's mean loss in the parameters; returns that loss (``yield from``).

        Raises:
            OutOfMemoryError: Not even one row fits into memory.
        """
        while True:
            try:
                return self._accumulate(self._budget.parts(indices, self._inputs.lengths))
            except Exception as error:  # noqa: BLE001 (it looks which one it is)
                self._budget.shrink(indices, self._inputs.lengths, error)
            rows = self._budget.rows(indices, self._inputs.lengths)
            yield Message(
                level="warning",
                message=f"out of memory: a batch of {len(indices)} texts is computed {rows} at a time from now on; "
                "what is learnt from it stays the same",
                data={"batch_size": len(indices), "rows": rows, "tokens": self._budget.tokens},
            )

    def _step(self, indices: list[int]) -> Generator[Message, None, Tensor]:
        loss = yield from self.gradients(indices)
        nn.utils.clip_grad_norm_(self._module.parameters(), self._values.max_grad_norm)
        self._optimizer.step()
        return loss

    def _accumulate(self, parts: list[list[int]]) -> Tensor:
        """Each part counts by its labels, over which losses are means: the sum is the mean over the whole batch."""
        self._optimizer.zero_grad()
        batches = [self._inputs.collate(part) for part in parts]
        labels = [int((batch.targets != IGNORED_TARGET).sum()) for batch in batches]  # on the CPU still
        total, mean = max(1, sum(labels)), torch.zeros((), device=self._device)
        for batch, count in zip(batches, labels, strict=True):
            moved = batch.to(self._device)
            with autocast(self._device):
                logits = self._module(**moved.inputs)
            loss = self._objective(logits, moved.targets) * (count / total)
            loss.backward()  # type: ignore[no-untyped-call]
            mean += loss.detach()
        return mean

    def _event(self, state: PhaseState, examples_per_second: float) -> Step:
        return Step(
            phase=self._phase.name.value,
            epoch=state.epochs + 1,
            epochs=self._phase.epochs,
            step=state.step,
            steps=self.steps,
            examples_per_second=examples_per_second,
        )


def _check_finite(loss: float) -> None:
    if not math.isfinite(loss):
        raise DivergedError(f"the training loss became {loss}; try a smaller learning rate")
