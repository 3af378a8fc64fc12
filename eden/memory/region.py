"""Where an operand lies and how its cells fail, as the operators take it: rows of a region and its table."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eden import _core
from eden.common.arguments import check_int
from eden.common.torch_internals import assume_constant, plain
from eden.memory.cell_map import CellMap
from eden.memory.errors import DataDependent, ErrorModel, Uniform
from eden.memory.lines import LineModel
from eden.memory.lines_by_value import LinesByValue
from eden.memory.planes import Plane, plane_mask
from eden.memory.storage import CORRECTIONS

Piece = tuple[ErrorModel | None, int, int]
"""A piece of memory that an operand lies in: its error model (None: reliable), the first bit, the number of bits."""

Memory = ErrorModel | tuple[Piece, ...] | None
"""What an operand lies in: one memory of an error model (None: reliable), or several pieces."""

_ADDRESSES = 2**63
_Lines = LineModel | LinesByValue
_Tabled = _Lines | CellMap
_TABLED = (LineModel, LinesByValue, CellMap)
_MODELS = (Uniform, DataDependent, *_TABLED)


def region_rows(
    pieces: Sequence[Piece], bits: int, width: int, correction: str = "none"
) -> tuple[list[list[int]], NDArray[np.int64] | None]:
    """The int64 rows and table that tell the operators where an operand lies and how its cells fail.

    Args:
        pieces: the pieces of memory that hold the operand, in order; the last one may be longer than what is left.
        bits: size of the operand, in bits.
        width: bits of an element.
        correction: "none", "zero" or "clamp".

    Returns:
        One row of fields (csrc/memory/region.h) for each piece, and the table of their lines and maps, one-dimensional
        int64, or None if no piece needs one. Pieces of equal models share their part of the table.

    Raises:
        TypeError: for a type of argument that is not allowed.
        ValueError: for one out of range: a misplaced address, pieces that do not hold the operand, a piece that does
            not lie in the cells that its model's geometry or map describes.
    """
    check_int("width", width, 1)
    if check_int("bits", bits, 0) % width:
        raise ValueError(f"bits is {bits}; allowed is a multiple of the element's {width} bits")
    rows = _Rows(correction)
    rows.add(pieces, bits, width)
    return rows.rows, rows.table


def plane_rows(
    planes: Mapping[Plane, Sequence[Piece]], elements: int, correction: str = "none"
) -> tuple[list[list[int]], NDArray[np.int64] | None]:
    """``region_rows`` of an operand in planes, which hold all bits of its words; cells may be cut anywhere.

    Args:
        planes: by plane, the pieces of memory that hold it, in order.
        elements: size of the operand.
        correction: "none", "zero" or "clamp".

    Raises:
        TypeError, ValueError: as ``region_rows``.
    """
    rows = _Rows(correction)
    for plane, pieces in planes.items():
        rows.add(pieces, elements * len(plane), 1, plane_mask(plane))
    return rows.rows, rows.table


class _Rows:
    """Rows of an operand's regions, and the table that those of equal models share."""

    def __init__(self, correction: str) -> None:
        if correction not in CORRECTIONS:
            raise ValueError(f"correction is {correction!r}; allowed are {', '.join(CORRECTIONS)}")
        self.rows: list[list[int]] = []
        self._mode = _core.Correction.__members__[correction]
        self._parts: list[NDArray[np.int64]] = []
        self._places: dict[_Tabled, tuple[int, int]] = {}

    @property
    def table(self) -> NDArray[np.int64] | None:
        return np.concatenate(self._parts) if self._parts else None

    def add(self, pieces: Sequence[Piece], bits: int, width: int, mask: int = 0) -> None:
        """The rows of pieces that hold so many bits, of a plane's mask or, at 0, of whole words."""
        if not pieces:
            raise ValueError("pieces is empty; allowed is one piece or more")
        end = 0
        for i, (errors, address, size) in enumerate(pieces):
            _check_piece(f"pieces[{i}]", errors, address, size, width)
            if errors not in self._places and isinstance(errors, _TABLED):
                part, length = _table_part(errors)
                self._places[errors] = sum(part.size for part in self._parts), length
                self._parts.append(part)
            row = _row(errors, address, self._mode, self._places)
            end += size
            if i + 1 < len(pieces):
                row[_core.REGION_END] = end
            field = row[_core.REGION_CORRECTION] | mask << _core.PLANE_SHIFT
            row[_core.REGION_CORRECTION] = field - 2**64 if field >= 2**63 else field
            self.rows.append(row)
        if end < bits:
            raise ValueError(f"pieces hold {end} bits; allowed is what the operand takes, {bits}, or more")


