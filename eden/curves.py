"""Bit error rates as functions of latency and supply voltage, with intervals, and populations of modules.

A curve is BER(t) = A G((mu - t) / sigma): cells differ in the latency that they need, and a share A of them can fail.
Its likelihood is C++ (``csrc/core/curves.h``); here it is decided what it is applied to, what is left out and by which
name, and what an answer may rest on. ``docs/curves.md`` has the mathematics and its sources.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from scipy import optimize, stats

from eden import _core
from eden.files import FileError
from eden.fits import CONFIDENCE, DECISIVE
from eden.measurements import Campaign

# A curve that misses its conditions so far that chance would do so less often than this is not used.
LACK_OF_FIT = 0.01
# A rate that falls as the latency shrinks is no chance where its likelihood ratio would be so large less often than so.
FALL = 0.01
# Two sets of readings are two regimes only where their odds lie this factor apart, however sure it is that they differ;
# beyond the larger factor, a single reading is a regime.
REGIME_ODDS = 2.0
LONE_REGIME_ODDS = 10.0
# Number of errors below which chance alone makes such gaps.
REGIME_ERRORS = 10.0
LINE_BITS = 512

Counts = Sequence[tuple[float, float]]
Axis = Literal["trcd", "trp"]
Basis = Literal["measured", "curve", "bracket", "extrapolation", "population"]


@dataclass(frozen=True)
class Margin:
    """What is added for temperature and ageing, which the measurements do not cover.

    Attributes:
        shift: the operating point is taken to be harsher by this much, in ns or V.
        factor: the rate and its interval are multiplied by this, up to 1.

    """

    shift: float = 0.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.shift < math.inf:
            raise ValueError(f"margin: shift is {self.shift}; allowed is 0 or more")
        if not 1.0 <= self.factor < math.inf:
            raise ValueError(f"margin: factor is {self.factor}; allowed is 1 or more")

    def __str__(self) -> str:
        return f"shift {self.shift:g}, factor {self.factor:g}"


@dataclass(frozen=True)
class Condition:
    """The readings of one operating point.

    Attributes:
        at: latency in ns or supply voltage in V.
        readings: each as (errors, cells).

    """

    at: float
    readings: tuple[tuple[float, float], ...]

    @property
    def rate(self) -> float:
        """Errors by cells, over all readings."""
        return math.fsum(errors for errors, _ in self.readings) / math.fsum(cells for _, cells in self.readings)


@dataclass(frozen=True)
class Region:
    """An operating point that no curve passes through.

    Attributes:
        at: latency in ns or supply voltage in V.
        reason: why.

    """

    at: float
    reason: str


@dataclass(frozen=True)
class Rate:
    """A bit error rate with what it rests on.

    Attributes:
        at: the operating point asked for, in ns or V.
        estimate: the rate; the careful end of a bracket.
        low: lower end of its interval.
        high: upper end of its interval.
        confidence: of the interval.
        basis: ``"curve"``; ``"bracket"`` where monotony alone bounds the rate by the measured neighbours, because no
            curve is identified; ``"extrapolation"`` outside what was measured; ``"measured"`` at a point that no curve
            passes through; ``"population"`` of a module that was not measured.
        identified: whether the data bound the rate from both sides.
        margin: what was added; ``low``, ``estimate`` and ``high`` have it in them.

    """

    at: float
    estimate: float
    low: float
    high: float
    confidence: float
    basis: Basis
    identified: bool
    margin: Margin = Margin()


@dataclass(frozen=True)
class Prediction:
    """Where a further reading will lie. It has no margin in it: it is about this module and this equipment.

    Attributes:
        at: the operating point in ns or V.
        low: lower end, as a rate.
        high: upper end, as a rate.
        estimate: the rate that is expected.
        basis: as in ``Rate``.

    """

    at: float
    low: float
    high: float
    estimate: float
    basis: Basis

    def covers(self, rate: float) -> bool:
        """Whether a rate lies in the interval."""
        return self.low <= rate <= self.high

    @property
    def decades(self) -> float:
        """Width in decades; infinite where the lower end is 0."""
        return math.log10(self.high / self.low) if self.low > 0 else math.inf


@dataclass(frozen=True)
class Parameter:
    """A parameter of a curve.

    Attributes:
        estimate: in ns or V; the asymptote is a share of cells.
        low: lower end of the interval, infinite (0 for a scale or an asymptote) where the data leave it open.
        high: upper end, infinite (1 for an asymptote) where the data leave it open.
        identified: whether both ends are closed.

    """

    estimate: float
    low: float
    high: float
    identified: bool


@dataclass(frozen=True)
class Formula:
    """A curve as numbers: rate(at) = asymptote G((location - at) / scale).

    Attributes:
        link: G, ``"probit"`` (the normal distribution function) or ``"logit"`` (the logistic one).
        location: in ns or V.
        scale: in ns or V.
        asymptote: share of the cells that can fail.

    """

    link: Literal["probit", "logit"]
    location: float
    scale: float
    asymptote: float

    def rate(self, at: float) -> float:
        """The rate at an operating point, inside what was measured or not."""
        parameters = _core.CurveParameters(self.location, self.scale, self.asymptote)
        return _logistic(_core.curve_log_odds(getattr(_core.CurveLink, self.link), parameters, at))


@dataclass(frozen=True)
class ChoiceRow:
    """One candidate of the choice of a curve.

    Attributes:
        groups: which groups it describes.
        link: ``"probit"`` or ``"logit"``.
        asymptote: ``"one"``, ``"own"`` or ``"shared"``.
        shared_scale: whether the groups have one scale.
        parameters: number of parameters.
        conditions: number of conditions.
        deviance: twice the log-likelihood ratio against a free rate for each condition.
        p_value: probability of a deviance as large, if the curve is right.
        bic: the deviance with the penalty for parameters.
        chosen: whether it was.

    """

    groups: tuple[str, ...]
    link: str
    asymptote: str
    shared_scale: bool
    parameters: int
    conditions: int
    deviance: float
    p_value: float
    bic: float
    chosen: bool


def _logistic(x: float) -> float:
    if x < -700.0:
        return 0.0
    return 1.0 / (1.0 + math.exp(-x))


def _logit(p: float) -> float:
    if p <= 0.0:
        return -math.inf
    return math.inf if p >= 1.0 else math.log(p) - math.log1p(-p)


_DROP = float(stats.chi2.ppf(CONFIDENCE, 1)) / 2


def _student(freedom: float) -> float:
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))


def _told(readings: Counts) -> bool:
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


class _Told(NamedTuple):
    """How the dispersion of a condition is known: None is profiled, else a value with degrees of freedom."""

    dispersion: float | None
    freedom: float


@dataclass(frozen=True, eq=False)
class _Alternative:
    groups: list[list[_core.CurveCondition]]
    rule: _core.CurveRule
    fit: _core.CurveFit
    index: int
    bic: float


@dataclass(frozen=True, eq=False)
class Curve:
    """One group's rate as a function of the operating point. Made by ``fit_conditions`` and its relatives.

    Attributes:
        group: name, such as ``"zero"``.
        unit: ``"ns"`` or ``"V"``.
        conditions: all that were measured, from mild to harsh.
        fitted: places of the conditions that the curve was fitted to; empty where there is no curve. Between the last
            one without errors and the first with them the rate is bracketed all the same.
        left_out: conditions that are no part of the operating range, each with its reason.
        notes: what was decided, one sentence each.
        margin: what every rate has added to it.
        outliers: what makes predictions wider.

    """

    group: str
    unit: str
    conditions: tuple[Condition, ...]
    fitted: tuple[float, ...]
    left_out: tuple[Region, ...]
    notes: tuple[str, ...]
    margin: Margin
    outliers: Outliers
    _likelihoods: Mapping[float, _core.ConditionLikelihood] = field(repr=False)
    _told: Mapping[float, _Told] = field(repr=False)
    _alternatives: tuple[_Alternative, ...] = field(repr=False)
    _answers: dict[float, tuple[float, float, float]] = field(default_factory=dict, repr=False)

    @property
    def formula(self) -> Formula | None:
        """The chosen curve, or None where the data tell none."""
        if not self._alternatives:
            return None
        best = self._alternatives[0]
        parameters = best.fit.groups[best.index]
        link: Literal["probit", "logit"] = "probit" if best.rule.link == _core.CurveLink.probit else "logit"
        return Formula(link, parameters.location, parameters.scale, parameters.asymptote)

    def parameters(self) -> dict[str, Parameter]:
        """Parameters of the chosen curve with 95% profile-likelihood intervals; empty without one."""
        if not self._alternatives:
            return {}
        best = self._alternatives[0]
        chosen = best.fit.groups[best.index]
        result = {}
        for number, (name, estimate, open_low, open_high) in enumerate(
            (
                ("location", chosen.location, -math.inf, math.inf),
                ("scale", chosen.scale, 0.0, math.inf),
                ("asymptote", chosen.asymptote, 0.0, 1.0),
            )
        ):
            low, high = _core.parameter_ends(best.groups, best.rule, best.fit, best.index, number, _DROP)
            fixed = name == "asymptote" and best.rule.asymptote == _core.Asymptote.one
            closed = low > open_low and (high < open_high or name == "asymptote")
            result[name] = Parameter(estimate, low, high, fixed or closed)
        return result

    @property
    def usable(self) -> tuple[float, ...]:
        """Places of the conditions inside the operating range, from mild to harsh."""
        gone = {region.at for region in self.left_out}
        return tuple(condition.at for condition in self.conditions if condition.at not in gone)

    def rate(self, at: float, extrapolate: bool = False) -> Rate:
        """The rate at an operating point, the margin included.

        Args:
            at: in ns or V. With a margin, the rate is that of ``at - margin.shift``.
            extrapolate: answer outside the range and in regions that were left out, too; such an answer is marked.

        Raises:
            ValueError: outside the measured range or in a region that was left out, unless asked to extrapolate; where
                there is no curve to extrapolate with.

        """
        place = at - self.margin.shift
        refusal = self._refusal(place)
        if refusal is None:
            low, estimate, high, basis = self._inside(place)
        elif not extrapolate:
            raise ValueError(
                f"{self.group}: found {_place(at, self.unit)} with a margin of {self.margin}; {refusal}; allowed is "
                f"{self._allowed()}, or extrapolate=True"
            )
        elif not self._alternatives:
            raise ValueError(
                f"{self.group}: found {_place(at, self.unit)}; {refusal}, and no curve was fitted to extrapolate with "
                f"({'; '.join(self.notes) or 'no condition with errors'}); allowed is {self._allowed()}"
            )
        else:
            low, estimate, high = self._curve(place)
            # Beyond the range a rate is at least (or at most) what it is at the range's end.
            usable = self.usable
            if usable and place > usable[0]:
                low = 0.0
            elif usable and place < usable[-1]:
                high = 1.0
            basis = "extrapolation"
        factor = self.margin.factor
        identified = basis != "extrapolation" and low > 0.0 and high < 1.0
        return Rate(
            at,
            min(estimate * factor, 1.0),
            min(low * factor, 1.0),
            min(high * factor, 1.0),
            CONFIDENCE,
            basis,
            identified,
            self.margin,
        )

    def predict(self, at: float, repeats: int = 1, cells: float | None = None, *, outliers: bool = True) -> Prediction:
        """Where the rate of a further reading will lie with 95% confidence.

        At a measured condition it rests on that condition's own readings, whether a curve passes through it or not; in
        between on the curve or the bracket, and the larger dispersion of the two neighbours.

        Args:
            at: the operating point in ns or V.
            repeats: of how many readings the mean rate is meant.
            cells: cells of a reading; those of the condition's first (of the group's first) if None.
            outliers: make the interval as wide as the outlying readings of all conditions ask for.

        Raises:
            ValueError: outside the measured range.

        """
        measured = [condition for condition in self.conditions if condition.at == at]
        cells = cells if cells is not None else (measured or self.conditions)[0].readings[0][1]
        if measured:
            condition = measured[0]
            told = self._told[at]
            n = len(condition.readings)
            if told.dispersion is None:
                drop = 0.5 * (n + 1) * math.log1p(_student(n - 1) ** 2 / (n - 1))
            else:
                drop = 0.5 * _student(told.freedom) ** 2
            low, high = _core.predict_reading(condition.readings, cells * repeats, repeats, told.dispersion, drop)
            low, high = low / (cells * repeats), high / (cells * repeats)
            if outliers and 0 < condition.rate < 1:
                low, high = self._wider(low, condition.rate, high)
            return Prediction(at, low, high, condition.rate, "measured")
        refusal = self._refusal(at)
        if refusal is not None:
            raise ValueError(
                f"{self.group}: found {_place(at, self.unit)}; {refusal}; allowed is {self._allowed()} or a measured "
                "point"
            )
        low, estimate, high, basis = self._inside(at)
        # The interval of the rate and the spread of readings, joined as independent normal errors of the log-odds
        # (Zou and Donner, "Construction of confidence limits about effect measures", Stat. Med. 27, 2008).
        centre = _logit(min(max(estimate, 1e-300), 1 - 1e-16))
        chance = 1 / max(cells * repeats * estimate * (1 - estimate), 1e-9)
        usable = self.usable
        mild, harsh = next(pair for pair in pairwise(usable) if pair[1] < at < pair[0])
        half = max(math.sqrt(self._spread(place)) for place in (mild, harsh))
        square = (self.outliers.half_width(half) if outliers else half) ** 2 / repeats
        square += _student(math.inf) ** 2 * chance
        below, above = centre - _logit(low), _logit(high) - centre
        return Prediction(
            at,
            _logistic(centre - math.sqrt(below**2 + square)) if math.isfinite(below) else 0.0,
            _logistic(centre + math.sqrt(above**2 + square)) if math.isfinite(above) else 1.0,
            estimate,
            basis,
        )

    def _wider(self, low: float, estimate: float, high: float) -> tuple[float, float]:
        """The interval made wider on the log-odds scale; ends at 0 and 1 stay."""
        centre = _logit(estimate)
        if low > 0:
            low = min(low, _logistic(centre - self.outliers.half_width(max(centre - _logit(low), 0.0))))
        if high < 1:
            high = max(high, _logistic(centre + self.outliers.half_width(max(_logit(high) - centre, 0.0))))
        return low, high

    def _spread(self, at: float) -> float:
        """Square of the half width, in log-odds, that the dispersion of a condition gives to a further reading."""
        told, n = self._told[at], len(self._condition(at).readings)
        if told.dispersion is not None:
            return _student(told.freedom) ** 2 * told.dispersion
        return _student(n - 1) ** 2 * self._likelihoods[at].dispersion * n / (n - 1)

    def _condition(self, at: float) -> Condition:
        return next(condition for condition in self.conditions if condition.at == at)

    def curve_interval(self, at: float) -> Rate | None:
        """What the curve alone says at a place inside its range, without the margin; None where there is no curve."""
        span = self._span
        if span is None or not span[0] <= at <= span[1]:
            return None
        low, estimate, high = self._curve(at)
        return Rate(at, estimate, low, high, CONFIDENCE, "curve", low > 0.0 and high < 1.0)

    def likelihood(self, at: float) -> _core.ConditionLikelihood | None:
        """The log-likelihood of the log-odds at a measured condition, on the scale of one chi-square."""
        return self._likelihoods.get(at)

    def _allowed(self) -> str:
        usable = self.usable
        if not usable:
            return "no point: none is inside the operating range"
        return f"{_place(usable[-1], self.unit)} to {_place(usable[0], self.unit)}"

    def _refusal(self, at: float) -> str | None:
        usable = self.usable
        nearest = [region for region in self.left_out if region.at == at]
        if nearest:
            return f"it was left out: {nearest[0].reason}"
        if not usable or not usable[-1] <= at <= usable[0]:
            beyond = [
                region for region in self.left_out if not usable or region.at < usable[-1] or region.at > usable[0]
            ]
            reason = f"; {_place(beyond[0].at, self.unit)} was left out: {beyond[0].reason}" if beyond else ""
            return "it is outside the measured range" + reason
        if at in usable:
            return None
        mild, harsh = next(pair for pair in pairwise(usable) if pair[1] < at < pair[0])
        for region in self.left_out:
            if harsh < region.at < mild:
                return f"it lies in the region about {_place(region.at, self.unit)}, left out: {region.reason}"
        return None

    def _ends(self, at: float) -> tuple[float, float]:
        likelihood = self._likelihoods[at]
        return _logistic(likelihood.lower(_DROP)), _logistic(likelihood.upper(_DROP))

    def _inside(self, at: float) -> tuple[float, float, float, Basis]:
        usable = self.usable
        span = self._span
        if span is not None and span[0] <= at <= span[1]:
            low, estimate, high = self._curve(at)
            # Monotony holds whatever the curve: a wide interval is cut where the measured neighbours bound it.
            milder = [place for place in usable if place >= at]
            harsher = [place for place in usable if place <= at]
            low = max(low, min(self._ends(milder[-1])[0], estimate))
            high = min(high, max(self._ends(harsher[0])[1], estimate))
            return low, estimate, high, "curve"
        if at in usable:
            return *self._level(at), "measured"
        mild, harsh = next(pair for pair in pairwise(usable) if pair[1] < at < pair[0])
        _, estimate, high = self._level(harsh)
        return self._level(mild)[0], estimate, high, "bracket"

    def _level(self, at: float) -> tuple[float, float, float]:
        """The rate at a measured place, never below that of a milder one."""
        span = self._span
        if span is not None and span[0] <= at <= span[1]:
            low, estimate, high, _ = self._inside(at)
            return low, estimate, high
        milder = [place for place in self.usable if place >= at]
        best = max(self._likelihoods[place].best for place in milder)
        estimate = _logistic(best) if math.isfinite(best) else float(best > 0)
        low = max(self._ends(place)[0] for place in milder)
        return low, estimate, max(self._ends(at)[1], estimate)

    @property
    def _span(self) -> tuple[float, float] | None:
        """Between which places the curve answers: those with errors."""
        failing = [c.at for c in self.conditions if c.at in self.fitted and c.rate > 0]
        return (min(failing), max(failing)) if failing else None

    def _curve(self, at: float) -> tuple[float, float, float]:
        """The chosen curve's rate, and the hull of the intervals of all curves that are not decisively worse."""
        if at not in self._answers:
            lows, highs = [], []
            for one in self._alternatives:
                low, high = _core.curve_ends(one.groups, one.rule, one.fit, one.index, at, _DROP)
                lows.append(_logistic(low))
                highs.append(_logistic(high) if math.isfinite(high) else 1.0)
            best = self.formula
            assert best is not None
            self._answers[at] = min(lows), best.rate(at), max(highs)
        return self._answers[at]


