"""Which of the fitted points a partition offers: those whose rates rise as the points become harsher."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import scipy

from eden.common.checks import around
from eden.common.files import FileError
from eden.devices.between import log_odds
from eden.devices.curves.fit import FALL
from eden.devices.fitting.regions import Region
from eden.devices.fitting.settings import FitSettings
from eden.devices.likelihoods import CONFIDENCE
from eden.devices.partition import (
    AXES,
    FittedCurve,
    FittedPoint,
    LeftOut,
    OperatingPoint,
    Partition,
    as_harsh,
    off_nominal,
    point_of,
    with_rates,
)
from eden.memory.cell_map import CellMap

Rates = tuple[float, float]
Intervals = tuple[tuple[float, float], tuple[float, float]]


class Candidate(NamedTuple):
    """A measured operating point on its way into a partition.

    Attributes:
        point: the operating point.
        fitted: the fit there; None where ``reason`` says why it is left out.
        reason: why it cannot be fitted.
        seen: where it is left out, the highest rates of zeros and of ones that were read there: a reading of the worse
            regime still says how high the rates have been.

    """

    point: OperatingPoint
    fitted: FittedPoint | None
    reason: str | None = None
    seen: Rates = (0.0, 0.0)


class Offer(NamedTuple):
    """What a partition offers.

    Attributes:
        nominal: its nominal point.
        points: the others at all temperatures, in their order.
        left_out: measured points that are not offered, and why.
        raised: points whose rates were raised to those of milder ones, which they fell below by chance.

    """

    nominal: FittedPoint
    points: tuple[FittedPoint, ...]
    left_out: tuple[LeftOut, ...]
    raised: tuple[OperatingPoint, ...]


class _Seen(NamedTuple):
    point: OperatingPoint
    rates: Rates
    intervals: Intervals


def offer(nominal: FittedPoint, candidates: Iterable[Candidate]) -> Offer:
    """The points that are offered: no rate of theirs is below that of a milder point.

    Some rates are below a milder point's by chance. Where a test does not tell them apart, the rate is raised to the
    milder point's. Where it does, the range ends: that point and all that are harsher than it are left out. A rate of
    a cell map, which is exact, is never raised.

    Args:
        nominal: the nominal point; a candidate at its place takes its part.
        candidates: in the order of a partition's points.

    """
    points: list[FittedPoint] = []
    left_out: list[LeftOut] = []
    raised: list[OperatingPoint] = []
    fallen: list[OperatingPoint] = []
    seen = [_Seen(point_of(nominal), _rates(nominal), (nominal.zero, nominal.one))]
    home = seen[0].point
    for candidate in candidates:
        point, fitted, reason = candidate.point, candidate.fitted, candidate.reason
        if reason is None and not as_harsh(point, home):
            reason = f"it is milder than the nominal point ({home}) in a parameter"
        for before in fallen:
            if as_harsh(point, before) and point.temperature == before.temperature:
                reason = f"harsher than {_place(home, point, before)}, where the curve is not monotone"
                break
        entry = _Seen(point, candidate.seen, ((candidate.seen[0],) * 2, (candidate.seen[1],) * 2))
        if fitted is not None:
            entry = _Seen(point, _rates(fitted), (fitted.zero, fitted.one))
        if reason is None and fitted is not None:
            falls, lifted = _falls(home, entry, seen, isinstance(fitted.errors, CellMap))
            if falls:
                reason = f"the curve is not monotone: {' and '.join(falls)}; the range ends before it"
                fallen.append(point)
            elif point == home:
                nominal = fitted
            else:
                if lifted != entry.rates:
                    raised.append(point)
                    fitted = _raised(fitted, lifted)
                    entry = _Seen(point, _rates(fitted), (fitted.zero, fitted.one))
                points.append(fitted)
        if reason is not None:
            left_out.append(LeftOut(**point.model_dump(), reason=reason))
        seen.append(entry)
    return Offer(nominal, tuple(points), tuple(left_out), tuple(raised))


def _rates(point: FittedPoint) -> Rates:
    return point.errors.ber_zero, point.errors.ber_one


def _raised(point: FittedPoint, rates: Rates) -> FittedPoint:
    errors = with_rates(point.errors, *rates)
    intervals = {
        name: around(interval, rate)
        for name, rate, interval in (("zero", errors.ber_zero, point.zero), ("one", errors.ber_one, point.one))
    }
    return point.model_copy(update={"errors": errors, **intervals})


def _one_parameter(home: OperatingPoint, point: OperatingPoint, other: OperatingPoint) -> str | None:
    """The one parameter in which two points are off nominal, if there is one."""
    off = {*off_nominal(home, point), *off_nominal(home, other)}
    return off.pop() if len(off) == 1 else None


def _place(home: OperatingPoint, point: OperatingPoint, other: OperatingPoint) -> str:
    """Another point in words: along the parameter of both, its value alone."""
    name = _one_parameter(home, point, other)
    if name is None:
        return str(other)
    along = next(along for along in AXES if along.name == name)
    return f"{getattr(other, name):g} {along.unit}"


def _falls(home: OperatingPoint, entry: _Seen, seen: Sequence[_Seen], exact: bool) -> tuple[list[str], Rates]:
    """Rates below those of milder points, in words, and the rates that those which fall by chance are raised to."""
    found: list[str] = []
    lifted = list(entry.rates)
    for i, stored in enumerate(("zeros", "ones")):
        highest, at = 0.0, home
        for other in seen:
            if other.point.temperature != entry.point.temperature or not as_harsh(entry.point, other.point):
                continue
            if exact or _differ(other.rates[i], other.intervals[i], entry.rates[i], entry.intervals[i]):
                if other.rates[i] >= highest:
                    highest, at = other.rates[i], other.point
            else:
                lifted[i] = max(lifted[i], other.rates[i])
        if entry.rates[i] < highest:
            rate = entry.rates[i]
            place = _place(home, entry.point, at)
            found.append(f"stored {stored} fail at {rate:.3g}, but at {highest:.3g} at the milder {place}")
    return found, (lifted[0], lifted[1])


def _differ(
    mild: float, mild_ends: tuple[float, float], harsh: float, harsh_ends: tuple[float, float], level: float = FALL
) -> bool:
    """Whether a harsher point's rate lies below a milder one's beyond chance, by a one-sided test of their log-odds.

    The halves of their 95% intervals that face each other are taken for normal errors and joined in quadrature (Zou and
    Donner, "Construction of confidence limits about effect measures", Stat. Med. 27, 2008).
    """
    if harsh >= mild:
        return False
    if harsh <= 0.0:  # its log-odds have an upper end alone
        harsh = harsh_ends[1]
    quantile = float(scipy.stats.norm.ppf(1.0 - level) / scipy.stats.norm.ppf(0.5 + CONFIDENCE / 2))
    errors = math.hypot(log_odds(mild) - log_odds(mild_ends[0]), log_odds(harsh_ends[1]) - log_odds(harsh))
    return log_odds(mild) - log_odds(harsh) > quantile * errors


def refuse_nothing(path: Path, whole: Partition) -> None:
    """Raise FileError, saying why, where all that was measured of a module is left out: such a device says nothing."""
    if whole.left_out and len(whole.points) + len(whole.points_at_other_temperatures) == 1:
        reasons = "; ".join(f"{point_of(gap)}: {gap.reason}" for gap in whole.left_out[:5])
        raise FileError(
            path, f"no measured operating point can be offered; allowed is a campaign with one or more ({reasons})"
        )


def partition_of(
    region: Region,
    offered: Offer,
    nominal: OperatingPoint,
    settings: FitSettings,
    nominal_only: bool,
    curves: Callable[[], Iterable[FittedCurve]],
    notes: list[str],
) -> Partition:
    """The partition of a region, from what it offers.

    Args:
        region: the part of the memory.
        offered: its points.
        nominal: the device's nominal point, whose temperature its points have.
        settings: of the fit, which say whether parts have curves.
        nominal_only: whether the partition is operated at the nominal point alone.
        curves: makes the curves along the latencies, where the partition has any.
        notes: where it is said which rates were raised.
    """
    if offered.raised:
        notes.append(
            f"raised rates of {region.name} to those of milder points, which they were below by no more than chance "
            f"makes them (one-sided test, {FALL:g}), at {'; '.join(map(str, offered.raised))}"
        )
    temperature = nominal.temperature
    has_curves = region.name == "whole" or (settings.bank_curves and not nominal_only)
    return Partition(
        name=region.name,
        kind=region.kind,
        address=region.address,
        capacity_bytes=region.cells // 8,
        nominal=nominal_only,
        points=(offered.nominal, *(point for point in offered.points if point.temperature == temperature)),
        points_at_other_temperatures=tuple(point for point in offered.points if point.temperature != temperature),
        left_out=offered.left_out,
        curves=tuple(curves()) if has_curves else (),
    )
