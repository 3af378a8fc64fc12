"""The buffers in which a layer keeps what changes while a network runs: regions, tables and ranges of its operands."""

from __future__ import annotations

import torch
from torch import Tensor

from eden import _core
from eden.faults.faulty_layers import FaultyLayer
from eden.faults.layers import stored
from eden.faults.operand import Operand, operand_numel
from eden.memory import storage as quantization
from eden.memory.lines import Bitline
from eden.memory.lines_by_value import BitlineByValue

ARITHMETIC_MARGIN = 1 / 8
"""Share of an input's largest magnitude by which its range is wider where it is computed in another format."""

_ROW = 2**12
_ROW_IN_BITLINES = 2**20


def write_region(layer: FaultyLayer, operand: Operand) -> None:
    """Bring an operand's region and table buffers to what it says, in place where their size stays.

    Raises:
        ValueError: naming the operand, for a memory that does not hold it.
    """
    reliable = layer.eden_faults.reliable > 0
    rows, table = _region(layer, operand)
    operand.most_elements = None if reliable else operand.held_elements
    # Bitlines are drawn for all rows of a subarray at once.
    bitlines = isinstance(operand.errors, (Bitline, BitlineByValue)) and not reliable
    operand.row_elements = _ROW_IN_BITLINES if bitlines else _ROW
    _write(layer, operand.buffers.region, rows)
    _write(layer, operand.buffers.table, table)
    layer.eden_faults.own_buffers(layer)


def _region(layer: FaultyLayer, operand: Operand) -> tuple[Tensor, Tensor]:
    rows, entries = operand.rows(layer.eden_faults.reliable > 0, operand_numel(layer, operand))
    table = torch.empty(0, dtype=torch.int64, device="cpu") if entries is None else torch.from_numpy(entries)
    return torch.tensor(rows, dtype=torch.int64, device="cpu"), table


def written(layer: FaultyLayer, operand: Operand) -> bool:
    """Whether an operand's region and table are what ``write_region`` would write."""
    names = operand.buffers.region, operand.buffers.table
    return all(torch.equal(getattr(layer, x).cpu(), y) for x, y in zip(names, _region(layer, operand), strict=True))


def write_regions(layer: FaultyLayer) -> None:
    """``write_region`` of all operands of a layer."""
    for operand in layer.eden_faults.by_role.values():
        write_region(layer, operand)


def _write(layer: FaultyLayer, name: str, value: Tensor) -> None:
    buffer = getattr(layer, name)
    if buffer.shape == value.shape:
        buffer.copy_(value)
    else:
        setattr(layer, name, value.to(buffer.device, copy=True))


def set_range(layer: FaultyLayer, operand: Operand, low: float, high: float, magnitude: float | None) -> None:
    """Set what is known of an input, in place: its range and, for one bit, its values' mean magnitude."""
    operand.calibrated, operand.magnitude = True, magnitude
    bounds = getattr(layer, operand.buffers.bounds)
    bounds.copy_(torch.tensor([low, high], dtype=torch.float32, device="cpu"))
    # Rounded otherwise, the largest values lie beyond the range that was seen. An end of 0 is one in every format: what
    # is never negative, such as a rectified feature map, stays so.
    margin = ARITHMETIC_MARGIN * max(abs(low), abs(high))
    wide = [low - margin if low else low, high + margin if high else high]
    getattr(layer, operand.buffers.wide_bounds).copy_(torch.tensor(wide, dtype=torch.float32, device="cpu"))
    held = getattr(layer, operand.buffers.scale)
    if operand.storage == "sign":
        held.fill_(torch.nan if magnitude is None else magnitude)
    elif operand.storage in quantization.CODE_BITS:
        scale, zero_point = operand.quantizer(*bounds)
        held.copy_(scale)
        if zero_point is not None:
            getattr(layer, operand.buffers.zero_point).copy_(zero_point)


def range_of(layer: FaultyLayer, operand: Operand) -> tuple[float, float] | None:
    """Smallest and largest plausible value: of a parameter its current ones, of an input as calibrated, or None."""
    if operand.kind == "weight":
        held = stored(layer, operand.role.name).detach()
        low, high = torch.aminmax(held.dequantize() if operand.packed else held)
    elif operand.calibrated:
        low, high = getattr(layer, operand.buffers.bounds)
    else:
        return None
    return float(low), float(high)


def new_buffers(operand: Operand) -> dict[str, Tensor]:
    """The buffers of an operand, by name, before anything is known of it."""
    names = operand.buffers
    found = {
        names.region: torch.zeros((1, _core.REGION_FIELDS), dtype=torch.int64, device="cpu"),
        names.table: torch.empty(0, dtype=torch.int64, device="cpu"),
    }
    if operand.kind == "input":
        found[names.bounds] = torch.full((2,), torch.nan, dtype=torch.float32, device="cpu")
        found[names.wide_bounds] = torch.full((2,), torch.nan, dtype=torch.float32, device="cpu")
        found[names.scale] = torch.tensor(torch.nan, dtype=torch.float32, device="cpu")
        found[names.zero_point] = torch.tensor(0, dtype=torch.int32, device="cpu")
    return found