def _check_piece(name: str, errors: Any, address: Any, size: Any, width: int) -> None:
    if errors is not None and not isinstance(errors, _MODELS):
        raise TypeError(f"errors of {name} is a {type(errors).__name__}; allowed is one of eden's error models or None")
    for which, value in (("address", address), ("bits", size)):
        if check_int(f"{which} of {name}", value, 0) % width:
            raise ValueError(f"{which} of {name} is {value}; allowed is a multiple of the element's {width} bits")
    end, what = _end(errors)
    if address + size > end:
        raise ValueError(
            f"address of {name} is {address}, of {size} bits; allowed is a piece that ends at {end} or before, where "
            f"{what}"
        )


def _end(errors: ErrorModel | None) -> tuple[int, str]:
    """The first bit that a model does not describe, and what ends there."""
    if isinstance(errors, _Lines):
        return errors.geometry.end, "the geometry of its model ends"
    if isinstance(errors, CellMap):
        return errors.bits, "its map ends"
    return _ADDRESSES, "addresses end"


def _table_part(errors: _Tabled) -> tuple[NDArray[np.int64], int]:
    """What the table holds for a model, and the number of its entries."""
    if isinstance(errors, CellMap):
        return errors.entries(), errors.cells.size
    probabilities = errors.line_probabilities()
    # Those of both values stand one after the other, and count once.
    length = probabilities.size // (2 if isinstance(errors, LinesByValue) else 1)
    return _core.make_line_table(probabilities), length


def _row(
    errors: ErrorModel | None,
    address: int,
    mode: _core.Correction,
    places: dict[_Tabled, tuple[int, int]],
) -> list[int]:
    if errors is None:
        return list(_core.make_region(0.0, 0.0, 1.0, address, mode))
    if isinstance(errors, CellMap):
        return list(_core.make_map_region(errors.failure, address, mode, *places[errors]))
    if isinstance(errors, _Lines):
        kind = _core.ModelKind.__members__[errors.KIND.removesuffix("_by_value")]
        if isinstance(errors, LinesByValue):
            form = _core.TableKind.__members__[errors.marks]
        else:
            form = _core.TableKind.population if errors.rates is None else _core.TableKind.measured
        geometry = errors.geometry
        return list(
            _core.make_lines_region(
                kind, form, errors.failure, address, mode, *places[errors], geometry.row_bits, geometry.subarray_rows
            )
        )
    return list(_core.make_region(errors.ber_zero, errors.ber_one, errors.failure, address, mode))


REGION_ADDRESS: int = next(
    field
    for field, (here, there) in enumerate(
        zip(*(_row(None, address, _core.Correction.none, {}) for address in (0, 1)), strict=True)
    )
    if here != there
)
"""The field of a region's row that holds the operand's address."""


def memory_end(memory: Memory, address: int) -> tuple[int, str]:
    """Bits of an operand that a memory holds from an address on, and what ends there, in words; "" for addresses."""
    if isinstance(memory, tuple):
        return sum(bits for _, _, bits in memory), "its pieces end"
    end, what = _end(memory)
    return end - address, "" if end == _ADDRESSES else what


def held_bits(memory: Memory, address: int) -> int | None:
    """Bits of an operand that a memory holds from an address on, None where nothing but addresses ends.

    Args:
        memory: error model of the memory, None for a reliable one; or the pieces of memory, which have their own
            addresses.
        address: first bit of the operand.
    """
    bits, what = memory_end(memory, address)
    return bits if what else None


