"""Do counts look like a fitted model's? Pearson's statistic over classes of counts, its distribution from a bootstrap.

Campaigns are drawn from the fit, each fitted again (Davison and Hinkley, Bootstrap Methods and their Application, 1997,
section 4.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eden import _core
from eden.devices.likelihoods.counts import Axis, Counts, StoredValue
from eden.devices.likelihoods.estimates import Fit, Kind
from eden.devices.likelihoods.fit import likeliest_failure, likeliest_laws
from eden.devices.likelihoods.likelihood import Law, failure_shares, seen_share
from eden.devices.likelihoods.maximize import Vector

# Classes aim at this share of the lines, and at no fewer lines than that.
_SHARE_OF_CLASS = 0.05
_LEAST_EXPECTED = 5.0
# Wider classes are integrated.
_SUMMED = 64
# The lines of one kind are drawn as a multinomial where their counts' range is this small.
_TABULATED = 4096
# Campaigns that are fitted together; all of them would be hundreds of MB of a large chip.
_TOGETHER = 50
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


@dataclass(frozen=True)
class Bin:
    """One class of counts of a goodness-of-fit test, as a plot needs it.

    Attributes:
        stored: the value that the cells stored.
        size: cells of the lines, or reads of a cell.
        low: the least count of the class: cells that failed in a line, or reads that failed of a cell.
        high: the largest.
        observed: lines (or cells) with such counts.
        expected: how many the fit expects.

    """

    stored: StoredValue
    size: int
    low: int
    high: int
    observed: float
    expected: float


@dataclass(frozen=True)
class Goodness:
    """Whether counts look like the chosen model's.

    Attributes:
        of: what was tested: the lines of an axis, or the reads of cells that failed.
        bins: classes of counts; empty where there is too little to test.
        statistic: Pearson's.
        p_value: the share of campaigns drawn from the fit, each fitted again, whose statistic is as large.
        replicates: campaigns that were drawn.

    """

    of: Literal["bitline", "wordline", "reads"]
    bins: tuple[Bin, ...]
    statistic: float
    p_value: float
    replicates: int


def _statistic(bins: Sequence[Bin]) -> float:
    return sum((one.observed - one.expected) ** 2 / max(one.expected, 1e-6) for one in bins)


def _bootstrap(
    of: Literal["bitline", "wordline", "reads"],
    bins: Sequence[Bin],
    replicates: int,
    draw: Callable[[int], Sequence[Sequence[Bin]]],
) -> Goodness:
    """The test: p is the share of campaigns, the measured one among them, whose statistic is as large."""
    if not bins:
        return Goodness(of, (), 0.0, 1.0, 0)
    statistic = _statistic(bins)
    blocks = [min(_TOGETHER, replicates - done) for done in range(0, replicates, _TOGETHER)]
    as_large = sum(_statistic(campaign) >= statistic for block in blocks for campaign in draw(block))
    return Goodness(of, tuple(bins), statistic, (as_large + 1) / (replicates + 1), replicates)


def law_of(fit: Fit, rate: int) -> Law:
    """The distribution of P over lines."""
    mean, rho = fit.weak[rate].estimate, fit.dispersion.estimate if fit.dispersion else 0.0
    return Law(mean, 1.0 - mean, rho / (1.0 - rho))


class _Lines:
    """Lines of one length that stored one value, with their classes and how new ones are drawn."""

    def __init__(
        self, value: int, counts: Counts, cells: int, failed: NDArray[np.int64], law: Law, failure: float
    ) -> None:
        self.value, self.counts, self.cells, self.lines = value, counts, cells, failed.size
        self.failed, self.law = failed, law
        self.share, self.unseen = (float(part) for part in seen_share(failure, counts.reads))
        ends = self._class_ends()
        self.ends = np.array([*ends, cells] if ends else [], np.int64)
        low = np.append(0, self.ends[:-1] + 1)
        # What each class but the last is summed or integrated from.
        places, weights, owners = [], [], []
        for i, (first, last) in enumerate(zip(low[:-1], self.ends[:-1], strict=True)):
            if last - first <= _SUMMED:
                at, weight = np.arange(first, last + 1.0), np.ones(last - first + 1)
            else:
                # A wide class is one over which the probability varies slowly.
                half = 0.5 * (last - first + 1.0)
                at, weight = np.clip(0.5 * (first + last) + half * _NODES, 0.0, cells), half * _WEIGHTS
            places.append(at)
            weights.append(weight)
            owners.append(np.full(at.size, i))
        if places:
            self._places, self._weights, self._owners = map(np.concatenate, (places, weights, owners))
        self.low = low
        self._table = self._tabulated()

    def _probability(self, seen: Vector, law: Law) -> Vector:
        found: Vector = _core.line_probability(self.cells, seen, *law, self.share, self.unseen)
        return found

    def _class_ends(self) -> list[int]:
        least = max(_LEAST_EXPECTED / self.lines, 1e-9)
        ends: list[int] = []
        below, own, start = 0.0, 0.0, 0
        while start < self.cells:
            mass = np.cumsum(self._probability(np.arange(start, min(start + 4096, self.cells), dtype=float), self.law))
            above = 1.0 - below - mass
            used = int(np.argmax(above < least)) if (above < least).any() else mass.size
            begun = -own
            while True:
                reached = mass[:used] - begun >= np.maximum(
                    _LEAST_EXPECTED / self.lines, np.minimum(_SHARE_OF_CLASS, above[:used])
                )
                if not reached.any():
                    break
                at = int(np.argmax(reached))
                ends.append(start + at)
                begun = float(mass[at])
            if used < mass.size:
                break
            own, below, start = float(mass[-1]) - begun, below + float(mass[-1]), start + mass.size
        return ends

    def _tabulated(self) -> Vector | None:
        if self.cells > _TABULATED or self.lines < 256:
            return None
        table = self._probability(np.arange(self.cells + 1.0), self.law)
        end = int(np.searchsorted(np.cumsum(table), 1.0 - 1e-14)) + 1
        shares: Vector = table[:end] / table[:end].sum()
        return shares

    def draw(self, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts of new lines, and how many have each."""
        if self._table is not None:
            times = random.multinomial(self.lines, self._table)
            seen = np.flatnonzero(times)
            return seen, times[seen]
        weak: Vector | float = float(self.law.mean)
        if self.law.spread:
            weak = random.beta(self.law.mean / self.law.spread, self.law.complement / self.law.spread, self.lines)
        seen, times = np.unique(
            random.binomial(self.cells, np.minimum(weak * self.share, 1.0), self.lines), return_counts=True
        )
        return seen, times

    def bins(
        self, stored: StoredValue, seen: NDArray[np.int64], times: NDArray[np.int64] | None, law: Law
    ) -> list[Bin]:
        """The classes with counts in them, and what a fit of their own expects."""
        if not self.ends.size:
            return []
        if law.mean:
            mass = np.bincount(self._owners, self._weights * self._probability(self._places, law), self.ends.size - 1)
        else:
            mass = (self.low[:-1] == 0).astype(float)
        below = np.minimum(np.cumsum(mass), 1.0)
        expected = np.diff(np.concatenate([[0.0], below, [1.0]])) * self.lines
        observed = np.bincount(np.searchsorted(self.ends, seen), times, self.ends.size)
        return [
            Bin(stored, self.cells, int(low), int(high), float(count), float(share))
            for low, high, count, share in zip(self.low, self.ends, observed, expected, strict=True)
        ]


