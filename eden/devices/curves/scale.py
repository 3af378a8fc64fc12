"""How far a likelihood falls to the ends of an interval."""

from __future__ import annotations

import functools

import scipy

from eden.devices.likelihoods import CONFIDENCE


@functools.cache
def drop() -> float:
    """How far the log-likelihood falls from its maximum to the ends of an interval."""
    return float(scipy.stats.chi2.ppf(CONFIDENCE, 1)) / 2


def student(freedom: float) -> float:
    """The quantile of Student's t behind the ends of an interval."""
    return float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))