def _located(memory: Memory, address: int, width: int, correction: str) -> tuple[list[list[int]], Any]:
    """Rows and table of a memory; whether it holds an operand says ``memory_end``."""
    pieces = memory if isinstance(memory, tuple) else ((memory, address, 0),)
    return region_rows(pieces, 0, width, correction)


def _tabled(memory: Memory) -> tuple[_Tabled, ...]:
    """The models that have a part in a table, in the order of their parts."""
    models = [model for model, _, _ in memory] if isinstance(memory, tuple) else [memory]
    return tuple(model for model in dict.fromkeys(models) if isinstance(model, _TABLED))


# Making small tensors takes longer than reading one. These are never given out, so nobody can change them; made outside
# of inference mode, they serve in and out of it.
@functools.lru_cache(maxsize=16)
def _kept_table(models: tuple[_Tabled, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.from_numpy(np.concatenate([_table_part(model)[0] for model in models])).to(device)


@functools.lru_cache(maxsize=256)
def _kept_tensors(
    memory: Memory, address: int, width: int, correction: str, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    rows, table = _located(memory, address, width, correction)
    with torch.inference_mode(False):
        region = torch.tensor(rows, dtype=torch.int64, device=device)
    return region, None if table is None else _kept_table(_tabled(memory), device)


def _joined(parts: tuple[Any, ...]) -> tuple[Memory, int]:
    """A memory and an address, of which ``parts`` are those of a model alone or of one piece after another."""
    if len(parts) == 2:
        return parts[0], parts[1]
    return tuple((parts[i], parts[i + 1], parts[i + 2]) for i in range(0, len(parts), 3)), 0


# torch.compile calls these while tracing, and compiles again for another error model. A model among the arguments can
# be a constant, a tuple that holds one cannot.
@assume_constant
def _constant_fields(width: int, correction: str, *parts: Any) -> tuple[int, ...]:
    """The bits that the memory holds, whether there is a table, and the fields of all rows."""
    memory, address = _joined(parts)
    rows, table = _located(memory, address, width, correction)
    return memory_end(memory, address)[0], int(table is not None), *(field for row in rows for field in row)


@assume_constant
def _constant_table(*parts: Any) -> Tensor:
    # A constant of the graph: 27 kB for a population of lines, 8 bytes for each cell of a map.
    return _kept_table(_tabled(_joined(parts)[0]), torch.device("cpu"))


def region_tensors(
    memory: Memory, address: int, width: int, correction: str, device: torch.device
) -> tuple[Tensor, Tensor | None, int]:
    """Rows and table of a memory as tensors, and the bits of an operand that it holds.

    Args:
        memory: error model of the memory, None for a reliable one; or the pieces of memory.
        address: first bit of the operand; 0 for pieces.
        width: bits of an element.
        correction: "none", "zero" or "clamp".
        device: where the tensors are to be.

    Raises:
        TypeError, ValueError: as ``region_rows``, which does not look here whether an operand is held.
    """
    if torch.compiler.is_compiling():
        parts = [part for piece in memory for part in piece] if isinstance(memory, tuple) else [memory, address]
        fields = _constant_fields(width, correction, *parts)
        table = _constant_table(*parts).to(device) if fields[1] else None
        rows = torch.tensor(fields[2:], dtype=torch.int64, device=device)
        return rows.view(-1, _core.REGION_FIELDS), table, fields[0]
    if isinstance(memory, tuple):  # those of a kept one are equal, and yet may be of a type that is refused
        for i, piece in enumerate(memory):
            _check_piece(f"pieces[{i}]", *piece, width)
    bits = memory_end(memory, address)[0]
    if plain():
        return *_kept_tensors(memory, address, width, correction, device), bits
    located, entries = _located(memory, address, width, correction)
    table = None if entries is None else torch.tensor(entries, dtype=torch.int64, device=device)
    return torch.tensor(located, dtype=torch.int64, device=device), table, bits
