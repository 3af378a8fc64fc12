"""Rates as they were counted, below which no device's rate may lie: a model can miss what it does not describe."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import scipy

from eden.devices.fitting.samples import PLURAL, Sample
from eden.devices.likelihoods import CONFIDENCE, StoredValue
from eden.devices.partition import OperatingPoint

_WORTH_TELLING = 1.01  # a factor


class Counted(NamedTuple):
    """A counted rate with its 95% interval."""

    rate: float
    low: float
    high: float


class Raised(NamedTuple):
    """A rate that was below what was counted, and the counted one that took its place."""

    part: str
    point: OperatingPoint
    value: StoredValue
    below: float
    rate: float

    def __str__(self) -> str:
        return f"{self.part} at {self.point}, stored {PLURAL[self.value]}: {self.below:.3g} to {self.rate:.3g}"


@functools.cache
def _quantile() -> float:
    """Half the width of an interval, in standard errors."""
    return float(scipy.stats.norm.ppf(0.5 + CONFIDENCE / 2))


def counted(sample: Sample, dispersion: float = 0.0) -> Counted:
    """The rate of a stored value: failures of all reads of its cells.

    Cells of a line fail together, so that the standard error is the largest of those of independent cells, of
    independent bitlines and of independent wordlines (the ratio estimator of clusters; Cochran, Sampling Techniques,
    1977, section 9A.1). The interval is one of the rate's logarithm.

    Args:
        sample: what was counted.
        dispersion: variance of the log-odds between passes.
    """
    counts = sample.counts
    # Where no place of a flip is known, the counts are those of one pass, and the totals those of all.
    errors, read = (math.fsum(column) for column in zip(*sample.totals, strict=True)) if sample.totals else (0.0, 1.0)
    rate = max(counts.failures / (counts.cells * counts.reads), errors / read)
    if rate == 0.0:
        return Counted(0.0, 0.0, 0.0)
    relative = [1.0 / math.sqrt(max(counts.failed, 1))]
    for failed, cells in sample.lines.values():
        total, all_ = float(failed.sum()), float(cells.sum())
        if total > 0:
            relative.append(float(np.sqrt(((failed - total / all_ * cells) ** 2).sum())) / total)
    error = _quantile() * math.sqrt(max(relative) ** 2 + dispersion / counts.reads)
    return Counted(rate, rate * math.exp(-error), min(1.0, rate * math.exp(error)))


def told(raised: Iterable[Raised]) -> str | None:
    """The rates that were raised by more than a hundredth, in one sentence; None if there are none."""
    # One rate of both values is raised for both.
    worth = list(dict.fromkeys(str(one) for one in raised if one.rate > _WORTH_TELLING * one.below))
    if not worth:
        return None
    more = f"; and {len(worth) - 8} more" if len(worth) > 8 else ""
    return f"raised rates to what was counted, which the model's lay below: {'; '.join(worth[:8])}{more}"
