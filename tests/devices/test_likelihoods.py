"""Are the fits of Models 0 to 3 those of their likelihoods, and do they find what counts were drawn from?"""

import importlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eden.devices.curves.dispersion import leave_one_out
from eden.devices.likelihoods import Counts, Estimate, Lines, compare_pattern, goodness_of_fit
from eden.devices.likelihoods.counts import Axis
from eden.devices.likelihoods.estimates import KINDS, Fit
from eden.devices.likelihoods.fit import fit_model, likeliest_failure
from eden.devices.likelihoods.goodness import reads_goodness
from eden.devices.likelihoods.likelihood import failure_shares, seen_share
from eden.devices.likelihoods.maximize import Box, maximize, profile_interval

Simulate = Callable[..., Counts]
RATIO = 3.841458820694124
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def simulate() -> Iterator[Simulate]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("simulated_counts").simulate_counts


def fitted(*values: Counts, model: str = "uniform", failure: float | None = None, intervals: bool = True) -> Fit:
    return fit_model(values, KINDS[model], failure, RATIO, intervals)


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def counts_of(reads: int, cells: int, failed: int, failures: int) -> Counts:
    return Counts(cells, failed, reads, failures)


def test_failures_of_seen_cells_tell_f() -> None:
    # Of 4 reads, cells seen: the mean number of failures at F = 0.5 is 2 / (1 - 1/16).
    assert likeliest_failure([counts_of(4, 10**9, 15_000_000, 32_000_000)]) == pytest.approx(0.5, rel=1e-6)
    assert likeliest_failure([counts_of(4, 100, 10, 40)]) == 1.0
    assert likeliest_failure([counts_of(4, 100, 10, 10)]) == 0.0
    assert failure_shares(0.05, 7).sum() == pytest.approx(1.0)


def test_a_quadratic_has_its_maximum_covariance_and_intervals() -> None:
    # Correlation 0.8, deviations 1e-3 and 2.
    a, b, r = 1e-3, 2.0, 0.8

    def function(x: NDArray[np.float64]) -> NDArray[np.float64]:
        u, v = (x[:, 0] - 0.3) / a, (x[:, 1] + 1.0) / b
        value: NDArray[np.float64] = -0.5 / (1 - r * r) * (u * u - 2 * r * u * v + v * v)
        return value

    box = Box(np.array([-5.0, -20.0]), np.array([5.0, 20.0]))
    start, scale = np.array([0.0, 3.0]), np.array([0.1, 0.1])
    maximum = maximize(function, box, start, scale)
    assert maximum.place == pytest.approx([0.3, -1.0], abs=1e-3)
    assert maximum.place[0] == pytest.approx(0.3, abs=1e-6)
    assert maximum.covariance == pytest.approx(np.array([[a * a, r * a * b], [r * a * b, b * b]]), rel=1e-3)
    assert profile_interval(function, box, maximum, 1, 4.0) == pytest.approx((-1 - 2 * b, -1 + 2 * b), rel=1e-3)
    # An end of the box that the profile does not fall to is the interval's.
    narrow = Box(np.array([-5.0, -2.0]), np.array([5.0, 20.0]))
    maximum = maximize(function, narrow, start, scale)
    assert profile_interval(function, narrow, maximum, 1, 4.0)[0] == -2.0


@pytest.mark.parametrize("axis", [None, "bitline", "wordline"])
def test_intervals_hold_what_arrays_were_drawn_from(simulate: Simulate, axis: Axis | None) -> None:
    arrays = 60
    covered = np.zeros(4, int)
    for seed in range(arrays):
        fit = fitted(simulate(axis, 0.02, 0.05, 0.4, 6, 512, 400, seed), model=axis or "uniform")
        assert fit.weak[0].identified
        spread = fit.dispersion is None or holds(fit.dispersion, 0.05)
        covered += [holds(fit.weak[0], 0.02), holds(fit.failure, 0.4), holds(fit.ber[0], 0.008), spread]
    # Of 60 intervals of 95% fewer than 51 hold with a probability of 1e-3; there are 11 kinds.
    assert covered.min() >= 50


def test_totals_tell_p_f_and_say_that_both_are_assumed() -> None:
    total = counts_of(1, 10**6, 100, 100)
    fit = fitted(total)
    assert (fit.failure.identified, fit.weak[0].identified, fit.ber[0].identified) == (False, False, True)
    assert fit.ber[0].estimate == pytest.approx(1e-4)
    # Twice the fall of a Poisson likelihood of 100 is 3.84 at 81.6 and 120.8.
    assert (fit.ber[0].low, fit.ber[0].high) == pytest.approx((81.63e-6, 120.83e-6), rel=1e-3)
    assert fit.parameters == 1
    given = fitted(total, failure=0.5)
    assert given.weak[0].estimate == pytest.approx(2e-4)
    assert given.ber[0].low == pytest.approx(fit.ber[0].low, rel=1e-4)


