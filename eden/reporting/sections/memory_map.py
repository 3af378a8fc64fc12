"""Where in each partition the operands lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eden.placement.map_file import MemoryMap
from eden.reporting.figures import COLOURS, new_figure
from eden.reporting.section import Section, Table
from eden.reporting.text import size_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _figure(memory_map: MemoryMap) -> Figure:
    import matplotlib.patches
    from matplotlib.ticker import MultipleLocator

    used = [
        name
        for name in memory_map.partitions
        if any(piece.partition == name for operand in memory_map.operands.values() for piece in operand.pieces)
    ]
    figure, axes = new_figure(height=1.4 + 0.32 * len(used))
    ends = dict.fromkeys(used, 0)
    for operand in memory_map.operands.values():
        for piece in operand.pieces:
            start = (piece.address_bits - memory_map.partitions[piece.partition].address_bits) // 8
            colour = COLOURS[0] if operand.kind == "weight" else COLOURS[4]
            row = used.index(piece.partition)
            axes.barh(row, piece.bytes, left=start, color=colour, height=0.66, edgecolor="white", linewidth=0.4)
            ends[piece.partition] = max(ends[piece.partition], start + piece.bytes)
    axes.set_yticks(range(len(used)), used)
    axes.invert_yaxis()
    axes.set_xlim(0, max(ends.values()) * 1.02)
    # Ticks at whole powers of two, six to twelve of them.
    axes.xaxis.set_major_locator(MultipleLocator(2.0 ** math.floor(math.log2(max(ends.values()) / 6))))
    axes.xaxis.set_major_formatter(lambda value, _: size_text(value) if value > 0 else "0")
    axes.set_xlabel("bytes from the partition's start")
    handles = [
        matplotlib.patches.Patch(color=COLOURS[0], label="weights"),
        matplotlib.patches.Patch(color=COLOURS[4], label="inputs"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def section(memory_map: MemoryMap, _: Mapping[str, Any]) -> Section:
    """The section."""
    rows = []
    for name, operand in memory_map.operands.items():
        for piece in operand.pieces:
            point = memory_map.partitions[piece.partition].operating_point
            cell = memory_map.geometry.locate(piece.address_bits)
            rows.append(
                (
                    name,
                    piece.partition,
                    f"{piece.address_bits // 8:#x}",
                    f"{cell.bank}",
                    f"{cell.subarray * memory_map.geometry.subarray_rows + cell.wordline:,}",
                    f"{piece.bytes:,}",
                    operand.storage,
                    f"{operand.low:.3g} to {operand.high:.3g}",
                    f"{point.vdd:g} V, {point.trcd:g} ns, {point.trp:g} ns, {point.refresh_interval:g} ms"
                    + ("" if point.tras is None else f", {point.tras:g} ns"),
                )
            )
    stated = any(part.operating_point.tras is not None for part in memory_map.partitions.values())
    active = ", tRAS" if stated else ""
    table = Table(
        "Pieces of operands",
        (
            "operand",
            "partition",
            "first byte",
            "bank",
            "row",
            "bytes",
            "storage",
            "range",
            f"VDD, tRCD, tRP, refresh{active}",
        ),
        rows,
    )
    return Section(
        "Memory map",
        "Where the operands lie in the partitions that hold some; addresses in the table are the device's.",
        lambda: _figure(memory_map),
        "Bytes of every partition that weights and inputs take",
        [table],
    )
