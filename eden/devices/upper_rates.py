"""Rates of partitions as high as what was measured leaves them: upper ends that hold for all of them at once.

A device's rates are estimates, each with a 95% interval. A placement goes by their upper ends, at a level that all of
them share (Bonferroni), because it chooses among them by what they say (docs/explanation/placement.md).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import pydantic
import scipy

from eden.common.checks import around
from eden.common.files import Record
from eden.devices.likelihoods import CONFIDENCE
from eden.devices.likelihoods.odds import logistic, logit
from eden.devices.partition import FittedCurve, FittedPoint, Partition, Voltage, as_harsh, off_nominal, with_rates
from eden.memory.cell_map import CellMap
from eden.memory.errors import ErrorModel, RatesByValue
from eden.memory.lines import LineModel

if TYPE_CHECKING:
    from eden.devices.device import Device

_Inside = Annotated[float, pydantic.Field(gt=0.0, lt=1.0)]
_Whole = Annotated[int, pydantic.Field(ge=0)]


class Rates(Record):
    """What the bit error rates of a placement's operating points are."""

    kind: Literal["upper", "mean"] = "mean"
    """Upper ends of what was measured, or its mean."""
    confidence: _Inside | None = None
    """Probability with which the true rates of the module that was measured are no higher, of all points at once that
    the placement could choose; None for mean rates, of which nothing is claimed, and where no point was measured."""
    readings: _Whole = 0
    """Rates that this is simultaneous over: of points that were measured, by stored value where they differ."""
    modules: _Inside | None = None
    """Share of modules that are no worse at all points at once, where rates are of a vendor's other modules; None where
    there are none, or for mean rates."""
    untold: _Whole = 0
    """Rates that have no interval, such as those of a device made by hand or of a map of cells: taken as they are."""

    @pydantic.model_validator(mode="after")
    def _claims_only_what_it_is(self) -> Rates:
        if self.kind == "mean" and (self.confidence is not None or self.modules is not None):
            raise ValueError("kind is 'mean', and a confidence or a share of modules is given; allowed is none of them")
        return self

    @property
    def error(self) -> float:
        """Probability that a rate which was measured is higher than it is taken for, as far as it is claimed."""
        return 0.0 if self.confidence is None else 1.0 - self.confidence

    def __str__(self) -> str:
        if self.kind == "mean":
            return "mean rates of the device: nothing is claimed of how well they are told"
        parts = []
        if self.confidence is not None:
            parts.append(f"with confidence {self.confidence:g} for all {self.readings} that were measured at once")
        if self.modules is not None:
            parts.append(f"for {self.modules:.4g} of the vendor's modules where rates are of other ones")
        text = f"upper ends of the device's rates, {' and '.join(parts)}" if parts else "rates of the device"
        return text + (f"; {self.untold} rates have no interval and are taken as they are" if self.untold else "")


class _Tails(NamedTuple):
    """Probability above an upper end."""

    reading: float
    module: float


@functools.cache
def _quantile(tail: float, freedom: int) -> float:
    """Of Student's t, or with no degrees of freedom of the normal distribution."""
    distribution = scipy.stats.t(freedom) if freedom > 0 else scipy.stats.norm
    return float(distribution.isf(tail))


def raised(
    rate: float, high: float, tail: float, freedom: int = 0, readings: int = 1, dispersion: float = 0.0
) -> float:
    """The upper end at another level of a rate whose 95% interval ends at ``high``.

    The half of an interval goes with the quantile of Student's t on the log-odds scale (normal, where the dispersion is
    not of these readings). No errors in n readings of N cells with dispersion d have at the rate p the probability
    (1 + N p d)^(-n / d), which is ``1 - CONFIDENCE`` at the interval's end.

    Args:
        rate: the estimate.
        high: upper end of its 95% interval.
        tail: probability above the end that is asked for.
        freedom: degrees of freedom behind the dispersion, 0 where it is not told by these readings.
        readings: how many.
        dispersion: variance of the log-odds between them.
    """
    if rate <= 0.0:
        each = dispersion / max(readings, 1)
        wanted, had = -math.log(tail), -math.log(1.0 - CONFIDENCE)
        if each * wanted > 700.0:
            return 1.0
        factor = wanted / had if each < 1e-9 else math.expm1(each * wanted) / math.expm1(each * had)
        return min(1.0, high * factor)
    if rate >= 1.0 or high >= 1.0:
        return 1.0
    half = (logit(high) - logit(rate)) * _quantile(tail, freedom) / _quantile((1.0 - CONFIDENCE) / 2, freedom)
    return max(rate, logistic(logit(rate) + half))


