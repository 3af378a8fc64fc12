"""One group's rate as a function of the operating point: what it answers, and with which interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from eden import _core
from eden.common.checks import around
from eden.devices.curves.dispersion import Dispersion, Outliers, Told
from eden.devices.curves.rates import Basis, ChoiceRow, Condition, Formula, Parameter, Prediction, Rate, Region
from eden.devices.curves.scale import drop, student
from eden.devices.likelihoods import CONFIDENCE
from eden.devices.likelihoods.odds import logistic, logit
from eden.devices.margin import Margin

# Factors on a scale that a ridge is looked for at; at the least of them a curve is a step.
_STEEPEST = 2.0**-12
_FACTORS = tuple(2.0**power for power in range(-12, 7) if power)


@dataclass(frozen=True, eq=False)
class Alternative:
    """A curve that the conditions do not refuse, fitted to groups of which this one has an index."""

    groups: list[list[_core.CurveCondition]]
    rule: _core.CurveRule
    fit: _core.CurveFit
    index: int
    bic: float

    def ridge(self) -> list[_core.CurveParameters]:
        """Curves of this one's link and asymptote that are inside its interval, steeper or flatter about a condition.

        Where one condition alone lies on the slope, the curves through it are equally likely however steep they are,
        and the location must follow the scale the more exactly the steeper they get. A search that climbs from one
        scale to the next loses that ridge, so curves on it are tried by themselves: whatever is as likely as an
        interval's end belongs to the interval.
        """

        def likelihood(group: int, parameters: _core.CurveParameters) -> float:
            return math.fsum(
                condition.likelihood(_core.curve_log_odds(self.rule.link, parameters, condition.at))
                for condition in self.groups[group]
            )

        moved = range(len(self.groups)) if self.rule.shared_scale else (self.index,)
        rest = math.fsum(likelihood(i, self.fit.groups[i]) for i in range(len(self.groups)) if i not in moved)
        found = []
        for factor in _FACTORS:
            total, own = rest, self.fit.groups[self.index]
            for i in moved:
                chosen = self.fit.groups[i]
                value, best = max(
                    ((likelihood(i, curve), curve) for curve in self._turned(i, chosen, factor)),
                    key=lambda pair: pair[0],
                )
                total += value
                own = best if i == self.index else own
            if total >= self.fit.log_likelihood - drop():
                found.append(own)
        return found

    def _turned(self, group: int, curve: _core.CurveParameters, factor: float) -> Iterator[_core.CurveParameters]:
        """The curve with another scale, through the rate that it has at each condition."""
        for condition in self.groups[group]:
            location = condition.at + (curve.location - condition.at) * factor
            yield _core.CurveParameters(location, curve.scale * factor, curve.asymptote)


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
    _told: Mapping[float, Told] = field(repr=False)
    _alternatives: tuple[Alternative, ...] = field(repr=False)
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
        ridge = best.ridge()
        result = {}
        for number, (name, estimate, open_low, open_high) in enumerate(
            (
                ("location", chosen.location, -math.inf, math.inf),
                ("scale", chosen.scale, 0.0, math.inf),
                ("asymptote", chosen.asymptote, 0.0, 1.0),
            )
        ):
            low, high = _core.parameter_ends(best.groups, best.rule, best.fit, best.index, number, drop())
            if name in ("location", "scale"):
                also = [getattr(other, name) for other in ridge]
                low, high = min([low, *also]), max([high, *also])
            if name == "scale" and low <= chosen.scale * _STEEPEST:
                low = 0.0
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
                f"{self.group}: found {place_text(at, self.unit)} ({self.margin}); {refusal}; allowed is "
                f"{self._allowed()}, or extrapolate=True"
            )
        elif not self._alternatives:
            raise ValueError(
                f"{self.group}: found {place_text(at, self.unit)}; {refusal}, and no curve was fitted to extrapolate "
                f"with ({'; '.join(self.notes) or 'no condition with errors'}); allowed is {self._allowed()}"
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
                drop = 0.5 * (n + 1) * math.log1p(student(n - 1) ** 2 / (n - 1))
            else:
                drop = 0.5 * student(told.freedom) ** 2
            low, high = _core.predict_reading(condition.readings, cells * repeats, repeats, told.dispersion, drop)
            low, high = low / (cells * repeats), high / (cells * repeats)
            if outliers and 0 < condition.rate < 1:
                low, high = self._wider(low, condition.rate, high)
            return Prediction(at, low, high, condition.rate, "measured")
        refusal = self._refusal(at)
        if refusal is not None:
            raise ValueError(
                f"{self.group}: found {place_text(at, self.unit)}; {refusal}; allowed is {self._allowed()} or a "
                "measured point"
            )
        low, estimate, high, basis = self._inside(at)
        # The interval of the rate and the spread of readings, joined as independent normal errors of the log-odds
        # (Zou and Donner, "Construction of confidence limits about effect measures", Stat. Med. 27, 2008).
        centre = logit(min(max(estimate, 1e-300), 1 - 1e-16))
        chance = 1 / max(cells * repeats * estimate * (1 - estimate), 1e-9)
        usable = self.usable
        mild, harsh = next(pair for pair in pairwise(usable) if pair[1] < at < pair[0])
        half = max(math.sqrt(self._spread(place)) for place in (mild, harsh))
        square = (self.outliers.half_width(half) if outliers else half) ** 2 / repeats
        square += student(math.inf) ** 2 * chance
        below, above = centre - logit(low), logit(high) - centre
        return Prediction(
            at,
            logistic(centre - math.sqrt(below**2 + square)) if math.isfinite(below) else 0.0,
            logistic(centre + math.sqrt(above**2 + square)) if math.isfinite(above) else 1.0,
            estimate,
            basis,
        )

    def _wider(self, low: float, estimate: float, high: float) -> tuple[float, float]:
        """The interval made wider on the log-odds scale; ends at 0 and 1 stay."""
        centre = logit(estimate)
        if low > 0:
            low = min(low, logistic(centre - self.outliers.half_width(max(centre - logit(low), 0.0))))
        if high < 1:
            high = max(high, logistic(centre + self.outliers.half_width(max(logit(high) - centre, 0.0))))
        return low, high

    def _spread(self, at: float) -> float:
        """Square of the half width, in log-odds, that the dispersion of a condition gives to a further reading."""
        told, n = self._told[at], len(self._condition(at).readings)
        if told.dispersion is not None:
            return student(told.freedom) ** 2 * told.dispersion
        return student(n - 1) ** 2 * self._likelihoods[at].dispersion * n / (n - 1)

    def _condition(self, at: float) -> Condition:
        return next(condition for condition in self.conditions if condition.at == at)

    def likelihood(self, at: float) -> _core.ConditionLikelihood | None:
        """The log-likelihood of the log-odds at a measured condition, on the scale of one chi-square."""
        return self._likelihoods.get(at)

    def _allowed(self) -> str:
        usable = self.usable
        if not usable:
            return "no point: none is inside the operating range"
        return f"{place_text(usable[-1], self.unit)} to {place_text(usable[0], self.unit)}"

    def _refusal(self, at: float) -> str | None:
        usable = self.usable
        nearest = [region for region in self.left_out if region.at == at]
        if nearest:
            return f"it was left out: {nearest[0].reason}"
        if not usable or not usable[-1] <= at <= usable[0]:
            beyond = [
                region for region in self.left_out if not usable or region.at < usable[-1] or region.at > usable[0]
            ]
            reason = f"; {place_text(beyond[0].at, self.unit)} was left out: {beyond[0].reason}" if beyond else ""
            return "it is outside the measured range" + reason
        if at in usable:
            return None
        mild, harsh = next(pair for pair in pairwise(usable) if pair[1] < at < pair[0])
        for region in self.left_out:
            if harsh < region.at < mild:
                return f"it lies in the region about {place_text(region.at, self.unit)}, left out: {region.reason}"
        return None

    def _ends(self, at: float) -> tuple[float, float]:
        likelihood = self._likelihoods[at]
        return logistic(likelihood.lower(drop())), logistic(likelihood.upper(drop()))

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
        estimate = logistic(best) if math.isfinite(best) else float(best > 0)
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
                low, high = _core.curve_ends(one.groups, one.rule, one.fit, one.index, at, drop())
                lows.append(logistic(low))
                highs.append(logistic(high) if math.isfinite(high) else 1.0)
            best = self.formula
            assert best is not None
            estimate = best.rate(at)
            low, high = around((min(lows), max(highs)), estimate)
            self._answers[at] = low, estimate, high
        return self._answers[at]


def place_text(at: float, unit: str) -> str:
    """An operating point in words."""
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
