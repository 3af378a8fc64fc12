"""Checks of arguments: what is refused is named, with what was found and what is allowed."""

from __future__ import annotations

import math
from typing import Any


def whole(value: Any, least: float = -math.inf) -> bool:
    """Whether a value is an int, no bool, from a least one on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def number(value: Any, least: float = -math.inf) -> bool:
    """Whether a value is a finite int or float, no bool, from a least one on."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= least


def check_int(name: str, value: Any, least: int | None = None) -> int:
    """An int, no bool.

    Raises:
        TypeError: naming the argument, for another type.
        ValueError: naming it, for a value below ``least``.
    """
    if not whole(value):
        raise TypeError(f"{name} is a {type(value).__name__}; allowed is an int")
    if least is not None and value < least:
        raise ValueError(f"{name} is {value}; allowed is {least} or more")
    return int(value)


def check_seed(name: str, value: Any) -> int:
    """A 64-bit int. Raises as ``check_int``."""
    if not -(2**63) <= check_int(name, value) < 2**63:
        raise ValueError(f"{name} is {value}; allowed is a 64-bit integer")
    return int(value)


def check_choice(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Raise ValueError, naming the argument and the choices, for a value that is none of them."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(map(str, allowed))}")


def check_fields(owner: object, *checks: tuple[str, bool, str]) -> None:
    """Raise ValueError, naming it, for the first attribute that does not hold.

    Args:
        owner: has the attributes.
        checks: of each its name, whether it holds, and what is allowed, in words.
    """
    for name, holds, allowed in checks:
        if not holds:
            raise ValueError(f"{name} is {getattr(owner, name)!r}; allowed is {allowed}")
