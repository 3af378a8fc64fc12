"""Is the betting test that of the literature, to the digit, and does it hold at its boundary for what it is used for?

``capital`` is written from Waudby-Smith and Ramdas (JRSS-B 2023), section 4.2 and appendix B.2, in NumPy, and shares
nothing with the core. Where their package ``confseq`` is installed, its ``betting_mart`` is asked, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from eden import _core
from eden.faults.scorer import Scores as Floats

STAKE = 0.95
PRIOR_COUNT, PRIOR_MEAN, PRIOR_DEVIATION = 8.0, 0.25, 0.5  # of the core's test, parts of the bound


def bets(y: Floats, bound: float) -> Floats:
    """aGRAPA: each bet from the mean and variance of what came before it."""
    count = PRIOR_COUNT + np.arange(len(y))
    before = np.concatenate([[0.0], np.cumsum(y)[:-1]])
    squares = np.concatenate([[0.0], np.cumsum(y**2)[:-1]])
    mean = (PRIOR_COUNT * PRIOR_MEAN * bound + before) / count
    prior_square = (PRIOR_MEAN**2 + PRIOR_DEVIATION**2) * bound**2
    variance = np.maximum(0.0, (PRIOR_COUNT * prior_square + squares) / count - mean**2)
    gap = bound - mean
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(gap > 0.0, gap / (variance + gap**2), 0.0)
    return np.asarray(np.clip(found, 0.0, STAKE / (1.0 - bound)))


def capital(y: Floats, bound: float) -> Floats:
    """The logarithm of the capital after each observation."""
    return np.asarray(np.cumsum(np.log1p(bets(y, bound) * (bound - y))))


def upper_bound(y: Floats, bound: float, alpha: float) -> float:
    """The least bound that the same bets refute, by a grid."""
    placed = bets(y, bound)
    for candidate in np.linspace(1.0 - (1.0 - bound) / STAKE, 1.0, 20001):
        if np.max(np.cumsum(np.log1p(placed * (candidate - y)))) >= -math.log(alpha):
            return float(candidate)
    return 1.0


def batch(random: np.random.Generator, count: int) -> Floats:
    return np.asarray((random.binomial(64, 0.03, count) - random.binomial(64, 0.02, count)) / 64)


DRAWS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "zeros": lambda random, count: np.zeros(count),
    "batches": batch,
    "rare": lambda random, count: np.where(random.random(count) < 0.01, 0.8, -0.002),
    "wide": lambda random, count: random.uniform(-1.0, 1.0, count),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("bound", [0.01, 0.05, 0.5])
def test_capital_and_bound_are_those_of_an_independent_implementation(name: str, bound: float) -> None:
    y = DRAWS[name](np.random.default_rng(3), 700)
    test = _core.BettingTest(bound, 0.05)
    found = []
    for observation in y:
        test.add(observation)
        found.append(test.log_capital)
    expected = capital(y, bound)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert test.rejected == (max(expected) >= math.log(20.0))
    assert test.upper_bound == pytest.approx(upper_bound(y, bound, 0.05), abs=2e-4)


@pytest.mark.parametrize("name", DRAWS)
def test_capital_is_that_of_the_authors_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "float_", np.float64, raising=False)  # confseq 0.0.11 is older than NumPy 2
    betting = pytest.importorskip("confseq.betting", reason="the package confseq is not installed")
    bound, y = 0.05, DRAWS[name](np.random.default_rng(4), 500)
    test = _core.BettingTest(bound, 0.05)
    found = []
    for observation in y:
        test.add(observation)
        found.append(math.exp(test.log_capital))
    # Its observations are in [0, 1] and their mean is said to be above a bound: x = (1 - y) / 2, so bets are doubled.
    theirs = betting.betting_mart(
        *((1.0 - y) / 2.0, (1.0 - bound) / 2.0),
        lambdas_fn_positive=lambda x, m: 2.0 * bets(1.0 - 2.0 * x, bound),
        theta=1,
        trunc_scale=STAKE,
    )
    np.testing.assert_allclose(found, theirs, rtol=1e-9)
