"""Fits one model to counts by maximum likelihood, with intervals from its profile likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eden import _core
from eden.devices.likelihoods.counts import Counts
from eden.devices.likelihoods.estimates import CONFIDENCE, Estimate, Fit, Kind
from eden.devices.likelihoods.likelihood import (
    HIGHEST_FAILURE_ODDS,
    HIGHEST_LOG_SPREAD,
    HIGHEST_ODDS,
    LOWEST_FAILURE_ODDS,
    LOWEST_LOG_SPREAD,
    LOWEST_ODDS,
    Law,
    Likelihood,
    failure_at,
    seen_share,
)
from eden.devices.likelihoods.maximize import Box, Maximum, Vector, crossing, maximize, maximize_each, profile_interval
from eden.devices.likelihoods.odds import logistic, logit

_SPREAD_GRID = 24
_TAIL = 1.0 - CONFIDENCE
# Log-odds from here on are those of all cells.
_ALL = HIGHEST_ODDS - 10.0


def likeliest_failure(values: Sequence[Counts]) -> float:
    """The most likely F of the failures alone: 0 if every seen cell failed in one read only (of several), 1 if in all.

    The likelihood has one maximum: the binomial without its zero is an exponential family in the odds.
    """
    from scipy import optimize

    repeated = [value for value in values if value.reads > 1]
    if all(value.failures >= value.reads * value.failed for value in repeated):
        return 1.0
    if all(value.failures <= value.failed for value in repeated):
        return 0.0

    def slope(odds: float) -> float:
        """Of the log-likelihood, by the log-odds: failures less what F makes of the seen cells."""
        failure = logistic(odds)
        expected = sum(
            value.reads * value.failed * failure / float(seen_share(failure, value.reads)[0]) for value in repeated
        )
        return sum(value.failures for value in repeated) - expected

    return logistic(float(optimize.brentq(slope, -40.0, 36.0, xtol=1e-12)))


class _Search(NamedTuple):
    """A model's maximum and what it was looked for in."""

    likelihood: Likelihood
    box: Box
    scale: Vector
    maximum: Maximum
    fit_failure: bool
    fit_spread: bool
    once: bool  # all cells that were seen failed in one of their reads
    always: bool  # in all


def _search(likelihood: Likelihood, failure: float | None) -> _Search:
    values, rates = likelihood.values, likelihood.rates
    seen, cells = sum(value.failed for value in values), sum(value.cells for value in values)
    fit_failure = failure is None and any(value.reads > 1 and value.failed for value in values)
    axis = likelihood.axis
    fit_spread = axis is not None and 0 < seen < cells
    start_failure = 1.0 if failure is None else failure
    once = always = False
    if fit_failure:
        start_failure = likeliest_failure(values)
        once, always = start_failure == 0.0, start_failure == 1.0
    # Coordinates that are not fitted keep their place.
    start, scale = np.zeros(likelihood.size), np.full(likelihood.size, 0.1)
    box = Box(start.copy(), start.copy())

    def between(i: int, low: float, high: float, place: float) -> None:
        box.low[i], box.high[i], start[i] = low, high, place

    i = likelihood.failure_index
    if fit_failure and not always:
        # No more cells can be weak than there are: F is at least what that takes.
        least = max(
            -math.expm1(math.log1p(-min(likelihood.seen(rate) / likelihood.cells(rate), 1.0 - 1e-12)) / value.reads)
            for rate in range(rates)
            for value in values
        )
        start_failure = min(max(start_failure, min(1.001 * least + 1e-15, 0.999)), 1.0 - 1e-9)
        between(i, LOWEST_FAILURE_ODDS, HIGHEST_FAILURE_ODDS, logit(start_failure))
        scale[i] = 1.0 / math.sqrt(seen)
    else:
        place = HIGHEST_FAILURE_ODDS if start_failure >= 1.0 else logit(start_failure)
        between(i, place, place, place)
    for rate in range(rates):
        if not likelihood.seen(rate):
            between(rate, LOWEST_ODDS, LOWEST_ODDS, LOWEST_ODDS)
            continue
        # Cells that would be seen if all were weak.
        expected = sum(
            value.cells * float(seen_share(start_failure, value.reads)[0]) for value in likelihood.groups[rate]
        )
        between(rate, LOWEST_ODDS, HIGHEST_ODDS, logit(min(likelihood.seen(rate) / expected, 1.0 - 1e-6)))
        scale[rate] = 1.0 / math.sqrt(likelihood.seen(rate))
    i = likelihood.spread_index
    between(i, LOWEST_LOG_SPREAD, LOWEST_LOG_SPREAD, LOWEST_LOG_SPREAD)
    if axis is None or not fit_spread:
        return _Search(
            likelihood, box, scale, maximize(likelihood, box, start, scale), fit_failure, fit_spread, once, always
        )
    # The profile can have a shoulder where the lines are alike: a grid finds the peak.
    grid = np.tile(start, (_SPREAD_GRID + 1, 1))
    grid[:, i] = np.linspace(LOWEST_LOG_SPREAD, HIGHEST_LOG_SPREAD, _SPREAD_GRID + 1)
    between(i, LOWEST_LOG_SPREAD, HIGHEST_LOG_SPREAD, grid[int(np.argmax(likelihood(grid))), i])
    lines = sum(own.failed.size for value in values if (own := value.along(axis)) is not None)
    scale[i] = math.sqrt(2.0 / lines)
    maximum = maximize(likelihood, box, start, scale)
    # The ridge toward no spread is flat: its end decides.
    alike = maximize(likelihood, box.fixed(i, LOWEST_LOG_SPREAD), maximum.place, scale)
    if alike.value >= maximum.value - 1e-7:
        maximum = alike
    return _Search(likelihood, box, scale, maximum, fit_failure, fit_spread, once, always)


