"""Placement: each operand in a partition of the device, each partition at the operating point its operands tolerate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import pydantic

from eden import _core
from eden.device import Device
from eden.errors import ErrorModel, Uniform
from eden.files import VersionedFile
from eden.margin import Margin
from eden.partition import Errors, OperatingPoint, Partition
from eden.tolerance import Tolerance

if TYPE_CHECKING:
    from eden.accounting import Traffic

SOLVERS = ("greedy",)
OBJECTIVES = ("energy", "latency")


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class PlacedOperand(_Record):
    """Where one operand lies."""

    kind: Literal["weight", "input"]
    partition: str
    """Name of its partition."""
    address: int = pydantic.Field(ge=0)
    """First byte, counted from the partition's start; a multiple of 64."""
    bytes: int = pydantic.Field(ge=1)
    """Stored bytes; of an input, one sample's."""
    ber: float = pydantic.Field(ge=0, le=1)
    """Mean bit error rate of the partition's operating point."""
    limit: float = pydantic.Field(ge=0, le=1)
    """Highest mean bit error rate that it tolerates."""


class PlacedPartition(_Record):
    """How one partition is run."""

    operating_point: OperatingPoint
    errors: Errors
    """The error model at that point."""
    used_bytes: int = pydantic.Field(ge=0)
    """Bytes up to the end of its last operand, alignment included; 0 where nothing is placed."""
    capacity_bytes: int = pydantic.Field(ge=1)


class Placement(VersionedFile):
    """A placement of a network's operands in a device. Saved and loaded as JSON (docs/placement.md)."""

    FORMAT: ClassVar[str] = "eden-placement"
    VERSION: ClassVar[int] = 1

    device: str
    """Name of the device."""
    solver: Literal["greedy"]
    objective: Literal["energy", "latency"]
    random_layout: int
    """Version of the random numbers' layout, which fixes what cells a chip's seed makes weak."""
    nominal: OperatingPoint
    """The device's operating point within specification."""
    margin: Margin = Margin()
    """What the device's rates hold beyond what was measured."""
    operands: dict[str, PlacedOperand] = pydantic.Field(min_length=1)
    partitions: dict[str, PlacedPartition] = pydantic.Field(min_length=1)
    notes: tuple[str, ...] = ()
    """What a reader must know about how limits and points were compared."""

    @pydantic.model_validator(mode="after")
    def _keeps_contracts(self) -> Self:
        ends: dict[str, int] = dict.fromkeys(self.partitions, 0)
        for name, operand in sorted(self.operands.items(), key=lambda item: item[1].address):
            if operand.partition not in self.partitions:
                raise ValueError(
                    f"operand {name} is in partition {operand.partition!r}; allowed are {', '.join(self.partitions)}"
                )
            partition = self.partitions[operand.partition]
            if operand.ber > operand.limit:
                raise ValueError(f"operand {name} meets a BER of {operand.ber:g}; allowed is its limit {operand.limit}")
            if operand.ber != partition.errors.ber:
                raise ValueError(f"operand {name} has the BER {operand.ber:g}, not the one of {operand.partition}")
            if operand.address % _core.OPERAND_ALIGNMENT:
                raise ValueError(
                    f"operand {name} starts at byte {operand.address}; "
                    f"allowed are multiples of {_core.OPERAND_ALIGNMENT}"
                )
            if operand.address < ends[operand.partition]:
                raise ValueError(f"operand {name} starts at byte {operand.address}, inside the operand before it")
            ends[operand.partition] = operand.address + operand.bytes
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

    @property
    def ber(self) -> dict[str, float]:
        """Mean bit error rate that each operand meets."""
        return {name: operand.ber for name, operand in self.operands.items()}

    @property
    def partition(self) -> dict[str, str]:
        """Name of each operand's partition."""
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
        """Error model that each operand meets, for ``inject_`` to verify or fine-tune the placed network with."""
        return {name: self.partitions[operand.partition].errors for name, operand in self.operands.items()}

    def table(self) -> str:
        """The placement as text: partitions in use, then operands from the least to the most tolerant."""
        partitions = [("partition", "VDD (V)", "tRCD (ns)", "tRP (ns)", "BER", "used (bytes)", "capacity (bytes)")]
        for name, partition in self.partitions.items():
            if partition.used_bytes:
                point = partition.operating_point
                partitions.append(
                    (
                        name,
                        f"{point.vdd:g}",
                        f"{point.trcd:g}",
                        f"{point.trp:g}",
                        f"{partition.errors.ber:.2e}",
                        str(partition.used_bytes),
                        str(partition.capacity_bytes),
                    )
                )
        operands = [("operand", "kind", "bytes", "limit", "BER", "partition", "address")]
        operands += [
            (
                name,
                operand.kind,
                str(operand.bytes),
                f"{operand.limit:.2e}",
                f"{operand.ber:.2e}",
                operand.partition,
                str(operand.address),
            )
            for name, operand in sorted(self.operands.items(), key=lambda item: (item[1].limit, item[0]))
        ]
        return f"{_columns(partitions)}\n\n{_columns(operands)}"


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _point(point: OperatingPoint) -> OperatingPoint:
    """The operating point alone, of one that carries a fit."""
    return OperatingPoint(**{name: getattr(point, name) for name in OperatingPoint.model_fields})


def _core_point(point: OperatingPoint) -> _core.PlacementOperatingPoint:
    return _core.PlacementOperatingPoint(point.vdd, point.trcd, point.trp, point.refresh_interval)


