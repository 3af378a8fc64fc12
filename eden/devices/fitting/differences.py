"""Whether parts of a memory differ in their rates beyond chance: likelihood ratios with over-dispersion counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from eden.devices.likelihoods import Axis, Counts, fit_counts

Readings = Sequence[tuple[float, float]]


class Difference(NamedTuple):
    """A test of the hypothesis that several parts have one rate.

    Attributes:
        statistic: twice the logarithm of the ratio of likelihoods, divided by what over-dispersion multiplies it with.
        freedom: rates beyond the common one.
        residual: degrees of freedom of the over-dispersion; infinite where none was estimated.
        p_value: the probability of a statistic as large where the parts have one rate.

    """

    statistic: float
    freedom: int
    residual: float
    p_value: float


def compare_readings(parts: Sequence[Readings], dispersion: float | None = None) -> Difference | None:
    """Compare parts by their readings, whose rates vary by one dispersion.

    With n readings of g rates, n - g of them are left to tell the dispersion, and the statistic's distribution is that
    of n ln(1 + (g - 1) F / (n - g)) with Fisher's F, exact for normal readings. What all parts of a reading share is
    counted as dispersion too, which makes the test the more careful.

    Args:
        parts: of each part, (errors, cells) of every reading.
        dispersion: variance of the log-odds between readings, if these readings do not tell it.

    Returns:
        The test; None where nothing, or everything, failed, or less than two parts were read.

    Raises:
        ValueError: for a dispersion that the readings do not tell and that is not given.

    """
    read = [list(part) for part in parts if part]
    every = [reading for part in read for reading in part]
    if len(read) < 2 or not any(0.0 < errors < cells for errors, cells in every):
        return None
    own, common = fit_counts(read, dispersion), fit_counts([every], dispersion)
    ratio = max(0.0, 2 * (own.log_likelihood - common.log_likelihood))
    freedom, n = len(read) - 1, len(every)
    if dispersion is not None:
        return Difference(ratio, freedom, float("inf"), float(scipy.stats.chi2.sf(ratio, freedom)))
    residual = n - len(read)
    fisher = float(np.expm1(ratio / n)) * residual / freedom
    return Difference(freedom * fisher, freedom, residual, float(scipy.stats.f.sf(fisher, freedom, residual)))


def compare_counts(parts: Sequence[Counts]) -> Difference | None:
    """Compare parts by counts of their cells, which cluster along lines.

    The likelihood ratio is that of cells that fail independently, divided by the factor by which lines make the
    variance of a part's count larger (Rao and Scott, "The analysis of categorical data from complex sample surveys",
    J. Am. Stat. Assoc. 76, 1981). That variance is the sum, over lines, of the squares of their counts less what is
    expected of them, added over both axes less that of independent cells, which both contain (Cameron, Gelbach and
    Miller, "Robust inference with multiway clustering", J. Bus. Econ. Stat. 29, 2011). Expected is a rate of each
    part's own, so that what sets the parts apart is not in it, and no distribution of lines is assumed. The statistic
    by its degrees of freedom is compared with Fisher's F, with the lines of the axis that has the fewest less the parts
    behind the over-dispersion.

    Args:
        parts: of each part, what was counted; one stored value at one operating point.

    Returns:
        The test; None where nothing, or everything, failed, there are less than two parts, or too few lines.

    """
    if len(parts) < 2 or not any(0 < part.failed < part.cells for part in parts):
        return None
    failed, cells = sum(part.failed for part in parts), sum(part.cells for part in parts)
    ratio = 2 * (sum(_log_likelihood(part.failed, part.cells) for part in parts) - _log_likelihood(failed, cells))
    independent = sum(part.failed * (1 - part.failed / part.cells) for part in parts)
    factor, residual = 1.0, float("inf")
    axes: tuple[Axis, ...] = ("bitline", "wordline")
    for axis in axes:
        found = _variance_of_lines(parts, axis)
        if found is not None:
            variance, lines = found
            factor += variance / independent - 1.0
            residual = min(residual, lines - len(parts))
    freedom = len(parts) - 1
    statistic = max(ratio, 0.0) / max(factor, 1.0)
    if residual < 1:
        return None
    p_value = (
        scipy.stats.chi2.sf(statistic, freedom)
        if residual == float("inf")
        else scipy.stats.f.sf(statistic / freedom, freedom, residual)
    )
    return Difference(statistic, freedom, residual, float(p_value))


def _log_likelihood(failed: int, cells: int) -> float:
    """Of the best rate of independent cells."""
    rate = failed / cells
    return sum(count * float(np.log(share)) for count, share in ((failed, rate), (cells - failed, 1 - rate)) if count)


def _variance_of_lines(parts: Sequence[Counts], axis: Axis) -> tuple[float, int] | None:
    """The variance of the parts' counts if lines are independent, and how many; None where they were not counted."""
    variance, lines = 0.0, 0
    for part in parts:
        counted = part.along(axis)
        if counted is None or counted.failed.size < 2:
            return None
        expected = counted.cells * (part.failed / part.cells)
        size = counted.failed.size
        variance += float(((counted.failed - expected) ** 2).sum()) * size / (size - 1)
        lines += size
    return variance, lines