def _place(at: float, unit: str) -> str:
    return f"{at:g} {unit}"


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of groups that were fitted together.

    Attributes:
        groups: by name.
        choice: all candidates, those chosen marked.
        dispersion: of repeats, and how it was chosen.

    """

    groups: Mapping[str, Curve]
    choice: tuple[ChoiceRow, ...]
    dispersion: Dispersion

    def __getitem__(self, group: str) -> Curve:
        return self.groups[group]

    @property
    def zero(self) -> Curve:
        """The curve of stored zeros."""
        return self.groups["zero"]

    @property
    def one(self) -> Curve:
        """The curve of stored ones."""
        return self.groups["one"]

    def pattern(self, byte: int, at: float, repeats: int = 1) -> Prediction:
        """Where a reading of a pattern of both values will lie if each bit fails at the rate of its value.

        Args:
            byte: the byte stored everywhere, 0 to 255.
            at: the operating point in ns.
            repeats: of how many readings the mean rate is meant.

        Raises:
            ValueError: for a byte outside 0 to 255, or as ``Curve.predict`` does.

        """
        if not 0 <= byte <= 255:
            raise ValueError(f"byte is {byte}; allowed is 0 to 255")
        share = byte.bit_count() / 8
        zero, one = self.zero.predict(at, repeats), self.one.predict(at, repeats)
        estimate = (1 - share) * zero.estimate + share * one.estimate
        below = math.hypot((1 - share) * (zero.estimate - zero.low), share * (one.estimate - one.low))
        above = math.hypot((1 - share) * (zero.high - zero.estimate), share * (one.high - one.estimate))
        return Prediction(at, max(estimate - below, 0.0), min(estimate + above, 1.0), estimate, zero.basis)


def _choose_dispersion(groups: Mapping[str, Sequence[Condition]], lent: float | None) -> Dispersion:
    repeated = {
        (name, condition.at): condition.readings
        for name, conditions in groups.items()
        for condition in conditions
        if len(condition.readings) > 1 and _told(condition.readings)
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
            found, quantile = _core.leave_one_out(counts, value), _student(freedom)
        elif len(counts) > 2:
            found, quantile = _core.leave_one_out(counts), _student(len(counts) - 2)
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
        Outliers(max(1.0, _upper(ratios)), _upper(deviations)),
    )


def _upper(values: Sequence[float]) -> float:
    """The order statistic that a further one of exchangeable values stays below with 95% or more; 0 of none."""
    rank = math.ceil(CONFIDENCE * (len(values) + 1))
    return sorted(values)[min(rank, len(values)) - 1] if values else 0.0


def _told_by(
    groups: Mapping[str, Sequence[Condition]], dispersion: Dispersion, lent: float | None
) -> dict[tuple[str, float], _Told]:
    told = {}
    keys = [(name, condition) for name, conditions in groups.items() for condition in conditions]
    if dispersion.chosen == "common":
        assert dispersion.common is not None
        repeated = [c for name, c in keys if (name, c.at) in dispersion.own]
        total = sum(len(condition.readings) for condition in repeated)
        freedom = total - len(repeated)
        # Maximum likelihood divides a sum of squares by the readings, not by what is left after the means.
        value = dispersion.common * total / freedom
        return {(name, condition.at): _Told(value, freedom) for name, condition in keys}
    largest = max(dispersion.own.values(), default=0.0) if lent is None else lent
    for name, condition in keys:
        key = name, condition.at
        told[key] = _Told(None, len(condition.readings) - 1) if key in dispersion.own else _Told(largest, math.inf)
    return told


def _likelihood(condition: Condition, told: _Told, discount: float) -> _core.ConditionLikelihood:
    n = len(condition.readings)
    if told.dispersion is None:
        weight = 2 * _DROP / (n * math.log1p(_student(n - 1) ** 2 / (n - 1)))
    else:
        weight = 2 * _DROP / _student(told.freedom) ** 2
    return _core.ConditionLikelihood(condition.readings, told.dispersion, weight * discount)


_RULES = [
    _core.CurveRule(link, asymptote, False)
    for link in (_core.CurveLink.probit, _core.CurveLink.logit)
    for asymptote in (_core.Asymptote.one, _core.Asymptote.own)
]
_SHARED_RULES = [
    _core.CurveRule(link, asymptote, shared)
    for link in (_core.CurveLink.probit, _core.CurveLink.logit)
    for asymptote in (_core.Asymptote.one, _core.Asymptote.own, _core.Asymptote.shared)
    for shared in (True, False)
    if shared or asymptote == _core.Asymptote.shared
]


@dataclass(frozen=True, eq=False)
class _Candidate:
    names: tuple[str, ...]
    groups: list[list[_core.CurveCondition]]
    rule: _core.CurveRule
    fit: _core.CurveFit
    conditions: int
    deviance: float
    p_value: float
    bic: float

    @property
    def adequate(self) -> bool:
        return self.p_value >= LACK_OF_FIT

    @property
    def told(self) -> bool:
        """Whether as many conditions have errors as there are parameters; else it bounds answers but is not chosen."""
        failing = sum(condition.likelihood.best > -math.inf for group in self.groups for condition in group)
        return self.fit.parameters <= failing

    def row(self, chosen: bool) -> ChoiceRow:
        return ChoiceRow(
            self.names,
            self.rule.link.name,
            self.rule.asymptote.name,
            self.rule.shared_scale,
            self.fit.parameters,
            self.conditions,
            self.deviance,
            self.p_value,
            self.bic,
            chosen,
        )


def _candidate(
    names: tuple[str, ...], groups: list[list[_core.CurveCondition]], rule: _core.CurveRule, readings: int
) -> _Candidate:
    fit = _core.fit_curves(groups, rule)
    conditions = sum(map(len, groups))
    deviance = max(-2 * fit.log_likelihood, 0.0)
    p_value = float(stats.chi2.sf(deviance, max(conditions - fit.parameters, 1)))
    bic = deviance + fit.parameters * math.log(readings)
    return _Candidate(names, groups, rule, fit, conditions, deviance, p_value, bic)


def _falls(mild: _core.ConditionLikelihood, harsh: _core.ConditionLikelihood) -> bool:
    """Whether the harsher condition's rate is below the milder one's beyond what their dispersions explain."""
    if mild.best <= harsh.best or (math.isinf(mild.best) and mild.best < 0):
        return False
    low = harsh.best if math.isfinite(harsh.best) else mild.best - 60.0
    high = mild.best if math.isfinite(mild.best) else low + 60.0
    grid = np.concatenate([np.linspace(low, high, 200), [mild.lower(d) for d in (0.5, 1, 2, 3, 4)]])
    together = max(mild(float(x)) + harsh(float(x)) for x in grid if math.isfinite(x))
    # The null hypothesis is one-sided, so half of the chi-square.
    return -2 * together > float(stats.chi2.ppf(1 - 2 * FALL, 1))


class _Group:
    """A group on its way to a curve."""

    def __init__(
        self, name: str, conditions: Sequence[Condition], told: Mapping[tuple[str, float], _Told], discount: float
    ) -> None:
        self.name = name
        self.conditions = tuple(sorted(conditions, key=lambda condition: -condition.at))
        self.told = {condition.at: told[name, condition.at] for condition in self.conditions}
        self.likelihoods = {
            condition.at: _likelihood(condition, self.told[condition.at], discount) for condition in self.conditions
        }
        self.left_out: list[Region] = []
        self.notes: list[str] = []
        self.fitted: list[Condition] = []
        self.candidates: list[_Candidate] = []
        self.without_onset: list[_Candidate] = []

    def leave_out(self, unit: str) -> None:
        """The conditions that mix regimes, and those from where the rate falls on."""
        highest: Condition | None = None
        for index, condition in enumerate(self.conditions):
            mixed = regimes(condition.readings)
            if mixed:
                reason = f"the readings mix two regimes, of the rates {mixed[0]:.3g} and {mixed[1]:.3g}"
                self.left_out.append(Region(condition.at, reason))
                continue
            if highest and _falls(self.likelihoods[highest.at], self.likelihoods[condition.at]):
                for rest in self.conditions[index:]:
                    reason = (
                        f"the rate falls beyond its dispersion from {highest.rate:.3g} at "
                        f"{_place(highest.at, unit)} to {condition.rate:.3g} at {_place(condition.at, unit)}"
                    )
                    self.left_out.append(Region(rest.at, reason))
                break
            if highest is None or condition.rate > highest.rate:
                highest = condition

    def fit(self, unit: str) -> None:
        """A curve of the group's own: to all conditions, else to those with errors."""
        gone = {region.at for region in self.left_out}
        usable = [condition for condition in self.conditions if condition.at not in gone]
        failing = [condition for condition in usable if condition.rate > 0]
        if len(failing) < 2:
            self.notes.append(
                f"no curve: {len(failing)} usable conditions have errors, and two or more are needed; rates in between "
                "are bracketed"
            )
            return
        self.without_onset = self._candidates(failing)
        for conditions in (usable, failing):
            self.fitted = conditions
            self.candidates = self._candidates(conditions) if conditions is usable else self.without_onset
            if any(candidate.adequate and candidate.told for candidate in self.candidates):
                if conditions is failing and len(failing) < len(usable):
                    self.notes.append(
                        f"the curve ends at {_place(failing[0].at, unit)}: the conditions without errors do not lie on "
                        "it; rates beyond are bracketed"
                    )
                return
            if len(failing) == len(usable):
                break
        least = max(candidate.p_value for candidate in self.candidates)
        self.notes.append(
            f"no curve: none of {len(self.candidates)} fits the conditions with errors (p at most {least:.2g}); rates "
            "in between are bracketed"
        )
        self.fitted = []

    def _candidates(self, conditions: Sequence[Condition]) -> list[_Candidate]:
        places = [_core.CurveCondition(c.at, self.likelihoods[c.at]) for c in conditions]
        readings = sum(len(c.readings) for c in conditions)
        return [_candidate((self.name,), [places], rule, readings) for rule in _RULES]

    def alternatives(self) -> list[_Candidate]:
        return [candidate for candidate in self.candidates if candidate.adequate] if self.fitted else []


