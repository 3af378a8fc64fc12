"""What a campaign of single flips counted in a part of a memory, at an operating point, by stored value."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eden.common.files import FileError
from eden.devices.fitting.regions import Region
from eden.devices.fitting.settings import FitSettings
from eden.devices.likelihoods import Axis, Counts, FittedChoice, Lines, StoredValue
from eden.devices.partition import OperatingPoint, sort_key
from eden.measurements.campaign import Campaign, ConditionStatistics, Flips
from eden.measurements.tested import TestedCells
from eden.memory.geometry import Geometry

# Lines of one axis that are counted one by one; with more, the models of that axis are left out.
MOST_LINES = 2**22
# More rows than a bank has in any file.
_MOST_ROWS = 2**32


_BITS: dict[StoredValue, Literal[0, 1] | None] = {"zero": 0, "one": 1, "both": None}
PLURAL: dict[StoredValue, str] = {"zero": "zeros", "one": "ones", "both": "cells"}
LINE_AXES: tuple[Axis, ...] = ("bitline", "wordline")


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was counted under one condition, with what is needed to tell cells and lines.

    ``stored`` is bool of (rows after which the pattern repeats, 8): what bit b of a row holds, by row and b modulo 8;
    None where the data is not known. ``flips`` is None where the file does not tell them, or tells too many to keep.
    """

    point: OperatingPoint
    pattern: str | None
    statistics: ConditionStatistics
    passes: int
    stored: NDArray[np.bool_] | None
    flips: Flips | None

    def holds(self, value: StoredValue) -> bool:
        """Whether some cell stored the value."""
        if value == "both":
            return self.stored is None
        return self.stored is not None and bool((self.stored if value == "one" else ~self.stored).any())

    def pure(self, value: StoredValue) -> bool:
        """Whether every cell stored the value."""
        return self.stored is not None and bool((self.stored if value == "one" else ~self.stored).all())

    def mask(self, value: StoredValue) -> NDArray[np.bool_]:
        """Which bits stored the value, by row and bit like ``stored``."""
        if value == "both" or self.stored is None:
            return np.ones((1, 8), np.bool_)
        return self.stored if value == "one" else ~self.stored

    @functools.cached_property
    def _rows(self) -> NDArray[np.int64]:
        """Numbers of the rows of the flips through all banks, in ascending order."""
        assert self.flips is not None
        return self.flips.bank.astype(np.int64) * _MOST_ROWS + self.flips.row

    def flips_in(self, banks: Sequence[int], rows: range) -> Flips:
        """The flips of some rows of some banks. Only where the file tells flips."""
        assert self.flips is not None
        ends = [
            slice(*np.searchsorted(self._rows, [bank * _MOST_ROWS + rows.start, bank * _MOST_ROWS + rows.stop]))
            for bank in banks
        ]
        return Flips(*(np.concatenate([array[end] for end in ends]) for array in self.flips))


def _pattern_bits(pattern: str | None) -> NDArray[np.bool_] | None:
    parts = (pattern or "").split("/")
    if not all(re.fullmatch(r"0x[0-9a-f]{2}", part) for part in parts):
        return None
    values = np.array([int(part, 16) for part in parts], np.uint8)
    return np.unpackbits(values[:, None], axis=1, bitorder="little").astype(np.bool_)


@dataclass(frozen=True, eq=False)
class Sample:
    """One stored value's counts in some banks at one operating point.

    Attributes:
        measurement: where they are from; None for a condition that is taken to have made no error.
        counts: as ``eden.devices.likelihoods`` takes them.
        totals: of each pass, (errors, cells).
        lines: by axis: cells that failed and all cells of each line, those without such cells included.
        keys: addresses of the cells that failed; None where they are not known.

    """

    measurement: Measurement | None
    counts: Counts
    totals: list[tuple[float, float]]
    lines: dict[Axis, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=dict)
    keys: NDArray[np.int64] | None = None


Samples = dict[StoredValue, Sample]


def correlation(first: Sample, second: Sample) -> float:
    """The correlation between a cell's failing with one stored value and with the other, 0 to 1, from their overlap."""
    if first.measurement is second.measurement:
        return 0.0
    if first.measurement is None or second.measurement is None or first.keys is None or second.keys is None:
        return 1.0
    if not first.keys.size or not second.keys.size:
        return 1.0
    p, q = first.counts.failed / first.counts.cells, second.counts.failed / second.counts.cells
    both = np.intersect1d(first.keys, second.keys, assume_unique=True).size
    mean = math.sqrt(first.counts.cells * second.counts.cells)
    spread = math.sqrt(p * (1 - p) * q * (1 - q))
    if spread == 0.0:
        return 1.0
    common = _common_share(first.measurement, second.measurement) * max(first.counts.cells, second.counts.cells)
    return min(max((both - common * p * q) / (mean * spread), 0.0), 1.0)


