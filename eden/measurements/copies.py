"""Readings that say nothing of their own: copies of earlier ones, and banks that were not tested."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from eden.measurements.campaign import Reading

COPY = 1e-9
"""Readings that agree in every bank by chance less often than this are copies."""
HIGH_RATE = 1e-3
"""The rate of each other bank beside which a bank without errors was most likely not tested."""


def _agree_by_chance(errors: Sequence[float | None], cells: int) -> float:
    """A bound on the probability that two readings count the same errors in every bank.

    Binomial counts of n cells that fail at the rate p agree with probability 1 / (2 sqrt(pi n p (1 - p))), and those of
    readings that vary more agree less often. Banks in which no cell fails, or a whole fraction of them as where an
    array reads one value, say nothing.
    """
    probability = 1.0
    for count in errors:
        if count is not None and (16 * count) % cells:
            probability *= min(1.0, 0.5 / math.sqrt(math.pi * count * (1 - count / cells)))
            if probability <= COPY:
                break
    return probability


def _copies(readings: Sequence[Reading], cells: int) -> tuple[set[int], bool]:
    """Numbers of the readings that copy earlier ones, and whether all repeats agree, so that none is called a copy.

    A reading is a copy if an earlier one of its condition has the same errors in every bank, where chance makes them
    agree once in 1 / ``COPY`` times; so are the readings beside it that have those beside the earlier one before them,
    because what is copied is a part of a file. Where no two repeats differ, cells may just fail at every read.
    """
    first: dict[tuple[object, ...], int] = {}
    conditions: dict[tuple[object, ...], tuple[float | None, ...]] = {}
    # All but the line. What is not stated is one NaN, which is found by its identity.
    keys = [reading[1:] for reading in readings]
    found: list[tuple[int, int]] = []
    vary = False
    for number, key in enumerate(keys):
        errors = readings[number].errors
        if _agree_by_chance(errors, cells) > COPY:
            continue
        vary = vary or conditions.setdefault((key[:4], key[5:]), errors) != errors
        if key in first:
            found.append((number, number - first[key]))
        else:
            first[key] = number
    if not found or not vary:
        return set(), bool(found)
    copies: set[int] = set()
    for number, back in found:
        for step in (-1, 1):
            at = number
            while back <= at < len(keys) and keys[at] == keys[at - back] and (at == number or at not in copies):
                copies.add(at)
                at += step
    return copies, False


def without_copies(readings: Sequence[Reading], cells: int) -> tuple[tuple[Reading, ...], str | None]:
    """The readings that are no copies of earlier ones, and a note."""
    copies, alike = _copies(readings, cells)
    if alike:
        return tuple(readings), (
            "all repeats of a condition with errors agree in every bank: they are taken for repeats of a memory whose "
            "weak cells fail at every read; leave out the lines if they are copies"
        )
    if not copies:
        return tuple(readings), None
    kept = tuple(reading for number, reading in enumerate(readings) if number not in copies)
    return kept, (
        f"left out {len(copies)} readings as copies of earlier lines, the first in line {readings[min(copies)].line}: "
        "their errors agree in every bank, which repeats do not do by chance, or they stand between such lines"
    )


def silent_banks(reading: Reading, cells: int) -> list[int]:
    """The banks without an error in a reading, half of them or fewer, where each other one failed at a high rate."""
    if 0.0 not in reading.errors:
        return []
    silent = [bank for bank, count in enumerate(reading.errors) if count == 0.0]
    others = [count for count in reading.errors if count]
    many = 2 * len(silent) <= len(reading.errors) <= 2 * len(others)
    return silent if silent and many and min(others) >= HIGH_RATE * cells else []


def without_silent_banks(readings: Sequence[Reading], cells: int) -> tuple[list[Reading], str | None]:
    """The readings without the banks that were most likely not tested in them, and a note.

    A bank that never fails and is silent somewhere was not tested at all; another one only where it is silent.
    """
    silent = [silent_banks(reading, cells) for reading in readings]
    found = Counter(bank for banks in silent for bank in banks)
    if not found:
        return list(readings), None
    never = {bank for bank in found if not any(reading.errors[bank] for reading in readings)}
    gone = [never.union(banks) for banks in silent]
    kept = [
        reading._replace(errors=tuple(None if bank in banks else count for bank, count in enumerate(reading.errors)))
        for reading, banks in zip(readings, gone, strict=True)
    ]
    listed = ", ".join(f"Bank{bank} in {sum(bank in banks for banks in gone)} readings" for bank in sorted(found))
    return kept, (
        f"left out {listed}: 0 where every other bank failed at a rate of {HIGH_RATE:g} or more, so most likely not "
        "tested there, nor anywhere if it never failed"
    )
