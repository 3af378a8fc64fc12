"""What a module's supplies and its controller allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from eden.devices.device import Device
    from eden.devices.partition import Partition
    from eden.memory.geometry import Geometry

Groups = tuple[tuple[str, ...], ...]
OPERAND_ALIGNMENT = 64
"""Operands start at multiples of so many bytes, a DDR3 burst over a 64-bit bus, so that no burst has bytes of two."""


@dataclass(frozen=True)
class Constraints:
    """What a module's supplies and its controller allow, beside capacities and error rates."""

    split: bool = False
    """Whether an operand may lie in several partitions, all at one operating point, in pieces of whole ``alignment``
    units but the last; by the exact solver only."""
    alignment: int | Literal["row"] = OPERAND_ALIGNMENT
    """Bytes of which each start is a multiple, a multiple of 64; or "row", those of a row of the device."""
    voltages: int | None = None
    """How many different supply voltages can be driven, the nominal one, at which idle partitions stay, included; None:
    one for each supply."""
    shared_vdd: Groups | Literal["module", "partition"] = "module"
    """Who shares a supply: "module", all partitions, as modules have one; "partition", nobody; or groups of partitions,
    by name. Those of a supply run at one VDD, idle ones too, which those that hold operands have to offer."""
    shared_refresh: Groups | Literal["rank", "partition"] = "rank"
    """Who shares a refresh interval: "rank", all partitions of a rank, as ranks are refreshed by command; or the same
    of groups."""
    remap: bool = False
    """Whether, in partitions whose weak cells are known (a cell map), operands may lie anywhere and the bits of their
    words be rotated, by a number of its own for each unit of the alignment: so that weak cells are low bits."""

    def __str__(self) -> str:
        """What is asked beside shared supplies, in words."""
        parts = []
        if self.split:
            parts.append("operands may be split")
        if self.alignment == "row":
            parts.append("operands start at rows")
        elif self.alignment != OPERAND_ALIGNMENT:
            parts.append(f"starts are multiples of {self.alignment} bytes")
        if self.remap:
            parts.append("operands may be remapped around the weak cells of cell maps")
        if self.voltages is not None:
            parts.append(f"at most {self.voltages} supply voltages, the nominal one included")
        return "; ".join(parts)

    @property
    def supplies(self) -> str:
        """Who shares a VDD and a refresh interval, in words."""
        found = []
        for what, asked in (("VDD", self.shared_vdd), ("refresh interval", self.shared_refresh)):
            if isinstance(asked, str):
                found.append(f"one {what} for {'the module' if asked == 'module' else f'each {asked}'}")
            elif asked:
                found += [f"one {what} for {', '.join(group)} together" for group in asked]
                found.append(f"one {what} for each other partition")
            else:
                found.append(f"one {what} for each partition")
        return "; ".join(found)

    def alignment_bytes(self, device: Device) -> int:
        """Bytes of which each start is a multiple. Raises ValueError naming what cannot be one."""
        asked: object = self.alignment
        if isinstance(asked, int):
            if asked < 1 or asked % OPERAND_ALIGNMENT:
                raise ValueError(f"alignment is {asked} bytes; allowed are multiples of {OPERAND_ALIGNMENT}")
            return asked
        if asked != "row":
            raise ValueError(f"alignment is {asked!r}; allowed is a number of bytes, or 'row'")
        row = device.geometry.row_bits
        if row % (8 * OPERAND_ALIGNMENT):
            raise ValueError(
                f"alignment is 'row', and a row of {device.name} has {row} bits; allowed are rows of a multiple of "
                f"{8 * OPERAND_ALIGNMENT}"
            )
        for partition in device.partitions:
            if partition.address % row:
                raise ValueError(
                    f"alignment is 'row', and partition {partition.name} begins at bit {partition.address}, inside a "
                    f"row of {row} bits; allowed are partitions of whole rows"
                )
        return row // 8

    def groups(self, partitions: Sequence[Partition], geometry: Geometry) -> dict[str, tuple[tuple[int, ...], ...]]:
        """By parameter of an operating point, groups of partitions, by index, that share its value.

        Raises:
            ValueError: for a number of voltages below 1, words that are none of those allowed, a partition that there
                is not, and one that is named twice.

        """
        if self.voltages is not None and self.voltages < 1:
            raise ValueError(f"voltages is {self.voltages}; allowed is 1 or more")
        index = {partition.name: p for p, partition in enumerate(partitions)}
        found = {}
        for parameter, field, whole in (
            ("vdd", "shared_vdd", "module"),
            ("refresh_interval", "shared_refresh", "rank"),
        ):
            asked = getattr(self, field)
            if not isinstance(asked, str):
                found[parameter] = _named(field, asked, index)
            elif asked == "partition":
                found[parameter] = ()
            elif asked == whole:
                together = [tuple(index.values())] if asked == "module" else _ranks(partitions, geometry)
                found[parameter] = tuple(group for group in together if len(group) > 1)
            else:
                raise ValueError(
                    f"{field} is {asked!r}; allowed are {whole!r}, 'partition', and groups of partitions by name"
                )
        return found


def _named(field: str, groups: Groups, index: Mapping[str, int]) -> tuple[tuple[int, ...], ...]:
    seen: set[str] = set()
    for name in (name for group in groups for name in group):
        if name not in index:
            raise ValueError(f"{field} names the partition {name!r}; allowed are {', '.join(index)}")
        if name in seen:
            raise ValueError(f"{field}: partition {name} appears twice; allowed is one group for each")
        seen.add(name)
    return tuple(tuple(index[name] for name in group) for group in groups)


def _ranks(partitions: Sequence[Partition], geometry: Geometry) -> list[tuple[int, ...]]:
    """Partitions by rank; ranks that one partition lies in together are refreshed alike."""
    found: list[tuple[set[int], list[int]]] = []
    for p, partition in enumerate(partitions):
        last = partition.address + 8 * partition.capacity_bytes - 1
        ranks = set(range(partition.address // geometry.capacity_bits, last // geometry.capacity_bits + 1))
        members = [p]
        for other in [other for other in found if other[0] & ranks]:
            found.remove(other)
            ranks |= other[0]
            members = [*other[1], *members]
        found.append((ranks, members))
    return [tuple(sorted(members)) for _, members in found]
