"""The likelihood of Models 0 to 3: of cells that are each weak or not for good, and of how often the weak ones fail.

A cell is weak with probability P; a read of a weak cell fails with probability F. Of n reads of one cell k fail with
probability (1 - P) [k = 0] + P Binom(k; n, F), a zero-inflated binomial (Lambert, "Zero-inflated Poisson regression",
Technometrics 34, 1992; Hall, Biometrics 56, 2000). A cell is seen if it fails at least once, with probability P q,
q = 1 - (1 - F)^n; the failures of a seen cell are a binomial without its zero. The number of cells seen tells P q,
their failures tell F. Lines add a Beta distribution of P over lines (``csrc/devices/fit_lines.h``).

Likelihoods are those of which reads of which cells failed, without binomial coefficients, so that models that count
the same failures along different lines are compared on the same data.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from eden.devices.likelihoods.counts import Axis, Counts
from eden.devices.likelihoods.maximize import Vector
from eden.devices.likelihoods.odds import logistic

# The box of the coordinates: log-odds of P and of F, and ln r = ln(rho / (1 - rho)). The lowest r adds a ten-thousandth
# to the variance of 10^6 errors of a line.
LOWEST_ODDS, HIGHEST_ODDS = -60.0, 30.0
LOWEST_FAILURE_ODDS, HIGHEST_FAILURE_ODDS = -46.0, 34.0
LOWEST_LOG_SPREAD, HIGHEST_LOG_SPREAD = -23.0, 13.8


def failure_at(odds: float) -> float:
    """F of its coordinate, 1 at its highest place."""
    return 1.0 if odds >= HIGHEST_FAILURE_ODDS else logistic(odds)


def seen_share(failure: Vector | float, reads: int) -> tuple[Vector, Vector]:
    """The share of weak cells that are seen, q, and its complement, each precise where it is small."""
    with np.errstate(divide="ignore"):
        unseen = reads * np.log1p(-np.asarray(failure, np.float64))
    return -np.expm1(unseen), np.exp(unseen)


def log_failures(counts: Counts, failure: Vector) -> Vector:
    """Log-likelihood of the seen cells' failing reads, given that they were seen; -inf where F = 1 cannot be."""
    if counts.reads == 1 or counts.failed == 0:
        return np.zeros(np.shape(failure))
    passed = counts.reads * counts.failed - counts.failures
    total = counts.failures * np.log(failure)
    if passed > 0:
        with np.errstate(divide="ignore"):
            total = total + passed * np.log1p(-failure)
    found: Vector = total - counts.failed * np.log(seen_share(failure, counts.reads)[0])
    return found


@functools.cache
def _log_choices(reads: int) -> Vector:
    """Logarithms of the binomial coefficients of 1 to n failures of n reads."""
    from scipy import special

    k = np.arange(1, reads + 1)
    found: Vector = special.gammaln(reads + 1) - special.gammaln(k + 1) - special.gammaln(reads - k + 1)
    return found


def failure_shares(failure: float, reads: int) -> Vector:
    """Probabilities of 1 to n failures of a cell that was seen; float64 of (reads)."""
    from scipy import special

    k = np.arange(1, reads + 1)
    log_share = _log_choices(reads) + special.xlogy(k, failure) + special.xlog1py(reads - k, -failure)
    found: Vector = np.exp(log_share) / seen_share(failure, reads)[0]
    return found


class Law(NamedTuple):
    """The distribution of P over lines: its mean, the complement of that, and r = 1 / (a + b); 0 where all agree."""

    mean: Vector | float
    complement: Vector | float
    spread: Vector | float


def sum_by_reads(values: Iterable[Counts]) -> list[Counts]:
    """The totals of counts, those of cells that were read equally often added up."""
    sums: dict[int, Counts] = {}
    for one in values:
        before = sums.get(one.reads, Counts(0, 0, one.reads))
        cells, failed, failures = (
            getattr(before, name) + getattr(one, name) for name in ("cells", "failed", "failures")
        )
        sums[one.reads] = Counts(cells, failed, one.reads, failures)
    return list(sums.values())


