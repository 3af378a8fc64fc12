"""The readings of a campaign that counts whole banks, from its counts of one pass, bank and condition."""

from __future__ import annotations

import gc
import math
import operator
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eden import _core
from eden.common.files import FileError
from eden.measurements.campaign import UNKNOWN, Reading, Statistics

_HIGHEST_PERCENTAGE = 100.0
_MOST_PASSES = 20  # means of so many, and sums of those with the digits that programs print
_NEARLY_WHOLE = 1e-3
_FEWEST_CELLS = 2**16  # from which on a hundred errors are few
_NO_CHANCE = 1e-9


def refuse_rates(path: Path, reader: _core.MeasurementReader, statistics: Statistics) -> None:
    """Refuse a file whose errors are rates or percentages, which as counts would be far lower ones."""
    largest, line = 0.0, 0
    passes = np.arange(1, _MOST_PASSES + 1)  # of which all errors can be means
    for index, entry in enumerate(statistics.conditions):
        for stored in entry.stored_values:
            _, _, errors, _, lines = reader.counts(index, UNKNOWN if stored is None else stored)
            sums = passes[:, None] * errors[errors % 1.0 != 0.0]
            passes = passes[(np.abs(sums - np.round(sums)) < _NEARLY_WHOLE).all(1)]
            if errors.size and errors.max() > largest:
                largest, line = float(errors.max()), int(lines[errors.argmax()])
    if 0.0 < largest < 1.0:
        raise FileError(
            path,
            f"line {line}, column errors: found {largest:g}, the most of all lines; allowed are counts of errors, of "
            "which some are 1 or more (a bit error rate is to be multiplied with cells)",
        )
    if not passes.size and largest <= _HIGHEST_PERCENTAGE:
        raise FileError(
            path,
            f"line {line}, column errors: found {largest:g}, the most of all lines, and numbers that are not whole, as "
            "percentages are; allowed are counts of errors (a percentage is to be multiplied with cells / 100, a "
            "mean of passes with their number)",
        )


def refuse_percentages(path: Path, readings: Sequence[Reading], cells_per_bank: int) -> str | None:
    """Refuse whole numbers up to 100 that agree better than counts can; a note where too few tell it.

    Counts of rare errors vary at least as the Poisson distribution does, from bank to bank and from pass to pass, real
    ones far more. Percentages without decimals agree.

    Returns:
        What is to be noted, or None.

    """
    # Loaded here, as most reading needs none of it.
    from scipy.stats import chi2, skellam

    counted = [errors for reading in readings for errors in reading.errors if errors is not None]
    if not counted or not 0.0 < max(counted) <= _HIGHEST_PERCENTAGE or cells_per_bank < _FEWEST_CELLS:
        return None
    groups: dict[tuple[Any, ...], list[float]] = {}
    for reading in readings:
        groups.setdefault(tuple(map(str, reading._replace(line=0, errors=()))), []).extend(
            errors for errors in reading.errors if errors is not None
        )
    # Of pairs of counts, the differences, which are Skellam variables if the counts are Poisson ones; the chances of
    # ones no larger are combined as Fisher did.
    statistic, pairs = 0.0, 0
    for errors in groups.values():
        mean = math.fsum(errors) / len(errors)
        for first, second in zip(errors[::2], errors[1::2], strict=False) if mean > 0.0 else ():
            apart = math.floor(abs(first - second))
            chance = skellam.cdf(apart, mean, mean) - skellam.cdf(-apart - 1, mean, mean)
            statistic -= 2.0 * math.log(min(float(chance), 1.0))
            pairs += 1
    if pairs and float(chi2.sf(statistic, 2 * pairs)) < _NO_CHANCE:
        raise FileError(
            path,
            f"column errors: found whole numbers up to {max(counted):g} in {cells_per_bank} cells of which {pairs} "
            "pairs agree from pass to pass and bank to bank as counts do not and percentages do; allowed are counts of "
            "errors (a percentage is to be multiplied with cells / 100)",
        )
    return (
        f"all errors are whole numbers up to {max(counted):g} in {cells_per_bank} cells: taken for counts; as "
        "percentages they would be to be multiplied with cells / 100"
    )


_NEEDED = ("trcd", "trp", "temperature")  # fields of a reading that are NaN where they are not stated


