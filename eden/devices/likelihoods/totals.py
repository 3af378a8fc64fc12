"""Fits rates to totals of repeated readings, which differ by more than chance, and compares a pattern with them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from eden import _core
from eden.devices.likelihoods.estimates import CONFIDENCE, LEVEL
from eden.devices.likelihoods.maximize import Box, Vector, maximize_each
from eden.devices.likelihoods.odds import logit
from eden.devices.likelihoods.ratios import chi2_ratio, student_ratio


def fit_counts(groups: Sequence[Sequence[tuple[float, float]]], dispersion: float | None = None) -> _core.RateFit:
    """One rate per group of readings and one dispersion for all, by maximum likelihood, with 95% intervals.

    With a fitted dispersion the likelihood ratio at an interval's ends is n ln(1 + t^2 / (n - g)) for n readings of g
    rates, with Student's t: in the normal limit that makes intervals from few readings exact, where the usual
    chi-square limit would make them too short.

    Args:
        groups: readings as (errors, cells), grouped by rate.
        dispersion: variance of the logarithm of the odds between readings, fitted if None.

    Raises:
        ValueError: for counts that are none, or a dispersion that these readings cannot tell.

    """
    readings = sum(map(len, groups))
    freedom = readings - len(groups)
    ratio = student_ratio(readings, len(groups)) if dispersion is None and freedom > 0 else chi2_ratio()
    return _core.fit_rates(groups, ratio, 1.0 - CONFIDENCE, dispersion)


@dataclass(frozen=True)
class PatternTest:
    """Whether a pattern fails at the rate that its zeros and ones predict.

    Attributes:
        own: the pattern's own rate.
        predicted: the mean of the zeros' and the ones' rates, by their shares.
        statistic: twice the logarithm of the ratio of likelihoods.
        p_value: the probability of a statistic as large where the prediction holds.
        level: at which it is refused.

    """

    own: float
    predicted: float
    statistic: float
    p_value: float
    level: float

    @property
    def own_factor(self) -> bool:
        """Whether the pattern is a factor of its own: the prediction is refused at ``level``."""
        return self.p_value < self.level


def compare_pattern(
    zero: Sequence[tuple[float, float]],
    one: Sequence[tuple[float, float]],
    pattern: Sequence[tuple[float, float]],
    *,
    share_of_ones: float = 0.5,
    level: float = LEVEL,
) -> PatternTest:
    """Ask by a likelihood ratio whether a pattern such as 0xaa or 0xcc is predicted by its zeros and ones.

    The rates of all readings vary by one dispersion. With n readings of three rates, n - 3 of them are left to tell
    it, and the statistic's distribution is that of n ln(1 + t^2 / (n - 3)) with Student's t.

    Args:
        zero: readings (errors, cells) of cells that all stored 0.
        one: readings of cells that all stored 1.
        pattern: readings of the pattern.
        share_of_ones: the share of its cells that store 1.
        level: the probability at which a prediction that holds is refused.

    Raises:
        ValueError: for fewer than four readings, none of one kind, none with errors, or a share outside 0 to 1.

    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; allowed is between 0 and 1")
    if not 0.0 <= share_of_ones <= 1.0:
        raise ValueError(f"share_of_ones is {share_of_ones}; allowed is 0 to 1")
    groups = [list(zero), list(one), list(pattern)]
    fit = _core.fit_rates(groups, chi2_ratio(), 1.0 - CONFIDENCE, None)
    rates = [rate.estimate for rate in fit.rates]
    predicted = (1.0 - share_of_ones) * rates[0] + share_of_ones * rates[1]
    statistic = max(0.0, 2 * (fit.log_likelihood - _predicted(groups, share_of_ones, rates, fit.dispersion)))
    readings = sum(map(len, groups))
    student = math.sqrt((readings - 3) * math.expm1(statistic / readings))
    return PatternTest(rates[2], predicted, statistic, float(2 * scipy.stats.t.sf(student, readings - 3)), level)


def _predicted(
    groups: Sequence[Sequence[tuple[float, float]]], share_of_ones: float, rates: Sequence[float], dispersion: float
) -> float:
    """The log-likelihood where the pattern's rate is the mean of the zeros' and the ones', by their shares."""
    errors, cells = (np.array([reading[i] for group in groups for reading in group]) for i in (0, 1))
    ones = np.repeat([0.0, 1.0, share_of_ones], [len(group) for group in groups])

    def functions(x: Vector, which: NDArray[np.int64]) -> Vector:
        zero, one, phi = 1.0 / (1.0 + np.exp(-x[..., :1])), 1.0 / (1.0 + np.exp(-x[..., 1:2])), np.exp(x[..., 2:])
        mean = (1.0 - ones) * zero + ones * one
        spread = phi * mean * (1.0 - mean)
        found: Vector = _core.log_beta_binomial_spread(errors, cells, mean, 1.0 - mean, spread).sum(-1)
        return found

    lowest, highest = _core.LOG_DISPERSIONS
    box = Box(np.array([-60.0, -60.0, lowest]), np.array([36.0, 36.0, highest]))
    odds = [logit(min(max(rate, 1e-20), 1.0 - 1e-12)) for rate in rates]
    phi = math.log(max(dispersion, 1e-11))
    # The pattern can pull either rate to itself, with more dispersion: several hills.
    starts = itertools.product((odds[0], odds[2]), (odds[1], odds[2]), (phi, phi + 2.0, phi + 5.0))
    _, values, _ = maximize_each(functions, box, np.array(list(starts)), np.array([0.1, 0.1, 0.3]))
    return float(values.max())