def fit_model(values: Sequence[Counts], kind: Kind, failure: float | None, ratio: float, intervals: bool = True) -> Fit:
    """Fit one model.

    F is fitted where it is not given and some cells were read more than once; without either, F = 1 is assumed.

    Args:
        values: what was counted of each stored value, along the model's lines too.
        kind: the model.
        failure: F, if it is known.
        ratio: twice the fall of the log-likelihood at an interval's ends. Where no cell failed, or every one did, an
            interval is one-sided and ends where that outcome would have the probability 1 - ``CONFIDENCE``.
        intervals: whether to find them; estimates and log-likelihood alone take a tenth of the time.

    """
    likelihood = Likelihood(values, kind.axis, kind.by_value)
    found = _search(likelihood, failure)
    maximum, box = found.maximum, found.box
    # A better maximum that is met on the way to an interval's end replaces the one found before.
    ends = {
        i: profile_interval(likelihood, box, maximum, i, ratio)
        for i in range(likelihood.size)
        if intervals and box.low[i] < box.high[i]
    }
    told_failure = _failure(found, failure, ends)
    spread = float(likelihood.spread_at(maximum.place[likelihood.spread_index]))
    rates = [_rate(found, rate, failure, told_failure, spread, ratio, ends) for rate in range(likelihood.rates)]
    return Fit(
        weak=tuple(weak for weak, _ in rates),
        ber=tuple(ber for _, ber in rates),
        failure=told_failure,
        dispersion=_dispersion(found, spread, ends) if kind.axis else None,
        log_likelihood=maximum.value,
        parameters=likelihood.rates + (kind.axis is not None) + found.fit_failure,
        observations=sum(value.cells for value in values),
    )


_Ends = dict[int, tuple[float, float]]


def _failure(found: _Search, given: float | None, ends: _Ends) -> Estimate:
    likelihood, i = found.likelihood, found.likelihood.failure_index
    estimate = failure_at(found.maximum.place[i]) if given is None else given
    if not found.fit_failure:
        return Estimate(estimate, given or 0.0, given or 1.0, False)
    if found.always:

        def excess(odds: float) -> float:
            return float(likelihood.of_failures(np.array(logistic(odds)))) - math.log(_TAIL)

        low = logistic(crossing(excess, HIGHEST_FAILURE_ODDS, -1.0, LOWEST_FAILURE_ODDS))
        return Estimate(estimate, low, 1.0, True, "high")
    # The fewer failures than reads, the lower F, down to where all cells are weak. Where cells failed once, the
    # likelihood is nearly flat from there on.
    all_weak = found.once or bool((found.maximum.place[: likelihood.rates] > _ALL).any())
    low, high = ends.get(i, (-math.inf, math.inf))
    return Estimate(
        estimate,
        logistic(low) if ends else 0.0,
        failure_at(high),
        not all_weak,
        "low" if all_weak else None,
        None if all_weak else found.maximum.deviation(i) or None,
    )


def _dispersion(found: _Search, spread: float, ends: _Ends) -> Estimate:
    """Of rho = r / (1 + r)."""
    if not found.fit_spread:
        return Estimate(0.0, 0.0, 1.0, False)
    low, high = ends.get(found.likelihood.spread_index, (LOWEST_LOG_SPREAD, HIGHEST_LOG_SPREAD))
    return Estimate(
        spread / (1.0 + spread),
        0.0 if spread == 0.0 or low <= LOWEST_LOG_SPREAD else logistic(low),
        1.0 if high >= HIGHEST_LOG_SPREAD else logistic(high),
        True,
        "low" if spread == 0.0 else None,
        found.maximum.deviation(found.likelihood.spread_index) or None,
    )


