"""Rates of the worst pattern: data of both values can fail more often than zeros and ones that are stored alone.

A bitline couples to its neighbours, so what they store moves the charge that a cell needs (Khan et al., "PARBOR", DSN
2016). What a network stores is of both values: a device's rates may not be below those of any pattern that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, NamedTuple

from eden.common.checks import around
from eden.devices.between import log_odds
from eden.devices.fitting.rounding import rounded_rate, rounded_up
from eden.devices.likelihoods.odds import logistic
from eden.devices.partition import Alone, FittedPoint, OperatingPoint, WorstPattern, as_harsh, with_rates

_STEPS = 100  # of a bisection, each of which halves what is left


class PatternRead(NamedTuple):
    """The readings of a pattern of both values at an operating point.

    Attributes:
        point: the operating point.
        pattern: what was stored, such as ``"0xaa"``.
        ones: the share of cells that stored 1.
        readings: their number.
        counted: errors by cells, over all of them.
        told: fits the rate and the ends of its 95% interval; no rate is below what was counted.

    """

    point: OperatingPoint
    pattern: str
    ones: float
    readings: int
    counted: float
    told: Callable[[], tuple[float, float, float]]


class ValueRead(NamedTuple):
    """The readings of the cells that stored one value, under a pattern of both values.

    Attributes:
        point: the operating point.
        pattern: what was stored, such as ``"0xaa"``.
        stored: the value.
        readings: their number.
        counted: errors by cells, over all of them.
        told: fits the rate and the ends of its 95% interval; no rate is below what was counted.

    """

    point: OperatingPoint
    pattern: str
    stored: Literal[0, 1]
    readings: int
    counted: float
    told: Callable[[], tuple[float, float, float]]


def lifted(zero: float, one: float, ones: float, least: float) -> tuple[float, float]:
    """Rates of zeros and ones at which a pattern fails at ``least`` or more: their odds multiplied by one number.

    What neighbours store moves the need of a cell, which on the log-odds scale moves both rates alike. Where neither
    has errors, both get the pattern's rate.

    Args:
        zero: the rate of zeros stored alone.
        one: that of ones.
        ones: share of the pattern's cells that store 1, inside (0, 1).
        least: the pattern's rate.
    """
    if (1.0 - ones) * zero + ones * one >= least:
        return zero, one
    if zero <= 0.0 and one <= 0.0:
        return least, least

    def moved(by: float) -> tuple[float, float]:
        return tuple(logistic(log_odds(rate) + by) if rate > 0.0 else 0.0 for rate in (zero, one))  # type: ignore[return-value]

    def mixed(rates: tuple[float, float]) -> float:
        return (1.0 - ones) * rates[0] + ones * rates[1]

    low, high = 0.0, 1.0
    while mixed(moved(high)) < least and high < 700.0:
        high *= 2.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if mixed(moved(middle)) < least else (low, middle)
    found = moved(high)
    # Cells of the value that never failed alone: the other's are too few for what was counted.
    left = least - mixed(found)
    if left > 1e-12 * least:
        return (found[0], left / ones) if one <= 0.0 else (left / (1.0 - ones), found[1])
    return found


def alone(point: FittedPoint) -> tuple[float, float]:
    """The rates of zeros and of ones that were stored alone."""
    worst = point.worst_pattern
    return (point.errors.ber_zero, point.errors.ber_one) if worst is None else (worst.zero.rate, worst.one.rate)


def pattern_assumption(points: Collection[OperatingPoint], read: Collection[OperatingPoint]) -> str:
    """What the rates take for granted of data of both values.

    Args:
        points: those that were measured, off nominal.
        read: those at which patterns of both values were read.
    """
    missing = sorted({*points} - {*read}, key=str)
    if not missing:
        return "data of both values fails no more often than the worst pattern that was read, at every operating point"
    if not read:
        return (
            "data of both values fails as zeros and ones that are stored alone do: no pattern of both was read, and "
            "memories fail more often with some; a margin is the place to allow for that"
        )
    where = "; ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    return (
        "data of both values fails no more often than the worst pattern that was read, and where none was, as zeros "
        f"and ones that are stored alone do ({where})"
    )


def raised_to_patterns(
    points: Sequence[FittedPoint],
    patterns: Sequence[PatternRead],
    failure: float,
    module: str,
    values: Sequence[ValueRead] = (),
) -> Iterator[FittedPoint]:
    """The points, of which none has a rate below that of a pattern that was read there or at a milder point.

    Nor has one a rate of a value below what was counted of the cells that stored it under any pattern.

    The upper ends of their intervals hold the pattern's, too; the lower ends stay, since data of one value fails as it
    did alone.

    Args:
        points: from mild to harsh; none of their rates is below a milder point's.
        patterns: those that were read, of both values.
        failure: the failure probability F.
        module: what was measured, for messages.
        values: the cells of one value under patterns of both, where they were counted apart.

    Raises:
        ValueError: for a failure probability below a rate.

    """
    before: list[FittedPoint] = []
    for point in points:
        found = point
        for pattern in patterns:
            if pattern.point.temperature == point.temperature and as_harsh(point, pattern.point):
                found = _raised(found, pattern, failure, module)
        for value in values:
            if value.point.temperature == point.temperature and as_harsh(point, value.point):
                found = _raised_value(found, value, failure, module)
        milder = [one for one in before if one.temperature == point.temperature and as_harsh(point, one)]
        least = [
            max([rate, *(getattr(one.errors, f"ber_{stored}") for one in milder)])
            for stored, rate in (("zero", found.errors.ber_zero), ("one", found.errors.ber_one))
        ]
        found = _with(found, (least[0], least[1]), (found.zero[1], found.one[1]), found.worst_pattern)
        before.append(found)
        yield found


def _raised(point: FittedPoint, pattern: PatternRead, failure: float, module: str) -> FittedPoint:
    """A point with the rates that a pattern asks for, where they are higher."""
    was, ends = (point.errors.ber_zero, point.errors.ber_one), (point.zero[1], point.one[1])
    if lifted(*was, pattern.ones, pattern.counted) == was:
        return point
    rate, low, high = pattern.told()
    rates = lifted(*was, pattern.ones, rate)
    _check_failure(max(rates), failure, module, pattern)
    worst = _worst(point, pattern.pattern, pattern.readings, (rate, low, high))
    # The ends are moved as the rates are, and further where the pattern is told worse than zeros and ones are.
    by = max(
        (log_odds(after) - log_odds(before) for after, before in zip(rates, was, strict=True) if 0.0 < before < after),
        default=0.0,
    )
    moved = [logistic(log_odds(end) + by) if 0.0 < end < 1.0 else end for end in ends]
    highs = lifted(moved[0], moved[1], pattern.ones, high)
    return _with(point, (_kept(rates[0], was[0]), _kept(rates[1], was[1])), highs, worst)


def _raised_value(point: FittedPoint, value: ValueRead, failure: float, module: str) -> FittedPoint:
    """A point whose rate of a value is not below what was counted of it under a pattern of both."""
    was, ends = [point.errors.ber_zero, point.errors.ber_one], [point.zero[1], point.one[1]]
    if was[value.stored] >= value.counted:
        return point
    rate, low, high = value.told()
    _check_failure(rate, failure, module, value)
    worst = point.worst_pattern
    if worst is None:
        its = "ones" if value.stored else "zeros"
        worst = _worst(point, f"{value.pattern} (its {its})", value.readings, (rate, low, high))
    was[value.stored] = max(was[value.stored], rounded_up(min(rate, 1.0)))
    ends[value.stored] = max(ends[value.stored], high)
    return _with(point, (was[0], was[1]), (ends[0], ends[1]), worst)


def _check_failure(rate: float, failure: float, module: str, read: PatternRead | ValueRead) -> None:
    if rounded_rate(rate) > rounded_rate(failure):
        raise ValueError(
            f"failure is {failure:g}; allowed is {rounded_up(rate):g} to 1, because cells of {module} fail at "
            f"that rate with the pattern {read.pattern} at {read.point}"
        )


def _worst(point: FittedPoint, pattern: str, readings: int, told: tuple[float, float, float]) -> WorstPattern:
    rate, low, high = told
    before, errors = point.worst_pattern, point.errors
    return WorstPattern(
        pattern=pattern,
        readings=readings,
        rate=rounded_up(rate),
        low=rounded_rate(low),
        high=max(rounded_rate(high), rounded_up(rate)),
        zero=before.zero if before else Alone(rate=errors.ber_zero, low=point.zero[0], high=point.zero[1]),
        one=before.one if before else Alone(rate=errors.ber_one, low=point.one[0], high=point.one[1]),
    )


def _kept(rate: float, before: float) -> float:
    """The rate with the digits that are kept, where it is a raised one."""
    return before if rate == before else rounded_up(min(rate, 1.0))


def _with(
    point: FittedPoint, rates: tuple[float, float], highs: tuple[float, float], worst: WorstPattern | None
) -> FittedPoint:
    if rates == (point.errors.ber_zero, point.errors.ber_one):
        return point
    errors = with_rates(point.errors, *rates)
    return point.model_copy(
        update={
            "errors": errors,
            "zero": around((point.zero[0], rounded_rate(highs[0])), errors.ber_zero),
            "one": around((point.one[0], rounded_rate(highs[1])), errors.ber_one),
            "worst_pattern": worst,
        }
    )
