"""The log-odds scale."""

from __future__ import annotations

import math


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
