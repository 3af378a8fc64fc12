"""The memory map: where in a device each operand lies, in what form, at which operating point (docs/placement.md)."""

from __future__ import annotations

import csv
import io
import itertools
import os
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import pydantic

from eden import _core
from eden.common.files import FiniteRecord, VersionedFile, write_text
from eden.devices.device import Device, GeometryField
from eden.devices.margin import Margin
from eden.devices.partition import Errors, OperatingPoint, Partition, off_nominal
from eden.faults.buffers import range_of
from eden.faults.faulty_layers import faulty_layers
from eden.faults.operand import Operand, operand_numel
from eden.memory import operators as ops
from eden.memory.errors import LineModel
from eden.placement.place import MemoryPiece, Placement
from eden.placement.points import answer_at

if TYPE_CHECKING:
    from torch import nn

_BURST_BITS = 8 * _core.OPERAND_ALIGNMENT
# A curve's rates are told anew, perhaps by another library of mathematics: far more than those differ by.
_SAME = 1e-9

_Count = Annotated[int, pydantic.Field(ge=1)]
_Bit = Annotated[int, pydantic.Field(ge=0)]


class MappedPartition(FiniteRecord):
    """A region of the device and how it is to be run."""

    kind: Literal["module", "rank", "bank", "subarray"]
    address: _Bit
    """Its first bit in the device."""
    capacity_bytes: _Count
    operating_point: OperatingPoint
    errors: Errors
    """The error model at that point."""


class MappedPiece(FiniteRecord):
    """A part of an operand that lies in one partition; pieces are in the order of the operand's bytes."""

    partition: str
    address: _Bit
    """Its first bit in the device, a multiple of 512."""
    bytes: _Count


class MappedOperand(FiniteRecord):
    """Where an operand lies, and how its bytes are to be read."""

    kind: Literal["weight", "input"]
    storage: str
    """The form in which the memory keeps it, as in ``eden.Faults``."""
    elements: _Count
    """Of an input, one sample's."""
    bytes: _Count
    low: float
    """Smallest plausible value: of a weight its smallest one, of an input the calibrated one."""
    high: float
    """Largest plausible value."""
    magnitude: float | None = None
    """Mean magnitude of an input's values, in "sign" storage."""
    affine: bool = False
    """Whether its codes have a zero point."""
    channels: bool = False
    """Whether each output channel of a weight has a scale of its own."""
    correction: str = "none"
    """What replaces a value outside its range, as in ``eden.Faults``."""
    readers: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    """The layers' roles that read it, such as ``conv1.weight``."""
    pieces: Annotated[tuple[MappedPiece, ...], pydantic.Field(min_length=1)]

    @property
    def address(self) -> int:
        """Its first bit in the device."""
        return self.pieces[0].address


