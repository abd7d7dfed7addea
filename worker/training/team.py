"""The processes that train one model together, each on a part of every batch; one alone is a team, too.

All of them run the same code on the same data, from the same weights. The main process decides whatever could differ,
such as what an evaluation found, and tells the others; gradients are added up, so that every step is the one that a
single process would have taken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, distributed, nn

from worker.training.errors import PeerLostError, is_out_of_memory

_MAIN = 0


class Team:
    """This process among those that were started for the training.

    Attributes:
        rank: Its number, from 0.
        size: How many there are.
    """

    def __init__(self, rank: int = _MAIN, size: int = 1, device: torch.device | None = None) -> None:
        """``device`` is where this process has its tensors: the CPU, unless given."""
        self.rank = rank
        self.size = size
        self._device = device or torch.device("cpu")

    @property
    def is_main(self) -> bool:
        """Whether this is the process that tells, evaluates and writes."""
        return self.rank == _MAIN

    def part_of(self, indices: list[int]) -> list[int]:
        """This process's examples of a batch, as long as the others' where the batch is sorted by length."""
        return indices[self.rank :: self.size]

    def share(self, value: Any) -> Any:
        """What the main process calls this with, for JSON; every process has to call it, and its own value is dropped.

        Exchanges are JSON and safetensors, for what a process unpickles could make it run anything.
        """
        if self.size == 1:
            return value
        return json.loads(self._share_bytes(json.dumps(value).encode() if self.is_main else b""))

    def share_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The main process's tensors, on the CPU."""
        if self.size == 1:
            return tensors
        return load(self._share_bytes(save(tensors) if self.is_main else b""))

    def _share_bytes(self, content: bytes) -> bytes:
        with _together():
            length = torch.tensor(len(content), device=self._device)
            distributed.broadcast(length, src=_MAIN)
            if self.is_main:
                block = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(self._device)
            else:
                block = torch.empty(int(length), dtype=torch.uint8, device=self._device)
            distributed.broadcast(block, src=_MAIN)
        return block.cpu().numpy().tobytes()

    def share_weights(self, module: nn.Module) -> None:
        """Give every process the main process's weights."""
        if self.size > 1:
            with _together():
                for tensor in module.state_dict().values():
                    distributed.broadcast(tensor, src=_MAIN)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their sums over all processes, in one exchange."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _together():
            distributed.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def part_ways(self) -> None:
        """Let processes whose generators of random numbers are at the same place draw different ones from now on.

        The main process draws on as it would have done alone.
        """
        if not self.is_main:
            torch.manual_seed(int(torch.randint(2**62, ())) + self.rank)

    def disband(self) -> None:
        """The work that is shared is over: every process goes on by itself from here."""
        if self.size > 1:
            with _together():
                distributed.barrier()
            distributed.destroy_process_group()


@contextmanager
def _together() -> Iterator[None]:
    """An exchange, which fails in all processes when one of them has ended."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.AcceleratorError) or is_out_of_memory(error):
            raise  # it is this process's own
        raise PeerLostError(f"another process of this training has ended: {error}") from error