def fit_conditions(
    groups: Mapping[str, Sequence[Condition]],
    *,
    unit: str = "ns",
    margin: Margin | None = None,
    lent: float | None = None,
    share: bool = True,
    discount: float = 1.0,
) -> Curves:
    """Fit one curve per group of conditions, with what they share chosen by BIC.

    Args:
        groups: conditions by the group's name; all groups lie on one axis, along which rates fall.
        unit: of the axis, ``"ns"`` or ``"V"``.
        margin: added to every rate that is asked for; none if None.
        lent: the variance of log-odds between readings for conditions that do not tell theirs. If None it is the
            largest of the conditions that do.
        share: whether the groups may share scale and asymptote.
        discount: factor on the log-likelihoods of groups whose readings depend on each other.

    Raises:
        ValueError: for no groups, conditions that are given twice or are no counts, and where nothing is read twice
            and no dispersion is lent.

    """
    for name, conditions in groups.items():
        places = [condition.at for condition in conditions]
        if len(set(places)) < len(places):
            raise ValueError(f"{name}: a condition is given twice; allowed is one per place: {sorted(places)}")
    if not groups or not any(groups.values()):
        raise ValueError("no conditions; allowed is one or more")
    dispersion = _choose_dispersion(groups, lent)
    told = _told_by(groups, dispersion, lent)
    members = [_Group(name, conditions, told, discount) for name, conditions in groups.items() if conditions]
    for member in members:
        member.leave_out(unit)
        member.fit(unit)
    curved = [member for member in members if member.alternatives()]
    own_best = {
        member.name: min((c for c in member.alternatives() if c.told), key=lambda c: c.bic) for member in curved
    }
    joint: list[_Candidate] = []
    if share and len(curved) > 1:
        names = tuple(member.name for member in curved)
        grouped = [own_best[name].groups[0] for name in names]
        readings = sum(len(c.readings) for member in curved for c in member.fitted)
        joint = [_candidate(names, grouped, rule, readings) for rule in _SHARED_RULES]
        # The same penalty per parameter on both sides of the comparison.
        separate = sum(c.deviance + c.fit.parameters * math.log(readings) for c in own_best.values())
    best_joint = min((c for c in joint if c.adequate and c.told), key=lambda c: c.bic, default=None)
    together = best_joint is not None and best_joint.bic < separate
    rows = []
    curves = {}
    for member in members:
        alternatives: list[_Alternative] = []
        if member.name in own_best:
            if together:
                assert best_joint is not None
                index = best_joint.names.index(member.name)
                pool = [c for c in joint if c.adequate and c.bic <= best_joint.bic + DECISIVE]
            else:
                index = 0
                limit = own_best[member.name].bic + DECISIVE
                pool = [c for c in member.alternatives() if c.bic <= limit]
            pool.sort(key=lambda c: (not c.told, c.bic))
            alternatives = [_Alternative(c.groups, c.rule, c.fit, index, c.bic) for c in pool]
            # Whether the conditions without errors lie on the same curve is not known, so curves without them bound
            # the answer, too.
            if any(condition.rate == 0 for condition in member.fitted):
                alternatives += [
                    _Alternative(c.groups, c.rule, c.fit, 0, c.bic) for c in member.without_onset if c.adequate
                ]
        rows += [c.row(not together and c is own_best.get(member.name)) for c in member.candidates]
        curves[member.name] = Curve(
            group=member.name,
            unit=unit,
            conditions=member.conditions,
            fitted=tuple(condition.at for condition in member.fitted),
            left_out=tuple(member.left_out),
            notes=tuple(member.notes),
            margin=margin or Margin(),
            outliers=dispersion.outliers,
            _likelihoods=member.likelihoods,
            _told=member.told,
            _alternatives=tuple(alternatives),
        )
    rows += [c.row(together and c is best_joint) for c in joint]
    return Curves(curves, tuple(rows), dispersion)


