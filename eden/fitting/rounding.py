"""The digits that a device file keeps."""

from __future__ import annotations

from decimal import Decimal

DIGITS = 4
"""More than any interval supports, fewer than libraries of mathematics differ in."""


def rounded(value: float) -> float:
    """The number with the digits that are kept."""
    return float(f"{value:.{DIGITS}g}")


def rounded_rate(rate: float) -> float:
    """The rate with the digits that are kept, of its distance from 1 where that is what is small."""
    if 0.5 < rate <= 1.0:
        return float(1 - Decimal(f"{1 - rate:.{DIGITS}g}"))
    return rounded(rate)
