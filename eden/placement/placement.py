"""The file of a placement: each operand in a partition of a device, each partition at an operating point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import pydantic

from eden.common.checks import same
from eden.common.files import Record, stored_as
from eden.common.provenance import Result
from eden.common.tables import notebook, text_table
from eden.devices.margin import Margin
from eden.devices.partition import Errors, OperatingPoint
from eden.devices.upper_rates import Rates
from eden.memory.cell_map import CellMap
from eden.memory.errors import ErrorModel, Uniform
from eden.placement.constraints import OPERAND_ALIGNMENT
from eden.placement.defaults import ObjectiveName, SolverName
from eden.placement.rotation import MemoryPiece, PlacedBits, Rotatable, memory_of

# A mean over a model's rates, told once more.
_OPERATIONS = 4

_AddressBytes = Annotated[int, stored_as("address", "address_bytes"), pydantic.Field(ge=0)]


class Piece(Rotatable):
    """A part of an operand that is split over partitions; pieces are in the order of the operand's bytes."""

    partition: str
    """Name of its partition."""
    address_bytes: _AddressBytes
    """First byte, counted from the partition's start."""
    bytes: int = pydantic.Field(ge=1)
    """Its size."""


class Optimum(Record):
    """How good an exact placement is. The objective is 1 within specification."""

    value: float = pydantic.Field(gt=0, allow_inf_nan=False)
    """Objective of the placement: the weighted sum of energy and time over those within specification."""
    bound: float = pydantic.Field(allow_inf_nan=False)
    """No placement has a lower one."""
    gap: float = pydantic.Field(ge=0, allow_inf_nan=False)
    """(value - bound) / value."""
    greedy: float | None
    """Objective of the greedy placement; None where the greedy solver finds none."""
    energy_weight: float = pydantic.Field(ge=0, le=1)
    """What the share of the energy counts in the objective."""
    time_weight: float = pydantic.Field(ge=0, le=1)
    """What the share of the time counts."""
    platform: str
    """Whose typical assumptions the objective counts by."""
    currents: Annotated[str, stored_as("rank", "currents")]
    """Of the DRAM that the objective counts by."""

    def text(self, objective: str) -> str:
        """It in a sentence, of an objective's name."""
        greedy = "none found" if self.greedy is None else f"{self.greedy:.6f}"
        return (
            f"{objective} on {self.platform} with {self.currents}, {self.value:.6f} of that within specification, at "
            f"most {self.gap:.2%} above the optimum; the greedy solver's: {greedy}"
        )


class PlacedOperand(Rotatable):
    """Where one operand lies."""

    kind: Literal["weight", "input"]
    """What it is."""
    partition: str
    """Name of its partition."""
    address_bytes: _AddressBytes
    """First byte, counted from the partition's start; a multiple of 64."""
    bytes: int = pydantic.Field(ge=1)
    """Stored bytes; of an input, one sample's."""
    ber: float = pydantic.Field(ge=0, le=1)
    """Mean bit error rate that it meets: its partition's, or the highest of its pieces' partitions."""
    limit: float = pydantic.Field(ge=0, le=1)
    """Highest mean bit error rate that it tolerates."""
    equivalent_ber: float | None = pydantic.Field(default=None, ge=0, le=1)
    """Of one that may be remapped, the rate of independent errors that bring the same mean squared error as the weak
    cells that it lies in: it is what the limit holds for. None of others."""
    pieces: tuple[Piece, ...] = ()
    """Of an operand that is split, all of them, ``partition`` and ``address_bytes`` the first one's; else none."""

    @property
    def met(self) -> float:
        """The rate that its limit holds for: the equivalent one where it has one, else the mean one."""
        return self.ber if self.equivalent_ber is None else self.equivalent_ber

    @property
    def home(self) -> str:
        """Its partition in words, or its first one and how many more."""
        return self.partition + (f" and {len(self.pieces) - 1} more" if self.pieces else "")

    @property
    def parts(self) -> tuple[Piece, ...]:
        """Its pieces, or the one that it is."""
        whole = Piece(
            partition=self.partition, address_bytes=self.address_bytes, bytes=self.bytes, rotation=self.rotation
        )
        return self.pieces or (whole,)