def _rate(
    found: _Search, rate: int, given: float | None, failure: Estimate, spread: float, ratio: float, ends: _Ends
) -> tuple[Estimate, Estimate]:
    """P of one rate, and P F."""
    likelihood, at = found.likelihood, found.maximum.place
    told = found.fit_failure or given is not None
    if not likelihood.seen(rate):
        # Lines none of which failed tell no spread. Of all, the widest lets most lines go unharmed.
        widest = math.exp(HIGHEST_LOG_SPREAD) if likelihood.axis and not found.fit_spread else spread

        def excess(odds: float) -> float:
            law = Law(logistic(odds), logistic(-odds), widest)
            return float(likelihood.of_rate(rate, law, failure.estimate)[0]) - math.log(_TAIL)

        high = logistic(crossing(excess, -math.log(likelihood.cells(rate)) - 10.0, 1.0, HIGHEST_ODDS))
        return Estimate(0.0, 0.0, high, told, "low"), Estimate(0.0, 0.0, high * failure.estimate, True, "low")
    low, high = ends.get(rate, (-math.inf, math.inf))
    deviation = found.maximum.deviation(rate)
    bound: Literal["high"] | None = "high" if at[rate] > _ALL or found.once else None
    weak = Estimate(
        1.0 if at[rate] > _ALL else logistic(at[rate]),
        logistic(low) if ends else 0.0,
        1.0 if high > _ALL or found.once else logistic(high),
        told and (failure.identified or given is not None),
        bound,
        None if bound else deviation or None,
    )
    estimate = weak.estimate * failure.estimate
    if not found.fit_failure or found.always:
        error = deviation * (1.0 - weak.estimate) / (1.0 - estimate) if estimate < 1.0 and not bound else 0.0
        ber = replace(weak, estimate=estimate, identified=True, standard_error=error or None)
        return weak, replace(ber, low=weak.low * failure.estimate, high=weak.high * failure.estimate)
    if not ends:
        return weak, Estimate(estimate, 0.0, 1.0, True, bound)
    box = Box(found.box.low, found.box.high.copy())
    box.high[rate] = HIGHEST_FAILURE_ODDS
    place = at.copy()
    place[rate] = logit(min(estimate, 1.0 - 1e-13))

    def function(x: Vector) -> Vector:
        return likelihood.with_ber(x, rate)

    maximum = maximize(function, box, place, found.scale)
    low, high = profile_interval(function, box, maximum, rate, ratio)
    return weak, Estimate(estimate, logistic(low), logistic(high), True, None, maximum.deviation(rate) or None)


def likeliest_laws(
    values: Sequence[Sequence[Counts]], lines: Sequence[Sequence[_core.LineLikelihood]], near: Law, failure: float
) -> list[Law]:
    """The most likely distributions of the one rate of the lines of campaigns, F being known, from one near them.

    Args:
        values: of each campaign, what was counted of each stored value.
        lines: of each campaign, the likelihood of each value's lines.
        near: the law near those of all campaigns.
        failure: F.

    """
    seen = np.array([sum(value.failed for value in own) for own in values])
    cells = np.array([sum(value.cells for value in own) for own in values])
    laws = [Law(float(some > 0), float(some == 0), 0.0) for some in seen]
    told = np.flatnonzero((seen > 0) & (seen < cells))
    if not told.size:
        return laws
    shares = [seen_share(failure, value.reads) for value in values[0]]

    def spread_at(log_spread: Vector) -> Vector:
        return np.where(log_spread > LOWEST_LOG_SPREAD, np.exp(log_spread), 0.0)

    def function(x: Vector, which: NDArray[np.int64]) -> Vector:
        mean, complement = 1.0 / (1.0 + np.exp(-x[..., 0])), 1.0 / (1.0 + np.exp(x[..., 0]))
        spread = spread_at(x[..., 1])
        return np.array(
            [
                sum(one(*law, *share) for one, share in zip(lines[campaign], shares, strict=True))
                for campaign, *law in zip(told[which], mean, complement, spread, strict=True)
            ]
        )

    start = [
        math.log(near.mean) - math.log(near.complement),
        math.log(near.spread) if near.spread > 0.0 else LOWEST_LOG_SPREAD + 1.0,
    ]
    box = Box(np.array([LOWEST_ODDS, LOWEST_LOG_SPREAD]), np.array([HIGHEST_ODDS, HIGHEST_LOG_SPREAD]))
    scale = np.array([1.0 / math.sqrt(seen[told].mean()), 0.1])
    place, value, _ = maximize_each(function, box, np.tile(start, (told.size, 1)), scale)
    # Cells that are alike in all lines, and are seen as often, are weak as often as they are seen in all.
    expected = np.array(
        [sum(value.cells * float(share[0]) for value, share in zip(own, shares, strict=True)) for own in values]
    )
    pooled = np.minimum(seen / expected, 1.0 - 1e-13)[told]
    alike = np.column_stack([np.log(pooled) - np.log1p(-pooled), np.full(told.size, LOWEST_LOG_SPREAD)])
    if len({value.reads for value in values[0]}) == 1:
        alike_value = function(alike[:, None], np.arange(told.size))[:, 0]
    else:
        alike, alike_value, _ = maximize_each(function, box.fixed(1, LOWEST_LOG_SPREAD), alike, scale)
    place = np.where((alike_value >= value - 1e-7)[:, None], alike, place)
    for campaign, (odds, _), spread in zip(told, place, spread_at(place[:, 1]), strict=True):
        laws[campaign] = Law(logistic(odds), logistic(-odds), float(spread))
    return laws
