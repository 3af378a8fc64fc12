"""Placement: each operand in a partition of the device, each partition at the operating point its operands tolerate."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import pydantic

from eden import _core
from eden.common.checks import same
from eden.common.files import Record, VersionedFile
from eden.common.tables import text_table
from eden.devices.device import Device
from eden.devices.margin import Margin
from eden.devices.partition import Errors, OperatingPoint, Partition, point_of
from eden.memory.errors import ErrorModel, Uniform
from eden.placement.points import MOST_LEVELS, Limit, Points, choices_of, lowered_levels
from eden.tolerance.tolerance import Tolerance

MemoryPiece = tuple[ErrorModel, int, int]
"""An error model, the first bit in the device, and a number of bits."""

if TYPE_CHECKING:
    import os

    from eden.costs.energy import RankPower
    from eden.costs.model import CostModel
    from eden.costs.platforms import Platform
    from eden.costs.traffic import Traffic
    from eden.placement.exact import Assignment, Problem, State

# A mean over a model's rates, told once more.
_OPERATIONS = 4

SOLVERS = ("greedy", "exact")
OBJECTIVES: Mapping[str, tuple[str, ...]] = {
    "greedy": ("energy", "latency"),
    "exact": ("energy", "latency", "weighted"),
}
"""What each solver can lower."""


@dataclasses.dataclass(frozen=True)
class Constraints:
    """What a module's supplies and its controller allow, beside capacities and error rates.

    Args:
        split: whether an operand may lie in several partitions, all at one operating point, in pieces of whole
            ``alignment`` units but the last; by the exact solver only.
        alignment: bytes of which each start is a multiple, a multiple of 64; or "row", those of a row of the device.
        voltages: how many different supply voltages can be driven, the nominal one, at which idle partitions stay,
            included; None: one for each partition.
        shared_vdd: groups of partitions, by name, with one supply: they run at one VDD, idle ones too, which each of
            them has to offer.
        shared_refresh: groups with one refresh: the same of the refresh interval.

    """

    split: bool = False
    alignment: int | Literal["row"] = _core.OPERAND_ALIGNMENT
    voltages: int | None = None
    shared_vdd: tuple[tuple[str, ...], ...] = ()
    shared_refresh: tuple[tuple[str, ...], ...] = ()

    def __str__(self) -> str:
        parts = []
        if self.split:
            parts.append("operands may be split")
        if self.alignment == "row":
            parts.append("operands start at rows")
        elif self.alignment != _core.OPERAND_ALIGNMENT:
            parts.append(f"starts are multiples of {self.alignment} bytes")
        if self.voltages is not None:
            parts.append(f"at most {self.voltages} supply voltages, the nominal one included")
        for what, groups in (("VDD", self.shared_vdd), ("refresh interval", self.shared_refresh)):
            parts += [f"one {what} for {', '.join(group)}" for group in groups]
        return "; ".join(parts)


class Piece(Record):
    """A part of an operand that is split over partitions; pieces are in the order of the operand's bytes."""

    partition: str
    address: int = pydantic.Field(ge=0)
    """First byte, counted from the partition's start."""
    bytes: int = pydantic.Field(ge=1)


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
    time_weight: float = pydantic.Field(ge=0, le=1)
    platform: str
    rank: str


class PlacedOperand(Record):
    """Where one operand lies."""

    kind: Literal["weight", "input"]
    partition: str
    """Name of its partition."""
    address: int = pydantic.Field(ge=0)
    """First byte, counted from the partition's start; a multiple of 64."""
    bytes: int = pydantic.Field(ge=1)
    """Stored bytes; of an input, one sample's."""
    ber: float = pydantic.Field(ge=0, le=1)
    """Mean bit error rate that it meets: its partition's, or the highest of its pieces' partitions."""
    limit: float = pydantic.Field(ge=0, le=1)
    """Highest mean bit error rate that it tolerates."""
    pieces: tuple[Piece, ...] = ()
    """Of an operand that is split, all of them, ``partition`` and ``address`` being the first one's; else none."""

    @property
    def home(self) -> str:
        """Its partition in words, or its first one and how many more."""
        return self.partition + (f" and {len(self.pieces) - 1} more" if self.pieces else "")

    @property
    def parts(self) -> tuple[Piece, ...]:
        """Its pieces, or the one that it is."""
        return self.pieces or (Piece(partition=self.partition, address=self.address, bytes=self.bytes),)