def test_bounds_are_one_sided() -> None:
    none = fitted(counts_of(1, 10**6, 0, 0)).ber[0]
    assert (none.estimate, none.low, none.bound) == (0.0, 0.0, "low")
    assert none.high == pytest.approx(-math.log(0.05) * 1e-6, rel=1e-3)
    # Where the spread is not known either, lines may fail as a whole: 0.05 = (1 - P)^100.
    lines = fitted(Counts.of_lines(bitlines=Lines(10_000, np.zeros(100, int))), model="bitline")  # type: ignore[arg-type]
    assert lines.ber[0].high == pytest.approx(1 - 0.05**0.01, rel=1e-3)
    assert lines.dispersion is not None
    assert not lines.dispersion.identified

    every = fitted(counts_of(3, 10**6, 50, 150)).failure
    assert (every.estimate, every.high, every.bound) == (1.0, 1.0, "high")
    seen = float(seen_share(every.low, 3)[0])
    assert 50 * (3 * math.log(every.low) - math.log(seen)) == pytest.approx(math.log(0.05), rel=1e-4)

    # One failure in each of 64 lines: less than chance makes differ.
    alike = fitted(Counts.of_lines(bitlines=Lines(1000, np.ones(64, int))), model="bitline").dispersion  # type: ignore[arg-type]
    assert alike is not None
    assert (alike.estimate, alike.low, alike.bound) == (0.0, 0.0, "low")
    assert 0.0 < alike.high < 1e-2


def test_a_rate_for_each_value_with_one_f() -> None:
    # F = 0.5: a seen cell fails 4/3 times.
    values = counts_of(2, 10**6, 750, 1000), counts_of(2, 10**6, 7500, 10000)
    fit = fitted(*values, model="data_dependent")
    assert fit.failure.estimate == pytest.approx(0.5, rel=1e-4)
    assert [weak.estimate for weak in fit.weak] == pytest.approx([1e-3, 1e-2], rel=1e-4)
    assert (fit.parameters, fit.observations) == (3, 2_000_000)
    assert fitted(*values).log_likelihood < fit.log_likelihood - 1000


@pytest.mark.parametrize("axis", [None, "bitline"])
def test_p_of_a_fit_that_is_true_is_uniform(simulate: Simulate, axis: Axis | None) -> None:
    p_values = []
    for seed in range(100):
        value = simulate(axis, 0.02, 0.02, 1.0, 1, 256, 600, seed)
        test = next(
            one
            for one in goodness_of_fit(axis or "uniform", "one", value, failure=1.0, replicates=39, seed=1)
            if one.of == "bitline"
        )
        assert len(test.bins) > 3
        assert sum(one.expected for one in test.bins) == pytest.approx(600.0)
        assert sum(one.observed for one in test.bins) == 600.0
        p_values.append(test.p_value)
    # Binomial of 100 at 1/2 and at 1/10: outside of these with a probability of 1e-3 each.
    assert 34 <= sum(p <= 0.5 for p in p_values) <= 66
    assert 2 <= sum(p <= 0.1 for p in p_values) <= 21


def test_p_of_a_fit_that_is_not_true_is_small(simulate: Simulate) -> None:
    value = simulate("bitline", 0.02, 0.1, 1.0, 1, 256, 600, 1)
    test, _ = goodness_of_fit("uniform", "one", value, failure=1.0, replicates=99, seed=1)
    assert (test.of, test.p_value) == ("bitline", 0.01)


def test_cells_that_do_not_share_one_f_are_told_from_those_that_do() -> None:
    half, low, high = (failure_shares(failure, 8) for failure in (0.5, 0.1, 0.9))
    for shares, true in ((1000 * half, True), (500 * (low + high), False)):
        counts = Counts.of_cells(np.append(10**6, shares.round().astype(int)))
        test = reads_goodness(["one"], [counts], likeliest_failure([counts]), True, 99, 1)
        assert test.p_value > 0.5 if true else test.p_value == 0.01


def test_a_pattern_is_compared_with_its_zeros_and_ones() -> None:
    def readings(*errors: float) -> list[tuple[float, float]]:
        return [(count, 1e7) for count in errors]

    zeros, ones = readings(1000, 1100, 900, 1050), readings(5000, 5500, 4500, 5100)
    agree = compare_pattern(zeros, ones, readings(3000, 3300, 2800))
    differ = compare_pattern(zeros, ones, readings(9000, 9900, 8400))
    assert agree.predicted == pytest.approx(3.03e-4, rel=0.02)
    assert agree.statistic < 1.0
    assert differ.statistic > 15.0
    assert differ.own == pytest.approx(9.1e-4, rel=0.02)


def test_leaving_one_out_gives_studentized_deviations() -> None:
    # Log-odds of about -1, 0, 1 and 5: the last against the mean 0 and variance 1.
    readings = [(1e12 / (1 + math.exp(-odds)), 1e12) for odds in (-1.0, 0.0, 1.0, 5.0)]
    deviation, studentized = leave_one_out(readings)[3]
    assert deviation == pytest.approx(5.0, rel=1e-6)
    assert studentized == pytest.approx(5.0 / math.sqrt(1 + 1 / 3), rel=1e-6)
    assert leave_one_out(readings, 4.0)[3][1] == pytest.approx(2.5 / math.sqrt(4 / 3), rel=1e-6)
    with pytest.raises(ValueError, match="found 2 readings"):
        leave_one_out([(1, 10), (2, 10)])