_OTHER: dict[Axis, Axis] = {"trcd": "trp", "trp": "trcd"}


def campaign_conditions(
    campaign: Campaign,
    axis: Axis,
    temperature: float,
    *,
    bank: int | None = None,
    patterns: Iterable[int] = (0x00, 0xFF),
) -> dict[int, tuple[Condition, ...]]:
    """The readings along one latency, the other at its largest, by pattern.

    Args:
        campaign: the readings of one module.
        axis: which latency.
        temperature: in degrees Celsius.
        bank: one bank, or the sum of the tested ones if None.
        patterns: bytes stored everywhere.

    Raises:
        ValueError: for an axis that is none.

    """
    if axis not in _OTHER:
        raise ValueError(f"axis is {axis!r}; allowed are 'trcd' and 'trp'")
    other = _OTHER[axis]
    nominal = max((getattr(reading, other) for reading in campaign.readings), default=0.0)
    wanted = set(patterns)
    cells = float(campaign.cells_per_bank)
    found: dict[int, dict[float, list[tuple[float, float]]]] = {}
    for reading in campaign.readings:
        if reading.temperature != temperature or getattr(reading, other) != nominal or reading.pattern not in wanted:
            continue
        if bank is None:
            count = (reading.total, reading.tested * cells) if reading.tested else None
        else:
            errors = reading.errors[bank]
            count = None if errors is None else (errors, cells)
        if count is not None:
            found.setdefault(reading.pattern, {}).setdefault(getattr(reading, axis), []).append(count)
    return {
        pattern: tuple(Condition(at, tuple(readings)) for at, readings in sorted(places.items(), reverse=True))
        for pattern, places in found.items()
    }


