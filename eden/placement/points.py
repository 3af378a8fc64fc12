"""Operating points that a partition may be given: measured ones, those asked for, and those that limits imply.

What an operand tolerates implies, at each voltage, the shortest latency of a continuous curve at which it is still
tolerated. Only these need be tried (docs/explanation/placement.md has the proof).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from eden.devices.partition import AXES, FittedPoint, OperatingPoint, Partition, VoltageRow, point_of
from eden.memory.errors import ErrorModel, Uniform

PICOSECOND = 1e-3
"""In ns: latencies that limits imply are rounded up to it."""

MOST_LEVELS = 24
"""Limits that points are looked for at, per partition, voltage and latency; of more, these many from low to high."""

_Latency = Literal["trcd", "trp", "tras"]
_LATENCIES: tuple[_Latency, ...] = get_args(_Latency)

Choice = tuple[OperatingPoint, ErrorModel]
Points = Literal["measured", "continuous"] | Mapping[str, Sequence[OperatingPoint]]


class Limit(NamedTuple):
    """Rates that an operand tolerates: their mean, and those of stored zeros and ones."""

    mean: float
    zero: float
    one: float

    def above(self, zero: float, one: float) -> bool:
        """Whether rates of stored zeros and ones are tolerated."""
        return (zero + one) / 2.0 <= self.mean and zero <= self.zero and one <= self.one

    def without(self, rate: float) -> Limit | None:
        """What is left for other errors beside those of a rate that cells fail with independently; None: nothing."""
        if not self.above(rate, rate):
            return None
        return Limit(*((value - rate) / (1.0 - rate) if rate < 1.0 else 0.0 for value in self))


def answer_at(partition: Partition, point: OperatingPoint) -> ErrorModel:
    """The error model of a partition at an operating point: along its curves, where it has any.

    Raises:
        ValueError: naming the partition and the parameter that lies outside of its curve.

    """
    try:
        return partition.errors(
            **{along.name: getattr(point, along.name) for along in AXES},
            temperature=point.temperature,
            between="curve" if partition.curves else "bound",
        )
    except ValueError as error:
        raise ValueError(f"partition {partition.name}: {error}") from error


def choices_of(partition: Partition, nominal: OperatingPoint, points: Points, limits: Iterable[Limit]) -> list[Choice]:
    """What a placement may run a partition at, the nominal point without errors first.

    Args:
        partition: of the device.
        nominal: the device's point within specification.
        points: "measured", "continuous", which adds those that the limits imply, or points by partition.
        limits: of the operands.

    Raises:
        ValueError: for a point outside of the partition's curve, by name.

    """
    # Within specification nothing fails, whatever a fit says of it.
    found: list[Choice] = [(nominal, Uniform(ber=0.0))]
    if isinstance(points, Mapping) and partition.name in points:
        asked = [point_of(point) for point in points[partition.name]]
        return [*found, *((point, answer_at(partition, point)) for point in asked if point != nominal)]
    if partition.nominal:
        return found
    fitted = [(point_of(point), point.errors) for point in partition.choices]
    found += [choice for choice in fitted if choice[0] != nominal]
    if points == "continuous":
        known = {point for point, _ in found}
        found += [choice for choice in _implied(partition, _levels(limits)) if choice[0] not in known]
    return found


def _levels(limits: Iterable[Limit]) -> list[Limit]:
    ordered = sorted(set(limits))
    if len(ordered) <= MOST_LEVELS:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (MOST_LEVELS - 1))] for i in range(MOST_LEVELS)]


def lowered_levels(limits: Iterable[Limit]) -> bool:
    """Whether there are more limits than points are looked for at."""
    return len(set(limits)) > MOST_LEVELS


def _rows(partition: Partition) -> list[tuple[float, VoltageRow | None]]:
    """Voltages with the errors that they add: of equal rates the lowest voltage, which costs least."""
    nominal = partition.points[0]
    voltage = partition._voltage
    if voltage is None or any(point.vdd != nominal.vdd for point in partition.points):
        return [(nominal.vdd, None)]
    by_rate = {row.ber: row for row in voltage.rows}
    return [(row.vdd, None if row.vdd == nominal.vdd else row) for row in by_rate.values()]


def _implied(partition: Partition, levels: Sequence[Limit]) -> list[Choice]:
    """The shortest latency along each curve, at each voltage, that each limit still tolerates, where it is new."""
    nominal = partition.points[0]
    found: dict[OperatingPoint, ErrorModel] = {}
    for parameter in _LATENCIES:
        if getattr(nominal, parameter) is None:
            continue
        latency_of = {
            (row_limit, vdd): _shortest(partition, parameter, row_limit)
            for vdd, row in _rows(partition)
            for level in levels
            if (row_limit := level.without(0.0 if row is None else row.ber)) is not None
        }
        for (_, vdd), latency in latency_of.items():
            if latency is None:
                continue
            point = point_of(nominal).model_copy(update={parameter: latency, "vdd": vdd})
            if point in found:
                continue
            try:
                found[point] = answer_at(partition, point)
            except ValueError:
                continue  # inside a region that was left out, of which the milder end is a measured point
    return list(found.items())


def _shortest(partition: Partition, parameter: _Latency, limit: Limit) -> float | None:
    """The shortest latency between two measured points that a limit tolerates; None where it is a measured one."""
    temperature = partition.points[0].temperature
    sweep = sorted(partition.sweep(parameter, temperature), key=lambda point: -getattr(point, parameter))
    for mild, harsh in itertools.pairwise(sweep):
        if limit.above(harsh.errors.ber_zero, harsh.errors.ber_one):
            continue
        if not any((c.parameter, c.temperature) == (parameter, temperature) for c in partition.curves):
            return None
        if not limit.above(mild.errors.ber_zero, mild.errors.ber_one):
            return None

        def tolerated(latency: float, mild: FittedPoint = mild, harsh: FittedPoint = harsh) -> bool:
            return limit.above(*partition.rates_between(parameter, latency, mild, harsh))

        # Rates fall with the latency, so the tolerated ones are an interval that ends at the milder point.
        refused, allowed = round(getattr(harsh, parameter) / PICOSECOND), round(getattr(mild, parameter) / PICOSECOND)
        while allowed - refused > 1:
            middle = (allowed + refused) // 2
            if tolerated(middle * PICOSECOND):
                allowed = middle
            else:
                refused = middle
        latency = round(allowed * PICOSECOND, 3)
        return latency if latency < getattr(mild, parameter) - PICOSECOND / 2 else None
    return None
