"""Planes: groups of the bit positions of an operand's words, each stored densely and in a place of its own.

Position 0 is the least significant one. Of a plane of k positions, element i of the operand has the plane's bits
from i x k on, the lowest position first: as many bytes as these bits fill, whatever the width of the word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eden import _core

Plane = tuple[int, ...]
"""The bit positions of a plane, the highest first."""

_RUN = re.compile(r"(\d+)(?::(\d+))?")


def plane_text(plane: Plane) -> str:
    """A plane in words, such as "7", "6:5" or "7,3:0"."""
    runs: list[list[int]] = []
    for bit in plane:
        if runs and runs[-1][-1] == bit + 1:
            runs[-1][1:] = [bit]
        else:
            runs.append([bit])
    return ",".join(":".join(map(str, run)) for run in runs)


def plane_of(given: Any) -> Plane:
    """A plane as a text such as "6:5" says it, a bit position, or a list of them.

    Raises:
        TypeError: for anything else.
        ValueError: for a text that says none, or a position that is said twice.
    """
    if isinstance(given, str):
        found: list[int] = []
        for run in given.replace(" ", "").split(","):
            match = _RUN.fullmatch(run)
            if match is None:
                raise ValueError(f"a plane is {given!r}; allowed are bit positions such as '7', '6:5' or '7,3:0'")
            first, last = int(match[1]), int(match[2] or match[1])
            found += range(min(first, last), max(first, last) + 1)
    elif isinstance(given, int) and not isinstance(given, bool):
        found = [given]
    elif isinstance(given, Iterable) and not isinstance(given, Mapping):
        found = list(given)
    else:
        found = [None]  # type: ignore[list-item]
    if not all(isinstance(bit, int) and not isinstance(bit, bool) for bit in found):
        raise TypeError(f"a plane is {given!r}; allowed are bit positions: a text such as '6:5', a number, or a list")
    if not found or len(set(found)) != len(found):
        raise ValueError(f"a plane is {given!r}; allowed are one or more bit positions, each once")
    return tuple(sorted(found, reverse=True))


def planes_of(given: Any) -> tuple[Plane, ...]:
    """Planes as a list says them, the one with the highest bit position first.

    Raises:
        TypeError: for what is no list.
        ValueError: for planes that share a position or do not hold all from 0 on; others as ``plane_of``.
    """
    if isinstance(given, (str, Mapping)) or not isinstance(given, Sequence):
        raise TypeError(f"planes is a {type(given).__name__}; allowed is a list such as ['7', '6:5', '4:0']")
    found = sorted((plane_of(each) for each in given), reverse=True)
    bits = [bit for plane in found for bit in plane]
    if not bits or sorted(bits) != list(range(len(bits))):
        texts = ", ".join(plane_text(plane) for plane in found) or "none"
        raise ValueError(f"planes are {texts}; allowed are those that hold each bit position of a word once, from 0 on")
    return tuple(found)


def check_planes(planes: Sequence[Plane], name: str, storage: str, width: int) -> None:
    """Raise ValueError, naming what lies in them, for planes of words of another width or that share their cells."""
    if planes and _core.is_coded(_core.Storage.__members__[storage]):
        raise ValueError(
            f"planes of {name} are {', '.join(map(plane_text, planes))}; allowed with storage {storage!r}, whose code "
            "joins several words, are none"
        )
    positions = sum(map(len, planes))
    if planes and positions != width:
        texts = ", ".join(plane_text(plane) for plane in planes)
        raise ValueError(
            f"planes of {name} are {texts}, of {positions} bit positions; allowed with storage {storage!r} are planes "
            f"that hold its {width}"
        )


# From the highest bit down, how many positions a plane has: what a flip does to a value falls by powers of two.
_SPLITS = {
    "float32": (1, 8, 7, 16),
    "float16": (1, 5, 10),
    "bfloat16": (1, 8, 7),
    "float8_e4m3fn": (1, 4, 3),
    "float8_e5m2": (1, 5, 2),
    "int16": (1, 2, 3, 10),
    "int8": (1, 2, 5),
    "int4": (1, 1, 2),
}


def split(storage: str) -> tuple[Plane, ...]:
    """The planes that are proposed for a storage: of codes the highest bits alone, of floats sign, exponent, mantissa.

    One bit, "sign", is kept whole.
    """
    name = storage.removesuffix("_sign_magnitude").replace("uint", "int")
    found: list[Plane] = []
    end = sum(_SPLITS.get(name, ()))
    for bits in _SPLITS.get(name, ()):
        found.append(tuple(range(end - 1, end - bits - 1, -1)))
        end -= bits
    return tuple(found)


def plane_mask(plane: Plane) -> int:
    """The bits of a word that a plane holds."""
    return sum(1 << bit for bit in plane)


_PLANE_NAME = re.compile(r"(.+)\[([\d:,]+)\]")


def operand_and_plane(name: str) -> tuple[str, Plane]:
    """The operand that a name is of, and the plane of it that it says; () where it says none."""
    match = _PLANE_NAME.fullmatch(name)
    return (name, ()) if match is None else (match[1], plane_of(match[2]))
