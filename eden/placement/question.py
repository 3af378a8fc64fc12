"""What a solver is asked: operands with what they tolerate, partitions with what they may run at; and its answer."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eden import _core
from eden.devices.device import Device
from eden.devices.partition import OperatingPoint, Partition, point_of
from eden.memory.errors import ErrorModel, Uniform
from eden.placement.constraints import Constraints
from eden.placement.placement import Optimum, Piece, PlacedOperand, PlacedPartition, Placement
from eden.placement.points import MOST_LEVELS, Choice, Limit, Points, choices_of, lowered_levels
from eden.tolerance.tolerance import Tolerance

if TYPE_CHECKING:
    from eden.costs.traffic_file import Traffic

# Scaling a model to its limit and back rounds its rates by a few parts in 2^53.
_RATE_ROUNDING = 1e-12

Flags = NDArray[np.bool_]


def tolerated(limits: Sequence[Limit], models: Sequence[ErrorModel]) -> Flags:
    """Whether each limit (rows) lets each error model (columns) through: its mean, and each stored value's rate.

    The mean alone would let one through whose errors fall on the stored value that the operand was never tested with.
    """
    highest = np.array(limits, dtype=np.float64).reshape(-1, 1, 3)
    rates = np.array([(model.ber, model.ber_zero, model.ber_one) for model in models]).reshape(1, -1, 3)
    return np.asarray((rates <= highest * [1.0, 1.0 + _RATE_ROUNDING, 1.0 + _RATE_ROUNDING]).all(axis=2))


class Stored(NamedTuple):
    """What the traffic reads of an operand."""

    bytes: int
    kind: str


class Part(NamedTuple):
    """Bytes of an operand that lie together."""

    partition: int
    address_bytes: int
    """From the partition's start."""
    bytes: int


class Answer(NamedTuple):
    """What a solver found."""

    points: Sequence[int | None]
    """Of each partition the index among its choices; None: it holds nothing."""
    parts: Sequence[Sequence[Part]]
    """Of each operand, in the order of its bytes."""