class MemoryMap(VersionedFile):
    """What a runtime and a memory controller need of a placement, and ``inject_`` takes: a deployable result.

    Saved and loaded as JSON; ``save_csv`` writes the table for a controller's configuration (docs/placement.md).
    """

    FORMAT: ClassVar[str] = "eden-memory-map"
    VERSION: ClassVar[int] = 1
    whole: ClassVar[bool] = True

    device: str
    """Name of the device."""
    geometry: GeometryField
    """How addresses run through its banks, rows and columns."""
    random_layout: int
    """Version of the random numbers' layout, which fixes what cells a chip's seed makes weak."""
    nominal: OperatingPoint
    """The operating point within specification."""
    margin: Margin = Margin()
    """What the device's rates hold beyond what was measured."""
    partitions: Annotated[dict[str, MappedPartition], pydantic.Field(min_length=1)]
    operands: Annotated[dict[str, MappedOperand], pydantic.Field(min_length=1)]
    notes: tuple[str, ...] = ()

    @pydantic.model_validator(mode="after")
    def _keeps_contracts(self) -> Self:
        if self.random_layout != _core.RANDOM_LAYOUT_VERSION:
            raise ValueError(
                f"random_layout is {self.random_layout}; allowed is {_core.RANDOM_LAYOUT_VERSION}, this version's"
            )
        self._check_partitions()
        for name, operand in self.operands.items():
            self._check_operand(name, operand)
        taken = sorted(
            (piece.address, piece.bytes, name) for name, one in self.operands.items() for piece in one.pieces
        )
        for (start, size, before), (address, _, name) in itertools.pairwise(taken):
            if address < start + 8 * size:
                raise ValueError(f"operand {name} starts at bit {address}, inside operand {before}")
        readers: dict[str, str] = {}
        for name, operand in self.operands.items():
            for reader in operand.readers:
                if reader in readers:
                    raise ValueError(f"{reader} reads both {readers[reader]} and {name}; allowed is one operand")
                readers[reader] = name
        return self

    def _check_partitions(self) -> None:
        end, before = 0, ""
        for name, partition in sorted(self.partitions.items(), key=lambda item: item[1].address):
            if partition.address < end:
                raise ValueError(f"partition {name} begins at bit {partition.address}, inside {before}")
            end, before = partition.address + 8 * partition.capacity_bytes, name
            errors = partition.errors
            if isinstance(errors, LineModel) and (
                errors.geometry.row_bits != self.geometry.row_bits
                or errors.geometry.subarray_rows != self.geometry.subarray_rows
            ):
                raise ValueError(
                    f"partition {name} has an error model of {errors.geometry}; allowed is {self.geometry}"
                )
        if end > self.geometry.end:
            raise ValueError(f"partition {before} ends at bit {end}; allowed is {self.geometry.end}")

    def _check_operand(self, name: str, operand: MappedOperand) -> None:
        if operand.storage not in ops.STORAGE_BITS:
            allowed = ", ".join(ops.STORAGE_BITS)
            raise ValueError(f"operand {name}: storage is {operand.storage!r}; allowed are {allowed}")
        if operand.correction not in ops.CORRECTIONS:
            allowed = ", ".join(ops.CORRECTIONS)
            raise ValueError(f"operand {name}: correction is {operand.correction!r}; allowed are {allowed}")
        needed = -(-operand.elements * ops.STORAGE_BITS[operand.storage] // 8)
        if operand.bytes != needed:
            raise ValueError(
                f"operand {name} has {operand.bytes} bytes; allowed for {operand.elements} elements of "
                f"{operand.storage} is {needed}"
            )
        if sum(piece.bytes for piece in operand.pieces) != operand.bytes:
            raise ValueError(f"pieces of operand {name} are not its {operand.bytes} bytes")
        if operand.low > operand.high:
            raise ValueError(f"operand {name}: low is {operand.low}, above high, {operand.high}")
        points = []
        for piece in operand.pieces:
            home = self.partitions.get(piece.partition)
            if home is None:
                raise ValueError(
                    f"operand {name} is in partition {piece.partition!r}; allowed are {', '.join(self.partitions)}"
                )
            if piece.address % _BURST_BITS:
                raise ValueError(
                    f"operand {name} starts at bit {piece.address}; allowed are multiples of {_BURST_BITS}"
                )
            first, end = home.address, home.address + 8 * home.capacity_bytes
            if not first <= piece.address <= end - 8 * piece.bytes:
                raise ValueError(
                    f"operand {name} takes the bits from {piece.address} to {piece.address + 8 * piece.bytes}; allowed "
                    f"in {piece.partition} are {first} to {end}"
                )
            points.append(home.operating_point)
        if any(point != points[0] for point in points):
            raise ValueError(f"pieces of operand {name} are at different operating points; allowed is one")

    @property
    def memory(self) -> dict[str, tuple[MemoryPiece, ...]]:
        """Pieces of memory that hold each operand, in order: error model, first bit, number of bits."""
        return {
            name: tuple(
                (self.partitions[piece.partition].errors, piece.address, 8 * piece.bytes) for piece in operand.pieces
            )
            for name, operand in self.operands.items()
        }

    def csv(self) -> str:
        """The table of pieces as comma-separated values, in the order of their addresses, with a line of names."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        rows = []
        for name, operand in self.operands.items():
            offset = 0
            for number, piece in enumerate(operand.pieces):
                rows.append((piece.address, self._row(name, operand, number, piece, offset)))
                offset += piece.bytes
        for _, row in sorted(rows, key=lambda found: found[0]):
            table.writerow(row)
        return text.getvalue()

    def _row(self, name: str, operand: MappedOperand, number: int, piece: MappedPiece, offset: int) -> list[str]:
        home = self.partitions[piece.partition]
        point = home.operating_point
        first = self.geometry.locate(piece.address)
        last = self.geometry.locate(piece.address + 8 * piece.bytes - 1)
        rows = [at.subarray * self.geometry.subarray_rows + at.wordline for at in (first, last)]
        values: list[object] = [name, operand.kind, number, offset, piece.partition, piece.address]
        values += [piece.address // 8, piece.bytes]
        values += [first.rank, first.bank, rows[0], first.bitline, last.rank, last.bank, rows[1], last.bitline]
        values += [operand.storage, operand.low, operand.high]
        values += [point.vdd, point.trcd, point.trp, point.temperature, point.refresh_interval]
        values += [home.errors.ber_zero, home.errors.ber_one]
        return [repr(value) if isinstance(value, float) else str(value) for value in values]

    def save_csv(self, path: str | os.PathLike[str]) -> None:
        """Write ``csv`` into a file, atomically. Raises FileError if that is not possible."""
        write_text(path, self.csv())


COLUMNS = (
    "operand",
    "kind",
    "piece",
    "offset_bytes",
    "partition",
    "address_bits",
    "address_bytes",
    "bytes",
    "rank",
    "bank",
    "row",
    "column_bit",
    "last_rank",
    "last_bank",
    "last_row",
    "last_column_bit",
    "storage",
    "low",
    "high",
    "vdd_v",
    "trcd_ns",
    "trp_ns",
    "temperature_c",
    "refresh_interval_ms",
    "ber_zero",
    "ber_one",
)
"""The columns of ``MemoryMap.csv``, one line for each piece of an operand."""


def check_point(partition: Partition, placed: OperatingPoint, errors: Errors) -> None:
    """Refuse an operating point that a partition does not offer, or whose rates are above those stated.

    Args:
        partition: of the device.
        placed: what it is to be run at.
        errors: the error model that was stated there.

    Raises:
        ValueError: naming the partition, what was found and what is allowed.

    """
    if not off_nominal(partition.points[0], placed):
        return
    answer = answer_at(partition, placed)
    for stored in ("zero", "one"):
        found, stated = (getattr(model, f"ber_{stored}") for model in (answer, errors))
        if found > stated * (1.0 + _SAME):
            raise ValueError(
                f"partition {partition.name}: at {placed} stored {stored}s have the BER {found:g}; the placement "
                f"states {stated:g}: was it made for another device?"
            )


def _partition(device: Device, name: str) -> Partition:
    """A partition of a placement: one of the device's, or in a coarse one the whole module."""
    return device.whole if name == device.whole.name else device.partition(name)


def _readers(model: nn.Module) -> dict[str, list[str]]:
    """By operand, the roles that read it, the one that it is named after first."""
    found: dict[str, list[str]] = {}
    for layer_name, layer in faulty_layers(model).items():
        for operand in layer.eden_faults.operands():
            own = f"{layer_name}.{operand.role.name}" if layer_name else operand.role.name
            found.setdefault(operand.name, []).append(own)
    return {name: sorted(readers, key=lambda reader: reader != name) for name, readers in found.items()}


def memory_map(model: nn.Module, placement: Placement, device: Device) -> MemoryMap:
    """The map of a placed network: every operand with its address in the device, its form and its operating point.

    Args:
        model: the network, after ``inject_`` and ``calibrate_``.
        placement: where its operands lie.
        device: what it was placed in.

    Raises:
        ValueError: if the placement is of another device or network, an operand has no place or no known range, a
            partition is at an operating point that the device does not offer there, or samples have cells of their own.

    """
    if placement.device != device.name:
        raise ValueError(f"the placement is of device {placement.device!r}; allowed is {device.name!r}")
    partitions = {}
    for name, placed in placement.partitions.items():
        part = _partition(device, name)
        # Of an idle partition, whose supply others may share, a placement states no errors.
        if placed.used_bytes:
            check_point(part, placed.operating_point, placed.errors)
        partitions[name] = MappedPartition(
            kind=part.kind,
            address=part.address,
            capacity_bytes=part.capacity_bytes,
            operating_point=placed.operating_point,
            errors=placed.errors,
        )
    operands: dict[str, MappedOperand] = {}
    readers = _readers(model)
    for layer in faulty_layers(model).values():
        for operand in layer.eden_faults.operands():
            if operand.name in operands or (operand.errors is None and operand.name not in placement.operands):
                continue
            if operand.contiguous:
                raise ValueError(
                    f"{operand.name}: each sample has cells of its own (batch 'contiguous'); allowed in a map, which "
                    "has room for one sample, is 'restart'"
                )
            bounds, elements = range_of(layer, operand), operand_numel(layer, operand)
            if bounds is None or elements is None:
                raise ValueError(f"the range and size of {operand.name} are not known; call eden.calibrate_ first")
            operands[operand.name] = _mapped(operand, bounds, elements, readers[operand.name], placement, device)
    for name in placement.operands:
        if name not in operands:
            raise ValueError(
                f"operand {name} of the placement is no operand of the network under faults; there are "
                f"{', '.join(sorted(operands)) or 'none'}"
            )
    return MemoryMap(
        device=device.name,
        geometry=device.geometry,
        random_layout=placement.random_layout,
        nominal=placement.nominal,
        margin=placement.margin,
        partitions=partitions,
        operands=operands,
        notes=placement.notes,
    )


def _mapped(
    operand: Operand,
    bounds: tuple[float, float],
    elements: int,
    readers: list[str],
    placement: Placement,
    device: Device,
) -> MappedOperand:
    placed = placement.operands.get(operand.name)
    if placed is None:
        raise ValueError(
            f"operand {operand.name} has no place; allowed is a placement of all operands under faults, or to make it "
            "reliable with eden.set_errors_"
        )
    size = -(-elements * ops.STORAGE_BITS[operand.storage] // 8)
    if placed.bytes != size:
        raise ValueError(
            f"operand {operand.name} has {placed.bytes} bytes in the placement and {size} in the network; allowed is "
            "the same size (is the storage the same?)"
        )
    return MappedOperand.model_validate(
        {
            "kind": operand.kind,
            "storage": operand.storage,
            "elements": elements,
            "bytes": size,
            "low": bounds[0],
            "high": bounds[1],
            "magnitude": operand.magnitude if operand.storage == "sign" else None,
            "affine": operand.affine,
            "channels": operand.channels,
            "correction": operand.correction,
            "readers": readers,
            "pieces": [
                {
                    "partition": part.partition,
                    "address": _partition(device, part.partition).address + 8 * part.address,
                    "bytes": part.bytes,
                }
                for part in placed.parts
            ],
        }
    )