def fit_latency(
    campaign: Campaign,
    axis: Axis = "trcd",
    temperature: float | None = None,
    *,
    bank: int | None = None,
    margin: Margin | None = None,
    lent: float | None = None,
    share: bool = True,
) -> Curves:
    """The rates of stored zeros and ones along one latency, the other nominal, of a module or of one bank.

    Args:
        campaign: the readings of one module.
        axis: ``"trcd"`` or ``"trp"``.
        temperature: in degrees Celsius; the highest one measured if None.
        bank: one bank; the module (the sum of the tested banks) if None.
        margin: as in ``fit_conditions``.
        lent: as in ``fit_conditions``; if None and nothing is repeated, the dispersion between banks.
        share: as in ``fit_conditions``.

    Raises:
        ValueError: where nothing was measured, or as ``fit_conditions`` does.

    """
    temperatures = sorted({reading.temperature for reading in campaign.readings})
    if not temperatures:
        raise ValueError(f"module {campaign.module} has no readings; allowed is one or more")
    chosen = temperatures[-1] if temperature is None else temperature
    conditions = campaign_conditions(campaign, axis, chosen, bank=bank)
    if not conditions:
        raise ValueError(
            f"module {campaign.module} has no readings of 0x0 or 0xff along {axis} at {chosen:g} C; measured are "
            f"{', '.join(f'{value:g}' for value in temperatures)} C"
        )
    groups = {name: conditions[byte] for name, byte in (("zero", 0x00), ("one", 0xFF)) if byte in conditions}
    if lent is None and not any(
        len(c.readings) > 1 and _told(c.readings) for conditions in groups.values() for c in conditions
    ):
        lent = _between_banks(campaign)
    return fit_conditions(groups, margin=margin, lent=lent, share=share)