def _choices(device: Device, partition: Partition) -> list[tuple[OperatingPoint, ErrorModel]]:
    nominal = (_point(device.nominal), Uniform(ber=0.0))
    if partition.nominal:
        return [nominal]
    points = [(_point(point), point.errors) for point in partition.choices]
    # Within specification nothing fails, whatever a fit says of it.
    return [nominal, *(point for point in points if point[0] != nominal[0])]


def _limit_models(tolerance: Tolerance) -> dict[str, ErrorModel]:
    return {name: ErrorModel.from_dict(spec) for name, spec in tolerance.error_models.items()}


def _check_operands(tolerance: Tolerance, traffic: Traffic | None) -> None:
    for name, size in tolerance.bytes.items():
        if size < 1:
            raise ValueError(f"operand {name}: bytes is {size}; allowed is 1 or more")
    if traffic is not None:
        for name in sorted(tolerance.limits.keys() - traffic.operands.keys()):
            raise ValueError(
                f"operand {name} of the tolerance is not in the traffic; it has {len(traffic.operands)} others"
            )


def _notes(tolerance: Tolerance, device: Device) -> tuple[str, ...]:
    notes = [
        "A point is tolerated if its mean BER is at most the operand's limit and neither stored value's rate is above "
        "that of the error model at the limit."
    ]
    profiled = {model.failure for model in _limit_models(tolerance).values()}
    fitted = {point.errors.failure for part in device.partitions if not part.nominal for point in part.points}
    if fitted and profiled != fitted:
        notes.append(
            f"Limits were found with a failure probability of {_listed(profiled)}, the device has {_listed(fitted)}: "
            "rates per read are compared, errors persist differently."
        )
    if device.voltage is not None:
        notes += [f"Voltages below nominal: {text}." for text in device.voltage.assumptions]
    if device.margin.factor > 1.0:
        notes.append(f"The device's rates hold a margin: {device.margin}.")
    return tuple(notes)


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted(values))


def place(
    tolerance: Tolerance,
    device: Device,
    solver: str = "greedy",
    traffic: Traffic | None = None,
    objective: str = "energy",
) -> Placement:
    """Put each operand into a partition, and each partition at an operating point, that its operands tolerate.

    The greedy solver is Algorithm 1 of the EDEN paper (Koppula et al., MICRO 2019): operands from the most to the least
    tolerant, each into the partition and operating point with the largest parameter reduction among those that have
    room and whose error rates it tolerates. Operands are not split; an input's bytes are one sample's.

    Args:
        tolerance: limits, bytes, kinds and error models of the operands.
        device: partitions and their operating points.
        solver: "greedy".
        traffic: bytes that each operand moves per inference; of equally tolerant operands the busier one chooses first.
        objective: which reduction counts first: "energy", the supply voltage's, or "latency", that of tRCD + tRP.

    Returns:
        The placement; no operand meets a BER above its limit, no partition holds more than its capacity.

    Raises:
        ValueError: for an unknown solver or objective, an operand without bytes or not in the traffic, and an operand
            that no partition has room for (naming the operand, its bytes and the room).

    """
    if solver not in SOLVERS:
        raise ValueError(f"solver is {solver!r}; allowed is {', '.join(map(repr, SOLVERS))}")
    if objective not in OBJECTIVES:
        raise ValueError(f"objective is {objective!r}; allowed are {', '.join(map(repr, OBJECTIVES))}")
    _check_operands(tolerance, traffic)

    operands = []
    models = _limit_models(tolerance)
    for name, limit in tolerance.limits.items():
        model = models[name]
        moved = float(traffic.operands[name].crossing_bytes) if traffic is not None else 0.0
        operands.append(
            _core.PlacementOperand(name, tolerance.bytes[name], limit, model.ber_zero, model.ber_one, moved)
        )
    choices = [_choices(device, partition) for partition in device.partitions]
    partitions = [
        _core.PlacementPartition(
            partition.name,
            partition.capacity_bytes,
            [
                _core.PartitionPoint(_core_point(point), errors.ber, errors.ber_zero, errors.ber_one)
                for point, errors in points
            ],
        )
        for partition, points in zip(device.partitions, choices, strict=True)
    ]
    result = _core.place_greedy(
        operands, partitions, _core_point(device.nominal), getattr(_core.PlacementObjective, objective)
    )

    placed: dict[str, PlacedPartition] = {}
    for partition, points, point, used in zip(device.partitions, choices, result.points, result.used, strict=True):
        # What holds no operand stays within specification.
        operating_point, errors = points[point if point is not None else 0]
        placed[partition.name] = PlacedPartition(
            operating_point=operating_point,
            errors=errors,
            used_bytes=used,
            capacity_bytes=partition.capacity_bytes,
        )
    slots = {}
    for (name, limit), slot in zip(tolerance.limits.items(), result.operands, strict=True):
        partition_name = device.partitions[slot.partition].name
        slots[name] = PlacedOperand.model_validate(
            {
                "kind": tolerance.kinds[name],
                "partition": partition_name,
                "address": slot.address,
                "bytes": tolerance.bytes[name],
                "ber": placed[partition_name].errors.ber,
                "limit": limit,
            }
        )
    return Placement.model_validate(
        {
            "device": device.name,
            "solver": solver,
            "objective": objective,
            "random_layout": _core.RANDOM_LAYOUT_VERSION,
            "nominal": _point(device.nominal),
            "margin": device.margin,
            "operands": slots,
            "partitions": placed,
            "notes": _notes(tolerance, device),
        }
    )