def _told(point: FittedPoint) -> bool:
    """Whether a point has intervals that its error model can be raised to."""
    if isinstance(point.errors, CellMap):
        return False
    if isinstance(point.errors, LineModel) and point.errors.rates is not None and point.errors.ber <= 0.0:
        return False
    return point.zero[1] > point.errors.ber_zero or point.one[1] > point.errors.ber_one


def _values(errors: ErrorModel) -> int:
    """Rates that were fitted at a point: one, or one for each stored value."""
    return 2 if isinstance(errors, RatesByValue) else 1


def _of_population(device: Device, point: FittedPoint) -> bool:
    return device.population is not None and not any(point.readings)


class _Counted(NamedTuple):
    readings: int
    places: int
    untold: int


def _count(device: Device, partitions: Sequence[Partition]) -> _Counted:
    """The rates of points that a placement can choose: measured, of other modules (places and voltages), and untold."""
    points = [point for part in partitions if not part.nominal for point in part.points[1:]]
    own = [point for point in points if _told(point) and not _of_population(device, point)]
    places = {
        (stored, *(getattr(point, name) for name in ("vdd", "trcd", "trp", "refresh_interval")))
        for point in points
        if _told(point) and _of_population(device, point)
        for stored in ("zero", "one")
    }
    rows = 0 if device.voltage is None else sum(row.high > 0.0 for row in device.voltage.rows)
    untold = sum(_values(point.errors) for point in points if not _told(point) and point.errors.ber > 0.0)
    return _Counted(sum(_values(point.errors) for point in own), len(places) + rows, untold)


def upper(
    device: Device, partitions: Sequence[Partition], confidence: float, modules: float
) -> tuple[list[Partition], Rates]:
    """Partitions of a device with the upper ends of all their rates in place of the estimates.

    A cell that fails under some stress fails under a larger one, so the upper end of a harsher point bounds the milder
    ones too: of several the least counts.

    Args:
        device: whose they are.
        partitions: those that a placement may use.
        confidence: inside (0, 1), with which all rates that were measured are no higher, at once.
        modules: inside (0, 1): the share of modules whose rates are no higher at all points at once, where rates are
            those of other modules: a vendor's population, or its voltages.

    Returns:
        The partitions, and what their rates are.
    """
    counted = _count(device, partitions)
    tails = _Tails((1.0 - confidence) / max(counted.readings, 1), (1.0 - modules) / max(counted.places, 1))
    voltage = None if device.voltage is None else _voltage(device.voltage, tails.module)
    found = []
    for part in partitions:
        points = part.points if part.nominal else (part.points[0], *_points(device, part.points[1:], tails))
        # No placement chooses the temperature; what is held against other ones has their ends.
        others = itertools.groupby(part.points_at_other_temperatures, key=lambda point: point.temperature)
        at_others = tuple(point for _, group in others for point in _points(device, tuple(group), tails))
        curves = tuple(filter(None, (_curve(curve, part, points) for curve in part.curves)))
        made = part.model_copy(update={"points": points, "points_at_other_temperatures": at_others, "curves": curves})
        made._voltage, made._interpolates = voltage, False
        found.append(made)
    rates = Rates(
        kind="upper",
        confidence=confidence if counted.readings else None,
        readings=counted.readings,
        modules=modules if counted.places else None,
        untold=counted.untold,
    )
    return found, rates