def lines_goodness(
    stored: Sequence[StoredValue],
    values: Sequence[Counts],
    kind: Kind,
    tested: Axis,
    fit: Fit,
    replicates: int,
    seed: int,
) -> Goodness:
    """Do lines counted along ``tested`` follow a fitted model, whose lines they are if it has any?"""
    failure = fit.failure.estimate
    random = np.random.default_rng(seed)
    laws = [law_of(fit, value if kind.by_value else 0) for value in range(len(values))]
    sets: list[_Lines] = []
    for number, (value, law) in enumerate(zip(values, laws, strict=True)):
        lines = value.along(tested)
        if lines is not None and law.mean:
            for cells in np.unique(lines.cells):
                sets.append(_Lines(number, value, int(cells), lines.failed[lines.cells == cells], law, failure))

    def draw(block: int) -> list[list[Bin]]:
        drawn = [[one.draw(random) for one in sets] for _ in range(block)]
        campaigns, likelihoods = [], []
        for campaign in drawn:
            again, of_lines = list(values), []
            for number, value in enumerate(values):
                mine = [(one.cells, *counts) for one, counts in zip(sets, campaign, strict=True) if one.value == number]
                if mine:
                    failed = sum(int(seen @ times) for _, seen, times in mine)
                    # F is given, so how often the cells failed is a constant.
                    again[number] = replace(value, failed=failed, failures=failed * value.reads)
                if kind.axis is not None and mine:
                    columns = [(np.full(seen.size, cells), seen, times) for cells, seen, times in mine]
                    of_lines.append(_core.LineLikelihood(*map(np.concatenate, zip(*columns, strict=True))))
                elif kind.axis is not None:
                    lines = value.along(tested)
                    assert lines is not None
                    of_lines.append(lines.likelihood)
            campaigns.append(again)
            likelihoods.append(of_lines)
        if kind.axis is not None:
            fitted = [[law] * len(values) for law in likeliest_laws(campaigns, likelihoods, laws[0], failure)]
        else:
            fitted = [_alike(again, kind, failure) for again in campaigns]
        return [
            [
                entry
                for one, (seen, times) in zip(sets, campaign, strict=True)
                for entry in one.bins(stored[one.value], seen, times, own[one.value])
            ]
            for campaign, own in zip(drawn, fitted, strict=True)
        ]

    bins = [entry for one in sets for entry in one.bins(stored[one.value], one.failed, None, laws[one.value])]
    return _bootstrap(tested, bins, replicates, draw)