def fit_banks(
    campaign: Campaign,
    stored: Literal["zero", "one"],
    axis: Axis = "trcd",
    temperature: float | None = None,
    *,
    margin: Margin | None = None,
) -> Curves:
    """The rates of one stored value along one latency, a curve per bank, scale and asymptote shared if BIC says so.

    Banks of one reading share what that reading has in common, so that they tell less than as many independent ones:
    log-likelihoods are discounted by 1 + (banks - 1) r, r being the mean correlation of their log-odds within
    conditions (Kish, Survey Sampling, 1965, for the factor; Varin, Reid and Firth, Stat. Sinica 21, 2011, for composite
    likelihoods). Where nothing is shared, a bank's intervals are therefore wider than from that bank alone.

    Raises:
        ValueError: as ``fit_latency`` does.

    """
    temperatures = sorted({reading.temperature for reading in campaign.readings})
    chosen = temperatures[-1] if temperature is None else temperature
    byte = {"zero": 0x00, "one": 0xFF}[stored]
    groups = {}
    for bank in range(campaign.banks):
        conditions = campaign_conditions(campaign, axis, chosen, bank=bank, patterns=(byte,))
        if byte in conditions:
            groups[f"bank{bank}"] = conditions[byte]
    correlation = _correlation(campaign, axis, chosen, byte)
    discount = 1 / (1 + (len(groups) - 1) * correlation) if groups else 1.0
    lent = None
    if not any(len(c.readings) > 1 and _told(c.readings) for conditions in groups.values() for c in conditions):
        lent = _between_banks(campaign)
    return fit_conditions(groups, margin=margin, lent=lent, discount=discount)


def _correlation(campaign: Campaign, axis: Axis, temperature: float, byte: int) -> float:
    """Mean correlation between banks of the log-odds of a reading, about the mean of its condition; 0 to 1."""
    other = _OTHER[axis]
    nominal = max(getattr(reading, other) for reading in campaign.readings)
    cells = campaign.cells_per_bank
    rows: dict[float, list[list[float]]] = {}
    for reading in campaign.readings:
        if reading.temperature != temperature or reading.pattern != byte or getattr(reading, other) != nominal:
            continue
        if all(errors is not None and 0 < errors < cells for errors in reading.errors):
            odds = [math.log(errors) - math.log(cells - errors) for errors in reading.errors if errors is not None]
            rows.setdefault(getattr(reading, axis), []).append(odds)
    products, weights = 0.0, 0
    for readings in rows.values():
        if len(readings) < 3:
            continue
        table = np.array(readings)
        table = table[:, table.std(0) > 0]
        if table.shape[1] < 2:
            continue
        matrix = np.corrcoef(table.T)
        pairs = matrix[np.triu_indices(len(matrix), 1)]
        products += float(pairs.mean()) * len(readings)
        weights += len(readings)
    return min(max(products / weights, 0.0), 1.0) if weights else 1.0


def _between_banks(campaign: Campaign) -> float:
    """The largest dispersion between banks of one reading, for a campaign that repeats nothing."""
    cells = float(campaign.cells_per_bank)
    largest = 0.0
    for reading in campaign.readings:
        counts = [(errors, cells) for errors in reading.errors if errors is not None]
        if len(counts) > 1 and _told(counts):
            largest = max(largest, _core.fit_dispersion([counts])[0])
    return largest


# -- supply voltage ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LineErrors:
    """How many errors a cache line with errors has, which a percentage of such lines does not tell.

    Attributes:
        kind: ``"independent"``: bits fail independently, so that a share L of lines with errors means
            1 - (1 - L)^(1 / line_bits); ``"fixed"``: each such line has ``errors`` of them, so that it means
            errors L / line_bits.
        errors: errors of a line, for ``"fixed"``.
        line_bits: bits of a line.

    """

    kind: Literal["independent", "fixed"] = "independent"
    errors: float = 1.0
    line_bits: int = LINE_BITS

    def __post_init__(self) -> None:
        if self.kind not in ("independent", "fixed"):
            raise ValueError(f"line errors: kind is {self.kind!r}; allowed are 'independent' and 'fixed'")
        if self.line_bits < 1:
            raise ValueError(f"line errors: line_bits is {self.line_bits}; allowed is 1 or more")
        if not 1.0 <= self.errors <= self.line_bits:
            raise ValueError(f"line errors: errors is {self.errors}; allowed is 1 to {self.line_bits}")

    def ber(self, lines: float) -> float:
        """The bit error rate behind a share of lines with errors."""
        if self.kind == "fixed":
            return self.errors * lines / self.line_bits
        return 1.0 if lines >= 1.0 else -math.expm1(math.log1p(-lines) / self.line_bits)

    def __str__(self) -> str:
        if self.kind == "fixed":
            return f"each line of {self.line_bits} bits with errors has {self.errors:g}"
        return f"the bits of a line of {self.line_bits} fail independently"


@dataclass(frozen=True)
class VoltageModule:
    """Shares of cache lines with errors of one module.

    Attributes:
        name: the module's label.
        vendor: the vendor's label.
        points: supply voltage in V and the share of lines, 0 to 1, from mild to harsh.

    """

    name: str
    vendor: str
    points: tuple[tuple[float, float], ...]


def voltage_modules(campaign: Campaign) -> tuple[VoltageModule, ...]:
    """The modules of a file of the voltage study, as ``eden.measurements.read`` gives it.

    Raises:
        FileError: for a file without such lines, or a module that has a voltage twice, naming the line.

    """
    points: dict[tuple[str, str], dict[float, float]] = {}
    for line in campaign.cache_lines:
        module = points.setdefault((line.module, line.vendor), {})
        if line.vdd in module:
            raise FileError(
                campaign.path, f"line {line.line}: module {line.module} has {line.vdd:g} V twice; allowed is once"
            )
        module[line.vdd] = line.percent / 100
    if not points:
        raise FileError(campaign.path, f"format {campaign.format} has no shares of cache lines; allowed is voltage")
    return tuple(
        VoltageModule(name, vendor, tuple(sorted(module.items(), reverse=True)))
        for (name, vendor), module in points.items()
    )


