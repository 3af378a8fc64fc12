"""Rotated words: a bit of each word lies some cells further on, so that weak cells are low bits; and what is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pydantic
from numpy.typing import NDArray

from eden.common.files import FiniteRecord, Record
from eden.memory.cell_map import CellMap
from eden.memory.errors import ErrorModel

MemoryPiece = tuple[ErrorModel, int, int]
"""An error model, the first bit in the device, and a number of bits."""

_DIGITS = "0123456789abcdefghijklmnopqrstuv"


class Rotation(FiniteRecord):
    """How the bits of an operand's words are rotated, unit by unit.

    Bit b of a word, 0 the lowest, lies in the word's cell (b + r) mod ``word_bits``, the first cell being 0; r is the
    rotation of the unit that holds the word. Units and words are counted from the operand's first bit, or the piece's.
    """

    word_bits: int = pydantic.Field(ge=2, le=len(_DIGITS))
    """Bits of a word; of a plane, those that an element has in it."""
    unit_bytes: int = pydantic.Field(ge=1)
    """Bytes that share a rotation: whole words."""
    by_unit: str = pydantic.Field(min_length=1, pattern="^[0-9a-v]+$")
    """The rotation of each unit in order, one digit each: 0 to 9, then a to v for 10 to 31."""

    @classmethod
    def of(cls, word_bits: int, unit_bytes: int, rotations: bytes) -> Rotation | None:
        """The rotations of units as they are stored; None where nothing is rotated."""
        if not any(rotations):
            return None
        return cls(word_bits=word_bits, unit_bytes=unit_bytes, by_unit="".join(_DIGITS[one] for one in rotations))

    def check(self, name: str, size: int, errors: ErrorModel) -> None:
        """Raise ValueError, naming what lies in ``size`` bytes of a memory, for a rotation that it cannot have."""
        if 8 * self.unit_bytes % self.word_bits:
            raise ValueError(
                f"the rotation of {name} is of units of {self.unit_bytes} bytes; allowed are whole words of "
                f"{self.word_bits} bits"
            )
        units = -(-size // self.unit_bytes)
        if len(self.by_unit) != units:
            raise ValueError(
                f"the rotation of {name} has {len(self.by_unit)} units of {self.unit_bytes} bytes; allowed for "
                f"{size} bytes are {units}"
            )
        highest = max(self.by_unit)
        if _DIGITS.index(highest) >= self.word_bits:
            raise ValueError(
                f"the rotation of {name} has the digit {highest!r}; allowed in words of {self.word_bits} bits are "
                f"0 to {_DIGITS[self.word_bits - 1]}"
            )
        if not isinstance(errors, CellMap):
            raise ValueError(
                f"{name} is rotated in a partition whose error model is {type(errors).__name__}; allowed is a CellMap"
            )


class Rotatable(Record):
    """What lies in a partition, perhaps with a rotation; a file says only of rotated words that they are."""

    rotation: Rotation | None = None
    """How the bits of its words are rotated; None where they are not, and of an operand that is split."""

    @pydantic.model_serializer(mode="wrap")
    def _unless_rotated(self, serialize: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = serialize(self)
        return {key: one for key, one in found.items() if one is not None or key not in ("rotation", "equivalent_ber")}


class PlacedBits(NamedTuple):
    """Bits that lie together in a partition, in the order of the operand's."""

    partition: str
    bit: int
    """From the partition's first."""
    bits: int
    rotation: Rotation | None


def memory_of(
    homes: Mapping[str, tuple[ErrorModel, int]], placed: Mapping[str, Iterable[PlacedBits]]
) -> dict[str, tuple[MemoryPiece, ...]]:
    """The pieces of memory that hold each operand, in order: error model, first bit, number of bits.

    Args:
        homes: by partition its error model and its first bit in the device. A cell map counts from there.
        placed: by operand, where its bits are.

    Of partitions with rotated words the map is the one that a reader sees: a weak cell of a rotated word stands where
    the bit that lies in it does.
    """
    parts = {name: tuple(given) for name, given in placed.items()}
    seen: dict[str, ErrorModel] = {}
    for home, (errors, _) in homes.items():
        turned = [part for own in parts.values() for part in own if part.partition == home and part.rotation]
        seen[home] = _as_read(errors, turned) if isinstance(errors, CellMap) and turned else errors
    found: dict[str, tuple[MemoryPiece, ...]] = {}
    for name, own in parts.items():
        pieces = []
        for part in own:
            first = 0 if isinstance(seen[part.partition], CellMap) else homes[part.partition][1]
            pieces.append((seen[part.partition], first + part.bit, part.bits))
        found[name] = tuple(pieces)
    return found


def _as_read(errors: CellMap, turned: Iterable[PlacedBits]) -> CellMap:
    cells = errors.cells.copy()
    for part in turned:
        assert part.rotation is not None
        width, unit_bits = part.rotation.word_bits, 8 * part.rotation.unit_bytes
        digits = np.frombuffer(part.rotation.by_unit.encode(), dtype=np.uint8)
        by_unit: NDArray[np.int64] = np.where(digits < ord("a"), digits - ord("0"), digits - ord("a") + 10)
        here = slice(*np.searchsorted(errors.cells, (part.bit, part.bit + part.bits)))
        places = errors.cells[here] - part.bit
        at = places % width
        cells[here] = part.bit + places - at + (at - by_unit[places // unit_bits]) % width
    return CellMap(cells, errors.flips_zero, errors.flips_one, errors.bits, errors.failure)