def _alike(values: Sequence[Counts], kind: Kind, failure: float) -> list[Law]:
    """What a fit of drawn counts says of each value's cells where no lines differ, F being known."""
    expected = [value.cells * float(seen_share(failure, value.reads)[0]) for value in values]
    failed = [value.failed for value in values]
    if not kind.by_value:
        expected, failed = [sum(expected)] * len(values), [sum(failed)] * len(values)
    means = [min(count / of, 1.0) for count, of in zip(failed, expected, strict=True)]
    return [Law(mean, 1.0 - mean, 0.0) for mean in means]


def reads_goodness(
    stored: Sequence[StoredValue], values: Sequence[Counts], failure: float, fitted: bool, replicates: int, seed: int
) -> Goodness:
    """Do the failures of cells that were seen follow one F?

    Args:
        stored: of each value, which it is.
        values: counts of cells that were read more than once, some of which failed.
        failure: F.
        fitted: whether it was fitted to them.
        replicates: campaigns that are drawn.
        seed: of them.

    """
    random = np.random.default_rng(seed)
    histograms = [value.histogram[1:] for value in values if value.histogram is not None]
    shares = [failure_shares(failure, histogram.size) for histogram in histograms]
    classes: list[tuple[int, int, int]] = []
    for number, (histogram, share) in enumerate(zip(histograms, shares, strict=True)):
        own: list[tuple[int, int, int]] = []
        low, expected = 0, 0.0
        for k, part in enumerate(share * histogram.sum()):
            expected += float(part)
            last = k + 1 == histogram.size
            if expected < _LEAST_EXPECTED and not last:
                continue
            if expected < _LEAST_EXPECTED and own:
                own[-1] = (number, own[-1][1], k)
            else:
                own.append((number, low, k))
            low, expected = k + 1, 0.0
        classes += own if len(own) > 1 else []
    # Two classes of one value meet every F that is fitted to them.
    if fitted and len(classes) == 2 and classes[0][0] == classes[1][0]:
        classes = []

    def bins(counted: Sequence[NDArray[np.int64]], at: float) -> list[Bin]:
        expected = [failure_shares(at, histogram.size) * histogram.sum() for histogram in counted]
        return [
            Bin(
                stored[number],
                counted[number].size,
                low + 1,
                high + 1,
                float(counted[number][low : high + 1].sum()),
                float(expected[number][low : high + 1].sum()),
            )
            for number, low, high in classes
        ]

    def draw() -> list[Bin]:
        drawn = [
            random.multinomial(histogram.sum(), share / share.sum())
            for histogram, share in zip(histograms, shares, strict=True)
        ]
        again = [
            replace(value, failures=int(histogram @ np.arange(1, histogram.size + 1)))
            for value, histogram in zip(values, drawn, strict=True)
        ]
        return bins(drawn, max(likeliest_failure(again), 1e-12) if fitted else failure)

    return _bootstrap("reads", bins(histograms, failure), replicates, lambda block: [draw() for _ in range(block)])