@dataclass(frozen=True, eq=False)
class VoltageCurve:
    """The bit error rate of one module as a function of the supply voltage, under an assumption on its lines.

    Attributes:
        lines: the curve of the share of lines with errors, which is what was measured.
        assumption: how it becomes a bit error rate.

    """

    lines: Curve
    assumption: LineErrors

    def rate(self, vdd: float, extrapolate: bool = False) -> Rate:
        """The bit error rate at a supply voltage in V, as ``Curve.rate``; the margin's factor acts on it."""
        bare = Curve.rate(self._without_factor(), vdd, extrapolate)
        factor = self.lines.margin.factor
        low, estimate, high = (
            min(self.assumption.ber(value) * factor, 1.0) for value in (bare.low, bare.estimate, bare.high)
        )
        return Rate(vdd, estimate, low, high, bare.confidence, bare.basis, bare.identified, self.lines.margin)

    def _without_factor(self) -> Curve:
        lines = self.lines
        return Curve(
            lines.group,
            lines.unit,
            lines.conditions,
            lines.fitted,
            lines.left_out,
            lines.notes,
            Margin(shift=lines.margin.shift),
            lines.outliers,
            lines._likelihoods,
            lines._told,
            lines._alternatives,
            lines._answers,
        )


@dataclass(frozen=True, eq=False)
class VoltageCurves:
    """Modules of one vendor along the supply voltage.

    Attributes:
        vendor: its label.
        curves: by module.
        assumption: how shares of lines become bit error rates.
        dispersion: variance of the log-odds about the curves, which stands for what no repeat tells.
        dispersion_fitted: whether it was fitted, or given.
        shared: the fit of all modules together, as ``fit_conditions`` makes it.

    """

    vendor: str
    curves: Mapping[str, VoltageCurve]
    assumption: LineErrors
    dispersion: float
    dispersion_fitted: bool
    shared: Curves


def _voltage_conditions(module: VoltageModule, lines: float) -> tuple[Condition, ...]:
    return tuple(Condition(vdd, ((share * lines, lines),)) for vdd, share in module.points)


def fit_voltage(
    modules: Sequence[VoltageModule],
    assumption: LineErrors | None = None,
    *,
    lines: float = 2.0**25,
    dispersion: float | None = None,
    margin: Margin | None = None,
    share: bool = False,
) -> VoltageCurves:
    """Fit the share of lines with errors along the supply voltage, one curve per module of one vendor.

    A point has one number, no repeats, so the dispersion is that of the points about the curves: the value that
    maximizes the likelihood of all modules' own curves, made larger by points / (points - parameters).

    Args:
        modules: of one vendor.
        assumption: how lines become bit error rates; independent bits if None.
        lines: number of lines behind a share (2^25 lines of 64 bytes are 2 GiB).
        dispersion: variance of the log-odds about the curves; fitted if None.
        margin: as in ``fit_conditions``; its shift is in V.
        share: whether modules may share scale and asymptote; slow for many modules.

    Raises:
        ValueError: for no modules, several vendors, or a dispersion that is not told and not given.

    """
    vendors = sorted({module.vendor for module in modules})
    if len(vendors) != 1:
        raise ValueError(f"found modules of {len(vendors)} vendors ({', '.join(vendors)}); allowed is one")
    groups = {module.name: _voltage_conditions(module, lines) for module in modules}
    fitted = dispersion is None
    if dispersion is None:
        dispersion = _scatter(groups)
        if dispersion is None:
            raise ValueError(
                f"vendor {vendors[0]}: no module has errors at three voltages, so nothing tells how far points lie "
                "from a curve; give a dispersion"
            )
    curves = fit_conditions(groups, unit="V", margin=margin, lent=dispersion, share=share)
    used = assumption or LineErrors()
    return VoltageCurves(
        vendors[0],
        {name: VoltageCurve(curve, used) for name, curve in curves.groups.items()},
        used,
        dispersion,
        fitted,
        curves,
    )


def _scatter(groups: Mapping[str, Sequence[Condition]]) -> float | None:
    """Variance of log-odds about probit curves, from the modules with more points than parameters."""
    chosen = [
        [condition for condition in conditions if condition.rate > 0]
        for conditions in groups.values()
        if sum(condition.rate > 0 for condition in conditions) > 2
    ]
    if not chosen:
        return None
    rules = [
        _core.CurveRule(
            _core.CurveLink.probit, _core.Asymptote.own if len(conditions) > 3 else _core.Asymptote.one, False
        )
        for conditions in chosen
    ]

    def log_likelihood(logarithm: float) -> float:
        total = 0.0
        for conditions, rule in zip(chosen, rules, strict=True):
            places = [
                _core.CurveCondition(c.at, _core.ConditionLikelihood(c.readings, math.exp(logarithm)))
                for c in conditions
            ]
            total += _core.fit_curves([places], rule).log_likelihood
            total += math.fsum(place.likelihood.log_likelihood for place in places)
        return total

    grid = np.linspace(math.log(1e-4), math.log(30.0), 13)
    best = float(grid[int(np.argmax([log_likelihood(float(x)) for x in grid]))])
    step = float(grid[1] - grid[0])
    found = optimize.minimize_scalar(
        lambda x: -log_likelihood(x), bounds=(best - step, best + step), method="bounded", options={"xatol": 0.05}
    )
    points = sum(map(len, chosen))
    parameters = sum(2 if rule.asymptote == _core.Asymptote.one else 3 for rule in rules)
    return math.exp(float(found.x)) * points / (points - parameters)


def combine(latency: Rate, voltage: Rate) -> Rate:
    """The rate at a reduced latency and a reduced voltage together, assuming that they fail cells independently.

    A cell then holds only if both leave it alone: 1 - (1 - p)(1 - q). Where one is nominal and its rate 0, it is the
    other's rate, and it grows with both. No public measurement tests it. Where the two act on the same cells, as a
    lower voltage makes cells slower, the true rate is higher; the margin is the place to allow for that.
    The interval joins both ends, so its confidence is that of both together (Bonferroni).
    """

    def join(p: float, q: float) -> float:
        return p + q - p * q

    return Rate(
        latency.at,
        join(latency.estimate, voltage.estimate),
        join(latency.low, voltage.low),
        join(latency.high, voltage.high),
        max(latency.confidence + voltage.confidence - 1.0, 0.0),
        "extrapolation" if "extrapolation" in (latency.basis, voltage.basis) else latency.basis,
        latency.identified and voltage.identified,
        Margin(latency.margin.shift, max(latency.margin.factor, voltage.margin.factor)),
    )


# -- populations -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Knot:
    """The log-odds at one operating point over the modules of a population.

    Attributes:
        group: such as ``"zero"``.
        at: in ns or V.
        modules: how many were measured there.
        failing: how many of them have errors.
        mean: of the log-odds; None where none fails.
        deviation: between modules, freed of the bias of few; None where none fails.
        dispersion: median over the failing modules of the variance between readings of one; None where none fails.
        bound: the largest upper end of a module's rate, for a knot at which none fails.

    """

    group: str
    at: float
    modules: int
    failing: int
    mean: float | None
    deviation: float | None
    dispersion: float | None
    bound: float


