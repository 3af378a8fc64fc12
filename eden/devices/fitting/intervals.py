"""Intervals of rates on the log-odds scale: made wider by what passes vary, and what they say of a curve."""

from __future__ import annotations

import math

import scipy

from eden.devices.likelihoods import CONFIDENCE, Counts
from eden.devices.likelihoods.odds import logistic, logit


def widened(
    estimate: float, low: float, high: float, factor: float, variance: float, quantile: float
) -> tuple[float, float]:
    """An interval, each of its halves in log-odds multiplied and joined with a variance in quadrature."""
    if estimate <= 0.0:
        return 0.0, min(1.0, high * factor**2 * math.exp(quantile * math.sqrt(variance)))
    if estimate >= 1.0:
        return max(0.0, 1.0 - (1.0 - low) * factor**2 * math.exp(quantile * math.sqrt(variance))), 1.0
    centre = logit(estimate)

    def end(at: float, sign: int) -> float:
        if not 0.0 < at < 1.0:
            return at
        half = math.hypot(factor * abs(logit(at) - centre), quantile * math.sqrt(variance))
        return logistic(centre + sign * half)

    return min(end(low, -1), estimate), max(end(high, 1), estimate)


def as_independent(counts: Counts, interval: tuple[float, float]) -> tuple[float, float]:
    """Errors of so many independent cells that their rate is told as well as a 95% interval says."""
    errors, cells = counts.failures / counts.reads, float(counts.cells)
    low, high = interval
    factor = 1.0
    if 0.0 < low < high < 1.0 and 0.0 < errors < cells:
        half = (logit(high) - logit(low)) / 2 / float(scipy.stats.norm.ppf(0.5 + CONFIDENCE / 2))
        factor = max(1.0, half**2 / (1 / errors + 1 / (cells - errors)))
    return errors / factor, cells / factor