class Likelihood:
    """The log-likelihood of counts in the coordinates of a model: log-odds of each rate's P, ln r, log-odds of F.

    Args:
        values: what was counted of each stored value.
        axis: along which lines P varies; None: along none.
        by_value: whether each value has a rate of its own.

    """

    def __init__(self, values: Sequence[Counts], axis: Axis | None, by_value: bool) -> None:
        self.values, self.axis = values, axis
        self.groups = [[value] for value in values] if by_value else [list(values)]
        self.rates = len(self.groups)
        self.spread_index, self.failure_index, self.size = self.rates, self.rates + 1, self.rates + 2
        self._all = sum_by_reads(values)
        self._seen = [sum(value.failed for value in group) for group in self.groups]
        self._summed = [sum_by_reads(group) for group in self.groups]
        self._lines = [
            [(value.reads, own.likelihood) for value in group if axis and (own := value.along(axis)) is not None]
            for group in self.groups
        ]

    def seen(self, rate: int) -> int:
        """Cells of a rate that were seen to fail."""
        return self._seen[rate]

    def cells(self, rate: int) -> int:
        """Cells of a rate."""
        return sum(value.cells for value in self.groups[rate])

    def of_rate(self, rate: int, law: Law, failure: Vector | float) -> Vector:
        """Of one rate's cells and lines, given F; not of the failures of seen cells."""
        mean, complement, spread = law
        total: Vector = np.zeros(1)
        if self.axis is not None:
            for reads, lines in self._lines[rate]:
                total = total + lines(mean, complement, spread, *seen_share(failure, reads))
            return total
        for value in self._summed[rate]:
            share, unseen = seen_share(failure, value.reads)
            rest = value.cells - value.failed
            passed = np.where(mean < 0.5, np.log1p(-share * np.minimum(mean, 0.5)), np.log(complement + unseen * mean))
            if value.failed:
                total = total + value.failed * (np.log(share) + np.log(mean))
            if rest:
                total = total + rest * passed
        return total

    def of_failures(self, failure: Vector) -> Vector:
        """Of the failures of all seen cells."""
        total: Vector = np.sum([log_failures(value, failure) for value in self._all], axis=0)
        return total

    def spread_at(self, log_spread: Vector) -> Vector:
        """R of its coordinate, 0 at its lowest place."""
        return np.where((log_spread > LOWEST_LOG_SPREAD) & bool(self.axis), np.exp(log_spread), 0.0)

    def __call__(self, x: Vector) -> Vector:
        """The log-likelihoods of points, float64 of (points), from float64 of (points, size)."""
        odds = x[:, self.failure_index]
        failure = np.where(odds >= HIGHEST_FAILURE_ODDS, 1.0, 1.0 / (1.0 + np.exp(-odds)))
        spread = self.spread_at(x[:, self.spread_index])
        total = self.of_failures(failure)
        for rate in range(self.rates):
            if not self.seen(rate):
                continue
            p, r, f, back = x[:, rate], spread, failure, None
            if self.rates > 3:
                # Points that differ in another rate alone have the same likelihood of this one.
                columns, back = np.unique(np.column_stack([p, r, f]), axis=0, return_inverse=True)
                p, r, f = columns.T
            found = self.of_rate(rate, Law(1.0 / (1.0 + np.exp(-p)), 1.0 / (1.0 + np.exp(p)), r), f)
            total = total + (found if back is None else found[back.reshape(-1)])
        return total

    def with_ber(self, x: Vector, rate: int) -> Vector:
        """The same with the log-odds of P F in the place of those of a rate's P."""
        ber = 1.0 / (1.0 + np.exp(-x[:, rate]))
        odds = x[:, self.failure_index]
        failure = np.maximum(np.where(odds >= HIGHEST_FAILURE_ODDS, 1.0, 1.0 / (1.0 + np.exp(-odds))), ber)
        y = x.copy()
        weak = np.minimum(ber / failure, 1.0 - 1e-13)
        y[:, rate] = np.log(weak) - np.log1p(-weak)
        with np.errstate(divide="ignore"):
            y[:, self.failure_index] = np.where(
                failure >= 1.0, HIGHEST_FAILURE_ODDS, np.log(failure) - np.log1p(-failure)
            )
        return self(y)
