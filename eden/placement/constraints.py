"""What a module's supplies and its controller allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from eden.devices.device import Device

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
    one for each partition."""
    shared_vdd: tuple[tuple[str, ...], ...] = ()
    """Groups of partitions, by name, with one supply: they run at one VDD, idle ones too, which each of them has to
    offer."""
    shared_refresh: tuple[tuple[str, ...], ...] = ()
    """Groups with one refresh: the same of the refresh interval."""

    def __str__(self) -> str:
        parts = []
        if self.split:
            parts.append("operands may be split")
        if self.alignment == "row":
            parts.append("operands start at rows")
        elif self.alignment != OPERAND_ALIGNMENT:
            parts.append(f"starts are multiples of {self.alignment} bytes")
        if self.voltages is not None:
            parts.append(f"at most {self.voltages} supply voltages, the nominal one included")
        for what, groups in (("VDD", self.shared_vdd), ("refresh interval", self.shared_refresh)):
            parts += [f"one {what} for {', '.join(group)}" for group in groups]
        return "; ".join(parts)

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

    def groups(self, index: Mapping[str, int]) -> dict[str, tuple[tuple[int, ...], ...]]:
        """By parameter of an operating point, groups of partitions, by index, that share its value.

        Raises:
            ValueError: for a number of voltages below 1, a partition that there is not, and one that is named twice.

        """
        if self.voltages is not None and self.voltages < 1:
            raise ValueError(f"voltages is {self.voltages}; allowed is 1 or more")
        found = {}
        for parameter, field in (("vdd", "shared_vdd"), ("refresh_interval", "shared_refresh")):
            seen: set[str] = set()
            for name in (name for group in getattr(self, field) for name in group):
                if name not in index:
                    raise ValueError(f"{field} names the partition {name!r}; allowed are {', '.join(index)}")
                if name in seen:
                    raise ValueError(f"{field}: partition {name} appears twice; allowed is one group for each")
                seen.add(name)
            found[parameter] = tuple(tuple(index[name] for name in group) for group in getattr(self, field))
        return found
