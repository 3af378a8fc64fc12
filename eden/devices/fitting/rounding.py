"""The digits that a device file keeps."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import Literal

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


def rounded_up(rate: float) -> float:
    """The rate with the digits that are kept, never a lower one."""
    far = rate > 0.5
    kept = decimal.Context(prec=DIGITS, rounding=decimal.ROUND_FLOOR if far else decimal.ROUND_CEILING)
    return float(1 - kept.plus(1 - Decimal(rate))) if far else float(kept.plus(Decimal(rate)))


def outwards(end: float, side: Literal[-1, 1]) -> float | None:
    """An end of a parameter's interval with three digits, never further in; None for one that is open.

    The search for an end stops at a tolerance, so that more digits would be its own.
    """
    if not math.isfinite(end) or (side < 0 and end == 0.0):
        return None
    return float(
        decimal.Context(prec=3, rounding=decimal.ROUND_FLOOR if side < 0 else decimal.ROUND_CEILING).plus(Decimal(end))
    )
