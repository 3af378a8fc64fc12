"""Modules of a vendor: the distribution of their rates, and modules that are drawn from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from eden import _core
from eden.devices.curves.curve import Curve
from eden.devices.curves.dispersion import Outliers, upper_of
from eden.devices.curves.rates import Rate
from eden.devices.curves.scale import drop, student
from eden.devices.likelihoods import CONFIDENCE
from eden.devices.likelihoods.odds import logistic
from eden.devices.margin import Margin

LEAST_DEVIATION = 0.1
"""Of the log-odds between modules, in intervals: that a few of them agree to a thousandth tells nothing of others."""
UNTOLD_DECADES = 4.0
"""Width of an interval from which on it says that nothing is known but its upper end."""


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
            raise ValueError(f"{group}: found {at:g} ({self.margin}); allowed is {min(places):g} to {max(places):g}")
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
        outliers: what makes intervals wider: how far modules lie from the others.

    """

    name: str
    modules: tuple[str, ...]
    knots: tuple[Knot, ...]
    correlation: tuple[tuple[float, ...], ...]
    margin: Margin = field(default_factory=Margin)
    outliers: Outliers = field(default_factory=Outliers)

    def rate(self, group: str, at: float) -> Rate:
        """The rate that a reading of a module that was not measured will show, with a 95% prediction interval.

        At a knot it is mean -+ t sqrt(deviation^2 (1 + 1 / n) + dispersion) on the log-odds scale, n modules, Student's
        t with n - 1 degrees of freedom, a deviation of ``LEAST_DEVIATION`` or more, made as wide as the modules that
        lie far from the others ask for; between knots a bracket; where no module fails, from 0 to the largest bound.

        Raises:
            ValueError: for an unknown group or outside the knots.

        """
        knots = {knot.at: knot for knot in self.knots if knot.group == group}
        if not knots:
            raise ValueError(f"group is {group!r}; allowed are {', '.join(sorted({k.group for k in self.knots}))}")
        place = at - self.margin.shift
        if not min(knots) <= place <= max(knots):
            raise ValueError(f"{group}: found {at:g} ({self.margin}); allowed is {min(knots):g} to {max(knots):g}")
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
            (knot.group, knot.at): logistic((knot.mean or 0.0) + (knot.deviation or 0.0) * float(z))
            for knot, z in zip(telling, mixed, strict=True)
        }
        rates: dict[str, dict[float, float]] = {}
        for knot in sorted(self.knots, key=lambda knot: -knot.at):
            drawn = rates.setdefault(knot.group, {})
            drawn[knot.at] = max([values.get((knot.group, knot.at), 0.0), *drawn.values()])
        return DrawnModule(seed, rates, self.margin)

    def _interval(self, knot: Knot) -> tuple[float, float, float]:
        if knot.mean is None:
            return 0.0, 0.0, knot.bound
        if knot.modules < 2:
            return 0.0, logistic(knot.mean), 1.0
        half = self.outliers.half_width(_half_width(knot))
        return logistic(knot.mean - half), logistic(knot.mean), logistic(knot.mean + half)


def _half_width(knot: Knot) -> float:
    assert knot.deviation is not None
    assert knot.dispersion is not None
    deviation = max(knot.deviation, LEAST_DEVIATION)
    return student(knot.modules - 1) * math.sqrt(deviation**2 * (1 + 1 / knot.modules) + knot.dispersion)


def fit_population(
    name: str, modules: Mapping[str, Mapping[str, Curve]], margin: Margin | None = None, *, outliers: bool = True
) -> Population:
    """The distribution of modules' rates at the places where two of them or more were measured.

    The mean and deviation at a knot maximize the likelihood of all modules' readings, integrated over the normal
    distribution of their log-odds; modules without errors count by their likelihood. The correlation of two knots is
    that of the best log-odds of the modules that fail at both, shrunk by n / (n + k) for n such modules and k knots,
    and made positive definite.

    Args:
        name: of the population.
        modules: the curves of each module by group, all on one axis.
        margin: added to every rate that is asked for.
        outliers: make intervals as wide as the modules ask for that lie far from the others: each is predicted from the
            others in turn, at every knot.

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
        if len(likelihoods) < 2:
            continue
        knots.append(_knot(group, at, list(likelihoods.values())))
        if knots[-1].mean is not None:
            best.append({m: like.best for m, like in likelihoods.items() if like.informative})
    wider = _outliers(found) if outliers else Outliers()
    return Population(name, tuple(modules), tuple(knots), _shrunk(best), margin or Margin(), wider)


def _knot(group: str, at: float, likelihoods: Sequence[_core.ConditionLikelihood]) -> Knot:
    n, failing = len(likelihoods), [like for like in likelihoods if like.informative]
    bound = max(logistic(like.upper(drop())) for like in likelihoods)
    if not failing:
        return Knot(group, at, n, 0, None, None, None, bound)
    fit = _core.fit_population(likelihoods)
    between = fit.deviation * math.sqrt(n / (n - 1))
    within = float(np.median([like.dispersion for like in failing]))
    return Knot(group, at, n, len(failing), fit.mean, between, within, bound)


def _outliers(found: Mapping[tuple[str, float], Mapping[str, _core.ConditionLikelihood]]) -> Outliers:
    """How far modules lie from what the others of their population say, each left out in turn."""
    ratios, deviations = [], []
    for (group, at), likelihoods in found.items():
        for module, own in likelihoods.items():
            others = [like for name, like in likelihoods.items() if name != module]
            if not own.informative or not math.isfinite(own.best) or len(others) < 2:
                continue
            knot = _knot(group, at, others)
            # Where no other module fails there is nothing to be far from.
            if knot.mean is not None:
                deviations.append(abs(own.best - knot.mean))
                ratios.append(deviations[-1] / _half_width(knot))
    return Outliers(max(1.0, upper_of(ratios)), upper_of(deviations))


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
    matrix = matrix / np.outer(root, root)
    # Products round differently on both sides of the diagonal, and on it.
    matrix = np.clip((matrix + matrix.T) / 2, -1.0, 1.0)
    np.fill_diagonal(matrix, 1.0)
    return tuple(tuple(float(value) for value in row) for row in matrix)