class PlacedPartition(Record):
    """How one partition is run."""

    operating_point: OperatingPoint
    """How it is operated."""
    errors: Errors
    """The error model at that point."""
    used_bytes: int = pydantic.Field(ge=0)
    """Bytes up to the end of its last operand, alignment included; 0 where nothing is placed."""
    capacity_bytes: int = pydantic.Field(ge=1)
    """Its size."""
    address_bits: Annotated[int | None, stored_as("address", "address_bits"), pydantic.Field(ge=0)] = None
    """Its first bit in the device's geometry; None in files of before it was kept."""


class ErrorFree(Record):
    """Where operands would lie that tolerate nothing: at points where no error was found, by the same solver."""

    partition: dict[str, str]
    """Of each operand, the name of its partition, or of its first piece's."""
    operating_point: dict[str, OperatingPoint]
    """Of each partition."""


@dataclass(frozen=True)
class PlacedWithoutErrors:
    """A placement at operating points without errors, as accounts read one."""

    nominal: OperatingPoint
    partitions: Mapping[str, PlacedPartition]
    partition: Mapping[str, str]
    """Of each operand."""

    def point_of(self, operand: str) -> OperatingPoint:
        """The operating point of an operand's partition; nominal for an operand that is not placed."""
        home = self.partition.get(operand)
        return self.nominal if home is None else self.partitions[home].operating_point