def _of_both_values(zeros: tuple[NDArray[Any], ...], ones: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
    """The counts of a mixed pattern whose zeros and ones were counted apart: both together, of banks that have both."""
    keys = [repeat.astype(np.int64) * 2**32 + bank for repeat, bank, *_ in (zeros, ones)]
    _, first, second = np.intersect1d(*keys, return_indices=True)
    repeat, bank, errors, cells, line = (column[first] for column in zeros)
    return repeat, bank, errors + ones[2][second], cells + ones[3][second], np.minimum(line, ones[4][second])


def readings_of_banks(
    reader: _core.MeasurementReader, statistics: Statistics
) -> tuple[tuple[Reading, ...], int, int, str | None]:
    """The readings of counts of whole banks, the cells of a bank, the number of banks, and a note."""
    whole: list[tuple[NDArray[Any], ...]] = []
    banks = parts = hammered = 0
    for index, entry in enumerate(statistics.conditions):
        byte = re.fullmatch(r"0x([0-9a-f]{2})", entry.condition.pattern or "")
        of_value: dict[int, tuple[NDArray[Any], ...]] = {}
        for stored in entry.stored_values:
            repeat, bank, errors, cells, line = reader.counts(index, UNKNOWN if stored is None else stored)
            banks = max(banks, int(bank.max(initial=-1)) + 1)
            if entry.condition.hammer_count:
                hammered += len(bank)
                continue
            if byte is None or (stored is not None and int(byte[1], 16) not in (0x00, 0xFF)):
                parts += len(bank)
                if byte is not None and stored is not None:
                    of_value[stored] = repeat, bank, errors, cells, line
            else:
                whole.append((np.full(len(bank), index), repeat, bank, errors, cells, line))
        if len(of_value) == 2:
            both = _of_both_values(of_value[0], of_value[1])
            parts -= 2 * len(both[0])
            whole.append((np.full(len(both[0]), index), *both))
    if not whole and hammered:
        return (), 0, banks, f"made no readings of {hammered} counts under hammering"
    if not whole:
        return (), 0, banks, "made no readings of whole banks: the patterns are of several bytes, or values apart"
    condition, repeat, bank, errors, cells, line = (np.concatenate(column) for column in zip(*whole, strict=True))
    if np.any(cells != cells[0]):
        return (), 0, banks, "made no readings of whole banks: the cells of a count differ"
    # Each list is in ascending order, so the counts of a reading follow one another.
    begins = np.append(True, (condition[1:] != condition[:-1]) | (repeat[1:] != repeat[:-1]))
    first = np.flatnonzero(begins)
    if banks * len(first) > 2**24:
        return (), 0, banks, f"made no readings of whole banks: {banks} banks in {len(first)} passes are too many"
    lines = np.minimum.reduceat(line, first)
    order = np.argsort(lines)
    by_bank = np.full((banks, len(first)), np.nan)
    by_bank[bank, np.argsort(order)[np.cumsum(begins) - 1]] = errors
    absent = np.isnan(by_bank)
    missing = int(absent.sum())
    # Column by column, which takes a tenth of the time of reading by reading.
    columns = by_bank.astype(object)
    columns[absent] = None
    points = [statistics.conditions[index].condition for index in condition[first][order].tolist()]
    columns_of_readings = (
        lines[order].tolist(),
        *(
            [math.nan if value is None else value for value in map(operator.attrgetter(name), points)]
            for name in _NEEDED
        ),
        [int(point.pattern or "0x00", 16) for point in points],
        zip(*columns.tolist(), strict=True),
        [point.vdd for point in points],
        [point.refresh_interval for point in points],
        [point.tras for point in points],
    )
    # New tuples make the collector visit the whole heap, torch's too, for cycles that these cannot form.
    collecting = gc.isenabled()
    gc.disable()
    try:
        readings = tuple(map(Reading, *columns_of_readings))
    finally:
        if collecting:
            gc.enable()
    notes = [f"took {missing} banks that have no count in a pass for not tested"] if missing else []
    if hammered:
        notes.append(f"left {hammered} counts under hammering out of the readings")
    if parts:
        notes.append(f"left {parts} counts of one value of a mixed pattern out of the readings")
    return readings, int(cells[0]), banks, "; ".join(notes) or None
