"""Counts of simulated arrays of cells: what a campaign would count of memory that follows one of Models 0 to 2."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from eden.devices.likelihoods import Axis, Counts, Lines


def _across(random: np.random.Generator, counts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """How many of the cells that each line has lie in each place along it; any of a line's cells are as likely."""
    # Where most cells of a line are wanted, the others are drawn.
    most = 2 * counts > length
    wanted = np.where(most, length - counts, counts)
    cells = np.zeros(0, np.int64)
    left = wanted
    while left.any():
        line = np.repeat(np.arange(counts.size), left)
        cells = np.sort(np.concatenate([cells, line * length + random.integers(0, length, line.size)]))
        cells = cells[np.diff(cells, prepend=-1) > 0]  # what np.unique would take ten times as long for
        left = wanted - np.bincount(cells // length, minlength=counts.size)
    weights = np.where(most[cells // length], -1.0, 1.0)
    return most.sum() + np.bincount(cells % length, weights, length).round().astype(np.int64)


def simulate_counts(
    axis: Axis | None, weak: float, dispersion: float, failure: float, reads: int, rows: int, columns: int, seed: int
) -> Counts:
    """Counts of an array, along both axes.

    Args:
        axis: along which lines the probability of being weak varies; None: along none.
        weak: that probability, or its mean over lines.
        dispersion: intra-class correlation of the cells of a line.
        failure: probability that a read of a weak cell fails.
        reads: of each cell.
        rows: rows of the array.
        columns: its columns.
        seed: of the array.

    """
    random = np.random.default_rng(seed)
    down = axis == "bitline"
    lines, length = (columns, rows) if down else (rows, columns)
    share = stats.binom.sf(0, reads, failure)
    rates: float | NDArray[np.float64] = weak
    if axis is not None and dispersion > 0.0:
        size = (1.0 - dispersion) / dispersion
        rates = random.beta(weak * size, (1.0 - weak) * size, lines)
    along = random.binomial(length, np.minimum(rates * share, 1.0), lines)
    across = _across(random, along, length)
    bitlines, wordlines = Lines(rows, along if down else across), Lines(columns, across if down else along)  # type: ignore[arg-type]
    if reads == 1:
        return Counts.of_lines(bitlines=bitlines, wordlines=wordlines)
    shares = stats.binom.pmf(np.arange(1, reads + 1), reads, failure)
    failed = random.multinomial(along.sum(), shares / shares.sum())
    histogram = np.concatenate([[rows * columns - along.sum()], failed])
    return Counts.of_cells(histogram, bitlines=bitlines, wordlines=wordlines)
