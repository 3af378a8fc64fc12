"""The file of a memory map: where in a device each operand lies, in what form, at which operating point."""

from __future__ import annotations

import csv
import io
import itertools
import os
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from eden import _core
from eden.common.files import FiniteRecord, stored_as, write_text
from eden.common.provenance import Result
from eden.devices.device import GeometryField
from eden.devices.margin import Margin
from eden.devices.partition import Errors, OperatingPoint
from eden.memory.lines import LineModel
from eden.memory.lines_by_value import LinesByValue
from eden.memory.planes import Plane, operand_and_plane, plane_text
from eden.memory.storage import CELL_UNITS, CODED, CORRECTIONS, STORAGE_BITS, plane_bytes
from eden.placement.constraints import OPERAND_ALIGNMENT
from eden.placement.rotation import MemoryPiece, PlacedBits, Rotatable, Rotation, memory_of

_BURST_BITS = 8 * OPERAND_ALIGNMENT
_Count = Annotated[int, pydantic.Field(ge=1)]
_AddressBits = Annotated[int, stored_as("address", "address_bits"), pydantic.Field(ge=0)]


def _rotation_cells(rotation: Rotation | None) -> dict[str, Any]:
    if rotation is None:
        return dict.fromkeys(("word_bits", "rotation_unit_bytes", "rotation_by_unit"), "")
    return {
        "word_bits": rotation.word_bits,
        "rotation_unit_bytes": rotation.unit_bytes,
        "rotation_by_unit": rotation.by_unit,
    }


class MappedPartition(FiniteRecord):
    """A region of the device and how it is to be run."""

    kind: Literal["module", "rank", "bank", "subarray"]
    """What part of the device it is."""
    address_bits: _AddressBits
    """Its first bit in the device."""
    capacity_bytes: _Count
    """Its size."""
    operating_point: OperatingPoint
    """How it is to be operated."""
    errors: Errors
    """The error model at that point."""


class MappedPiece(FiniteRecord, Rotatable):
    """A part of an operand that lies in one partition; pieces are in the order of the operand's bytes."""

    partition: str
    """Name of the partition."""
    address_bits: _AddressBits
    """Its first bit in the device, a multiple of 512."""
    bytes: _Count
    """Its size."""


class MappedOperand(FiniteRecord):
    """Where an operand lies, and how its bytes are to be read."""

    kind: Literal["weight", "input"]
    """What it is."""
    storage: str
    """The form in which the memory keeps it, as in ``eden.Faults``."""
    elements: _Count
    """Of an input, one sample's."""
    bytes: _Count
    """Stored bytes; of an input, one sample's."""
    low: float
    """Smallest plausible value: of a weight its smallest one, of an input the calibrated one."""
    high: float
    """Largest plausible value."""
    magnitude: float | None = None
    """Mean magnitude of an input's values, in "sign" storage."""
    samples: tuple[int, int, int, int] | None = None
    """Of an input, where its samples are: their dimension, -1 for none; entries of it around all samples, and of each
    in a row; dimensions of a batch. None where that is what its layer's class says."""
    affine: bool = False
    """Whether its codes have a zero point."""
    channels: bool = False
    """Whether each output channel of a weight has a scale of its own."""
    correction: str = "none"
    """What replaces a value outside its range, as in ``eden.Faults``."""
    readers: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    """The layers' roles that read it, such as ``conv1.weight``."""
    pieces: Annotated[tuple[MappedPiece, ...], pydantic.Field(min_length=1)]
    """Where its bytes lie, in their order."""

    @property
    def address_bits(self) -> int:
        """Its first bit in the device."""
        return self.pieces[0].address_bits