@dataclass(frozen=True)
class Question:
    """What is to be placed where.

    Raises:
        ValueError: for constraints and points that are out of range or name a partition that there is not, and for a
            device without partitions.

    """

    tolerance: Tolerance
    device: Device
    traffic: Traffic | None
    constraints: Constraints
    coarse: bool
    """Whether the whole module is at one point, that all operands tolerate."""
    points: Points

    def __post_init__(self) -> None:
        names = [part.name for part in self.partitions]
        if not names:
            raise ValueError("the device has no partitions; allowed is one or more")
        if isinstance(self.points, Mapping):
            for name in self.points:
                if name not in names:
                    raise ValueError(f"points names the partition {name!r}; allowed are {', '.join(names)}")
        elif self.points not in ("measured", "continuous"):
            raise ValueError(f"points is {self.points!r}; allowed are 'measured', 'continuous', or points by partition")
        # Before anything is computed.
        _ = self.alignment, self.shared

    @cached_property
    def partitions(self) -> Sequence[Partition]:
        """Those of the device, or the one that it is as a whole."""
        return (self.device.whole,) if self.coarse else self.device.partitions

    @cached_property
    def capacity(self) -> NDArray[np.int64]:
        """Of each partition, in bytes."""
        return np.array([partition.capacity_bytes for partition in self.partitions], dtype=np.int64)

    @cached_property
    def alignment(self) -> int:
        """Bytes of which each start is a multiple."""
        return self.constraints.alignment_bytes(self.device)

    @cached_property
    def shared(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        """By parameter of an operating point, groups of partitions that share its value."""
        return self.constraints.groups({part.name: p for p, part in enumerate(self.partitions)})

    @cached_property
    def nominal(self) -> OperatingPoint:
        """The device's operating point within specification."""
        return point_of(self.device.nominal)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the operands."""
        return tuple(self.tolerance.limits)

    @cached_property
    def bytes(self) -> NDArray[np.int64]:
        """Of each operand."""
        return np.array([self.tolerance.bytes[name] for name in self.names], dtype=np.int64)

    @cached_property
    def limits(self) -> list[Limit]:
        """Of each operand: its mean, and the rates of the error model that it was found with."""
        models = limit_models(self.tolerance)
        return [
            Limit(limit, models[name].ber_zero, models[name].ber_one) for name, limit in self.tolerance.limits.items()
        ]

    def stored(self) -> dict[str, Stored]:
        """The operands as the traffic reads them."""
        return {name: Stored(self.tolerance.bytes[name], self.tolerance.kinds[name]) for name in self.names}

    @cached_property
    def crossing(self) -> list[float]:
        """Bytes per inference of each operand; 0 throughout where no traffic is known."""
        moved = self.traffic
        return [0.0 if moved is None else float(moved.operands[name].crossing_bytes) for name in self.names]

    @cached_property
    def choices(self) -> list[list[Choice]]:
        """By partition, what it may be run at, the nominal point first."""
        found = [choices_of(partition, self.nominal, self.points, self.limits) for partition in self.partitions]
        if self.coarse:
            ((first, *others),) = found
            by_all = np.all(tolerated(self.limits, [model for _, model in others]), axis=0)
            found = [[first, *itertools.compress(others, by_all.tolist())]]
        return found

    def answered(self, solver: str, objective: str, answer: Answer, optimum: Optimum | None = None) -> Placement:
        """The placement that an answer is."""
        ends = [0] * len(self.partitions)
        for part in itertools.chain.from_iterable(answer.parts):
            ends[part.partition] = max(ends[part.partition], part.address_bytes + part.bytes)
        placed: dict[str, PlacedPartition] = {}
        for p, partition in enumerate(self.partitions):
            chosen = answer.points[p]
            point, errors = (
                (self._resting(p, answer.points), Uniform(ber=0.0)) if chosen is None else self.choices[p][chosen]
            )
            placed[partition.name] = PlacedPartition(
                operating_point=point,
                errors=errors,
                used_bytes=ends[p],
                capacity_bytes=partition.capacity_bytes,
                address_bits=partition.address,
            )
        operands = {}
        for (name, limit), parts in zip(self.tolerance.limits.items(), answer.parts, strict=True):
            pieces = [
                Piece(partition=self.partitions[p].name, address_bytes=address, bytes=size)
                for p, address, size in parts
            ]
            operands[name] = PlacedOperand.model_validate(
                {
                    "kind": self.tolerance.kinds[name],
                    "partition": pieces[0].partition,
                    "address_bytes": pieces[0].address_bytes,
                    "bytes": self.tolerance.bytes[name],
                    "ber": max(placed[piece.partition].errors.ber for piece in pieces),
                    "limit": limit,
                    "pieces": pieces if len(pieces) > 1 else (),
                }
            )
        fields: dict[str, Any] = {"solver": solver, "objective": objective, "optimum": optimum}
        return Placement(
            device=self.device.name,
            random_layout=_core.RANDOM_LAYOUT_VERSION,
            nominal=self.nominal,
            margin=self.device.margin,
            operands=operands,
            partitions=placed,
            notes=self._notes(),
            **fields,
        )

    def _resting(self, p: int, points: Sequence[int | None]) -> OperatingPoint:
        """Of a partition without operands: within specification but for what it shares with partitions in use."""
        changed = {
            parameter: getattr(self.choices[member][point][0], parameter)
            for parameter, groups in self.shared.items()
            for group in groups
            if p in group
            for member in group
            if (point := points[member]) is not None
        }
        return self.nominal.model_copy(update=changed)

    def _notes(self) -> tuple[str, ...]:
        device = self.device
        notes = [
            "A point is tolerated if its mean BER is at most the operand's limit and neither stored value's rate is "
            "above that of the error model at the limit."
        ]
        profiled = {model.failure for model in limit_models(self.tolerance).values()}
        fitted = {point.errors.failure for part in device.partitions if not part.nominal for point in part.points}
        if fitted and profiled != fitted:
            notes.append(
                f"Limits were found with a failure probability of {_listed(profiled)}, the device has "
                f"{_listed(fitted)}: rates per read are compared, errors persist differently."
            )
        if device.voltage is not None:
            notes += [f"Voltages below nominal: {text}." for text in device.voltage.assumptions]
        if device.margin.factor > 1.0:
            notes.append(f"The device's rates hold a margin: {device.margin}.")
        if self.coarse:
            notes.append(
                "Coarse: the whole module is at one operating point, the partitions that the device keeps reliable "
                "included; each operand's limit is the rate that all of them tolerate together."
            )
        if self.points == "continuous":
            found = "the limits" if not lowered_levels(self.limits) else f"{MOST_LEVELS} of the limits"
            notes.append(f"Operating points between the measured ones are those that {found} imply on fitted curves.")
        if str(self.constraints):
            notes.append(f"Constraints: {self.constraints}.")
        return tuple(notes)


def limit_models(tolerance: Tolerance) -> dict[str, ErrorModel]:
    """By operand, the error model that it tolerates."""
    return {name: ErrorModel.from_dict(spec) for name, spec in tolerance.error_models.items()}


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted(values))
