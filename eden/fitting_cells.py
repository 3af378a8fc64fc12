"""Fits a device to a campaign that tells single flips: Models 0 to 3, or the measured chip's own cell map.

The counts of one operating point are fitted by ``eden.fits``; here it is decided which counts those are, what the
points of a device have in common (the model, F, the dispersion of its lines), and what is offered of it.
docs/devices.md has the reasons.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from eden import _core
from eden.device import Device, FitRow, Measured, Source
from eden.errors import (
    HIGHEST_DISPERSION,
    LOWEST_DISPERSION,
    Bitline,
    CellMap,
    DataDependent,
    ErrorModel,
    LineModel,
    Uniform,
    Wordline,
)
from eden.files import FileError
from eden.fits import (
    CONFIDENCE,
    DECISIVE,
    LEVEL,
    Axis,
    Common,
    Counts,
    FittedChoice,
    FittedModel,
    Goodness,
    Lines,
    Model,
    compare_pattern,
    fit_common,
    fit_counts,
    fit_models,
    goodness_of_fit,
)
from eden.fitting import DIGITS, FitReport, _informative, _regimes, _round
from eden.geometry import Geometry
from eden.measurements import Campaign, ConditionStatistics, Flips
from eden.partition import AXES, FittedPoint, LeftOut, OperatingPoint, Partition, as_harsh, sort_key

# What a nominal parameter is where neither the measurements nor the user say: DDR3's.
USUAL = {"vdd": 1.5, "trcd": 12.5, "trp": 12.5, "refresh_interval": 64.0}
# Passes whose rates differ by less than a ten-thousandth, beyond chance, do not differ.
NO_DISPERSION = 1e-8
# Lines of one axis that are counted one by one; with more, the models of that axis are left out.
MOST_LINES = 2**22

Value = Literal["zero", "one", "both"]

_BITS: dict[Value, Literal[0, 1] | None] = {"zero": 0, "one": 1, "both": None}
_PLURAL: dict[Value, str] = {"zero": "zeros", "one": "ones", "both": "cells"}
_AXES: tuple[Axis, ...] = ("bitline", "wordline")
_NUMBERS: dict[Model, str] = {
    "uniform": "Model 0 (uniform)",
    "bitline": "Model 1 (bitline)",
    "wordline": "Model 2 (wordline)",
    "data_dependent": "Model 3 (data-dependent)",
}
_MODELS: tuple[Model, ...] = ("uniform", "bitline", "wordline", "data_dependent")


class Tested(NamedTuple):
    """The cells that each pass read: banks in ascending order, rows of each, bits of a row."""

    banks: tuple[int, ...]
    rows: range
    row_bits: int

    @property
    def cells_per_bank(self) -> int:
        """Cells that were tested in a bank."""
        return len(self.rows) * self.row_bits


class PointFit(NamedTuple):
    """The fit of one operating point of the whole module.

    Attributes:
        point: the operating point.
        choice: all models there, with their intervals, and what that point alone would choose.
        tests: goodness of fit of the device's model, for each stored value.

    """

    point: OperatingPoint
    choice: FittedChoice
    tests: tuple[Goodness, ...]


def default_geometry(tested: Tested, subarray_rows: int | None) -> Geometry:
    """A geometry that just holds the tested cells, in subarrays of 512 rows if nothing else is said.

    Raises:
        ValueError: for rows whose size no geometry has.

    """
    height = subarray_rows or Geometry().subarray_rows
    return Geometry(
        row_bits=tested.row_bits,
        subarray_rows=height,
        bank_rows=-(-tested.rows.stop // height) * height,
        banks=tested.banks[-1] + 1,
    )


@dataclass(frozen=True, eq=False)
class _Measurement:
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

    def holds(self, value: Value) -> bool:
        if value == "both":
            return self.stored is None
        return self.stored is not None and bool((self.stored if value == "one" else ~self.stored).any())

    def pure(self, value: Value) -> bool:
        return self.stored is not None and bool((self.stored if value == "one" else ~self.stored).all())

    def mask(self, value: Value) -> NDArray[np.bool_]:
        if value == "both" or self.stored is None:
            return np.ones((1, 8), np.bool_)
        return self.stored if value == "one" else ~self.stored


def _pattern_bits(pattern: str | None) -> NDArray[np.bool_] | None:
    parts = (pattern or "").split("/")
    if not all(re.fullmatch(r"0x[0-9a-f]{2}", part) for part in parts):
        return None
    values = np.array([int(part, 16) for part in parts], np.uint8)
    return np.unpackbits(values[:, None], axis=1, bitorder="little").astype(np.bool_)


@dataclass(frozen=True, eq=False)
class _Sample:
    """One stored value's counts in some banks at one operating point.

    Attributes:
        measurement: where they are from; None for a condition that is taken to have made no error.
        counts: as ``eden.fits`` takes them.
        totals: of each pass, (errors, cells).
        lines: by axis: cells that failed and all cells of each line, those without such cells included.
        keys: addresses of the cells that failed; None where they are not known.

    """

    measurement: _Measurement | None
    counts: Counts
    totals: list[tuple[float, float]]
    lines: dict[Axis, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=dict)
    keys: NDArray[np.int64] | None = None


class _Scope(NamedTuple):
    """The whole module, or one bank."""

    name: str
    bank: int | None
    banks: tuple[int, ...]


Samples = dict[Value, _Sample]


def _logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)


def _widened(
    estimate: float, low: float, high: float, factor: float, variance: float, quantile: float
) -> tuple[float, float]:
    """An interval, each of its halves in log-odds multiplied and joined with a variance in quadrature."""
    if estimate <= 0.0:
        return 0.0, min(1.0, high * factor**2 * math.exp(quantile * math.sqrt(variance)))
    if estimate >= 1.0:
        return max(0.0, 1.0 - (1.0 - low) * factor**2 * math.exp(quantile * math.sqrt(variance))), 1.0
    centre = _logit(estimate)

    def end(at: float, sign: int) -> float:
        if not 0.0 < at < 1.0:
            return at
        half = math.hypot(factor * abs(_logit(at) - centre), quantile * math.sqrt(variance))
        return 1.0 / (1.0 + math.exp(-(centre + sign * half)))

    return min(end(low, -1), estimate), max(end(high, 1), estimate)


def _correlation(first: _Sample, second: _Sample) -> float:
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


def _common_share(first: _Measurement, second: _Measurement) -> float:
    """Cells that stored 0 under one and 1 under the other, as a share of those of the value that more cells stored."""
    zeros, ones = first.mask("zero"), second.mask("one")
    rows = np.arange(math.lcm(len(zeros), len(ones)))
    zeros, ones = zeros[rows % len(zeros)], ones[rows % len(ones)]
    return float((zeros & ones).sum() / max(zeros.sum(), ones.sum(), 1))


def _line_correlation(first: _Sample, second: _Sample, axis: Axis, otherwise: float) -> float:
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
class _Fit:
    """What could be told of an operating point in a scope; ``choice`` is None where ``reason`` says why not."""

    samples: Samples
    reason: str | None
    choice: FittedChoice | None = None
    correlation: float = 0.0

    @property
    def failed(self) -> int:
        return sum(sample.counts.failed for sample in self.samples.values())


class CellFitter:
    """Fits a device to the statistics of a campaign's single flips.

    Args:
        campaign: what was read.
        tested: the cells that each pass read.
        nominal: the nominal operating point.
        geometry: of the device, which holds the tested cells.
        name: the device's name.
        source: where the figures come from.
        failure: F, if it is known.
        reliable: the bank that is kept at its nominal operating point; None: bank0, and only if every bank was tested.
        grid: whether every pattern of the file was tested at every operating point in it, also where it shows no flip.
        cell_map: whether the error models are the measured chip's own weak cells.
        repeats: passes of each condition, for those that do not show.
        assumptions: what else the figures rest on.

    """

    def __init__(
        self,
        campaign: Campaign,
        tested: Tested,
        nominal: OperatingPoint,
        geometry: Geometry,
        *,
        name: str,
        source: Source,
        failure: float | None,
        reliable: str | None,
        grid: bool,
        cell_map: bool,
        repeats: int | None,
        assumptions: Sequence[str],
    ) -> None:
        self.campaign, self.tested, self.nominal, self.geometry = campaign, tested, nominal, geometry
        self.name, self.source, self.given_failure, self.reliable = name, source, failure, reliable
        self.grid, self.cell_map, self.repeats = grid, cell_map, repeats
        self.notes = list(campaign.notes)
        self.assumptions = list(assumptions)
        self.model: Model = "uniform"
        self.failure = 1.0
        self.dispersion = 0.0
        self.lent = 0.0
        self.by_point = self._group()
        shown = [measurement for measurements in self.by_point.values() for measurement in measurements]
        self.values: tuple[Value, ...] = tuple(
            value for value in ("zero", "one") if any(measurement.holds(value) for measurement in shown)
        ) or ("both",)
        self.whole = _Scope("whole", None, tested.banks)

    # -- what was measured --

    def _group(self) -> dict[OperatingPoint, list[_Measurement]]:
        """The conditions by operating point, in the order of a partition's points; what is not stated is nominal."""
        if self.campaign.statistics is None:
            raise FileError(
                self.campaign.path, f"{self.campaign.format} tells no bit errors; allowed are formats that do"
            )
        by_point: dict[OperatingPoint, list[_Measurement]] = {}
        sampled = self.campaign.statistics.cell_sample < 1.0
        unknown = 0
        for statistics in self.campaign.statistics.conditions:
            condition = statistics.condition
            if condition.hammer_count is not None:
                raise ValueError(
                    f"hammer_count is {condition.hammer_count:g} in {self.campaign.path.name}: RowHammer is no "
                    "operating point that a memory can be run at; allowed are conditions without it "
                    "(eden.measurements.read gives the statistics of each condition, and eden.fits.fit_models fits "
                    "them)"
                )
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
            measurement = _Measurement(point, condition.pattern, statistics, len(statistics.repeats), stored, flips)
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

    def _chosen(self, point: OperatingPoint, value: Value) -> _Measurement | None:
        """The condition that tells a stored value: a pure pattern if there is one, and of these the most repeated."""
        held = [measurement for measurement in self.by_point[point] if measurement.holds(value)]
        return max(held, key=lambda one: (one.pure(value), one.passes), default=None)

    def _samples(self, scope: _Scope, point: OperatingPoint) -> Samples:
        samples: Samples = {}
        for value in self.values:
            measurement = self._chosen(point, value)
            if measurement is not None:
                samples[value] = self._sample(scope, measurement, value)
            elif self.grid:
                samples[value] = self._errorless(scope, point)
        return samples

    def _errorless(self, scope: _Scope, point: OperatingPoint) -> _Sample:
        passes = self.repeats or max(measurement.passes for measurement in self.by_point[point])
        cells = len(scope.banks) * self.tested.cells_per_bank
        none = np.zeros(0, np.int32)
        flips = Flips(none, none, none, none, none)
        return self._counted(scope, None, np.ones((1, 8), np.bool_), flips, [(0.0, float(cells))] * passes)

    def _cells(self, scope: _Scope, mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
        """The cells that a mask holds: of each tested row of a bank, and of all banks of a scope."""
        rows = self.tested.rows
        in_row = mask @ ((self.tested.row_bits - np.arange(8) + 7) // 8)
        of_row = in_row[np.arange(rows.start, rows.stop) % len(mask)]
        return of_row, int(of_row.sum()) * len(scope.banks)

    def _sample(self, scope: _Scope, measurement: _Measurement, value: Value) -> _Sample:
        mask = measurement.mask(value)
        _, cells = self._cells(scope, mask)
        totals: dict[int, float] = dict.fromkeys(measurement.statistics.repeats, 0.0)
        for count in measurement.statistics.counts(_BITS[value]):
            if count.bank in scope.banks:
                totals[count.repeat] += count.errors
        readings = [(errors, float(cells)) for errors in totals.values()]
        if measurement.flips is None:
            return self._sample_of_counts(scope, measurement, value, cells, readings)
        bit = _BITS[value]
        mine = np.isin(measurement.flips.bank, scope.banks)
        if bit is not None:
            mine &= measurement.flips.stored == bit
        flips = Flips(*(array[mine] for array in measurement.flips))
        return self._counted(scope, measurement, mask, flips, readings)

    def _counted(
        self,
        scope: _Scope,
        measurement: _Measurement | None,
        mask: NDArray[np.bool_],
        flips: Flips,
        readings: list[tuple[float, float]],
    ) -> _Sample:
        """Counts of flips of the cells that a mask holds, along lines and by the number of failing passes."""
        rows, row_bits = self.tested.rows, self.tested.row_bits
        of_row, cells = self._cells(scope, mask)
        bank, row, place = (array.astype(np.int64) for array in (flips.bank, flips.row, flips.bit))
        bank = np.searchsorted(np.array(scope.banks), bank)
        lines: dict[Axis, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        height = self.geometry.subarray_rows
        first = rows.start // height
        subarrays = (rows.stop - 1) // height - first + 1
        if len(scope.banks) * subarrays * row_bits <= MOST_LINES:
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
                np.bincount(number, minlength=len(scope.banks) * subarrays * row_bits),
                np.tile(held[:, np.arange(row_bits) % 8].ravel(), len(scope.banks)),
            )
        if len(scope.banks) * len(rows) <= MOST_LINES:
            lines["wordline"] = (
                np.bincount(bank * len(rows) + row - rows.start, minlength=len(scope.banks) * len(rows)),
                np.tile(of_row, len(scope.banks)),
            )
        along = {axis: Lines(all_[all_ > 0], failed[all_ > 0]) for axis, (failed, all_) in lines.items()}
        bitlines, wordlines = along.get("bitline"), along.get("wordline")
        histogram = np.bincount(flips.failures, minlength=len(readings) + 1)
        histogram[0] = cells - flips.bank.size
        counts = Counts.of_cells(histogram, bitlines=bitlines, wordlines=wordlines)
        return _Sample(measurement, counts, readings, lines, self._addresses(flips))

    def _addresses(self, flips: Flips) -> NDArray[np.int64]:
        row = flips.bank.astype(np.int64) * self.geometry.bank_rows + flips.row
        return row * self.geometry.row_bits + flips.bit

    def _sample_of_counts(
        self,
        scope: _Scope,
        measurement: _Measurement,
        value: Value,
        cells: int,
        readings: list[tuple[float, float]],
    ) -> _Sample:
        """Where flips are not known one by one: lines of a single pass, a sample of repeated reads, or totals."""
        statistics, bit = measurement.statistics, _BITS[value]
        lines: dict[Axis, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        if measurement.passes == 1:
            # Bitlines are counted as the file was read, with its argument subarray_rows and not the geometry's.
            for axis in _AXES:
                inside = self.tested.rows.start // self.geometry.subarray_rows
                if axis == "bitline" and (self.tested.rows.stop - 1) // self.geometry.subarray_rows != inside:
                    continue
                try:
                    counted = statistics.lines(axis, bit)
                except ValueError:  # not told by the file, or too many to keep
                    continue
                which = np.searchsorted(np.array(self.tested.banks), np.array(scope.banks))
                failed, all_ = (array.reshape(len(self.tested.banks), -1)[which].ravel() for array in counted)
                if failed.size <= MOST_LINES:
                    lines[axis] = failed, all_
            along = {axis: Lines(all_, failed) for axis, (failed, all_) in lines.items()}
            if along:
                counts = Counts.of_lines(bitlines=along.get("bitline"), wordlines=along.get("wordline"))
            else:
                counts = Counts.of_total(round(readings[0][0]), cells)
            return _Sample(measurement, counts, readings, lines)
        if scope.bank is None:
            try:
                return _Sample(measurement, Counts.of_cells(statistics.cells(bit)), readings)
            except ValueError:  # the file does not say which bit of a row failed
                pass
        # The cells of other passes are the same ones, which the totals do not tell apart.
        return _Sample(measurement, Counts.of_total(round(readings[0][0]), cells), readings)

    # -- what is fitted --

    def run(self) -> tuple[Device, tuple[PointFit, ...]]:
        """The device, and the fits of the points of its whole module."""
        self._check_nominal()
        self._choose_failure()
        self.lent = max((self._between_passes(self.whole, point)[0] for point in self.by_point), default=0.0)
        fits = {point: self._fit(self.whole, point) for point in self.by_point}
        choice = self._choose(fits)
        self._choose_dispersion(fits)
        whole = self._partition(self.whole, fits, nominal_only=False)
        banks = [f"bank{bank}" for bank in range(self.geometry.banks)]
        untested = [bank for bank in range(self.geometry.banks) if bank not in self.tested.banks]
        reliable = self.reliable or (None if untested else banks[0])
        parts = []
        for bank, label in enumerate(banks):
            nominal_only = label == reliable or bank in untested
            scope = _Scope(label, bank, (bank,))
            mine = {} if nominal_only else {point: self._fit(scope, point) for point in self.by_point}
            parts.append(self._partition(scope, mine, nominal_only))
        self._assume(reliable, [banks[bank] for bank in untested])
        tests = tuple(self._tests(whole, fits))
        measured = self._measured(whole, fits)
        device = Device(
            name=self.name,
            source=self.source,
            geometry=self.geometry,
            random_layout=_core.RANDOM_LAYOUT_VERSION,
            failure=self.failure,
            model="cell_map" if self.cell_map else self.model,
            nominal=self.nominal,
            assumptions=tuple(self.assumptions),
            notes=tuple(self.notes),
            choice=choice,
            whole=whole,
            partitions=tuple(parts),
            measured=measured,
        )
        return device, tests

    def _check_nominal(self) -> None:
        for point, measurements in self.by_point.items():
            if point != self.nominal:
                continue
            for measurement in measurements:
                errors = sum(
                    count.errors
                    for stored in measurement.statistics.stored_values
                    for count in measurement.statistics.counts(stored)
                )
                if errors:
                    raise FileError(
                        self.campaign.path,
                        f"found {errors:g} errors with pattern {measurement.pattern} at the nominal operating point "
                        f"({self.nominal}); allowed is none, because a device needs a reliable home: if that is not "
                        "its nominal point, give trcd, trp, vdd or refresh_interval",
                    )

    def _choose_failure(self) -> None:
        """One F for the device, from the repeated reads of all points."""
        if self.given_failure is not None:
            self.failure = self.given_failure
            self._check_failure()
            self.assumptions.append(f"failure F = {self.failure:g}: it was given")
            return
        common: Common = fit_common(
            sample.counts for point in self.by_point for sample in self._samples(self.whole, point).values()
        )
        found = common.failure
        if found.identified:
            self.failure = found.estimate
            self.notes.append(
                f"failure F = {found.estimate:.{DIGITS}g}, 95% interval [{found.low:.3g}, {found.high:.3g}]: from the "
                "repeated reads of the cells that failed, at all operating points together"
            )
        elif 0.0 < found.high < 1.0:
            self.failure = found.high
            self.assumptions.append(
                f"failure F = {found.high:.{DIGITS}g}: no cell failed in more than one of its reads, so only the "
                "product of F and the share of weak cells is told, and F is taken as high as the reads allow"
            )
        else:
            self.assumptions.append(
                "failure F = 1: no cell that failed was read more than once, so only the product of F and the share of "
                "weak cells is told; with 1, a weak cell fails at every read"
            )
        # The fits need an F that the counts do not contradict, the file one of few digits.
        self.failure = _round(self.failure)

    def _check_failure(self) -> None:
        for point in self.by_point:
            for value, sample in self._samples(self.whole, point).items():
                counts = sample.counts
                where = f"of stored {_PLURAL[value]} at {point}"
                if self.failure == 1.0 and counts.failures < counts.failed * counts.reads:
                    raise ValueError(
                        f"failure is 1; allowed is below 1, because cells {where} failed in some of their reads alone"
                    )
                rate = counts.failures / (counts.cells * counts.reads)
                if rate > self.failure:
                    raise ValueError(
                        f"failure is {self.failure:g}; allowed is {rate:.3g} to 1, because reads {where} fail at "
                        "that rate"
                    )

    def _between_passes(self, scope: _Scope, point: OperatingPoint) -> tuple[float, bool]:
        """The variance of the log-odds between passes, beyond chance, and whether the passes tell it."""
        groups = [sample.totals for sample in self._samples(scope, point).values() if sample.measurement is not None]
        groups = [group for group in groups if group]
        if not groups or not _informative(groups):
            return 0.0, False
        dispersion = fit_counts(groups).dispersion
        # What the search leaves where there is none.
        return (dispersion if dispersion > NO_DISPERSION else 0.0), True

    def _fit(self, scope: _Scope, point: OperatingPoint) -> _Fit:
        samples = self._samples(scope, point)
        for value in self.values:
            if value not in samples:
                return _Fit(
                    samples,
                    f"stored {_PLURAL[value]} were not measured, or made no error that the file shows (grid says that "
                    "they were)"
                    if value != "both"
                    else "what its cells stored is not known",
                )
        for value, sample in samples.items():
            gap = _regimes(sample.totals)
            if gap:
                return _Fit(
                    samples,
                    f"the passes of stored {_PLURAL[value]} mix two regimes, with nothing between the rates "
                    f"{gap[0]:.3g} and {gap[1]:.3g}",
                )
        try:
            choice = fit_models(
                zero=samples["zero"].counts if "zero" in samples else None,
                one=samples["one"].counts if "one" in samples else None,
                both=samples["both"].counts if "both" in samples else None,
                failure=self.failure,
                replicates=0,
            )
        except ValueError as error:
            raise ValueError(f"{scope.name} at {point}: {error}") from error
        correlation = _correlation(samples["zero"], samples["one"]) if len(samples) == 2 else 0.0
        return _Fit(samples, None, choice, correlation)

    def _choose(self, fits: Mapping[OperatingPoint, _Fit]) -> tuple[FitRow, ...]:
        """One model for the device, by the sum of the criteria over the points at which something failed."""
        told = {point: fit for point, fit in fits.items() if fit.choice is not None and fit.failed}
        if not told:
            self.notes.append("no cell failed at a condition that can be fitted: Model 0 (uniform), with BER 0")
            return ()
        names = list(next(iter(told.values())).choice.fits)  # type: ignore[union-attr]
        for point, fit in told.items():
            missing = [name for name in names if name not in fit.choice.fits]  # type: ignore[union-attr]
            names = [name for name in names if name not in missing]
            if missing:
                self.notes.append(f"left out of the choice {', '.join(missing)}: not told at {point}")
        rows: list[FitRow] = []
        sums = {name: [0.0, 0.0, 0.0, 0.0] for name in names}
        for point, fit in told.items():
            for name in names:
                found = fit.choice.fits[name]  # type: ignore[union-attr]
                # A cell that was read with both values counts once as far as its failures agree.
                share = 1.0 + fit.correlation
                observations = max(1, round(found.observations / share))
                log_likelihood = found.log_likelihood / share
                bic = _core.bayesian_information_criterion(log_likelihood, found.parameters, observations)
                row = found.parameters, observations, log_likelihood, bic
                for i, number in enumerate(row):
                    sums[name][i] += number
                if name in _MODELS:
                    rows.append(_row(name, point, row))
        rows += [_row(name, None, sums[name]) for name in names if name in _MODELS]
        total = {name: row[3] for name, row in sums.items()}
        others = [name for name in names if name in _MODELS and name != "uniform"]
        if others:
            best = min(others, key=lambda name: total[name])
            gain = total["uniform"] - total[best]
            self.model = best if gain > DECISIVE else "uniform"
            self.notes.append(
                f"chose {_NUMBERS[self.model]}: over {len(told)} operating points the BIC of {_NUMBERS[best]} is "
                f"{abs(gain):.1f} {'below' if gain > 0 else 'above'} that of Model 0, which holds unless it is more "
                f"than {DECISIVE:g} below"
            )
        else:
            self.notes.append("chose Model 0 (uniform): the counts tell neither lines nor stored values apart")
        for name in names:
            if name not in _MODELS and total[self.model] - total[name] > DECISIVE:
                axis = name.removesuffix("_by_value")
                self.notes.append(
                    f"{axis}s with a rate for each stored value would describe the counts better still (BIC "
                    f"{total[self.model] - total[name]:.1f} below), but no error model has both: the chosen one leaves "
                    "out the other"
                )
        # Lines of each value tell clusters from what sets the values apart.
        suffix = "_by_value" if "data_dependent" in total else ""
        alike = total["data_dependent" if suffix else "uniform"]
        if all(f"{axis}{suffix}" in total and alike - total[f"{axis}{suffix}"] > DECISIVE for axis in _AXES):
            self.notes.append("cells cluster along bitlines and along wordlines, but an error model has one of them")
        return tuple(rows)

    def _choose_dispersion(self, fits: Mapping[OperatingPoint, _Fit]) -> None:
        if self.model not in _AXES:
            return
        axis: Axis = "bitline" if self.model == "bitline" else "wordline"

        def counts() -> Iterator[Counts]:
            for point, fit in fits.items():
                if fit.choice is not None:
                    yield from (sample.counts for sample in self._samples(self.whole, point).values() if sample.lines)

        found = fit_common(counts(), axis, self.failure).dispersion
        if found is None:
            return
        estimate = 0.0 if found.estimate < LOWEST_DISPERSION else min(found.estimate, HIGHEST_DISPERSION)
        self.dispersion = _round(estimate)
        self.notes.append(
            f"dispersion of the {axis}s {self.dispersion:g}, 95% interval [{found.low:.3g}, {found.high:.3g}]: one for "
            "all operating points, from their counts together"
        )

    # -- what is offered --

    def _partition(self, scope: _Scope, fits: Mapping[OperatingPoint, _Fit], nominal_only: bool) -> Partition:
        geometry, tested = self.geometry, self.tested
        bank_cells = geometry.bank_rows * geometry.row_bits
        address, cells = (0, geometry.capacity_bits) if scope.bank is None else (scope.bank * bank_cells, bank_cells)
        if self.cell_map and scope.bank is not None and not nominal_only:
            # A map says nothing of cells that were not tested, so they are no part of the partition.
            address, cells = address + tested.rows.start * tested.row_bits, tested.cells_per_bank
        points: list[FittedPoint] = []
        left_out: list[LeftOut] = []
        seen: list[tuple[OperatingPoint, tuple[float, float]]] = []
        fallen: list[OperatingPoint] = []
        nominal = self._errorless_point(self.nominal, cells)
        for point, fit in fits.items():
            reason = fit.reason
            if reason is None and not as_harsh(point, self.nominal):
                reason = f"it is milder than the nominal point ({self.nominal}) in a parameter"
            for before in fallen:
                if as_harsh(point, before) and point.temperature == before.temperature:
                    reason = f"harsher than {before}, where the rates fall"
                    break
            if reason is None:
                fitted = self._point(scope, point, fit, address, cells)
                rates = fitted.errors.ber_zero, fitted.errors.ber_one
                falls = _falls(point, rates, seen)
                if falls:
                    reason = f"the curve is not monotone: {falls}; the range ends before it"
                    fallen.append(point)
                elif point == self.nominal:
                    nominal = fitted
                else:
                    points.append(fitted)
            else:
                # A pass of the worse regime still says how high the curve has been.
                samples = fit.samples
                rates = _highest(samples, "zero"), _highest(samples, "one")
            if reason is not None:
                left_out.append(LeftOut(**point.model_dump(), reason=reason))
            seen.append((point, rates))
        return Partition(
            name=scope.name,
            kind="module" if scope.bank is None else "bank",
            address=address,
            capacity_bytes=cells // 8,
            nominal=nominal_only,
            points=(nominal, *(point for point in points if point.temperature == self.nominal.temperature)),
            points_at_other_temperatures=tuple(
                point for point in points if point.temperature != self.nominal.temperature
            ),
            left_out=tuple(left_out),
        )

    def _errors(self, zero: float, one: float) -> ErrorModel:
        zero, one = (min(_round(rate), self.failure) for rate in (zero, one))
        if self.model == "uniform":
            return Uniform(zero, self.failure)
        if self.model == "data_dependent":
            return DataDependent(zero, one, self.failure)
        kind: type[LineModel] = Bitline if self.model == "bitline" else Wordline
        return kind(zero, self.dispersion, self.failure, self.geometry)

    def _errorless_point(self, point: OperatingPoint, cells: int) -> FittedPoint:
        return FittedPoint(
            **point.model_dump(),
            errors=self._empty_map(cells) if self.cell_map else self._errors(0.0, 0.0),
            zero=(0.0, 0.0),
            one=(0.0, 0.0),
            readings=(0, 0),
            dispersion=0.0,
            dispersion_fitted=False,
        )

    def _empty_map(self, cells: int) -> CellMap:
        nothing = np.zeros(0, np.bool_)
        return CellMap(np.zeros(0, np.int64), nothing, nothing, cells, self.failure)

    def _point(self, scope: _Scope, point: OperatingPoint, fit: _Fit, address: int, cells: int) -> FittedPoint:
        groups = [sample.totals for sample in fit.samples.values()]
        dispersion, told = self._between_passes(scope, point)
        if not told:
            dispersion = self.lent
        freedom = sum(map(len, groups)) - len(groups)
        quantile = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom) if told else stats.norm.ppf(0.5 + CONFIDENCE / 2))
        rates, intervals = self._rates(fit, "data_dependent" if self.cell_map else self.model, dispersion, quantile)
        errors: ErrorModel
        if self.cell_map:
            errors = self._map(scope, point, address, cells)
            share = len(scope.banks) * self.tested.cells_per_bank / cells
            intervals = [
                (min(low * share, rate), max(high * share, rate))
                for (low, high), rate in zip(intervals, (errors.ber_zero, errors.ber_one), strict=True)
            ]
        else:
            errors = self._errors(*rates)
            intervals = [
                (min(_round(low), rate), max(_round(high), rate))
                for (low, high), rate in zip(intervals, (errors.ber_zero, errors.ber_one), strict=True)
            ]
        readings = [fit.samples[value].counts.reads if value in fit.samples else 0 for value in ("zero", "one")]
        if "both" in fit.samples:
            readings = [fit.samples["both"].counts.reads] * 2
        return FittedPoint(
            **point.model_dump(),
            errors=errors,
            zero=intervals[0],
            one=intervals[1],
            readings=(readings[0], readings[1]),
            dispersion=float(f"{dispersion:.{DIGITS}g}"),
            dispersion_fitted=told,
        )

    def _rates(
        self, fit: _Fit, model: Model, dispersion: float, quantile: float
    ) -> tuple[tuple[float, float], list[tuple[float, float]]]:
        """The rates of zeros and of ones with their intervals, in the order of the values."""
        assert fit.choice is not None
        # A bank can have too few lines for a model that the module has; its mean rate is told all the same.
        found = fit.choice.fits.get(model) or fit.choice.fits["uniform"]
        passes = [sample.counts.reads for sample in fit.samples.values()]
        rates: list[float] = []
        intervals: list[tuple[float, float]] = []
        for i, ber in enumerate(found.ber):
            common = len(found.ber) == 1
            variance = dispersion / (sum(passes) if common else passes[i])
            widening = math.sqrt(1.0 + self._shared(fit, found)) if common else 1.0
            rates.append(min(ber.estimate, self.failure))
            intervals.append(_widened(ber.estimate, ber.low, ber.high, widening, variance, quantile))
        if len(rates) == 1:
            rates, intervals = rates * 2, intervals * 2
        for i, value in enumerate(("zero", "one")):
            if value not in self.values and self.values != ("both",):
                # What was not measured can be anything.
                intervals[i] = (0.0, self.failure)
        return (rates[0], rates[1]), intervals

    def _shared(self, fit: _Fit, found: FittedModel) -> float:
        """The correlation between what failed of zeros and of ones, for the interval of their common rate."""
        if len(fit.samples) < 2:
            return 0.0
        zero, one = fit.samples["zero"], fit.samples["one"]
        if found.model in _AXES:
            axis: Axis = "bitline" if found.model == "bitline" else "wordline"
            return _line_correlation(zero, one, axis, fit.correlation)
        return fit.correlation

    def _map(self, scope: _Scope, point: OperatingPoint, address: int, cells: int) -> CellMap:
        """The cells that failed in any condition of a point, by the values with which they did."""
        flips: dict[str, list[NDArray[np.int64]]] = {"zero": [], "one": []}
        for measurement in self.by_point[point]:
            found = measurement.flips
            if found is None:
                raise FileError(
                    self.campaign.path,
                    f"does not tell (or too many to keep) which cells failed at {point}; allowed for cell_map are "
                    "formats that name cells, with fewer of them",
                )
            inside = np.isin(found.bank, scope.banks)
            places = self._addresses(found) - address
            for value, stored in (("zero", 0), ("one", 1)):
                # Of flips whose value is not known, either may be the one that fails.
                flips[value].append(places[inside & ((found.stored == stored) | (found.stored == -1))])
        zero, one = (np.unique(np.concatenate(flips[value])) for value in ("zero", "one"))
        every = np.union1d(zero, one)
        return CellMap(every, np.isin(every, zero), np.isin(every, one), cells, self.failure)

    # -- what is told of it --

    def _tests(self, whole: Partition, fits: Mapping[OperatingPoint, _Fit]) -> Iterator[PointFit]:
        offered = {
            OperatingPoint(**{name: getattr(point, name) for name in OperatingPoint.model_fields})
            for point in (*whole.points, *whole.points_at_other_temperatures)
        }
        refused: list[str] = []
        for point, fit in fits.items():
            if point not in offered or fit.choice is None or not fit.failed:
                continue
            tests: list[Goodness] = []
            for value, sample in fit.samples.items():
                if not sample.counts.failed or (self.model in _AXES and self.model not in sample.lines):
                    continue
                found = goodness_of_fit(self.model, value, sample.counts, failure=self.failure)
                tests += found
                refused += [
                    f"{test.of} of stored {_PLURAL[value]} at {point} (p = {test.p_value:.3g})"
                    for test in found
                    if test.bins and test.p_value < LEVEL
                ]
            tested = ", ".join(f"{test.of} of {test.bins[0].stored} {test.p_value:.3g}" for test in tests if test.bins)
            self.notes.append(
                f"goodness of fit at {point}: p = {tested}" if tested else f"too few errors to test at {point}"
            )
            yield PointFit(point, fit.choice, tuple(tests))
        if refused:
            self.notes.append(
                f"{_NUMBERS[self.model]} does not describe the counts of {'; '.join(refused)}: the intervals there are "
                "those of the model, and the truth may lie outside"
            )

    def _measured(self, whole: Partition, fits: Mapping[OperatingPoint, _Fit]) -> tuple[Measured, ...]:
        fitted = {
            tuple(getattr(point, name) for name in OperatingPoint.model_fields): point.errors
            for point in (*whole.points, *whole.points_at_other_temperatures)
        }
        rows: list[Measured] = []
        left: list[str] = []
        dilution = self.geometry.capacity_bits / (len(self.tested.banks) * self.tested.cells_per_bank)
        for point, measurements in self.by_point.items():
            errors = fitted.get(tuple(getattr(point, name) for name in OperatingPoint.model_fields))
            for measurement in measurements:
                values: list[Value] = ["zero", "one"] if measurement.stored is not None else ["both"]
                samples = {
                    value: self._sample(self.whole, measurement, value) for value in values if measurement.holds(value)
                }
                merged = _merged([sample.counts for sample in samples.values()])
                (ber,) = fit_models(both=merged, failure=self.failure, replicates=0).fits["uniform"].ber
                passes = np.sum([[errors for errors, _ in sample.totals] for sample in samples.values()], axis=0)
                cells = sum(sample.totals[0][1] for sample in samples.values())
                ones = None if measurement.stored is None else float(measurement.stored.mean())
                predicted = None
                if errors is not None and ones is not None:
                    predicted = (1 - ones) * errors.ber_zero + ones * errors.ber_one
                    if self.cell_map:
                        predicted = min(1.0, predicted * dilution)
                if ones is not None and 0.0 < ones < 1.0 and self._chosen(point, "zero") is not measurement:
                    self._compare(point, measurement, ones, predicted, ber.estimate)
                pattern = measurement.pattern or ""
                if not re.fullmatch(r"0x[0-9a-f]{1,2}", pattern):
                    left.append(pattern or "not known")
                    continue
                rows.append(
                    Measured(
                        **point.model_dump(),
                        pattern=f"0x{int(pattern, 16):x}",
                        readings=measurement.passes,
                        rate=_round(ber.estimate),
                        low=min(_round(ber.low), _round(ber.estimate)),
                        high=max(_round(ber.high), _round(ber.estimate)),
                        least=_round(float(passes.min()) / cells),
                        most=_round(float(passes.max()) / cells),
                        predicted=None if predicted is None else _round(predicted),
                    )
                )
        if left:
            self.notes.append(
                f"left out of the table of measured conditions {len(left)} whose pattern is no single byte: "
                + ", ".join(sorted(set(left)))
            )
        return tuple(rows)

    def _compare(
        self, point: OperatingPoint, measurement: _Measurement, ones: float, predicted: float | None, own: float
    ) -> None:
        """Note whether a pattern that was not fitted fails as the fitted zeros and ones predict."""
        zero, one = self._chosen(point, "zero"), self._chosen(point, "one")
        text = f"pattern {measurement.pattern} at {point}: rate {own:.3g}"
        if predicted is not None:
            text += f", predicted {predicted:.3g}"
        if len(self.tested.banks) > 1 and zero and one and zero.pure("zero") and one.pure("one"):
            try:
                test = compare_pattern(
                    self._by_bank(zero, ("zero",)),
                    self._by_bank(one, ("one",)),
                    self._by_bank(measurement, ("zero", "one")),
                    share_of_ones=ones,
                )
            except ValueError:  # too few errors
                test = None
            if test is not None:
                verdict = "a factor of its own" if test.own_factor else "as its zeros and ones predict"
                text += f"; {verdict} (p = {test.p_value:.3g}, banks taken for repeats)"
        self.notes.append(text)

    def _by_bank(self, measurement: _Measurement, values: Sequence[Value]) -> list[tuple[float, float]]:
        """Mean errors of a pass, bank by bank: passes read the same cells, banks do not."""
        found = []
        for bank in self.tested.banks:
            samples = [self._sample(_Scope("", bank, (bank,)), measurement, value) for value in values]
            errors = sum(math.fsum(errors for errors, _ in sample.totals) / len(sample.totals) for sample in samples)
            found.append((errors, sum(sample.totals[0][1] for sample in samples)))
        return found

    def _assume(self, reliable: str | None, untested: Sequence[str]) -> None:
        rows, geometry = self.tested.rows, self.geometry
        if untested:
            self.assumptions.append(
                "not tested, and so kept at the nominal operating point with BER 0, as the specification promises: "
                + _listed(untested)
            )
        if reliable is not None and reliable not in untested:
            self.assumptions.append(
                f"{reliable} is kept at the nominal operating point with BER 0, as the specification promises"
            )
        if len(rows) < geometry.bank_rows:
            what = f"rows {rows.start} to {rows.stop - 1} of {geometry.bank_rows} of each bank were tested"
            self.assumptions.append(
                f"{what}: partitions hold these alone, and the whole module's rates count the others as sound"
                if self.cell_map
                else f"{what}: the others fail at the same rates"
            )
        for value in ("zero", "one"):
            if value in self.values or self.values == ("both",):
                continue
            self.assumptions.append(
                f"stored {_PLURAL[value]} were not measured: they are taken to fail at the rate of stored "
                f"{_PLURAL[self.values[0]]}, and their interval is everything up to F"
            )
        if self.values == ("both",):
            self.assumptions.append("stored zeros and ones fail at one rate: the measurements do not tell them apart")
        if self.grid:
            self.assumptions.append(
                "every pattern of the file was tested at every operating point in it: where it shows no flip, no cell "
                "failed"
            )
        if self.cell_map:
            self.assumptions.append(
                "the weak cells are those that failed in some pass; of a weak cell's n passes all succeed with "
                "probability (1 - F)^n"
            )
            if any(
                not any(measurement.pure(value) for measurement in measurements)
                for measurements in self.by_point.values()
                for value in self.values
            ):
                self.assumptions.append(
                    "a cell that never stored a value in the measurements is taken to be sound when it does"
                )
        self.assumptions.append("between two measured points the rates of the harsher one hold as an upper bound")
        self.assumptions.append(
            "the largest dispersion between passes at other points holds where the passes tell none (a single one of "
            "each value, or no failures)"
        )


def _listed(names: Sequence[str]) -> str:
    """Names of banks, ranges of more than two of them shortened."""
    return f"{names[0]} to {names[-1]}" if len(names) > 4 else ", ".join(names)


def _row(name: str, point: OperatingPoint | None, numbers: Sequence[float]) -> FitRow:
    parameters, observations, log_likelihood, bic = numbers
    return FitRow(
        model=name,  # type: ignore[arg-type]  # of _MODELS
        point=point,
        parameters=int(parameters),
        observations=int(observations),
        log_likelihood=round(log_likelihood, 3),
        bic=round(bic, 3),
    )


def _falls(
    point: OperatingPoint, rates: tuple[float, float], seen: Sequence[tuple[OperatingPoint, tuple[float, float]]]
) -> str:
    """Which rates are below those of a milder point, in words; empty if none."""
    found = []
    for i, stored in enumerate(("zeros", "ones")):
        milder = [
            (before[i], other)
            for other, before in seen
            if other.temperature == point.temperature and as_harsh(point, other)
        ]
        highest, at = max(milder, key=lambda one: one[0], default=(0.0, point))
        if rates[i] < highest:
            found.append(f"stored {stored} fail at {rates[i]:.3g}, but at {highest:.3g} at the milder {at}")
    return " and ".join(found)


def _highest(samples: Samples, value: Value) -> float:
    sample = samples.get(value) or samples.get("both") or next(iter(samples.values()), None)
    return 0.0 if sample is None else max((errors / cells for errors, cells in sample.totals), default=0.0)


def _merged(counts: Sequence[Counts]) -> Counts:
    """Counts of cells that stored one value and of others that stored the other, together and without their lines."""
    histograms = [one.histogram for one in counts if one.histogram is not None]
    return Counts(
        cells=sum(one.cells for one in counts),
        failed=sum(one.failed for one in counts),
        reads=counts[0].reads,
        failures=sum(one.failures for one in counts),
        histogram=np.sum(histograms, axis=0) if len(histograms) == len(counts) else None,
    )


def check_tested(banks: int | Sequence[int] | None, rows: int | range | None, row_bits: int | None) -> Tested | None:
    """The tested cells of arguments that ``eden.measurements.read`` has checked; None where they are not given."""
    if banks is None or rows is None or row_bits is None:
        return None
    numbers = range(banks) if isinstance(banks, int) else sorted(set(banks))
    return Tested(tuple(numbers), range(rows) if isinstance(rows, int) else rows, row_bits)


def analyse_cells(
    campaign: Campaign,
    tested: Tested | None,
    *,
    name: str | None,
    source: Source,
    failure: float | None,
    temperature: float | None,
    vdd: float | None,
    trcd: float | None,
    trp: float | None,
    refresh_interval: float | None,
    reliable: str | None,
    geometry: Geometry | None,
    subarray_rows: int | None,
    grid: bool,
    cell_map: bool,
    repeats: int | None,
) -> FitReport:
    """Fit a device to a campaign of single flips; the arguments are those of ``eden.fit``.

    Raises:
        FileError: for measurements that cannot be used.
        ValueError: for an argument outside what is allowed.

    """
    if tested is None:
        raise ValueError(
            f"banks, rows and row_bits are missing: {campaign.path.name} ({campaign.format}) does not tell which cells "
            "were tested, and without them there are no rates; allowed are all three"
            if campaign.format != "rowscout"
            else f"{campaign.path.name} is of the format rowscout, which does not tell which cells were tested, so "
            "that there are no rates; allowed are formats that do, or that take banks, rows and row_bits"
        )
    assumptions: list[str] = []
    if geometry is None:
        geometry = default_geometry(tested, subarray_rows)
        assumptions.append(
            f"a memory of {geometry.banks} banks of {geometry.bank_rows} rows of {geometry.row_bits} bits"
            + (f", in subarrays of {geometry.subarray_rows} rows" if subarray_rows is None else "")
            + ": what holds the tested cells"
        )
    elif subarray_rows not in (None, geometry.subarray_rows):
        raise ValueError(
            f"subarray_rows is {subarray_rows}; allowed beside geometry is its own, {geometry.subarray_rows}, or none"
        )
    if (
        geometry.row_bits != tested.row_bits
        or geometry.bank_rows < tested.rows.stop
        or geometry.banks * (geometry.ranks or 1) <= tested.banks[-1]
        or (geometry.ranks or 1) > 1
    ):
        raise ValueError(
            f"geometry has {geometry.ranks or 1} ranks of {geometry.banks} banks of {geometry.bank_rows} rows of "
            f"{geometry.row_bits} bits; allowed is one rank that holds the tested banks {_numbers(tested.banks)} and "
            f"rows {tested.rows.start} to {tested.rows.stop - 1}, of {tested.row_bits} bits"
        )
    labels = [f"bank{bank}" for bank in range(geometry.banks)]
    if reliable is not None and reliable not in labels:
        raise ValueError(f"reliable is {reliable!r}; allowed are {', '.join(labels)}")
    nominal = _nominal(campaign, assumptions, temperature, vdd, trcd, trp, refresh_interval)
    fitter = CellFitter(
        campaign,
        tested,
        nominal,
        geometry,
        name=name or campaign.module,
        source=source,
        failure=failure,
        reliable=reliable,
        grid=grid,
        cell_map=cell_map,
        repeats=repeats,
        assumptions=assumptions,
    )
    device, fits = fitter.run()
    return FitReport(device, campaign, fits)


def _numbers(banks: Sequence[int]) -> str:
    return f"{banks[0]} to {banks[-1]}" if len(banks) > 4 else ", ".join(map(str, banks))


def _nominal(
    campaign: Campaign,
    assumptions: list[str],
    temperature: float | None,
    vdd: float | None,
    trcd: float | None,
    trp: float | None,
    refresh_interval: float | None,
) -> OperatingPoint:
    """The nominal point: what is given, else the mildest measured value, else what is usual of DDR3."""
    conditions = [] if campaign.statistics is None else [one.condition for one in campaign.statistics.conditions]
    chosen: dict[str, float] = {}
    given = {"vdd": vdd, "trcd": trcd, "trp": trp, "refresh_interval": refresh_interval}
    mildest: dict[str, Callable[[list[float]], float]] = {
        along.name: min if along.harsher > 0 else max for along in AXES
    }
    for along in AXES:
        stated = [value for one in conditions if (value := getattr(one, along.name)) is not None]
        value = given[along.name]
        if value is None:
            value = mildest[along.name](stated) if stated else USUAL[along.name]
            assumptions.append(
                f"nominal {along.name} {value:g} {along.unit}: "
                + ("the mildest that was measured" if stated else "the measurements do not state it, and it is usual")
            )
        elif len(stated) < len(conditions):
            assumptions.append(f"{along.name} {value:g} {along.unit} where the measurements do not state it")
        chosen[along.name] = value
    temperatures = sorted({one.temperature for one in conditions if one.temperature is not None})
    unstated = any(one.temperature is None for one in conditions)
    if temperature is None:
        if unstated:
            raise ValueError(
                f"temperature is missing: {campaign.path.name} does not state it; allowed is a number of degrees "
                "Celsius"
            )
        temperature = temperatures[-1]
    elif unstated:
        assumptions.append(f"temperature {temperature:g} C where the measurements do not state it")
    elif temperature not in temperatures:
        listed = ", ".join(f"{value:g}" for value in temperatures)
        raise ValueError(f"temperature is {temperature}; allowed for {campaign.module} are the measured {listed} C")
    return OperatingPoint(temperature=temperature, **chosen)