class Placement(Result):
    """A placement of a network's operands in a device, made from a tolerance. Saved and loaded as JSON."""

    FORMAT: ClassVar[str] = "eden-placement"
    VERSION: ClassVar[int] = 1
    whole: ClassVar[bool] = False  # it says where operands lie, and no more

    device: str
    """Name of the device."""
    solver: SolverName
    """What found it."""
    objective: ObjectiveName
    """What was lowered."""
    random_layout: int
    """Version of the random numbers' layout, which fixes what cells a chip's seed makes weak."""
    nominal: OperatingPoint
    """The device's operating point within specification."""
    ranks: int | None = pydantic.Field(default=None, ge=1)
    """How many the device's geometry has; None where it does not say."""
    margin: Margin = Margin()
    """What the device's rates hold beyond what was measured."""
    rates: Rates = Rates()
    """What the rates of its operating points are."""
    operands: dict[str, PlacedOperand] = pydantic.Field(min_length=1)
    """Where each operand lies, by its name."""
    partitions: dict[str, PlacedPartition] = pydantic.Field(min_length=1)
    """How each partition is run, by its name."""
    optimum: Optimum | None = None
    """Of an exact placement, how good it is."""
    free: ErrorFree | None = None
    """What the device gives to operands that tolerate nothing; None where the solver finds none, and in files of
    before it was kept."""
    headline: tuple[str, ...] = ()
    """What decides most of what is saved, in sentences: supplies that are shared, the law of the voltage and its range.
    None in files of before it was kept."""
    held: str = ""
    """That a cache holds the whole network, so that nothing is saved; empty where none does."""
    notes: tuple[str, ...] = ()
    """What a reader must know about how limits and points were compared."""

    @pydantic.model_validator(mode="after")
    def _keeps_contracts(self) -> Self:
        ends: dict[str, int] = dict.fromkeys(self.partitions, 0)
        parts = [(name, operand, part) for name, operand in self.operands.items() for part in operand.parts]
        for name, operand, part in sorted(parts, key=lambda found: found[2].address_bytes):
            if part.partition not in self.partitions:
                raise ValueError(
                    f"operand {name} is in partition {part.partition!r}; allowed are {', '.join(self.partitions)}"
                )
            if operand.met > operand.limit:
                raise ValueError(f"operand {name} meets a BER of {operand.met:g}; allowed is its limit {operand.limit}")
            if part.address_bytes % OPERAND_ALIGNMENT:
                raise ValueError(
                    f"operand {name} starts at byte {part.address_bytes}; allowed are multiples of {OPERAND_ALIGNMENT}"
                )
            if part.address_bytes < ends[part.partition]:
                raise ValueError(f"operand {name} starts at byte {part.address_bytes}, inside the operand before it")
            ends[part.partition] = part.address_bytes + part.bytes
        for name, operand in self.operands.items():
            self._check_parts(name, operand)
        if self.free is not None:
            self._check_free(self.free)
        for name, partition in self.partitions.items():
            if partition.used_bytes != ends[name]:
                raise ValueError(
                    f"partition {name} says {partition.used_bytes} bytes used; its operands end at {ends[name]}"
                )
            if partition.used_bytes > partition.capacity_bytes:
                raise ValueError(
                    f"partition {name} holds {partition.used_bytes} bytes; "
                    f"allowed is its capacity {partition.capacity_bytes}"
                )
        return self

    def _check_parts(self, name: str, operand: PlacedOperand) -> None:
        homes = [self.partitions[part.partition] for part in operand.parts]
        if not same(operand.ber, max(home.errors.ber for home in homes), _OPERATIONS):
            raise ValueError(f"operand {name} has the BER {operand.ber:g}, not the one of {operand.partition}")
        if any(home.operating_point != homes[0].operating_point for home in homes):
            raise ValueError(f"pieces of operand {name} are at different operating points; allowed is one")
        if sum(part.bytes for part in operand.parts) != operand.bytes:
            raise ValueError(f"pieces of operand {name} are not its {operand.bytes} bytes")
        first = operand.parts[0]
        if (first.partition, first.address_bytes) != (operand.partition, operand.address_bytes):
            raise ValueError(f"operand {name} does not start where its first piece does")
        if operand.pieces and operand.rotation is not None:
            raise ValueError(f"operand {name} is split and has a rotation; allowed are those of its pieces")
        if operand.equivalent_ber is not None and not any(isinstance(home.errors, CellMap) for home in homes):
            raise ValueError(f"operand {name} has an equivalent BER and lies in no cell map; allowed is none")
        for part, home in zip(operand.parts, homes, strict=True):
            if part.rotation is not None:
                part.rotation.check(f"operand {name}", part.bytes, home.errors)

    def _check_free(self, free: ErrorFree) -> None:
        for what, found, expected in (
            ("operands", set(free.partition), set(self.operands)),
            ("partitions", set(free.operating_point), set(self.partitions)),
            ("partitions of operands", set(free.partition.values()) - set(self.partitions), set[str]()),
        ):
            if found != expected:
                raise ValueError(
                    f"free: its {what} differ from the placement's in {', '.join(sorted(found ^ expected))}; allowed "
                    "are the same"
                )

    @property
    def without_errors(self) -> PlacedWithoutErrors | None:
        """The operands at points without errors; None where the file does not tell."""
        if self.free is None:
            return None
        points = self.free.operating_point
        partitions = {
            name: one.model_copy(update={"operating_point": points[name], "errors": Uniform(ber=0.0)})
            for name, one in self.partitions.items()
        }
        return PlacedWithoutErrors(self.nominal, partitions, self.free.partition)

    @property
    def ber(self) -> dict[str, float]:
        """Mean bit error rate that each operand meets."""
        return {name: operand.ber for name, operand in self.operands.items()}

    @property
    def partition(self) -> dict[str, str]:
        """Name of each operand's partition, or of its first piece's."""
        return {name: operand.partition for name, operand in self.operands.items()}

    def point_of(self, operand: str) -> OperatingPoint:
        """The operating point of an operand's partition; nominal for an operand that is not placed."""
        placed = self.operands.get(operand)
        return self.nominal if placed is None else self.partitions[placed.partition].operating_point

    @property
    def used_bytes(self) -> dict[str, int]:
        """Bytes used in each partition, alignment included."""
        return {name: partition.used_bytes for name, partition in self.partitions.items()}

    @property
    def errors(self) -> dict[str, ErrorModel]:
        """Error model that each operand meets, for ``inject_`` to verify or fine-tune the placed network with.

        Of an operand that is split, the one of the partition with the highest rate, for all of it.
        """
        return {
            name: max((self.partitions[part.partition].errors for part in operand.parts), key=lambda model: model.ber)
            for name, operand in self.operands.items()
        }

    @property
    def memory(self) -> dict[str, tuple[MemoryPiece, ...]]:
        """Pieces of memory that hold each operand, in order: error model, first bit in the device, number of bits.

        ``inject_`` and ``set_errors_`` take them: each operand is read from its own cells of the device. Of cell maps
        the first bit is counted from the partition's, and weak cells stand where rotated words are read.

        Raises:
            ValueError: if the file was written before placements kept where partitions lie.

        """
        homes = {}
        for name in dict.fromkeys(part.partition for operand in self.operands.values() for part in operand.parts):
            home = self.partitions[name]
            if home.address_bits is None:
                raise ValueError(
                    f"partition {name} of the placement has no address; allowed is a placement that this version of "
                    "eden made: place again"
                )
            homes[name] = home.errors, home.address_bits
        placed = {
            name: [
                PlacedBits(part.partition, 8 * part.address_bytes, 8 * part.bytes, part.rotation)
                for part in operand.parts
            ]
            for name, operand in self.operands.items()
        }
        return memory_of(homes, placed)

    @property
    def caution(self) -> str:
        """What the certificate of the limits does not cover here, in a sentence; empty where it covers everything."""
        below = sum(not same(operand.ber, operand.limit, _OPERATIONS) for operand in self.operands.values())
        known = [name for name, home in self.partitions.items() if home.used_bytes and isinstance(home.errors, CellMap)]
        if known:
            return (
                f"What lies in {', '.join(known)} meets the cells of one chip, as it was measured: the certificate of "
                "the limits is of chips of their error models and does not cover it; eden.certify tests this chip."
            )
        if not below:
            return ""
        return (
            f"{below} of {len(self.operands)} operands meet a BER below their limit: the certificate of the limits is "
            "of all operands at their limits, and does not cover this placement; eden.certify tests it as it is."
        )

    @property
    def capacity_bytes(self) -> int:
        """Bytes of all partitions."""
        return sum(partition.capacity_bytes for partition in self.partitions.values())

    def bytes_in(self, partition: str, kind: str | None = None) -> int:
        """Bytes of operands, of one kind or of all, that lie in a partition."""
        return sum(
            part.bytes
            for operand in self.operands.values()
            if kind is None or operand.kind == kind
            for part in operand.parts
            if part.partition == partition
        )

    def _repr_html_(self) -> str:
        header = ("partition", "VDD, latencies, refresh", "BER", "operands", "used (bytes)", "capacity (bytes)")
        rows = []
        for name, part in self.partitions.items():
            if part.used_bytes:
                point = part.operating_point
                held = sum(
                    any(piece.partition == name for piece in operand.parts) for operand in self.operands.values()
                )
                active = "" if point.tras is None else f", tRAS {point.tras:g} ns"
                cells = [
                    name,
                    f"{point.vdd:g} V, {point.trcd:g} and {point.trp:g} ns, {point.refresh_interval:g} ms{active}",
                ]
                cells += [f"{part.errors.ber:.2e}", str(held), f"{part.used_bytes:,}", f"{part.capacity_bytes:,}"]
                rows.append(cells)
        title = f"{len(self.operands)} operands in {self.device}, {self.solver} for {self.objective}"
        notes = [*filter(None, [self.held]), *self.headline, f"rates: {self.rates}", *filter(None, [self.caution])]
        return notebook(title, (header, rows), notes=notes)

    def table(self) -> str:
        """The placement as text: partitions in use, then operands from the least to the most tolerant."""
        partitions = []
        for name, partition in self.partitions.items():
            if partition.used_bytes:
                point = partition.operating_point
                cells = [name, f"{point.vdd:g}", f"{point.trcd:g}", f"{point.trp:g}"]
                cells += [] if point.tras is None else [f"{point.tras:g}"]
                cells += [f"{partition.errors.ber:.2e}", str(partition.used_bytes), str(partition.capacity_bytes)]
                partitions.append(cells)
        active = () if self.nominal.tras is None else ("tRAS (ns)",)
        operands = [
            (
                name,
                operand.kind,
                str(operand.bytes),
                f"{operand.limit:.2e}",
                f"{operand.met:.2e}",
                operand.home,
                str(operand.address_bytes),
            )
            for name, operand in sorted(self.operands.items(), key=lambda item: (item[1].limit, item[0]))
        ]
        tables = [
            text_table(
                ("partition", "VDD (V)", "tRCD (ns)", "tRP (ns)", *active, "BER", "used (bytes)", "capacity (bytes)"),
                partitions,
            ),
            text_table(("operand", "kind", "bytes", "limit", "BER", "partition", "address"), operands),
        ]
        head = "\n".join([*filter(None, [self.held]), *self.headline])
        found = [head] if head else []
        found += [] if self.optimum is None else [self.optimum.text(self.objective)]
        return "\n\n".join([*found, *tables, "\n".join([f"rates: {self.rates}", *filter(None, [self.caution])])])
