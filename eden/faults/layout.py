"""Where operands lie, as whatever places them says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from eden.memory.region import Piece


@runtime_checkable
class Layout(Protocol):
    """Where operands lie and what makes errors there, as ``eden.Placement`` and ``eden.MemoryMap`` say it."""

    @property
    def whole(self) -> bool:
        """Whether ``operands`` say all of them (storage, range, readers) and not their places alone."""

    @property
    def operands(self) -> Mapping[str, Any]:
        """By name: ``bytes``; of a whole layout also ``kind``, ``elements``, ``storage``, ``low`` and the like."""

    @property
    def memory(self) -> Mapping[str, tuple[Piece, ...]]:
        """The pieces of memory that hold each operand, in order: error model, first bit, number of bits."""