class MemoryMap(Result):
    """What a runtime and a memory controller need of a placement, and ``inject_`` takes: a deployable result.

    Saved and loaded as JSON; ``save_csv`` writes the table for a controller's configuration
    (docs/explanation/placement.md).
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
    """The regions of the device, by name."""
    operands: Annotated[dict[str, MappedOperand], pydantic.Field(min_length=1)]
    """What lies in them, by name; of an operand in planes each plane, such as ``conv1.weight[6:5]``."""
    notes: tuple[str, ...] = ()
    """What a reader must know about how limits and points were compared."""

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
            (piece.address_bits, piece.bytes, name) for name, one in self.operands.items() for piece in one.pieces
        )
        for (start, size, before), (address, _, name) in itertools.pairwise(taken):
            if address < start + 8 * size:
                raise ValueError(f"operand {name} starts at bit {address}, inside operand {before}")
        readers: dict[str, str] = {}
        planes: dict[str, list[Plane]] = {}
        for name, mapped in self.operands.items():
            owner, plane = operand_and_plane(name)
            planes.setdefault(owner, []).append(plane)
            for reader in mapped.readers:
                if readers.setdefault(reader, owner) != owner:
                    raise ValueError(f"{reader} reads both {readers[reader]} and {name}; allowed is one operand")
        for owner, found in planes.items():
            self._check_planes(owner, found)
        return self

    def _check_planes(self, name: str, planes: list[Plane]) -> None:
        if planes == [()]:
            return
        of = [self.operands[each] for each in self.operands if operand_and_plane(each)[0] == name]
        forms = {tuple(value for key, value in one if key not in ("bytes", "pieces")) for one in of}
        width = STORAGE_BITS[of[0].storage]
        if len(forms) > 1 or sorted(bit for plane in planes for bit in plane) != list(range(width)):
            raise ValueError(
                f"the planes of operand {name} are {', '.join(map(plane_text, planes))}; allowed are planes of one "
                f"form that hold each of its word's {width} bits once"
            )

    def _check_partitions(self) -> None:
        end, before = 0, ""
        for name, partition in sorted(self.partitions.items(), key=lambda item: item[1].address_bits):
            if partition.address_bits < end:
                raise ValueError(f"partition {name} begins at bit {partition.address_bits}, inside {before}")
            end, before = partition.address_bits + 8 * partition.capacity_bytes, name
            errors = partition.errors
            if isinstance(errors, (LineModel, LinesByValue)) and (
                errors.geometry.row_bits != self.geometry.row_bits
                or errors.geometry.subarray_rows != self.geometry.subarray_rows
            ):
                raise ValueError(
                    f"partition {name} has an error model of {errors.geometry}; allowed is {self.geometry}"
                )
        if end > self.geometry.end:
            raise ValueError(f"partition {before} ends at bit {end}; allowed is {self.geometry.end}")

    def _check_operand(self, name: str, operand: MappedOperand) -> None:
        if operand.storage not in STORAGE_BITS:
            allowed = ", ".join(STORAGE_BITS)
            raise ValueError(f"operand {name}: storage is {operand.storage!r}; allowed are {allowed}")
        if operand.correction not in CORRECTIONS:
            allowed = ", ".join(CORRECTIONS)
            raise ValueError(f"operand {name}: correction is {operand.correction!r}; allowed are {allowed}")
        needed = plane_bytes(operand_and_plane(name)[1], operand.storage, operand.elements)
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
            if piece.address_bits % _BURST_BITS:
                raise ValueError(
                    f"operand {name} starts at bit {piece.address_bits}; allowed are multiples of {_BURST_BITS}"
                )
            first, end = home.address_bits, home.address_bits + 8 * home.capacity_bytes
            if not first <= piece.address_bits <= end - 8 * piece.bytes:
                raise ValueError(
                    f"operand {name} takes the bits from {piece.address_bits} to "
                    f"{piece.address_bits + 8 * piece.bytes}; allowed in {piece.partition} are {first} to {end}"
                )
            if piece.rotation is not None:
                piece.rotation.check(f"operand {name}", piece.bytes, home.errors)
                bits = len(operand_and_plane(name)[1]) or CELL_UNITS[operand.storage]
                if piece.rotation.word_bits != bits or operand.storage in CODED:
                    raise ValueError(
                        f"operand {name} is rotated in words of {piece.rotation.word_bits} bits; allowed in "
                        f"{operand.storage} are {'none' if operand.storage in CODED else f'those of {bits}'}"
                    )
            points.append(home.operating_point)
        if any(point != points[0] for point in points):
            raise ValueError(f"pieces of operand {name} are at different operating points; allowed is one")

    @property
    def memory(self) -> dict[str, tuple[MemoryPiece, ...]]:
        """Pieces of memory that hold each operand, in order: error model, first bit, number of bits.

        Of cell maps the first bit is counted from the partition's, and weak cells stand where rotated words are read.
        """
        homes = {name: (home.errors, home.address_bits) for name, home in self.partitions.items()}
        placed = {
            name: [
                PlacedBits(
                    piece.partition, piece.address_bits - homes[piece.partition][1], 8 * piece.bytes, piece.rotation
                )
                for piece in operand.pieces
            ]
            for name, operand in self.operands.items()
        }
        return memory_of(homes, placed)

    def csv(self) -> str:
        """The table of pieces as comma-separated values, in the order of their addresses, with a line of names."""
        rows = []
        rotated = any(piece.rotation for operand in self.operands.values() for piece in operand.pieces)
        for name, operand in self.operands.items():
            offset = 0
            for number, piece in enumerate(operand.pieces):
                row = self._row(name, operand, number, piece, offset)
                rows.append({**row, **_rotation_cells(piece.rotation)} if rotated else row)
                offset += piece.bytes
        text = io.StringIO()
        table = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        table.writeheader()
        for row in sorted(rows, key=lambda row: row["address_bits"]):
            table.writerow({key: repr(value) if isinstance(value, float) else value for key, value in row.items()})
        return text.getvalue()

    def _row(self, name: str, operand: MappedOperand, number: int, piece: MappedPiece, offset: int) -> dict[str, Any]:
        home = self.partitions[piece.partition]
        point = home.operating_point
        first = self.geometry.locate(piece.address_bits)
        last = self.geometry.locate(piece.address_bits + 8 * piece.bytes - 1)
        first_row, last_row = (at.subarray * self.geometry.subarray_rows + at.wordline for at in (first, last))
        return {
            "operand": name,
            "kind": operand.kind,
            "piece": number,
            "offset_bytes": offset,
            "partition": piece.partition,
            "address_bits": piece.address_bits,
            "address_bytes": piece.address_bits // 8,
            "bytes": piece.bytes,
            "rank": first.rank,
            "bank": first.bank,
            "row": first_row,
            "column_bit": first.bitline,
            "last_rank": last.rank,
            "last_bank": last.bank,
            "last_row": last_row,
            "last_column_bit": last.bitline,
            "storage": operand.storage,
            "low": operand.low,
            "high": operand.high,
            "vdd_v": point.vdd,
            "trcd_ns": point.trcd,
            "trp_ns": point.trp,
            "temperature_c": point.temperature,
            "refresh_interval_ms": point.refresh_interval,
            **({} if point.tras is None else {"tras_ns": point.tras}),
            "ber_zero": home.errors.ber_zero,
            "ber_one": home.errors.ber_one,
        }

    def save_csv(self, path: str | os.PathLike[str]) -> None:
        """Write ``csv`` into a file, atomically. Raises FileError if that is not possible."""
        write_text(path, self.csv())
