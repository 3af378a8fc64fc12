"""Numbers as the report tells them."""

from __future__ import annotations

import math
from collections.abc import Callable

from eden.tolerance.tolerance import Tolerance


def percent(value: float, digits: int = 1) -> str:
    """A share in percent."""
    return f"{value * 100:.{digits}f}%"


def fine_percent(value: float) -> str:
    """A share in percent to two digits."""
    return percent(value, 2)


def points_text(drop: float) -> str:
    """A drop of accuracy in percentage points."""
    text = f"{drop * 100:.3g}"
    return f"{text} percentage point{'' if text == '1' else 's'}"


def drop_text(tolerance: Tolerance) -> str:
    """Which drop a tolerance bounds."""
    if tolerance.guarantee == "mean":
        return "mean drop over chips"
    return f"drop of {tolerance.guarantee[1] * 100:g}% of the chips"


def size_text(count: float) -> str:
    """Bytes in the largest unit that there is one of."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count:.4g} B"


def count_text(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def range_text(low: float, high: float, show: Callable[[float], str]) -> str:
    """A range, or the one number that both ends read as."""
    return show(low) if show(low) == show(high) else f"{show(low)} to {show(high)}"


def rate_text(value: float) -> str:
    """A bit error rate as text: a decimal near 1, else a power of ten."""
    if value == 0.0:
        return "0"
    exponent = math.floor(math.log10(value) + 1e-9)
    if exponent >= -2:
        return f"{value:.3g}"
    return f"{value / 10**exponent:.2g} × 10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
