"""Does a partition lose points by a test alone, and never a rate to chance?"""

from __future__ import annotations

import math

import numpy as np
import pytest

from eden.devices.fitting.operating_range import Candidate, Offer, offer
from eden.devices.partition import FittedPoint, point_of
from eden.memory.errors import DataDependent

NOMINAL = {"vdd": 1.5, "trcd": 12.5, "trp": 12.5, "temperature": 50.0, "refresh_interval": 64.0}
Rate = tuple[float, float, float]  # low, estimate, high


def point(zero: Rate, one: Rate | None = None, **changes: float) -> FittedPoint:
    one = one or zero
    return FittedPoint(
        **{**NOMINAL, **changes},
        errors=DataDependent(zero[1], one[1]),
        zero=(zero[0], zero[2]),
        one=(one[0], one[2]),
        readings=(4, 4),
        dispersion=0.1,
        dispersion_fitted=True,
    )


def offered(*points: FittedPoint) -> Offer:
    none = (0.0, 0.0, 0.0)
    return offer(point(none), [Candidate(point_of(one), one) for one in points])


@pytest.mark.parametrize(
    ("mild", "harsh", "kept"),
    [
        # As a bank lost 5 ns: one reading, whose rate lies a little below the milder one's.
        ((0.0023, 0.00397, 0.0069), (0.0023, 0.00384, 0.0079), True),
        ((0.0038, 0.00397, 0.0041), (0.0023, 0.00384, 0.0079), True),
        ((0.09, 0.10, 0.11), (0.018, 0.019, 0.020), False),
        # No error where a milder point had some.
        ((1e-9, 4e-9, 2e-8), (0.0, 0.0, 3e-8), True),
        ((9e-5, 1e-4, 1.1e-4), (0.0, 0.0, 3e-8), False),
        # All fail, in both.
        ((0.99, 1.0, 1.0), (0.98, 0.985, 1.0), True),
    ],
)
def test_only_a_test_takes_a_point_away(mild: Rate, harsh: Rate, kept: bool) -> None:
    found = offered(point(mild, trcd=7.5), point(harsh, trcd=5.0), point((0.2, 0.3, 0.4), trcd=2.5))
    if not kept:
        assert [one.trcd for one in found.points] == [7.5]
        assert [gap.trcd for gap in found.left_out] == [5.0, 2.5]
        assert "the curve is not monotone" in found.left_out[0].reason
        return
    assert [one.trcd for one in found.points][:2] == [7.5, 5.0]
    assert [one.trcd for one in found.raised][:1] == [5.0]
    raised = found.points[1]
    assert raised.errors.ber_zero == mild[1]
    assert raised.zero[0] <= mild[1] <= raised.zero[1]


def test_one_value_is_raised_and_the_other_kept() -> None:
    found = offered(point((1e-4, 2e-4, 4e-4), trcd=7.5), point((1e-4, 1.5e-4, 4e-4), (1e-3, 2e-3, 3e-3), trcd=5.0))
    assert (found.points[1].errors.ber_zero, found.points[1].errors.ber_one) == (2e-4, 2e-3)


def test_equal_rates_are_rarely_told_apart() -> None:
    """At the boundary, where both rates are equal, a point is lost in 1%: of 4,000 in 66 at most (p = 0.0001)."""
    random = np.random.default_rng(11)
    lost = 0
    for error_mild, error_harsh in random.uniform(0.05, 1.0, (4000, 2)):
        ends = []
        for error in (error_mild, error_harsh):
            centre = math.log(1e-4) + error * random.standard_normal()
            ends.append(tuple(1 / (1 + math.exp(-centre - 1.96 * side * error)) for side in (-1, 0, 1)))
        mild, harsh = ends
        lost += bool(offered(point(mild, trcd=7.5), point(harsh, trcd=5.0)).left_out)
    assert lost <= 66
    assert lost >= 20