def _common_share(first: Measurement, second: Measurement) -> float:
    """Cells that stored 0 under one and 1 under the other, as a share of those of the value that more cells stored."""
    zeros, ones = first.mask("zero"), second.mask("one")
    rows = np.arange(math.lcm(len(zeros), len(ones)))
    zeros, ones = zeros[rows % len(zeros)], ones[rows % len(ones)]
    return float((zeros & ones).sum() / max(zeros.sum(), ones.sum(), 1))


def line_correlation(first: Sample, second: Sample, axis: Axis, otherwise: float) -> float:
    """The correlation of the failing cells of a line between both stored values, over the lines that hold both."""
    if axis not in first.lines or axis not in second.lines:
        return otherwise
    (failed, cells), (other_failed, other_cells) = first.lines[axis], second.lines[axis]
    if failed.shape != other_failed.shape:
        return otherwise
    both = (cells > 0) & (other_cells > 0)
    if not both.any():
        return otherwise
    a, b = failed[both].astype(float), other_failed[both].astype(float)
    if a.std() == 0.0 or b.std() == 0.0:
        return otherwise
    return float(np.clip(np.corrcoef(a, b)[0, 1], 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class PointCounts:
    """What could be told of an operating point in a region; ``choice`` is None where ``reason`` says why not."""

    samples: Samples
    reason: str | None
    choice: FittedChoice | None = None
    correlation: float = 0.0

    @property
    def failed(self) -> int:
        """Cells that failed in one read or more, of all stored values."""
        return sum(sample.counts.failed for sample in self.samples.values())


class Sampler:
    """Counts the cells of regions of a memory in a campaign of single flips.

    Args:
        campaign: what was read.
        tested: the cells that each pass read.
        nominal: the nominal operating point.
        geometry: of the device, which holds the tested cells.
        settings: what the user says of the campaign.

    Attributes:
        by_point: the conditions by operating point, in the order of a partition's points.
        values: the stored values that were measured.
        notes: what was left out, one sentence each.

    Raises:
        FileError: for a file without a condition that can be fitted.
        ValueError: for conditions that no memory is operated at.

    """

    def __init__(
        self,
        campaign: Campaign,
        tested: TestedCells,
        nominal: OperatingPoint,
        geometry: Geometry,
        settings: FitSettings,
    ) -> None:
        self.campaign, self.tested, self.nominal, self.geometry = campaign, tested, nominal, geometry
        self.grid, self.repeats = settings.tested.grid, settings.tested.repeats
        self.notes: list[str] = []
        self.by_point = self._by_point()
        shown = [measurement for measurements in self.by_point.values() for measurement in measurements]
        self.values: tuple[StoredValue, ...] = tuple(
            value for value in ("zero", "one") if any(measurement.holds(value) for measurement in shown)
        ) or ("both",)

    def _by_point(self) -> dict[OperatingPoint, list[Measurement]]:
        """The conditions by operating point, in the order of a partition's points; what is not stated is nominal."""
        assert self.campaign.statistics is not None
        by_point: dict[OperatingPoint, list[Measurement]] = {}
        sampled = self.campaign.statistics.cell_sample < 1.0
        unknown = 0
        for statistics in self.campaign.statistics.conditions:
            condition = statistics.condition
            stated = {name: getattr(condition, name) for name in OperatingPoint.model_fields}
            point = self.nominal.model_copy(update={name: value for name, value in stated.items() if value is not None})
            stored = _pattern_bits(condition.pattern)
            if stored is None and any(value is not None for value in statistics.stored_values):
                unknown += 1
                continue
            flips = None
            if not sampled:
                try:
                    flips = statistics.flips()
                except ValueError:  # the file does not say which bit of a row failed
                    flips = None
            if flips is not None and flips.failures.size:
                most = int(flips.failures.argmax())
                if flips.failures[most] > len(statistics.repeats):
                    raise FileError(
                        self.campaign.path,
                        f"bank {flips.bank[most]}, row {flips.row[most]}, bit {flips.bit[most]}: found "
                        f"{flips.failures[most]} failures in {len(statistics.repeats)} passes at {point}; allowed is "
                        "one in a pass: lines of a pass occur in the file twice, or several passes have one number",
                    )
            measurement = Measurement(point, condition.pattern, statistics, len(statistics.repeats), stored, flips)
            by_point.setdefault(point, []).append(measurement)
        if unknown:
            self.notes.append(
                f"left out {unknown} conditions whose stored values are given flip by flip: their patterns do not tell "
                "how many cells held each value"
            )
        if not by_point:
            raise FileError(self.campaign.path, "found no condition that can be fitted; allowed is one or more")
        if sampled:
            self.notes.append(
                "more cells failed than are kept one by one: repeated reads are told by a sample of cells, and lines "
                "only where there was one pass"
            )
        order = sorted(by_point, key=lambda point: sort_key(self.nominal, point))
        return {point: by_point[point] for point in order}

    def chosen(self, point: OperatingPoint, value: StoredValue) -> Measurement | None:
        """The condition that tells a stored value: a pure pattern if there is one, and of these the most repeated."""
        held = [measurement for measurement in self.by_point[point] if measurement.holds(value)]
        return max(held, key=lambda one: (one.pure(value), one.passes), default=None)

    def samples(self, region: Region, point: OperatingPoint) -> Samples:
        """What was counted in a region at an operating point, by stored value."""
        samples: Samples = {}
        for value in self.values:
            measurement = self.chosen(point, value)
            if measurement is not None:
                samples[value] = self.sample(region, measurement, value)
            elif self.grid:
                samples[value] = self._errorless(region, point)
        return samples

    def others(
        self, region: Region, point: OperatingPoint, chosen: Samples
    ) -> Iterator[tuple[Measurement, dict[StoredValue, Sample]]]:
        """What was counted in a region under the other conditions of a point, whose patterns were not chosen."""
        for measurement in self.by_point[point]:
            samples = {
                value: self.sample(region, measurement, value)
                for value in self.values
                if measurement.holds(value) and (value not in chosen or chosen[value].measurement is not measurement)
            }
            if samples:
                yield measurement, samples

    def _errorless(self, region: Region, point: OperatingPoint) -> Sample:
        passes = self.repeats or max(measurement.passes for measurement in self.by_point[point])
        _, cells = self._cells(region, np.ones((1, 8), np.bool_))
        none = np.zeros(0, np.int32)
        flips = Flips(none, none, none, none, none)
        return self._counted(region, None, np.ones((1, 8), np.bool_), flips, [(0.0, float(cells))] * passes)

    def _cells(self, region: Region, mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
        """The cells that a mask holds: of each tested row of a bank, and of all banks of a region."""
        rows = region.rows or self.tested.rows
        in_row = mask @ ((self.tested.row_bits - np.arange(8) + 7) // 8)
        of_row = in_row[np.arange(rows.start, rows.stop) % len(mask)]
        return of_row, int(of_row.sum()) * len(region.banks)

    def sample(self, region: Region, measurement: Measurement, value: StoredValue) -> Sample:
        """One stored value's counts in a region under one condition."""
        rows = region.rows or self.tested.rows
        mask = measurement.mask(value)
        _, cells = self._cells(region, mask)
        totals: dict[int, float] = dict.fromkeys(measurement.statistics.repeats, 0.0)
        for count in measurement.statistics.counts(_BITS[value]):
            if count.bank in region.banks:
                totals[count.repeat] += count.errors
        readings = [(errors, float(cells)) for errors in totals.values()]
        if measurement.flips is None:
            if rows != self.tested.rows:
                raise ValueError(
                    f"partitions is 'subarray', but {self.campaign.path.name} does not tell which cells failed (or too "
                    f"many to keep) at {measurement.point}; allowed are module, rank, bank"
                )
            return self._sample_of_counts(region, measurement, value, cells, readings)
        flips = self._flips(measurement, value, region.banks, rows)
        if rows != self.tested.rows:
            # Flips do not tell their pass: passes are taken to vary alike in all rows of a bank.
            every = self._flips(measurement, value, region.banks, self.tested.rows)
            share = float(flips.failures.sum()) / max(float(every.failures.sum()), 1.0)
            # So a pass with more errors than others may seem to have more than there are cells.
            readings = [(min(errors * share, float(cells)), float(cells)) for errors, _ in readings]
        return self._counted(region, measurement, mask, flips, readings)

    @staticmethod
    def _flips(measurement: Measurement, value: StoredValue, banks: Sequence[int], rows: range) -> Flips:
        """The flips of cells that stored a value."""
        flips, bit = measurement.flips_in(banks, rows), _BITS[value]
        return flips if bit is None else Flips(*(array[flips.stored == bit] for array in flips))

    def _counted(
        self,
        region: Region,
        measurement: Measurement | None,
        mask: NDArray[np.bool_],
        flips: Flips,
        readings: list[tuple[float, float]],
    ) -> Sample:
        """Counts of flips of the cells that a mask holds, along lines and by the number of failing passes."""
        rows, row_bits = region.rows or self.tested.rows, self.tested.row_bits
        of_row, cells = self._cells(region, mask)
        bank, row, place = (array.astype(np.int64) for array in (flips.bank, flips.row, flips.bit))
        bank = np.searchsorted(np.array(region.banks), bank)
        lines: dict[Axis, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        height = self.geometry.subarray_rows
        first = rows.start // height
        subarrays = (rows.stop - 1) // height - first + 1
        if len(region.banks) * subarrays * row_bits <= MOST_LINES:
            held = np.array(
                [
                    mask[np.arange(max(rows.start, s * height), min(rows.stop, (s + 1) * height)) % len(mask)].sum(
                        axis=0
                    )
                    for s in range(first, first + subarrays)
                ],
                np.int64,
            )
            number = (bank * subarrays + row // height - first) * row_bits + place
            lines["bitline"] = (
                np.bincount(number, minlength=len(region.banks) * subarrays * row_bits),
                np.tile(held[:, np.arange(row_bits) % 8].ravel(), len(region.banks)),
            )
        if len(region.banks) * len(rows) <= MOST_LINES:
            lines["wordline"] = (
                np.bincount(bank * len(rows) + row - rows.start, minlength=len(region.banks) * len(rows)),
                np.tile(of_row, len(region.banks)),
            )
        along = {axis: Lines(all_[all_ > 0], failed[all_ > 0]) for axis, (failed, all_) in lines.items()}
        bitlines, wordlines = along.get("bitline"), along.get("wordline")
        histogram = np.bincount(flips.failures, minlength=len(readings) + 1)
        histogram[0] = cells - flips.bank.size
        counts = Counts.of_cells(histogram, bitlines=bitlines, wordlines=wordlines)
        return Sample(measurement, counts, readings, lines, self.addresses(flips))

    def addresses(self, flips: Flips) -> NDArray[np.int64]:
        """Addresses of cells in the device's geometry, in bits."""
        row = flips.bank.astype(np.int64) * self.geometry.bank_rows + flips.row
        return row * self.geometry.row_bits + flips.bit

    def _sample_of_counts(
        self,
        region: Region,
        measurement: Measurement,
        value: StoredValue,
        cells: int,
        readings: list[tuple[float, float]],
    ) -> Sample:
        """Where flips are not known one by one: lines of a single pass, a sample of repeated reads, or totals."""
        statistics, bit = measurement.statistics, _BITS[value]
        lines: dict[Axis, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        if measurement.passes == 1:
            # Bitlines are counted as the file was read, with its argument subarray_rows and not the geometry's.
            for axis in LINE_AXES:
                inside = self.tested.rows.start // self.geometry.subarray_rows
                if axis == "bitline" and (self.tested.rows.stop - 1) // self.geometry.subarray_rows != inside:
                    continue
                try:
                    counted = statistics.lines(axis, bit)
                except ValueError:  # not told by the file, or too many to keep
                    continue
                which = np.searchsorted(np.array(self.tested.banks), np.array(region.banks))
                failed, all_ = (array.reshape(len(self.tested.banks), -1)[which].ravel() for array in counted)
                if failed.size <= MOST_LINES:
                    lines[axis] = failed, all_
            along = {axis: Lines(all_, failed) for axis, (failed, all_) in lines.items()}
            if along:
                counts = Counts.of_lines(bitlines=along.get("bitline"), wordlines=along.get("wordline"))
            else:
                counts = Counts.of_total(round(readings[0][0]), cells)
            return Sample(measurement, counts, readings, lines)
        if len(region.banks) == len(self.tested.banks):
            try:
                return Sample(measurement, Counts.of_cells(statistics.cells(bit)), readings)
            except ValueError:  # the file does not say which bit of a row failed
                pass
        # The cells of other passes are the same ones, which the totals do not tell apart.
        return Sample(measurement, Counts.of_total(round(readings[0][0]), cells), readings)
