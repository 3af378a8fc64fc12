"""Comparisons of numbers that a program has computed: they allow for rounding, by a bound that is derived.

A result of n operations in double precision is off by at most n epsilons of the largest magnitude among them (Higham,
"Accuracy and Stability of Numerical Algorithms", 2nd ed., 2002, section 3.1, with room for second-order terms). What is
further off than that is wrong. Processors and libraries differ in the last bits, so an exact comparison of two ways to
the same number may hold on one machine and fail on another.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

EPSILON = sys.float_info.epsilon
"""Distance from 1 to the next larger number."""


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; between the least and the greatest value, which a rounded sum over n need not be."""
    return min(max(math.fsum(values) / len(values), min(values)), max(values))


def rounding(magnitude: float, operations: int = 1) -> float:
    """The most that rounding makes of operations whose results are no larger than a magnitude."""
    return operations * EPSILON * abs(magnitude)


def at_most(value: float, bound: float, operations: int = 1) -> bool:
    """Whether a value is no larger than a bound, each of them the result of so many operations."""
    return value <= bound or value - bound <= rounding(max(abs(value), abs(bound)), 2 * operations) < math.inf


def same(value: float, other: float, operations: int = 1) -> bool:
    """Whether two numbers are the same, each of them the result of so many operations."""
    return at_most(value, other, operations) and at_most(other, value, operations)


def around(interval: tuple[float, float], estimate: float) -> tuple[float, float]:
    """An interval, widened to hold its estimate where rounding or a bound of one of them has put that outside."""
    return min(interval[0], estimate), max(interval[1], estimate)