class PlacedPartition(Record):
    """How one partition is run."""

    operating_point: OperatingPoint
    errors: Errors
    """The error model at that point."""
    used_bytes: int = pydantic.Field(ge=0)
    """Bytes up to the end of its last operand, alignment included; 0 where nothing is placed."""
    capacity_bytes: int = pydantic.Field(ge=1)
    address: int | None = pydantic.Field(default=None, ge=0)
    """Its first bit in the device's geometry; None in files of before it was kept."""


class Placement(VersionedFile):
    """A placement of a network's operands in a device. Saved and loaded as JSON (docs/placement.md)."""

    FORMAT: ClassVar[str] = "eden-placement"
    VERSION: ClassVar[int] = 1
    whole: ClassVar[bool] = False  # it says where operands lie, and no more

    device: str
    """Name of the device."""
    solver: Literal["greedy", "exact"]
    objective: Literal["energy", "latency", "weighted"]
    random_layout: int
    """Version of the random numbers' layout, which fixes what cells a chip's seed makes weak."""
    nominal: OperatingPoint
    """The device's operating point within specification."""
    margin: Margin = Margin()
    """What the device's rates hold beyond what was measured."""
    operands: dict[str, PlacedOperand] = pydantic.Field(min_length=1)
    partitions: dict[str, PlacedPartition] = pydantic.Field(min_length=1)
    optimum: Optimum | None = None
    """Of an exact placement, how good it is."""
    notes: tuple[str, ...] = ()
    """What a reader must know about how limits and points were compared."""

    @pydantic.model_validator(mode="after")
    def _keeps_contracts(self) -> Self:
        ends: dict[str, int] = dict.fromkeys(self.partitions, 0)
        parts = [(name, operand, part) for name, operand in self.operands.items() for part in operand.parts]
        for name, operand, part in sorted(parts, key=lambda found: found[2].address):
            if part.partition not in self.partitions:
                raise ValueError(
                    f"operand {name} is in partition {part.partition!r}; allowed are {', '.join(self.partitions)}"
                )
            if operand.ber > operand.limit:
                raise ValueError(f"operand {name} meets a BER of {operand.ber:g}; allowed is its limit {operand.limit}")
            if part.address % _core.OPERAND_ALIGNMENT:
                raise ValueError(
                    f"operand {name} starts at byte {part.address}; allowed are multiples of {_core.OPERAND_ALIGNMENT}"
                )
            if part.address < ends[part.partition]:
                raise ValueError(f"operand {name} starts at byte {part.address}, inside the operand before it")
            ends[part.partition] = part.address + part.bytes
        for name, operand in self.operands.items():
            self._check_parts(name, operand)
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
        if (first.partition, first.address) != (operand.partition, operand.address):
            raise ValueError(f"operand {name} does not start where its first piece does")

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

        ``inject_`` and ``set_errors_`` take them: each operand is read from its own cells of the device.

        Raises:
            ValueError: if the file was written before placements kept where partitions lie.

        """
        found = {}
        for name, operand in self.operands.items():
            pieces = []
            for part in operand.parts:
                home = self.partitions[part.partition]
                if home.address is None:
                    raise ValueError(
                        f"partition {part.partition} of the placement has no address; allowed is a placement that "
                        "this version of eden made: place again"
                    )
                pieces.append((home.errors, home.address + 8 * part.address, 8 * part.bytes))
            found[name] = tuple(pieces)
        return found

    def bytes_in(self, partition: str, kind: str | None = None) -> int:
        """Bytes of operands, of one kind or of all, that lie in a partition."""
        return sum(
            part.bytes
            for operand in self.operands.values()
            if kind is None or operand.kind == kind
            for part in operand.parts
            if part.partition == partition
        )

    def table(self) -> str:
        """The placement as text: partitions in use, then operands from the least to the most tolerant."""
        partitions = []
        for name, partition in self.partitions.items():
            if partition.used_bytes:
                point = partition.operating_point
                cells = [name, f"{point.vdd:g}", f"{point.trcd:g}", f"{point.trp:g}", f"{partition.errors.ber:.2e}"]
                partitions.append([*cells, str(partition.used_bytes), str(partition.capacity_bytes)])
        operands = [
            (
                name,
                operand.kind,
                str(operand.bytes),
                f"{operand.limit:.2e}",
                f"{operand.ber:.2e}",
                operand.home,
                str(operand.address),
            )
            for name, operand in sorted(self.operands.items(), key=lambda item: (item[1].limit, item[0]))
        ]
        tables = [
            text_table(
                ("partition", "VDD (V)", "tRCD (ns)", "tRP (ns)", "BER", "used (bytes)", "capacity (bytes)"), partitions
            ),
            text_table(("operand", "kind", "bytes", "limit", "BER", "partition", "address"), operands),
        ]
        found = [] if self.optimum is None else [_optimum_text(self.objective, self.optimum)]
        return "\n\n".join([*found, *tables])


def _optimum_text(objective: str, optimum: Optimum) -> str:
    greedy = "none found" if optimum.greedy is None else f"{optimum.greedy:.6f}"
    return (
        f"{objective} on {optimum.platform} with {optimum.rank}, {optimum.value:.6f} of that within specification, at "
        f"most {optimum.gap:.2%} above the optimum; the greedy solver's: {greedy}"
    )


def _core_point(point: OperatingPoint) -> _core.PlacementOperatingPoint:
    return _core.PlacementOperatingPoint(point.vdd, point.trcd, point.trp, point.refresh_interval)


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
    *,
    constraints: Constraints | None = None,
    platform: str | Platform | None = None,
    rank: str | os.PathLike[str] | RankPower = "ddr3-1600",
    vdd_law: str | Mapping[str, str] = "linear",
    energy_weight: float = 0.5,
    gap: float = 1e-4,
    time_limit: float = 60.0,
    granularity: Literal["fine", "coarse"] = "fine",
    points: Points = "measured",
) -> Placement:
    """Put each operand into a partition, and each partition at an operating point, that its operands tolerate.

    The greedy solver is Algorithm 1 of the EDEN paper (Koppula et al., MICRO 2019): operands from the most to the least
    tolerant, each into the partition and operating point with the largest parameter reduction among those that have
    room and whose error rates it tolerates. The exact solver finds the placement with the least energy or time, by the
    account of ``savings`` at the platform's typical assumptions, with a bound (docs/placement.md). An input's bytes are
    one sample's.

    Args:
        tolerance: limits, bytes, kinds and error models of the operands.
        device: partitions and their operating points.
        solver: "greedy" or "exact".
        traffic: bytes that each operand moves per inference; by the greedy solver, of equally tolerant operands the
            busier one chooses first; by the exact one, counted from the tolerance's operands where none is given.
        objective: "energy", "latency" or, exact only, "weighted"; by the greedy solver, whether the reduction of the
            supply voltage or that of tRCD + tRP counts first.
        constraints: what supplies and controller allow; none where none are given.
        platform: whose typical assumptions the exact solver counts by; the traffic's, or else "cpu".
        rank: currents and timing of the DRAM that the exact solver counts by, as in ``savings``.
        vdd_law: how energy depends on VDD, as in ``savings``.
        energy_weight: of "weighted", what the share of the energy counts; the share of the time counts the rest of 1.
        gap: exact only: how far the objective may be above the bound, as a share of it.
        time_limit: exact only: seconds after which the best placement found so far is taken, with its gap.
        granularity: "fine": each partition at a point of its own, by the limits of its operands; "coarse": the whole
            module at one point, its reliable partitions included, by the rate that all operands tolerate
            (``tolerance.coarse``).
        points: "measured": the points that the device's partitions list; "continuous": those also that the limits imply
            on the curves between them, which finds the best latency and voltage (docs/placement.md); or points for
            partitions by name, with the nominal one, the others' being those that are listed.

    Returns:
        The placement; no operand meets a BER above its limit, no partition holds more than its capacity.

    Raises:
        ValueError: for an unknown solver, objective, platform, rank, law or partition, a constraint, weight, gap or
            time out of range, an operand without bytes or not in the traffic, an operating point outside of its curve,
            and, naming the constraint, where nothing fits.
        TimeoutError: if neither solver found a placement within the time limit.

    """
    constraints = Constraints() if constraints is None else constraints
    _check_arguments(solver, objective, constraints, energy_weight, gap, time_limit)
    _check_operands(tolerance, traffic)
    if granularity not in ("fine", "coarse"):
        raise ValueError(f"granularity is {granularity!r}; allowed are 'fine' and 'coarse'")
    if granularity == "coarse":
        tolerance = _alike(tolerance)
    asked = _Asked(tolerance, device, traffic, constraints, granularity, points)
    if solver == "greedy":
        return asked.greedy(objective)
    from eden.costs.energy import rank_named
    from eden.costs.model import CostModel, check_same_operands, typical_case
    from eden.costs.platforms import platform_named
    from eden.costs.traffic import traffic as count_traffic

    if traffic is None:
        moved = count_traffic(asked.infos(), "cpu" if platform is None else platform)
        chosen = platform_named("cpu" if platform is None else platform)
    else:
        moved = traffic
        chosen = platform_named(traffic.platform if platform is None else platform)
        if chosen.name != traffic.platform:
            raise ValueError(f"platform is {chosen.name!r}; allowed is the traffic's, {traffic.platform!r}")
        check_same_operands(moved, tolerance.bytes, "tolerance")
    of_rank = rank_named(rank)
    model = CostModel(moved, point_of(device.nominal), of_rank, typical_case(chosen, vdd_law))
    weight = {"energy": 1.0, "latency": 0.0, "weighted": energy_weight}[objective]
    return asked.exact(objective, model, weight, gap, time_limit, chosen.name)


def _alike(tolerance: Tolerance) -> Tolerance:
    """The tolerance with the rate that all operands tolerate together as the limit of each one."""
    models = {name: model.scaled(tolerance.coarse).to_dict() for name, model in _limit_models(tolerance).items()}
    return tolerance.model_copy(
        update={"limits": dict.fromkeys(tolerance.limits, tolerance.coarse), "error_models": models}
    )


def _check_points(points: Points, parts: Sequence[Partition]) -> None:
    if isinstance(points, Mapping):
        for name in points:
            if name not in {part.name for part in parts}:
                raise ValueError(f"points names the partition {name!r}; allowed are {_names(parts)}")
    elif points not in ("measured", "continuous"):
        raise ValueError(f"points is {points!r}; allowed are 'measured', 'continuous', or points by partition")


def _names(parts: Sequence[Partition]) -> str:
    return ", ".join(part.name for part in parts)


def _check_arguments(
    solver: str, objective: str, constraints: Constraints, energy_weight: float, gap: float, time_limit: float
) -> None:
    if solver not in SOLVERS:
        raise ValueError(f"solver is {solver!r}; allowed are {', '.join(map(repr, SOLVERS))}")
    if objective not in OBJECTIVES[solver]:
        allowed = ", ".join(map(repr, OBJECTIVES[solver]))
        raise ValueError(f"objective is {objective!r}; allowed are {allowed} of the solver {solver!r}")
    if constraints.split and solver != "exact":
        raise ValueError("split is True; allowed is False: the greedy solver does not split operands")
    if not 0.0 <= energy_weight <= 1.0:
        raise ValueError(f"energy_weight is {energy_weight}; allowed is 0 to 1")
    if not 0.0 <= gap < 1.0:
        raise ValueError(f"gap is {gap}; allowed is 0 or more, below 1")
    if not time_limit > 0.0:
        raise ValueError(f"time_limit is {time_limit}; allowed is above 0 s")


@dataclasses.dataclass(frozen=True)
class _Info:
    """What the traffic reads of an operand."""

    bytes: int
    kind: str


class _Asked:
    """What is to be placed where, in the core's terms."""

    def __init__(
        self,
        tolerance: Tolerance,
        device: Device,
        traffic: Traffic | None,
        constraints: Constraints,
        granularity: str,
        points: Points,
    ) -> None:
        self.tolerance = tolerance
        self.device = device
        self.parts: Sequence[Partition] = device.partitions if granularity == "fine" else (device.whole,)
        self.granularity, self.points = granularity, points
        _check_points(points, self.parts)
        self.constraints = constraints
        self.alignment = _alignment(constraints, device)
        models = _limit_models(tolerance)
        self.operands = []
        for name, limit in tolerance.limits.items():
            model = models[name]
            moved = float(traffic.operands[name].crossing_bytes) if traffic is not None else 0.0
            self.operands.append(
                _core.PlacementOperand(name, tolerance.bytes[name], limit, model.ber_zero, model.ber_one, moved)
            )
        self.limits = [
            Limit(limit, models[name].ber_zero, models[name].ber_one) for name, limit in tolerance.limits.items()
        ]
        nominal = point_of(device.nominal)
        self.choices = [choices_of(partition, nominal, points, self.limits) for partition in self.parts]
        if granularity == "coarse":
            # One point for all, so it is one that all tolerate.
            ((first, *choices),) = self.choices
            of_core = [
                _core.PartitionPoint(_core_point(point), errors.ber, errors.ber_zero, errors.ber_one)
                for point, errors in choices
            ]
            kept = np.all(_core.tolerated(self.operands, of_core), axis=0) if choices else np.empty(0, dtype=np.bool_)
            self.choices = [[first, *(choices[int(i)] for i in np.flatnonzero(kept))]]
        self.partitions = [
            _core.PlacementPartition(
                partition.name,
                partition.capacity_bytes,
                [
                    _core.PartitionPoint(_core_point(point), errors.ber, errors.ber_zero, errors.ber_one)
                    for point, errors in points
                ],
            )
            for partition, points in zip(self.parts, self.choices, strict=True)
        ]
        index = {partition.name: p for p, partition in enumerate(self.parts)}
        self.shared = {
            name: tuple(
                tuple(_index_of(member, index, name) for member in group) for group in getattr(constraints, name)
            )
            for name in ("shared_vdd", "shared_refresh")
        }
        self.core_constraints = _core.PlacementConstraints(
            self.alignment, constraints.voltages, self.shared["shared_vdd"], self.shared["shared_refresh"]
        )
        if self.partitions:
            _core.check_placement_constraints(self.core_constraints, self.partitions)

    def infos(self) -> dict[str, _Info]:
        """The operands as the traffic reads them."""
        return {name: _Info(self.tolerance.bytes[name], self.tolerance.kinds[name]) for name in self.tolerance.limits}

    def greedy(self, objective: str) -> Placement:
        result = _core.place_greedy(
            self.operands,
            self.partitions,
            _core_point(self.device.nominal),
            getattr(_core.PlacementObjective, objective),
            self.core_constraints,
        )
        parts = []
        for name, slot in zip(self.tolerance.limits, result.operands, strict=True):
            parts.append([(slot.partition, slot.address, self.tolerance.bytes[name])])
        return self._placement("greedy", objective, result.points, parts, None)

    def _resting(self, p: int, points: Sequence[int | None]) -> OperatingPoint:
        """Of a partition without operands: within specification but for what it shares with partitions in use."""
        changed = {}
        for name, groups in (
            ("vdd", self.shared["shared_vdd"]),
            ("refresh_interval", self.shared["shared_refresh"]),
        ):
            for group in groups:
                if p in group:
                    for member in group:
                        point = points[member]
                        if point is not None:
                            changed[name] = getattr(self.choices[member][point][0], name)
        return point_of(self.device.nominal).model_copy(update=changed)

    def _placement(
        self,
        solver: str,
        objective: str,
        points: Sequence[int | None],
        parts: Sequence[Sequence[tuple[int, int, int]]],
        optimum: Optimum | None,
    ) -> Placement:
        """The placement of each partition's choice and each operand's parts: partition, address and bytes."""
        device, limits = self.device, self.tolerance.limits
        ends = [0] * len(self.parts)
        for p, address, size in itertools.chain.from_iterable(parts):
            ends[p] = max(ends[p], address + size)
        placed: dict[str, PlacedPartition] = {}
        for p, (partition, choices) in enumerate(zip(self.parts, self.choices, strict=True)):
            point = points[p]
            operating_point, errors = (
                choices[point] if point is not None else (self._resting(p, points), Uniform(ber=0.0))
            )
            placed[partition.name] = PlacedPartition(
                operating_point=operating_point,
                errors=errors,
                used_bytes=ends[p],
                capacity_bytes=partition.capacity_bytes,
                address=partition.address,
            )
        slots = {}
        for (name, limit), mine in zip(limits.items(), parts, strict=True):
            pieces = [Piece(partition=self.parts[p].name, address=address, bytes=size) for p, address, size in mine]
            slots[name] = PlacedOperand.model_validate(
                {
                    "kind": self.tolerance.kinds[name],
                    "partition": pieces[0].partition,
                    "address": pieces[0].address,
                    "bytes": self.tolerance.bytes[name],
                    "ber": max(placed[piece.partition].errors.ber for piece in pieces),
                    "limit": limit,
                    "pieces": pieces if len(pieces) > 1 else (),
                }
            )
        notes = list(_notes(self.tolerance, device))
        if self.granularity == "coarse":
            notes.append(
                "Coarse: the whole module is at one operating point, the partitions that the device keeps reliable "
                "included; each operand's limit is the rate that all of them tolerate together."
            )
        if self.points == "continuous":
            found = "the limits" if not lowered_levels(self.limits) else f"{MOST_LEVELS} of the limits"
            notes.append(f"Operating points between the measured ones are those that {found} imply on fitted curves.")
        if str(self.constraints):
            notes.append(f"Constraints: {self.constraints}.")
        return Placement.model_validate(
            {
                "device": device.name,
                "solver": solver,
                "objective": objective,
                "random_layout": _core.RANDOM_LAYOUT_VERSION,
                "nominal": point_of(device.nominal),
                "margin": device.margin,
                "operands": slots,
                "partitions": placed,
                "optimum": optimum,
                "notes": notes,
            }
        )

    def exact(
        self, objective: str, model: CostModel, weight: float, gap: float, seconds: float, platform: str
    ) -> Placement:
        from eden.costs.model import outcome
        from eden.placement.exact import solve

        if not self.partitions:
            raise ValueError("the device has no partitions; allowed is one or more")
        if model.bursts == 0.0:
            raise ValueError("the traffic moves no bytes; allowed is one operand or more that crosses the interface")

        def value_of(placement: Placement) -> float:
            found = outcome(model, placement)
            assert found is not None  # bursts are above 0
            return weight * (1.0 - found.energy_reduction) + (1.0 - weight) * found.time_ratio

        problem, better = self._problem(model, weight)
        try:
            greedy = self.greedy("latency" if weight == 0.0 else "energy")
        except ValueError:
            greedy = None
        start = None if greedy is None else self._assignment(greedy, problem, better)
        solved = solve(problem, start, gap, seconds)
        points = [state.choice for state in solved.assignment.states]
        found = self._placement("exact", objective, points, self._parts(solved.assignment), None)
        value = value_of(found)
        optimum = Optimum(
            value=value,
            bound=min(solved.bound, value),
            gap=max(0.0, value - solved.bound) / value,
            greedy=None if greedy is None else value_of(greedy),
            energy_weight=weight,
            time_weight=1.0 - weight,
            platform=platform,
            rank=model.rank.name,
        )
        notes = (*found.notes, f"Objective: {_optimum_text(objective, optimum)}.")
        return found.model_copy(update={"optimum": optimum, "notes": notes})

    def _problem(self, model: CostModel, weight: float) -> tuple[Problem, list[list[int]]]:
        """The program's figures, and by partition and choice the one that stands for it there."""
        from eden.placement.exact import Problem, State, idle_points, undominated

        nominal = point_of(self.device.nominal)
        capacity = np.array([partition.capacity_bytes for partition in self.parts], dtype=np.int64)
        share = capacity / capacity.sum()
        at_nominal = {name: sum(model.access_nj(name, nominal.vdd).values()) for name in model.accesses}
        standby_nj = model.time_ns * (model.background_w(nominal) + model.refresh_w(nominal))
        whole = sum(at_nominal.values()) + model.interface_nj + standby_nj

        def standby(p: int, point: OperatingPoint) -> float:
            power = model.background_w(point) + model.refresh_w(point)
            return float(share[p]) * model.time_ns * power / whole

        used: list[State] = []
        better: list[list[int]] = []
        grouped_vdd = {p for group in self.shared["shared_vdd"] for p in group}
        grouped_refresh = {p for group in self.shared["shared_refresh"] for p in group}
        for p, choices in enumerate(self.choices):
            costs = []
            for point, _ in choices:
                mine = []
                if weight > 0.0:
                    mine += [model.unit(term, point.vdd) for term in ("activate", "read", "write")]
                    mine.append(standby(p, point))
                if model.case.exposed_latency_share > 0.0:
                    mine.append(point.trcd + point.trp)
                # Of what must agree between partitions, no value stands for another one, higher or lower.
                kept = []
                if self.constraints.voltages is not None or p in grouped_vdd:
                    kept.append(point.vdd)
                if p in grouped_refresh:
                    kept.append(point.refresh_interval)
                if self.constraints.split:
                    # Another partition may have to meet this one at the very point.
                    kept += [point.vdd, point.trcd, point.trp, point.refresh_interval]
                mine += [*kept, *(-value for value in kept)]
                costs.append(mine)
            rates = [[errors.ber, errors.ber_zero, errors.ber_one] for _, errors in choices]
            standing = undominated(np.array(costs, dtype=np.float64), np.array(rates))
            better.append(standing)
            used += [State(p, choices[i][0], i, standby(p, choices[i][0])) for i in sorted(set(standing))]
        idle = []
        for p in range(len(self.choices)):
            vdds = sorted({point.vdd for point, _ in self.choices[p]}) if p in grouped_vdd else [nominal.vdd]
            intervals = (
                sorted({point.refresh_interval for point, _ in self.choices[p]})
                if p in grouped_refresh
                else [nominal.refresh_interval]
            )
            idle += [State(p, point, None, standby(p, point)) for point in idle_points(nominal, vdds, intervals)]
        names = tuple(self.tolerance.limits)
        of_vdd = {vdd: [sum(model.access_nj(name, vdd).values()) / whole for name in names] for vdd in _vdds(used)}
        saved: dict[tuple[float, float], list[float]] = {}
        for state in used:
            key = (state.point.trcd, state.point.trp)
            if key not in saved:
                saved[key] = [model.saved_share(name, state.point) for name in names]
        fixed = model.interface_nj + sum(energy for name, energy in at_nominal.items() if name not in set(names))
        return Problem(
            names=names,
            bytes=np.array([self.tolerance.bytes[name] for name in names], dtype=np.int64),
            capacity=capacity,
            used=tuple(used),
            idle=tuple(idle),
            tolerated=_core.tolerated(self.operands, [self._core_choice(state) for state in used]),
            access=np.array([of_vdd[state.point.vdd] for state in used]).T.reshape(len(names), len(used)),
            saved=np.array([saved[state.point.trcd, state.point.trp] for state in used]).T.reshape(
                len(names), len(used)
            ),
            fixed_energy=fixed / whole,
            energy_weight=weight,
            time_weight=1.0 - weight,
            alignment=self.alignment,
            split=self.constraints.split,
            voltages=self.constraints.voltages,
            shared_vdd=self.shared["shared_vdd"],
            shared_refresh=self.shared["shared_refresh"],
            nominal=nominal,
        ), better

    def _core_choice(self, state: State) -> _core.PartitionPoint:
        assert state.choice is not None
        point, errors = self.choices[state.partition][state.choice]
        return _core.PartitionPoint(_core_point(point), errors.ber, errors.ber_zero, errors.ber_one)

    def _assignment(self, greedy: Placement, problem: Problem, better: list[list[int]]) -> Assignment:
        """The greedy placement in the program's terms, each choice replaced by the one that stands for it."""
        from eden.placement.exact import Assignment

        index = {partition.name: p for p, partition in enumerate(self.parts)}
        used = {(state.partition, state.choice): state for state in problem.used}
        states = []
        for p, (name, placed) in enumerate(greedy.partitions.items()):
            if placed.used_bytes:
                choice = next(i for i, (point, _) in enumerate(self.choices[p]) if point == placed.operating_point)
                states.append(used[p, better[p][choice]])
            else:
                resting = [state for state in problem.idle if state.partition == index[name]]
                states.append(next(state for state in resting if state.point == placed.operating_point))
        units = problem.units
        return Assignment(
            tuple(states),
            tuple(((index[operand.partition], int(units[k])),) for k, operand in enumerate(greedy.operands.values())),
        )

    def _parts(self, assignment: Assignment) -> list[list[tuple[int, int, int]]]:
        """Partition, address and bytes of each operand's parts: one behind the other, the most padded one last."""
        unit = self.alignment
        sizes = [self.tolerance.bytes[name] for name in self.tolerance.limits]
        inside: dict[int, list[tuple[int, int, int]]] = {}
        for k, pieces in enumerate(assignment.pieces):
            left = sizes[k]
            for i, (p, units) in enumerate(pieces):
                size = min(left, units * unit)
                inside.setdefault(p, []).append((k, i, size))
                left -= size
        parts: list[list[tuple[int, int, int]]] = [[(0, 0, 0)] * len(pieces) for pieces in assignment.pieces]
        for p, mine in inside.items():
            address = 0
            for k, i, size in sorted(mine, key=lambda found: -found[2] % unit):
                parts[k][i] = (p, address, size)
                address += -(-size // unit) * unit
        return parts


def _alignment(constraints: Constraints, device: Device) -> int:
    """Bytes of which each start is a multiple. Raises ValueError naming what cannot be one."""
    asked: object = constraints.alignment
    if isinstance(asked, int):
        return asked
    if asked != "row":
        raise ValueError(f"alignment is {asked!r}; allowed is a number of bytes, or 'row'")
    row = device.geometry.row_bits
    if row % (8 * _core.OPERAND_ALIGNMENT):
        raise ValueError(
            f"alignment is 'row', and a row of {device.name} has {row} bits; allowed are rows of a multiple of "
            f"{8 * _core.OPERAND_ALIGNMENT}"
        )
    for partition in device.partitions:
        if partition.address % row:
            raise ValueError(
                f"alignment is 'row', and partition {partition.name} begins at bit {partition.address}, inside a row "
                f"of {row} bits; allowed are partitions of whole rows"
            )
    return row // 8


def _vdds(states: Iterable[State]) -> set[float]:
    return {state.point.vdd for state in states}


def _index_of(name: str, index: Mapping[str, int], what: str) -> int:
    if name not in index:
        raise ValueError(f"{what} names the partition {name!r}; allowed are {', '.join(index)}")
    return index[name]
