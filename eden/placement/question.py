"""What a solver is asked: operands with what they tolerate, partitions with what they may run at; and its answer."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eden import _core
from eden.devices.device import Device
from eden.devices.partition import OperatingPoint, Partition, point_of
from eden.devices.upper_rates import Rates
from eden.memory.cell_map import CellMap
from eden.memory.errors import ErrorModel, Uniform
from eden.memory.planes import operand_and_plane
from eden.placement.constraints import Constraints
from eden.placement.defaults import UpperRates
from eden.placement.harm import rotated_share, word_harm
from eden.placement.placement import Optimum, Piece, PlacedOperand, PlacedPartition, Placement
from eden.placement.points import MOST_LEVELS, Limit, Points, choices_of, lowered_levels
from eden.tolerance.tolerance import Tolerance

if TYPE_CHECKING:
    from eden.costs.traffic_file import Traffic

# Scaling a model to its limit and back rounds its rates by a few parts in 2^53.
_RATE_ROUNDING = 1e-12

Flags = NDArray[np.bool_]


def tolerated(limits: Sequence[Limit], models: Sequence[ErrorModel], shares: Any = 1.0) -> Flags:
    """Whether each limit (rows) lets each error model (columns) through: its mean, and each stored value's rate.

    Of these rates ``shares`` (rows, columns) are counted. The mean alone would let one through whose errors fall on the
    stored value that the operand was never tested with.
    """
    highest = np.array(limits, dtype=np.float64).reshape(-1, 1, 3)
    rates = np.array([(model.ber, model.ber_zero, model.ber_one) for model in models]).reshape(1, -1, 3)
    rates = rates * np.asarray(shares)[..., None]
    return np.asarray((rates <= highest * [1.0, 1.0 + _RATE_ROUNDING, 1.0 + _RATE_ROUNDING]).all(axis=2))


class OperandBytes(NamedTuple):
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


class Question:
    """What is to be placed where.

    Attributes:
        partitions: those of the device, or the one that it is as a whole.
        capacity: of each partition, in bytes.
        choices: of each partition, what it may be run at, the nominal point first.
        nominal: the device's operating point within specification.
        alignment: bytes of which each start is a multiple.
        shared: by parameter of an operating point, groups of partitions that share its value.
        names: of the operands.
        bytes: of each operand.
        limits: of each operand, its mean, and the rates of the error model that it was found with.
        as_measured: names of operands that tolerate the rates of cell maps alone, also where they may be remapped.
        crossing: bytes per inference of each operand; 0 throughout where no traffic is known.
    """

    def __init__(
        self,
        tolerance: Tolerance,
        device: Device,
        traffic: Traffic | None,
        constraints: Constraints,
        coarse: bool,
        points: Points,
        ends: UpperRates | None,
    ) -> None:
        """Say what is to be placed where.

        Args:
            tolerance: limits, bytes, kinds and error models of the operands.
            device: partitions and their operating points.
            traffic: bytes that each operand moves; None where it is not known.
            constraints: what supplies and controller allow.
            coarse: whether the whole module is at one point, that all operands tolerate.
            points: what partitions may be run at.
            ends: at what level the upper ends of their rates are taken; None for the mean ones.

        Raises:
            ValueError: for constraints and points that are out of range or name a partition that there is not, and for
                a device without partitions.

        """
        self.tolerance, self.device, self.traffic = tolerance, device, traffic
        self.constraints, self.coarse, self.points = constraints, coarse, points
        self.partitions: Sequence[Partition] = (device.whole,) if coarse else device.partitions
        # By what was read, whatever may be behind it: upper ends of no errors are above 0.
        self._error_free = [
            {point_of(one) for one in part.choices if not (one.errors.ber_zero or one.errors.ber_one)}
            for part in self.partitions
        ]
        self.rates = Rates()
        if ends is not None:
            self.partitions, self.rates = device.upper_ends(self.partitions, ends.confidence, ends.modules)
        _check_points(points, [part.name for part in self.partitions])
        self.capacity = np.array([partition.capacity_bytes for partition in self.partitions], dtype=np.int64)
        self.nominal = point_of(device.nominal)
        self.alignment = constraints.alignment_bytes(device)
        self.shared = constraints.groups(self.partitions, device.geometry)
        self.names = tuple(tolerance.limits)
        self.as_measured: frozenset[str] = frozenset()
        self.bytes = np.array([tolerance.bytes[name] for name in self.names], dtype=np.int64)
        self.models = tolerance.memory
        self.limits = [
            Limit(limit, self.models[name].ber_zero, self.models[name].ber_one)
            for name, limit in tolerance.limits.items()
        ]
        self.crossing = [
            0.0 if traffic is None else float(traffic.operands[name].crossing_bytes) for name in self.names
        ]
        self.choices = [choices_of(partition, self.nominal, points, self.limits) for partition in self.partitions]
        if coarse:
            ((first, *others),) = self.choices
            by_all = np.all(self.tolerated([model for _, model in others]), axis=0)
            self.choices = [[first, *itertools.compress(others, by_all.tolist())]]

    def tolerated(self, models: Sequence[ErrorModel]) -> Flags:
        """[operands, models]: what each operand tolerates; of cell maps by equivalent rates where it is remapped."""
        shares = np.ones((len(self.names), len(models)))
        if self.constraints.remap:
            unit_bits = 8 * self.alignment
            harms = [word_harm(self.tolerance.storage[name], name, unit_bits) for name in self.names]
            for m, model in enumerate(models):
                if isinstance(model, CellMap) and model.cells.size:
                    shares[:, m] = [
                        1.0 if name in self.as_measured else rotated_share(model, harm, unit_bits)
                        for name, harm in zip(self.names, harms, strict=True)
                    ]
        return tolerated(self.limits, models, shares)

    def without_shares(self, names: frozenset[str]) -> Question:
        """The same where these operands, too, tolerate the rates of maps alone, wherever they come to lie."""
        found = copy.copy(self)
        found.as_measured = self.as_measured | names
        return found

    def without_errors(self) -> Question:
        """The same of operands that tolerate nothing: of all points those are left at which no error was found."""
        found, none = copy.copy(self), Uniform(ber=0.0)
        found.limits = [Limit(0.0, 0.0, 0.0)] * len(self.limits)
        found.choices = [
            [first, *((point, none) for point, _ in others if point in known)]
            for (first, *others), known in zip(self.choices, self._error_free, strict=True)
        ]
        return found

    def planes_alike(self) -> Question | None:
        """The same where all planes of an operand tolerate what the least tolerant does, as whole words would.

        None where no operand lies in planes.
        """
        lowest: dict[str, Limit] = {}
        owners = [operand_and_plane(name)[0] for name in self.names]
        if len(set(owners)) == len(owners):
            return None
        for owner, limit in zip(owners, self.limits, strict=True):
            lowest[owner] = Limit(*map(min, limit, lowest.get(owner, limit)))
        found = copy.copy(self)
        found.limits = [lowest[owner] for owner in owners]
        return found

    def stored(self) -> dict[str, OperandBytes]:
        """The operands as the traffic reads them."""
        return {name: OperandBytes(self.tolerance.bytes[name], self.tolerance.kinds[name]) for name in self.names}

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
                    "equivalent_ber": self._expected(name, limit, [placed[piece.partition] for piece in pieces]),
                    "pieces": pieces if len(pieces) > 1 else (),
                }
            )
        fields: dict[str, Any] = {"solver": solver, "objective": objective, "optimum": optimum}
        placement = Placement(
            device=self.device.name,
            random_layout=_core.RANDOM_LAYOUT_VERSION,
            nominal=self.nominal,
            ranks=self.device.geometry.ranks,
            margin=self.device.margin,
            rates=self.rates,
            operands=operands,
            partitions=placed,
            headline=self._headline(placed),
            notes=self._notes(),
            **fields,
        )
        # The file says it, too, to those who only read files.
        return placement.model_copy(update={"notes": (*placement.notes, *filter(None, [placement.caution]))})

    def _expected(self, name: str, limit: float, homes: Sequence[PlacedPartition]) -> float | None:
        """What an operand that is to be remapped is taken to meet, until it is; None where the rates are enough."""
        if max(home.errors.ber for home in homes) <= limit:
            return None
        harm = word_harm(self.tolerance.storage[name], name, 8 * self.alignment)
        maps = [home.errors for home in homes if isinstance(home.errors, CellMap)]
        return max((model.ber * rotated_share(model, harm, 8 * self.alignment) for model in maps), default=None)

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

    def _headline(self, placed: Mapping[str, PlacedPartition]) -> tuple[str, ...]:
        supplies = f"{self.constraints.supplies}."
        reserved = [part.name for part in self.partitions if part.nominal]
        moved = [name for name in reserved if placed[name].operating_point != self.nominal]
        if moved:
            supplies += (
                f" {_listed_names(moved)}, which the device keeps within specification, runs as the others and "
                "holds no operand: data that is no operand must lie elsewhere, or be protected."
            )
        return supplies[0].upper() + supplies[1:], self._law_of_voltage()

    def _law_of_voltage(self) -> str:
        """Whose rates those at lower voltages are, and in which range."""
        voltage, nominal = self.device.voltage, self.nominal.vdd
        if voltage is not None:
            return (
                f"Rates along VDD: the median module's of vendor {voltage.vendor}, from {voltage.rows[-1].vdd:g} to "
                f"{voltage.rows[0].vdd:g} V, taken to join those of latencies as independent failures."
            )
        known = {point.vdd for mine in self.choices for point, _ in mine}
        if known == {nominal}:
            return f"VDD stays at {nominal:g} V: the device has no rates at another one."
        return f"Rates along VDD: as measured on this device, from {min(known):g} to {max(known):g} V."

    def _notes(self) -> tuple[str, ...]:
        device = self.device
        notes = [
            "A point is tolerated if its mean BER is at most the operand's limit and neither stored value's rate is "
            "above that of the error model at the limit."
        ]
        profiled = {model.failure for model in self.models.values()}
        fitted = {point.errors.failure for part in device.partitions if not part.nominal for point in part.points}
        if fitted and profiled != fitted:
            notes.append(
                f"Limits were found with a failure probability of {_listed(profiled)}, the device has "
                f"{_listed(fitted)}: rates per read are compared, errors persist differently."
            )
        if self.constraints.remap:
            notes.append(
                "In cell maps the rates are equivalent ones: those of independent errors with the same mean squared "
                "error as the weak cells, the words' bits rotated. No certificate of limits covers them; eden.certify "
                "tests the placement on its chip."
            )
        if device.voltage is not None:
            notes += [f"Voltages below nominal: {text}." for text in device.voltage.assumptions]
        if device.margin.factor > 1.0:
            notes.append(f"The device's rates hold a margin: {device.margin}.")
        notes.append(f"Rates: {self.rates}.")
        if device.population is not None and self.rates.kind == "mean":
            notes.append(
                f"The device is the median of {len(device.population.modules)} modules of a vendor: half of all "
                "modules are worse than it at any point."
            )
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


def _check_points(points: Points, names: Sequence[str]) -> None:
    if not names:
        raise ValueError("the device has no partitions; allowed is one or more")
    if isinstance(points, Mapping):
        for name in points:
            if name not in names:
                raise ValueError(f"points names the partition {name!r}; allowed are {', '.join(names)}")
    elif points not in ("measured", "continuous"):
        raise ValueError(f"points is {points!r}; allowed are 'measured', 'continuous', or points by partition")


def _listed_names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"Each of {', '.join(names)}"


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted(values))
