"""Are the lines that are weak for stored zeros those that are for ones? The likelihood of lines counted for both."""

from __future__ import annotations

import functools
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from eden.memory.lines import HIGHEST_DISPERSION, LOWEST_DISPERSION
from eden.memory.lines_by_value import Marks

# Of the integral over a line's mark, whose log-odds span what 32 bits tell.
_NODES = 320
_WIDEST = 22.0
# More lines tell no more that matters: every so many are taken.
_MOST_LINES = 4096
_FEWEST_LINES = 8  # from which on there is something to tell


class PairedLines(NamedTuple):
    """Lines that were read with zeros and with ones at one operating point, and the laws that were fitted to each.

    Attributes:
        failed: int64 of (2, lines): cells that failed in one read or more, by stored value.
        cells: likewise all that stored the value.
        weak: for each value, the mean of the probability that a cell is weak.
        dispersion: of its Beta distribution over lines.
        seen: for each value, the share of weak cells that fail in one of the reads or more.

    """

    failed: NDArray[np.int64]
    cells: NDArray[np.int64]
    weak: tuple[float, float]
    dispersion: float
    seen: tuple[float, float]


def marks_gains(point: PairedLines) -> dict[Marks, float]:
    """By how much each way in which lines can go together raises the log-likelihood above that of marks apart.

    A line's probability for each value is the Beta quantile of its mark for that value (``eden.Bitline.by_value``);
    given these, its failing cells are independent. The margins are as they were fitted to each value, so that the ways
    differ in nothing else (inference functions for margins: H. Joe, Multivariate Models and Dependence Concepts, 1997,
    section 10.1). Nothing is gained where the counts do not tell it.
    """
    told = (point.cells > 0).all(axis=0)
    if told.sum() < _FEWEST_LINES or not point.failed[:, told].any(axis=1).all() or point.dispersion == 0.0:
        return dict.fromkeys(get_args(Marks), 0.0)
    every = -(-int(told.sum()) // _MOST_LINES)
    found = _likelihoods(point.failed[:, told][:, ::every], point.cells[:, told][:, ::every], point)
    return {marks: value - found["apart"] for marks, value in found.items()}


@functools.cache
def _nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of the lines that are weaker, the complements being their reverse, and the logarithms of their weights."""
    odds = np.linspace(-_WIDEST, _WIDEST, _NODES + 1)
    edges = 1.0 / (1.0 + np.exp(-odds))
    edges[0], edges[-1] = 0.0, 1.0
    middle = 1.0 / (1.0 + np.exp(-(odds[1:] + odds[:-1]) / 2))
    return middle, np.log(np.diff(edges))


def _likelihoods(failed: NDArray[np.int64], cells: NDArray[np.int64], point: PairedLines) -> dict[Marks, float]:
    from scipy import special

    upper, log_weights = _nodes()
    dispersion = min(max(point.dispersion, LOWEST_DISPERSION), HIGHEST_DISPERSION)
    size = (1.0 - dispersion) / dispersion
    of_value = []
    columns, times = np.unique(np.concatenate([failed, cells]), axis=1, return_counts=True)
    for value in range(2):
        mean = point.weak[value]
        weak = special.betainccinv(mean * size, (1.0 - mean) * size, upper)
        seen = np.clip(weak * point.seen[value], 1e-300, 1.0 - 1e-16)
        k, rest = columns[value], columns[2 + value] - columns[value]
        of_value.append(np.outer(np.log(seen), k) + np.outer(np.log1p(-seen), rest))
    zero, one = of_value

    def total(of_nodes: NDArray[np.float64]) -> float:
        return float(times @ special.logsumexp(of_nodes + log_weights[:, None], axis=0))

    return {"alike": total(zero + one), "opposite": total(zero + one[::-1]), "apart": total(zero) + total(one)}
