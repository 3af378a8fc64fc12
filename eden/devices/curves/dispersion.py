"""How readings of one condition vary: regimes that they mix, over-dispersion, and outlying readings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from eden import _core
from eden.devices.curves.rates import Condition, Counts
from eden.devices.curves.scale import drop, student
from eden.devices.likelihoods import CONFIDENCE, DECISIVE

# Two sets of readings are two regimes only where their odds lie this factor apart, however sure it is that they differ;
# beyond the larger factor, a single reading is a regime.
REGIME_ODDS = 2.0
LONE_REGIME_ODDS = 10.0
# Number of errors below which chance alone makes such gaps.
REGIME_ERRORS = 10.0


def is_told(readings: Counts) -> bool:
    """Whether readings have a count other than none and all."""
    return any(0.0 < errors < cells for errors, cells in readings)


def regimes(readings: Counts) -> tuple[float, float] | None:
    """The mean rates of two regimes that readings of one condition mix, or None.

    The readings are split at the largest gap of their log-odds. They are two regimes where BIC prefers two normal
    distributions of one variance to one by more than 10, the odds of the halves lie more than a factor 2 apart, and
    each has two readings or more; or where the gap is a factor of more than 10 in the odds, which one reading suffices
    for. Counts below ten errors make no gap.
    """

    def odds(errors: float, cells: float) -> float:
        return math.log(max(errors, REGIME_ERRORS)) - math.log(max(cells - errors, REGIME_ERRORS))

    ordered = sorted(readings, key=lambda reading: odds(*reading))
    values = np.array([odds(*reading) for reading in ordered])
    n = len(values)
    if n < 2:
        return None
    split = int(np.argmax(np.diff(values))) + 1

    def pair() -> tuple[float, float]:
        parts = ordered[:split], ordered[split:]
        low, high = (sum(e for e, _ in part) / sum(c for _, c in part) for part in parts)
        return low, high

    if values[split] - values[split - 1] > math.log(LONE_REGIME_ODDS):
        return pair()
    low, high = values[:split], values[split:]
    if min(len(low), len(high)) < 2 or high.mean() - low.mean() < math.log(REGIME_ODDS):
        return None
    chance = float(np.mean([1 / max(e, 1.0) + 1 / max(c - e, 1.0) for e, c in ordered]))
    one = float(values.var()) + chance
    two = (len(low) * float(low.var()) + len(high) * float(high.var())) / n + chance
    share = len(low) / n
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    gain = n * math.log(one / two) - 2 * n * entropy - 2 * math.log(n)
    return pair() if gain > DECISIVE else None


@dataclass(frozen=True)
class Outliers:
    """How far readings lie from the others of their condition: 95% of all readings within these, each left out in turn.

    Readings have heavier tails than a normal distribution, and a condition that happens to have no outlier yet learns
    of them from the others. A half width h of a prediction becomes max(h, min(ratio h, deviation)): a condition whose
    own readings are far apart needs no more.

    Attributes:
        ratio: of a reading's deviation to the half width that the others predict, 1 or more.
        deviation: in log-odds.

    """

    ratio: float = 1.0
    deviation: float = 0.0

    def half_width(self, half: float) -> float:
        """The half width of a prediction, in log-odds, made wider."""
        return max(half, min(self.ratio * half, self.deviation))


@dataclass(frozen=True)
class Dispersion:
    """Over-dispersion between repeats, on the log-odds scale.

    Attributes:
        common: one value for all conditions, None if no condition is repeated.
        own: each condition's own, by group and place; those that tell one.
        bic_common: BIC of one value for all.
        bic_own: BIC of one value each.
        chosen: ``"common"``, ``"own"``, or ``"given"`` where nothing is repeated.
        outliers: what the outlying readings of all conditions ask for.

    """

    common: float | None
    own: Mapping[tuple[str, float], float]
    bic_common: float
    bic_own: float
    chosen: Literal["common", "own", "given"]
    outliers: Outliers


class Told(NamedTuple):
    """How the dispersion of a condition is known: None is profiled, else a value with degrees of freedom."""

    dispersion: float | None
    freedom: float


def choose_dispersion(groups: Mapping[str, Sequence[Condition]], lent: float | None) -> Dispersion:
    """Whether repeats vary alike at all conditions or each in its way, by BIC.

    Raises:
        ValueError: where nothing is repeated and no dispersion is lent.

    """
    repeated = {
        (name, condition.at): condition.readings
        for name, conditions in groups.items()
        for condition in conditions
        if len(condition.readings) > 1 and is_told(condition.readings)
    }
    if not repeated:
        if lent is None:
            raise ValueError("no condition with errors was read twice, so nothing tells a dispersion; give one (lent)")
        return Dispersion(None, {}, math.inf, math.inf, "given", Outliers())
    own = {key: _core.fit_dispersion([readings]) for key, readings in repeated.items()}
    common, together = _core.fit_dispersion(list(repeated.values()))
    readings = math.log(sum(map(len, repeated.values())))
    bic_common = (len(own) + 1) * readings - 2 * together
    bic_own = 2 * len(own) * readings - 2 * math.fsum(value for _, value in own.values())
    chosen: Literal["common", "own"] = "common" if bic_common <= bic_own else "own"
    ratios: list[float] = []
    deviations: list[float] = []
    freedom = sum(map(len, repeated.values())) - len(repeated)
    for counts in repeated.values():
        if chosen == "common":
            value = common * (freedom + len(repeated)) / freedom
            found, quantile = leave_one_out(counts, value), student(freedom)
        elif len(counts) > 2:
            found, quantile = leave_one_out(counts), student(len(counts) - 2)
        else:
            continue
        deviations += [abs(deviation) for deviation, _ in found]
        ratios += [abs(studentized) / quantile for _, studentized in found]
    return Dispersion(
        common,
        {key: value for key, (value, _) in own.items()},
        bic_common,
        bic_own,
        chosen,
        Outliers(max(1.0, upper_of(ratios)), upper_of(deviations)),
    )


def leave_one_out(readings: Counts, dispersion: float | None = None) -> list[tuple[float, float]]:
    """Each reading against the others: its log-odds less their mean, and that in standard errors.

    The variance is that of the others, or the dispersion where one is given, and the binomial one besides.

    Raises:
        ValueError: for fewer than three readings, or two with a dispersion.

    """
    n, least = len(readings), 3 if dispersion is None else 2
    if n < least:
        raise ValueError(f"found {n} readings; allowed is {least} or more")
    errors, holding = (np.array([pair[i] for pair in readings]) for i in (0, 1))
    errors, holding = errors + 0.5, holding - errors + 0.5
    odds = np.log(errors) - np.log(holding)
    mean = (odds.sum() - odds) / (n - 1)
    if dispersion is None:
        others = np.where(np.eye(n, dtype=bool), np.nan, odds)
        dispersion = np.nanvar(others, axis=1, ddof=1)
    variance = dispersion + np.mean(1.0 / errors + 1.0 / holding)
    difference = odds - mean
    return list(zip(difference, difference / np.sqrt(variance * (1.0 + 1.0 / (n - 1))), strict=True))


def upper_of(values: Sequence[float]) -> float:
    """The order statistic that a further one of exchangeable values stays below with 95% or more; 0 of none."""
    rank = math.ceil(CONFIDENCE * (len(values) + 1))
    return sorted(values)[min(rank, len(values)) - 1] if values else 0.0


def told_by(
    groups: Mapping[str, Sequence[Condition]], dispersion: Dispersion, lent: float | None
) -> dict[tuple[str, float], Told]:
    """How the dispersion of each condition is known, by group and place."""
    told = {}
    keys = [(name, condition) for name, conditions in groups.items() for condition in conditions]
    if dispersion.chosen == "common":
        assert dispersion.common is not None
        repeated = [c for name, c in keys if (name, c.at) in dispersion.own]
        total = sum(len(condition.readings) for condition in repeated)
        freedom = total - len(repeated)
        # Maximum likelihood divides a sum of squares by the readings, not by what is left after the means.
        value = dispersion.common * total / freedom
        return {(name, condition.at): Told(value, freedom) for name, condition in keys}
    largest = max(dispersion.own.values(), default=0.0) if lent is None else lent
    for name, condition in keys:
        key = name, condition.at
        told[key] = Told(None, len(condition.readings) - 1) if key in dispersion.own else Told(largest, math.inf)
    return told


def likelihood_of(condition: Condition, told: Told, discount: float) -> _core.ConditionLikelihood:
    """The log-likelihood of a condition's log-odds, on the scale of one chi-square."""
    n = len(condition.readings)
    if told.dispersion is None:
        weight = 2 * drop() / (n * math.log1p(student(n - 1) ** 2 / (n - 1)))
    else:
        weight = 2 * drop() / student(told.freedom) ** 2
    # A ratio of two quantiles, which two functions compute: of infinitely many degrees of freedom it is 1.
    return _core.ConditionLikelihood(condition.readings, told.dispersion, min(weight * discount, 1.0))