def _ends(device: Device, point: FittedPoint, tails: _Tails) -> tuple[float, float]:
    """Upper ends of the rates of stored zeros and ones at a point."""
    rates = ((point.errors.ber_zero, point.zero[1]), (point.errors.ber_one, point.one[1]))
    if not _told(point):
        return rates[0][0], rates[1][0]
    if _of_population(device, point):
        assert device.population is not None
        knots = {(knot.parameter, knot.stored, knot.latency): knot.modules for knot in device.population.knots}
        (name, *_) = off_nominal(device.nominal, point)
        freedom = [knots.get((name, s, getattr(point, name)), 2) - 1 for s in ("zero", "one")]  # type: ignore[arg-type]
        zero, one = (raised(*rate, tails.module, n) for rate, n in zip(rates, freedom, strict=True))
        return zero, one
    total = sum(point.readings) if _values(point.errors) == 1 else 0
    freedom = [max(sum(point.readings) - _values(point.errors), 0) if point.dispersion_fitted else 0] * 2
    zero, one = (
        raised(*rate, tails.reading, n, total or count, point.dispersion)
        for rate, n, count in zip(rates, freedom, point.readings, strict=True)
    )
    return zero, one


def _points(device: Device, points: Sequence[FittedPoint], tails: _Tails) -> Iterator[FittedPoint]:
    ends = [_ends(device, point, tails) for point in points]
    for point in points:
        if not _told(point):
            yield point
            continue
        harsher = [end for other, end in zip(points, ends, strict=True) if _told(other) and as_harsh(other, point)]
        zero, one = (min(end[i] for end in harsher) for i in (0, 1))
        zero, one = max(zero, point.errors.ber_zero), max(one, point.errors.ber_one)
        errors = with_rates(point.errors, zero, one)
        yield point.model_copy(
            update={
                "errors": errors,
                "zero": around((point.zero[0], errors.ber_zero), errors.ber_zero),
                "one": around((point.one[0], errors.ber_one), errors.ber_one),
            }
        )


def _voltage(voltage: Voltage, tail: float) -> Voltage:
    ends = [
        raised(row.ber, row.high, tail, len(voltage.modules) - 1) if row.high > 0.0 else 0.0 for row in voltage.rows
    ]
    rows = []
    for i, row in enumerate(voltage.rows):
        end = max(row.ber, min(ends[i:]))
        rows.append(row.model_copy(update={"ber": end, "high": max(end, row.high), "low": min(row.low, end)}))
    return voltage.model_copy(update={"rows": tuple(rows)})


class _RaisedCurve(FittedCurve):
    """A curve whose odds are multiplied: by as much as those of the point that was raised most."""

    odds: float

    def rate(self, value: float) -> float:
        """As of ``FittedCurve``."""
        rate = super().rate(value)
        return rate * self.odds / (1.0 - rate + rate * self.odds)

    def between(self, value: float, mild: tuple[float, float], harsh: tuple[float, float]) -> float:
        """The raised rate, inside those of the points: whatever the milder point's was raised by."""
        return min(max(self.rate(value), mild[1]), harsh[1])


def _curve(curve: FittedCurve, part: Partition, points: Sequence[FittedPoint]) -> FittedCurve | None:
    """A raised curve; None where a point of it was raised beyond all odds, so that the harsher point's rates answer."""
    most = 1.0
    for before, after in zip(part.points, points, strict=True):
        if off_nominal(part.points[0], before) != (curve.parameter,):
            continue
        if not curve.covers(getattr(before, curve.parameter)):
            continue
        # A curve is of its value alone: what patterns raise, it has to be raised by, too.
        worst = before.worst_pattern
        was = getattr(before.errors, f"ber_{curve.stored}") if worst is None else getattr(worst, curve.stored).rate
        now = getattr(after.errors, f"ber_{curve.stored}")
        if 0.0 < was < now < 1.0:
            most = max(most, now * (1.0 - was) / (was * (1.0 - now)))
        elif 0.0 < was < now:
            return None
    return _RaisedCurve(**dict(curve), odds=most)
