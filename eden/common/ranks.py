"""Ranks: processes that torchrun or ``torch.distributed`` has started and that work on one job together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed

T = TypeVar("T")


class RankError(RuntimeError):
    """What another rank could not do; the message names the rank and what it said."""


@contextlib.contextmanager
def process_group() -> Iterator[int]:
    """The rank of this process, in a group of those that torchrun has started, if it has.

    Tensors of the CPU go through gloo, those of a GPU through NCCL where there is one.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or torch.distributed.is_initialized():
        yield torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        return
    # By device: on a machine with GPUs, too, a command's network is on the CPU unless its task moves it.
    has_gpu = torch.cuda.is_available() and torch.distributed.is_nccl_available()
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if has_gpu else "gloo")
    try:
        yield torch.distributed.get_rank()
    finally:
        torch.distributed.destroy_process_group()


class Ranks:
    """The ranks of a process group, or this process alone.

    Args:
        group: the group; None for this process alone.

    Attributes:
        rank: this process's place among them.
        size: how many they are.
    """

    def __init__(self, group: torch.distributed.ProcessGroup | None = None) -> None:
        self._group = group
        self.rank = 0 if group is None else torch.distributed.get_rank(group)
        self.size = 1 if group is None else torch.distributed.get_world_size(group)
        if self.rank < 0:
            raise ValueError("this process is no rank of the group; allowed is a group that it is in")

    @classmethod
    def found(cls) -> Ranks:
        """The ranks of torch.distributed where it is initialized, else this process alone."""
        initialized = torch.distributed.is_available() and torch.distributed.is_initialized()
        return cls(torch.distributed.group.WORLD if initialized else None)

    def sum(self, value: float, device: torch.device) -> float:
        """The sum of what every rank gives, by way of a device; each has to call it."""
        if self.size == 1:
            return value
        held = torch.tensor(value, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(held, group=self._group)
        return float(held)

    def average_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Bring tensors to their means over ranks, such as gradients that DistributedDataParallel does not know."""
        for tensor in tensors if self.size > 1 else ():
            torch.distributed.all_reduce(tensor, group=self._group)
            tensor.div_(self.size)

    def wait(self) -> None:
        """Wait for all ranks to come here."""
        if self.size > 1:
            torch.distributed.barrier(self._group)

    def gather(self, value: Any) -> list[Any]:
        """What every rank gives, by rank; each has to call it."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, value, group=self._group)
        return found

    def from_first(self, function: Callable[[], T]) -> T:
        """What a function returns on rank 0, where alone it is called, on every rank.

        Raises:
            RankError: on the others, if it raises on rank 0, where the error itself comes up.
        """
        error: Exception | None = None
        told: tuple[Any, str | None] = (None, None)
        if self.rank == 0:
            try:
                told = (function(), None)
            except Exception as raised:
                error, told = raised, (None, str(raised))
        result, failure = self.gather(told)[0]
        if error is not None:
            raise error
        if failure is not None:
            raise RankError(f"rank 0: {failure}")
        found: T = result
        return found
