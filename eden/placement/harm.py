"""What weak cells harm: the rate of independent errors that would bring the same mean squared error."""

from __future__ import annotations

import functools

import numpy as np

from eden import _core
from eden.memory.cell_map import CellMap
from eden.memory.planes import operand_and_plane

Harm = tuple[tuple[float, ...], tuple[float, ...]]
"""By bit of a word, the lowest first, what a flip harms: where it stores 0, and where it stores 1."""


def word_harm(storage: str, name: str, unit_bits: int) -> Harm:
    """What a flip of each bit of a word harms, the lowest first: of one that stores 0, and of one that stores 1.

    Mean squared changes of Gaussian values in a range of three standard deviations
    (``csrc/memory/storage/bit_harm.h``).

    Args:
        storage: the form in which the operand is stored.
        name: of the operand, or of a plane, of whose bits these are.
        unit_bits: of words that do not fill units of so many, all bits count alike, as those of codes over words do.
    """
    zero, one = _core.bit_harm(_core.Storage.__members__[storage])
    plane = sorted(operand_and_plane(name)[1])
    if plane and len(zero) > max(plane):
        zero, one = [zero[bit] for bit in plane], [one[bit] for bit in plane]
    if unit_bits % len(zero):
        zero, one = [sum(zero) / len(zero)], [sum(one) / len(one)]
    return tuple(zero), tuple(one)


def equivalent_ber(errors: CellMap, pieces: list[tuple[int, int]], harm: Harm) -> float:
    """The equivalent rate of an operand in pieces of a map, each its first bit and a number of bits."""
    width, found, bits = len(harm[0]), 0.0, 0
    zero, one = (np.array(of) for of in harm)
    for first, size in pieces:
        here = slice(*np.searchsorted(errors.cells, (first, first + size)))
        place = (errors.cells[here] - first) % width
        found += float((zero[place] * errors.flips_zero[here] + one[place] * errors.flips_one[here]).sum())
        bits += size
    at_one = bits / width * float(zero.sum() + one.sum())
    return min(1.0, errors.failure * found / at_one) if at_one else 0.0


@functools.lru_cache(maxsize=4096)
def rotated_share(errors: CellMap, harm: Harm, unit_bits: int) -> float:
    """What rotations leave of the harm of a map's cells, over all of its units: from 0 to 1."""
    whole = [(0, errors.bits, 0, 1.0)]
    _, _, before, after = _core.remap(errors.entries(), errors.bits, unit_bits, [harm], whole, 1)
    return after / before if before > 0.0 else 1.0
