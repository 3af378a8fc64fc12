"""An account of what faults did: flips requested and realized, per operand and bit position."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from eden.faults.faulty_layers import layer_operands, require_faults
from eden.faults.operand import Operand
from eden.memory.errors import ErrorModel
from eden.memory.storage import CELL_UNITS


@dataclasses.dataclass(frozen=True)
class FlipCounts:
    """What was read of one operand and what of it was flipped.

    Attributes:
        name: of the operand, or of a plane of it.
        cells: int64 [bits, 2], bits read by bit position (the least significant first) and stored value; of a plane, by
            those that it holds; of a storage with a code of several words, by position in a byte of its cells.
        realized: int64 [bits, 2], those of them that were flipped.
        errors: the operand's error model; None if it is reliable or lies in several pieces of memory.
    """

    name: str
    cells: Tensor
    realized: Tensor
    errors: ErrorModel | None

    @property
    def requested(self) -> Tensor | None:
        """Float64 [bits, 2], the flips that the error model asks for on average over chips; None without one model."""
        if self.errors is None:
            return None
        return self.cells * torch.tensor([self.errors.ber_zero, self.errors.ber_one], dtype=torch.float64, device="cpu")

    @property
    def ber(self) -> float:
        """Share of the bits read that were flipped; 0 where nothing was read."""
        return int(self.realized.sum()) / max(int(self.cells.sum()), 1)

    @property
    def summary(self) -> str:
        """One line: flips realized, bits read, flips requested."""
        asked = "?" if self.requested is None else f"{float(self.requested.sum()):.1f}"
        return f"{int(self.realized.sum())} flips of {int(self.cells.sum())} bits, {asked} requested"

    def __str__(self) -> str:
        return f"{self.name}: {self.summary}"


class Account(Mapping[str, FlipCounts]):
    """The counts of each operand under faults, or of its planes, by name; grows as the network runs."""

    def __init__(self, operands: list[Operand]) -> None:
        # Layers that share an operand each have a description of it, under one name.
        self._operands = operands
        self._by_name = {place.name: (operand, i) for operand in operands for i, place in enumerate(operand.places)}
        self._counts = {
            operand.name: torch.zeros((CELL_UNITS[operand.storage], 2, 2), dtype=torch.int64, device="cpu")
            for operand in operands
        }

    def __getitem__(self, name: str) -> FlipCounts:
        operand, which = self._by_name[name]
        _, plane, _, errors = operand.places[which]
        counts = self._counts[operand.name]
        if plane:
            counts = counts[list(plane[::-1])]
        model = errors if isinstance(errors, ErrorModel) else None
        return FlipCounts(name, counts[..., 0].clone(), counts[..., 1].clone(), model)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __str__(self) -> str:
        return "\n".join(str(counts) for counts in self.values())

    def _count(self, counting: bool) -> None:
        for operand in self._operands:
            operand.flips = self._counts[operand.name] if counting else None


@contextlib.contextmanager
def counting(model: nn.Module) -> Iterator[Account]:
    """Count the flips of every load of a network for a moment; loads outside of it cost what they always do.

    Every load is found a second time on the CPU, so a pass takes several times as long. A rate that is changed inside
    changes what is taken for requested of all that was read.

    Args:
        model: a network under faults. One that was compiled before is compiled again.

    Yields:
        An ``Account``: ``FlipCounts`` by the operand's name.

    Raises:
        ValueError: if the network has no layer under faults.
        RuntimeError: inside another ``counting`` of the same network.
    """
    require_faults(model)
    found = [operand for _, operand in layer_operands(model)]
    if any(operand.flips is not None for operand in found):
        raise RuntimeError("the network's flips are being counted already")
    account = Account(found)
    account._count(True)
    try:
        yield account
    finally:
        account._count(False)
