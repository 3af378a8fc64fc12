"""The log-odds scale, and how far a likelihood falls to the ends of an interval."""

from __future__ import annotations

import functools
import math

import scipy

from eden.devices.likelihoods import CONFIDENCE


def logistic(x: float) -> float:
    """The probability of log-odds; of such that overflow, 0."""
    if x < -700.0:
        return 0.0
    return 1.0 / (1.0 + math.exp(-x))


def logit(p: float) -> float:
    """The log-odds of a probability; infinite for 0 and 1."""
    if p <= 0.0:
        return -math.inf
    return math.inf if p >= 1.0 else math.log(p) - math.log1p(-p)


@functools.cache
def drop() -> float:
    """How far the log-likelihood falls from its maximum to the ends of an interval."""
    return float(scipy.stats.chi2.ppf(CONFIDENCE, 1)) / 2


def student(freedom: float) -> float:
    """The quantile of Student's t behind the ends of an interval."""
    return float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))
