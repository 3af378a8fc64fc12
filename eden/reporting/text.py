"""Numbers as the report tells them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from eden.devices.partition import AXES, OperatingPoint, off_nominal
from eden.tolerance.tolerance import Tolerance
from eden.tolerance.verification import Verification

SHORT = {"trcd": "tRCD", "trp": "tRP", "vdd": "VDD", "refresh_interval": "refresh", "tras": "tRAS"}
"""Parameters of an operating point as tables have them."""


def percent(value: float, digits: int = 1) -> str:
    """A share in percent."""
    return f"{value * 100:z.{digits}f}%"


def fine_percent(value: float) -> str:
    """A share in percent to two digits."""
    return percent(value, 2)


def points_text(drop: float) -> str:
    """A drop of accuracy in percentage points."""
    text = f"{drop * 100:.3g}"
    return f"{text} percentage point{'' if text == '1' else 's'}"


def drop_text(of: Tolerance | Verification) -> str:
    """Which drop a tolerance or a verification bounds."""
    if of.guarantee == "mean":
        return "mean drop over chips"
    return f"drop of {of.guarantee[1] * 100:g}% of the chips"


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


def point_text(nominal: OperatingPoint, point: OperatingPoint, every: bool = False) -> str:
    """An operating point by what of it is off nominal, or by VDD, tRCD and tRP and what else is, too."""
    off = off_nominal(nominal, point)
    named = {*off, "vdd", "trcd", "trp"} if every else {*off}
    ordered = sorted((along for along in AXES if along.name in named), key=lambda along: along.name != "vdd")
    text = ", ".join(
        f"{'' if along.name == 'vdd' else SHORT[along.name] + ' '}{getattr(point, along.name):g} {along.unit}"
        for along in ordered
    )
    return (f"{text} (nominal)" if every else "nominal") if not off else text


def folded(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Notes of several, each once: those of all as they are, others with whose they are."""
    of: dict[str, list[str]] = {}
    for name, texts in notes.items():
        for text in dict.fromkeys(texts):
            of.setdefault(text, []).append(name)
    return [text if len(names) == len(notes) else f"{', '.join(names)}: {text}" for text, names in of.items()]
