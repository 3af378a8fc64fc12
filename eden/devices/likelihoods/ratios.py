"""Where the intervals of a fit end, what a parameter costs, and what F may be."""

from __future__ import annotations

import functools
import math

import scipy

from eden.devices.likelihoods.estimates import CONFIDENCE


@functools.cache
def chi2_ratio() -> float:
    """Twice the fall of the log-likelihood at an interval's ends, of many readings."""
    return float(scipy.stats.chi2.ppf(CONFIDENCE, 1))


def student_ratio(readings: int, rates: int) -> float:
    """Twice the fall of the log-likelihood at an interval's ends: Student's interval in the limit of normal readings.

    n ln(1 + t^2 / (n - g)) for n readings of g rates; see ``fit_counts``.
    """
    freedom = readings - rates
    quantile = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))
    return readings * math.log1p(quantile**2 / freedom)


def check_failure(failure: float | None) -> None:
    """Refuse an F that is no probability above 0. Raises ValueError."""
    if failure is not None and not 0.0 < failure <= 1.0:
        raise ValueError(f"failure is {failure}; allowed is above 0, up to 1, or None")
