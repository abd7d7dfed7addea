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
from worker.training.data import Inputs, collate_targets, epoch_batches
from worker.training.errors import DivergedError
from worker.training.events import Event, Message, Step
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
        self._hardware = options.hardware
        self._device = options.device
        self._team = options.team
        self._objective = objective
        self.steps = math.ceil(inputs.split.epoch_size / self._values.batch_size)
        total_steps = self.steps * phase.epochs
        self._optimizer = Optimizer(module, phase, self._values.weight_decay, total_steps, options.hardware)
        self._budget = MemoryBudget()
        self.learner = Learner(module, self._optimizer, self._budget, rng, options.hardware, options.team)

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
        """Leave this process's share of the gradients of a batch's mean loss in the parameters.

        A process alone has all of it, and the shares add up to that.

        Returns:
            Its share of the loss (``yield from``).

        Raises:
            OutOfMemoryError: Not even one row fits into memory.
        """
        own = self._team.part_of(indices)
        total: float = max(1, self._labels_of(indices))
        if not own:  # in a small batch: all must have the same gradients to add up, of a text that counts nothing
            own, total = indices[:1], math.inf
        while True:
            try:
                return self._accumulate(self._budget.parts(own, self._inputs.lengths), total)
            except Exception as error:  # noqa: BLE001 (it looks which one it is)
                self._budget.shrink(own, self._inputs.lengths, error)
            rows = self._budget.rows(own, self._inputs.lengths)
            yield Message(
                level="warning",
                message=f"out of memory: a batch of {len(own)} texts is computed {rows} at a time from now on; "
                "what is learnt from it stays the same",
                data={"batch_size": len(own), "rows": rows, "tokens": self._budget.tokens},
            )

    def _step(self, indices: list[int]) -> Generator[Message, None, Tensor]:
        loss = yield from self.gradients(indices)
        self._team.add_up([loss, *(p.grad for p in self._module.parameters() if p.grad is not None)])
        self._hardware.clip(self._module.parameters(), self._values.max_grad_norm)
        self._optimizer.step()
        return loss

    def _labels_of(self, indices: list[int]) -> int:
        return _count(collate_targets([self._inputs.split.target_of(i) for i in indices]))

    def _accumulate(self, parts: list[list[int]], total: float) -> Tensor:
        """Each part counts by its labels, over which losses are means: the sum is the mean over the whole batch.

        Args:
            parts: Of a batch, or of a process's share of it.
            total: The labels of the whole batch.
        """
        self._optimizer.zero_grad()
        batches = [self._inputs.collate(part) for part in parts]
        labels = [_count(batch.targets) for batch in batches]  # on the CPU still
        mean = torch.zeros((), device=self._device)
        for batch, count in zip(batches, labels, strict=True):
            moved = batch.to(self._device)
            with self._hardware.autocast():
                logits = self._module(**moved.inputs)
            loss = self._objective(logits, moved.targets) * (count / total)
            self._hardware.backward(loss)
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


def _count(targets: Tensor) -> int:
    return int((targets != IGNORED_TARGET).sum())


def _check_finite(loss: float) -> None:
    if not math.isfinite(loss):
        raise DivergedError(f"the training loss became {loss}; try a smaller learning rate")