@dataclass(frozen=True)
class DrawnModule:
    """A module drawn from a population: its rates at the knots, and what monotony says in between.

    Attributes:
        seed: it was drawn with.
        rates: by group, then by place from mild to harsh; they never fall towards the harsh end.
        margin: the population's.

    """

    seed: int
    rates: Mapping[str, Mapping[float, float]]
    margin: Margin

    def rate(self, group: str, at: float) -> Rate:
        """The drawn rate at a knot; between knots that of the harsher one, bracketed by both.

        Raises:
            ValueError: for an unknown group or outside the knots.

        """
        if group not in self.rates:
            raise ValueError(f"group is {group!r}; allowed are {', '.join(self.rates)}")
        places = self.rates[group]
        place = at - self.margin.shift
        if not min(places) <= place <= max(places):
            raise ValueError(
                f"{group}: found {at:g} with a margin of {self.margin}; allowed is {min(places):g} to {max(places):g}"
            )
        harsh = max(knot for knot in places if knot <= place)
        mild = min(knot for knot in places if knot >= place)
        factor = self.margin.factor
        low, high = min(places[mild] * factor, 1.0), min(places[harsh] * factor, 1.0)
        return Rate(at, high, low, high, 1.0, "population", True, self.margin)


@dataclass(frozen=True)
class Population:
    """Modules of a vendor: a normal distribution of their log-odds at the operating points that were measured.

    Attributes:
        name: such as the vendor's label.
        modules: names of the modules behind it.
        knots: one per group and place.
        correlation: between the knots with a mean, in their order, shrunk towards none.
        margin: what every rate has added to it.

    """

    name: str
    modules: tuple[str, ...]
    knots: tuple[Knot, ...]
    correlation: tuple[tuple[float, ...], ...]
    margin: Margin = Margin()

    def rate(self, group: str, at: float) -> Rate:
        """The rate that a reading of a module that was not measured will show, with a 95% prediction interval.

        At a knot it is mean -+ t sqrt(deviation^2 (1 + 1 / n) + dispersion) on the log-odds scale, n modules, Student's
        t with n - 1 degrees of freedom; between knots a bracket; where no module fails, from 0 to the largest bound.

        Raises:
            ValueError: for an unknown group or outside the knots.

        """
        knots = {knot.at: knot for knot in self.knots if knot.group == group}
        if not knots:
            raise ValueError(f"group is {group!r}; allowed are {', '.join(sorted({k.group for k in self.knots}))}")
        place = at - self.margin.shift
        if not min(knots) <= place <= max(knots):
            raise ValueError(
                f"{group}: found {at:g} with a margin of {self.margin}; allowed is {min(knots):g} to {max(knots):g}"
            )
        harsh = self._interval(knots[max(p for p in knots if p <= place)])
        mild = self._interval(knots[min(p for p in knots if p >= place)])
        factor = self.margin.factor
        low, estimate, high = (min(value * factor, 1.0) for value in (mild[0], harsh[1], harsh[2]))
        return Rate(at, estimate, low, high, CONFIDENCE, "population", low > 0.0, self.margin)

    def draw(self, seed: int) -> DrawnModule:
        """A module of this population, a function of the seed alone.

        Normal numbers are derived from the seed by Philox4x32-10; rates at a place where no module failed are 0; rates
        that would fall towards the harsh end are raised to those of the milder point.

        Raises:
            ValueError: for a seed outside 0 to 2^64 - 1.

        """
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed is {seed}; allowed is 0 to 2^64 - 1")
        telling = [knot for knot in self.knots if knot.mean is not None]
        normals = np.array(_core.seeded_normals(seed, 0, len(telling)))
        mixed = np.linalg.cholesky(np.array(self.correlation).reshape(len(telling), len(telling))) @ normals
        values = {
            (knot.group, knot.at): _logistic((knot.mean or 0.0) + (knot.deviation or 0.0) * float(z))
            for knot, z in zip(telling, mixed, strict=True)
        }
        rates: dict[str, dict[float, float]] = {}
        for knot in sorted(self.knots, key=lambda knot: -knot.at):
            drawn = rates.setdefault(knot.group, {})
            drawn[knot.at] = max([values.get((knot.group, knot.at), 0.0), *drawn.values()])
        return DrawnModule(seed, rates, self.margin)

    @staticmethod
    def _interval(knot: Knot) -> tuple[float, float, float]:
        if knot.mean is None or knot.deviation is None or knot.dispersion is None:
            return 0.0, 0.0, knot.bound
        if knot.modules < 2:
            return 0.0, _logistic(knot.mean), 1.0
        spread = knot.deviation**2 * (1 + 1 / knot.modules) + knot.dispersion
        half = _student(knot.modules - 1) * math.sqrt(spread)
        return _logistic(knot.mean - half), _logistic(knot.mean), _logistic(knot.mean + half)


def fit_population(name: str, modules: Mapping[str, Mapping[str, Curve]], margin: Margin | None = None) -> Population:
    """The distribution of modules' rates at the places where two of them or more were measured.

    The mean and deviation at a knot maximize the likelihood of all modules' readings, integrated over the normal
    distribution of their log-odds; modules without errors count by their likelihood. The correlation of two knots is
    that of the best log-odds of the modules that fail at both, shrunk by n / (n + k) for n such modules and k knots,
    and made positive definite.

    Args:
        name: of the population.
        modules: the curves of each module by group, all on one axis.
        margin: added to every rate that is asked for.

    Raises:
        ValueError: for less than two modules.

    """
    if len(modules) < 2:
        raise ValueError(f"population {name}: found {len(modules)} modules; allowed is two or more")
    found: dict[tuple[str, float], dict[str, _core.ConditionLikelihood]] = {}
    for module, curves in modules.items():
        for group, curve in curves.items():
            for condition in curve.conditions:
                likelihood = curve.likelihood(condition.at)
                if likelihood is not None:
                    found.setdefault((group, condition.at), {})[module] = likelihood
    knots, best = [], []
    for (group, at), likelihoods in sorted(found.items(), key=lambda item: (item[0][0], -item[0][1])):
        n = len(likelihoods)
        if n < 2:
            continue
        failing = {m: like.best for m, like in likelihoods.items() if like.informative}
        bound = max(_logistic(like.upper(_DROP)) for like in likelihoods.values())
        if not failing:
            knots.append(Knot(group, at, n, 0, None, None, None, bound))
            continue
        fit = _core.fit_population(list(likelihoods.values()))
        between = fit.deviation * math.sqrt(n / (n - 1))
        within = float(np.median([like.dispersion for like in likelihoods.values() if like.informative]))
        knots.append(Knot(group, at, n, len(failing), fit.mean, between, within, bound))
        best.append(failing)
    return Population(name, tuple(modules), tuple(knots), _shrunk(best), margin or Margin())


def _shrunk(best: Sequence[Mapping[str, float]]) -> tuple[tuple[float, ...], ...]:
    size = len(best)
    matrix = np.eye(size)
    for i in range(size):
        for j in range(i):
            both = sorted(best[i].keys() & best[j].keys())
            if len(both) < 3:
                continue
            x, y = (np.array([best[k][module] for module in both]) for k in (i, j))
            if x.std() > 0 and y.std() > 0:
                matrix[i, j] = matrix[j, i] = np.corrcoef(x, y)[0, 1] * len(both) / (len(both) + size)
    values, vectors = np.linalg.eigh(matrix)
    matrix = vectors @ np.diag(np.maximum(values, 1e-6)) @ vectors.T
    root = np.sqrt(np.diag(matrix))
    return tuple(tuple(float(value) for value in row) for row in matrix / np.outer(root, root))
