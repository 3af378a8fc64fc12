"""Fits a device to a campaign that tells single flips: Models 0 to 3, lines and stored value together, or a cell map.

The counts of one operating point are fitted by ``likelihoods``; here it is decided which counts those are, what the
points of a device have in common (the model, F, the dispersion of its lines), and what is offered of it.
docs/explanation/devices.md has the reasons.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from eden import _core
from eden.common.checks import around
from eden.common.files import FileError
from eden.devices import curves
from eden.devices.device import Device, FitRow
from eden.devices.fitting.checks import Checks
from eden.devices.fitting.counted import Raised, counted, told
from eden.devices.fitting.counts import device_curves, informative, regimes
from eden.devices.fitting.differences import compare_counts
from eden.devices.fitting.intervals import as_independent, widened
from eden.devices.fitting.nominal import JOINT_SURFACE, Nominal, nominal_point
from eden.devices.fitting.operating_range import Candidate, Offer, offer, partition_of, refuse_nothing
from eden.devices.fitting.patterns import pattern_assumption
from eden.devices.fitting.regions import Region, Told, divide, whole_module
from eden.devices.fitting.report import FitReport
from eden.devices.fitting.rounding import DIGITS, rounded_rate, rounded_up
from eden.devices.fitting.samples import (
    LINE_AXES,
    PLURAL,
    PointCounts,
    Sample,
    Sampler,
    Samples,
    correlation,
    line_correlation,
)
from eden.devices.fitting.settings import FitSettings
from eden.devices.likelihoods import (
    CONFIDENCE,
    DECISIVE,
    JOINT,
    KINDS,
    MODEL_NAMES,
    Axis,
    Common,
    Counts,
    FittedModel,
    Model,
    PairedLines,
    StoredValue,
    fit_common,
    fit_counts,
    fit_models,
    information_criterion,
    lines_of,
    marks_gains,
)
from eden.devices.partition import (
    AXES,
    Alone,
    FittedCurve,
    FittedPoint,
    OperatingPoint,
    Partition,
    WorstPattern,
    off_nominal,
    point_of,
)
from eden.measurements.campaign import Campaign
from eden.measurements.tested import TestedCells
from eden.memory.cell_map import CellMap
from eden.memory.errors import DataDependent, ErrorModel, Uniform
from eden.memory.geometry import Geometry
from eden.memory.lines import HIGHEST_DISPERSION, LOWEST_DISPERSION
from eden.memory.lines_by_value import Marks

# Passes whose rates differ by less than a ten-thousandth, beyond chance, do not differ.
NO_DISPERSION = 1e-8
# Shares of cells that differ by less are the same, as they were summed.
_SAME_RATE = 1e-9
# Values of a sweep from which a curve is fitted.
FEWEST_VALUES = 3

# What has a rate for each stored value, and what is chosen only where it is decisively better than all others.
_BY_VALUE = [name for name, kind in KINDS.items() if kind.by_value]
_JOINT = [name for name, kind in KINDS.items() if kind in JOINT]
# How the lines of both values go together, in words; the first where nothing tells it.
_MARKS: dict[Marks, str] = {
    "alike": "that fail most for zeros do so for ones",
    "opposite": "that fail most for zeros fail least for ones",
    "apart": "fail for zeros and for ones independently of each other",
}


def default_geometry(tested: TestedCells, subarray_rows: int | None, fewest_banks: int = 1) -> Geometry:
    """A geometry that just holds the tested cells, in subarrays of 512 rows if nothing else is said.

    Raises:
        ValueError: for rows whose size no geometry has.

    """
    height = subarray_rows or Geometry().subarray_rows
    return Geometry(
        row_bits=-(-tested.row_bits // _core.ROW_BITS_MULTIPLE) * _core.ROW_BITS_MULTIPLE,
        subarray_rows=height,
        bank_rows=-(-tested.rows.stop // height) * height,
        banks=max(tested.banks[-1] + 1, fewest_banks),
    )


class CellFitter:
    """Fits a device to the statistics of a campaign's single flips.

    Args:
        campaign: what was read.
        tested: the cells that each pass read.
        nominal: the nominal operating point, and what it rests on.
        geometry: of the device, which holds the tested cells.
        settings: how it is fitted.
        assumptions: what else the figures rest on.

    """

    def __init__(
        self,
        campaign: Campaign,
        tested: TestedCells,
        nominal: Nominal,
        geometry: Geometry,
        settings: FitSettings,
        assumptions: Sequence[str],
    ) -> None:
        self.campaign, self.tested, self.geometry, self.settings = campaign, tested, geometry, settings
        self.nominal = nominal.point
        self.sampler = Sampler(campaign, tested, nominal.point, geometry, settings)
        self.notes = [*campaign.notes, *self.sampler.notes]
        self.assumptions = [*assumptions, *nominal.assumptions]
        self.model: Model = "uniform"
        self.failure = self.map_failure = 1.0
        self.dispersion = 0.0
        self.marks: Marks = "alike"
        self.lent = 0.0
        self.passes_vary = False
        self.raised: list[Raised] = []
        self.whole = whole_module(geometry, tested.banks, tested.rows)

    def run(self) -> FitReport:
        """The device, with the fits of the points of its whole module."""
        self._check_nominal()
        self._choose_failure()
        self.map_failure = self._failure_of_map() if self.settings.cell_map else self.failure
        by_point = self.sampler.by_point
        between = [self._between_passes(self.whole, point) for point in by_point]
        self.lent = max((variance for variance, _ in between), default=0.0)
        self.passes_vary = any(told for _, told in between)
        fits = {point: self._fit(self.whole, point) for point in by_point}
        choice = self._choose(fits)
        self._choose_dispersion(fits)
        whole = self._partition(self.whole, fits, nominal_only=False)
        refuse_nothing(self.campaign.path, whole)
        count = self.geometry.banks * (self.geometry.ranks or 1)
        untested = [bank for bank in range(count) if bank not in self.tested.banks]
        reliable = self.settings.reliable or (None if untested else "bank0")
        nominal = [bank for bank in range(count) if bank in untested or f"bank{bank}" == reliable]
        form, rows = self.settings.partitions, self.tested.rows
        if self.settings.cell_map and form in ("module", "rank") and len(rows) < self.geometry.bank_rows:
            raise ValueError(
                f"partitions is {form!r} with cell_map; allowed are bank and subarray where only some rows of each "
                f"bank were tested ({rows.start} to {rows.stop - 1}), because a map says nothing of the others"
            )
        # A map holds each cell as it is, so that parts are told apart whatever their rates.
        compare = None if self.settings.cell_map else lambda parts: self._compare(parts, fits)
        division = divide(self.geometry, form, nominal, rows, compare)
        self.notes += division.notes
        needed = {"uniform", self._rates_of}
        if self.model in _BY_VALUE:
            needed.add("data_dependent")
        parts = []
        for region in division.regions:
            nominal_only = region.kind == "bank" and region.banks[0] in nominal
            place = self._tested_part(region) if self.settings.cell_map and not nominal_only else region
            if place is None:
                continue
            mine = {} if nominal_only else {point: self._fit(place, point, needed) for point in by_point}
            parts.append(self._partition(place, mine, nominal_only))
        self._assume(reliable, [f"bank{bank}" for bank in untested])
        checks = Checks(
            self.sampler,
            self.whole,
            KINDS[self.model].axis or self.model,
            self.failure,
            self.settings.cell_map,
            self.notes,
            MODEL_NAMES[self.model],
        )
        tests = tuple(checks.tests(whole, fits))
        measured = checks.measured(whole)
        if (text := told(self.raised)) is not None:
            self.notes.append(text)
        device = Device(
            name=self.settings.name or self.campaign.module,
            source=self.settings.source_of(self.campaign),
            geometry=self.geometry,
            random_layout=_core.RANDOM_LAYOUT_VERSION,
            failure=self.map_failure,
            model="cell_map" if self.settings.cell_map else self.model,
            nominal=self.nominal,
            assumptions=tuple(self.assumptions),
            notes=tuple(self.notes),
            choice=choice,
            whole=whole,
            partitions=tuple(parts),
            measured=measured,
        )
        return FitReport(device, self.campaign, tests)

    def _tested_part(self, region: Region) -> Region | None:
        """The rows of a region that were tested, which are all that a cell map tells of; None if there are none."""
        if len(region.banks) > 1:
            return region
        geometry, tested = self.geometry, self.tested.rows
        first = region.address // geometry.row_bits % geometry.bank_rows
        height = region.cells // geometry.row_bits
        rows = range(max(tested.start, first), min(tested.stop, first + height))
        if not rows:
            return None
        address = region.address + (rows.start - first) * geometry.row_bits
        return replace(region, address=address, cells=len(rows) * geometry.row_bits, rows=rows)

    def _compare(self, parts: Sequence[Region], fits: Mapping[OperatingPoint, PointCounts]) -> Iterator[Told]:
        """The tests of whether parts of the module have one rate, at each operating point and stored value."""
        for point, fit in fits.items():
            if fit.choice is None:
                continue
            samples = [self.sampler.samples(part, point) for part in parts]
            for value in fit.samples:
                test = compare_counts([sample[value].counts for sample in samples])
                if test is not None:
                    yield Told(f"{point}, stored {PLURAL[value]}", test)

    def _check_nominal(self) -> None:
        for point, measurements in self.sampler.by_point.items():
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
                        "its nominal point, give trcd, trp, vdd, refresh_interval or tras of nominal",
                    )

    def _choose_failure(self) -> None:
        """One F for the device, from the repeated reads of all points."""
        if self.settings.failure is not None:
            self.failure = self.settings.failure
            self._check_failure()
            self.assumptions.append(f"failure F = {self.failure:g}: it was given")
            return
        common: Common = fit_common(
            sample.counts
            for point in self.sampler.by_point
            for sample in self.sampler.samples(self.whole, point).values()
        )
        found = common.failure
        if found.identified:
            # Cells that failed more often than by F at some point would else have a rate below what was counted.
            self.failure = max(found.estimate, self._highest_counted())
            self.notes.append(
                f"failure F = {self.failure:.{DIGITS}g}, 95% interval [{found.low:.3g}, {found.high:.3g}]: from the "
                "repeated reads of the cells that failed, at all operating points together"
            )
        elif 0.0 < found.high < 1.0:
            self.failure = max(found.high, self._highest_counted())
            self.assumptions.append(
                f"failure F = {self.failure:.{DIGITS}g}: no cell failed in more than one of its reads, so only the "
                "product of F and the share of weak cells is told, and F is taken as high as the reads allow"
            )
        else:
            self.assumptions.append(
                "failure F = 1: no cell that failed was read more than once, so only the product of F and the share of "
                "weak cells is told; with 1, a weak cell fails at every read"
            )
        # The fits need an F that the counts do not contradict, the file one of few digits.
        self.failure = rounded_rate(self.failure)

    def _highest_counted(self) -> float:
        """The F below which some rate would be below what was counted."""
        return rounded_up(max([0.0, *(counted(sample).rate for sample in self._every_sample())]))

    def _every_sample(self) -> Iterator[Sample]:
        """What was counted of each value in the whole module, at each point under each pattern."""
        for point in self.sampler.by_point:
            chosen = self.sampler.samples(self.whole, point)
            others = (samples for _, samples in self.sampler.others(self.whole, point, chosen))
            for samples in (chosen, *others):
                yield from samples.values()

    def _failure_of_map(self) -> float:
        """What the map's cells failed at where they did most often: weak cells that never did are not in it.

        A map of a lower F would fail less often there than was counted.
        """
        counts = [sample.counts for sample in self._every_sample()]
        shares = [one.failures / (one.failed * one.reads) for one in counts if one.failed]
        found = max([self.failure, *map(rounded_up, shares)])
        if self.settings.failure is not None or found == self.failure:
            return self.failure
        self.notes.append(
            f"failure F of the map = {found:.{DIGITS}g}: what its cells failed at where they did most often, so that "
            "none of its rates is below what was counted"
        )
        return found

    def _check_failure(self) -> None:
        for point in self.sampler.by_point:
            for value, sample in self.sampler.samples(self.whole, point).items():
                counts = sample.counts
                where = f"of stored {PLURAL[value]} at {point}"
                if self.failure == 1.0 and counts.failures < counts.failed * counts.reads:
                    raise ValueError(
                        f"failure is 1; allowed is below 1, because cells {where} failed in some of their reads alone"
                    )
                rate = counts.failures / (counts.cells * counts.reads)
                if rounded_rate(rate) > rounded_rate(self.failure):
                    raise ValueError(
                        f"failure is {self.failure:g}; allowed is {rounded_rate(rate):g} to 1, because reads {where} "
                        "fail at that rate"
                    )

    def _between_passes(self, region: Region, point: OperatingPoint) -> tuple[float, bool]:
        """The variance of the log-odds between passes, beyond chance, and whether the passes tell it."""
        groups = [
            sample.totals for sample in self.sampler.samples(region, point).values() if sample.measurement is not None
        ]
        groups = [group for group in groups if group]
        if not groups or not informative(groups):
            return 0.0, False
        dispersion = fit_counts(groups).dispersion
        # What the search leaves where there is none.
        return (dispersion if dispersion > NO_DISPERSION else 0.0), True

    def _fit(self, region: Region, point: OperatingPoint, only: Collection[str] | None = None) -> PointCounts:
        samples = self.sampler.samples(region, point)
        for value in self.sampler.values:
            if value not in samples:
                return PointCounts(
                    samples,
                    f"stored {PLURAL[value]} were not measured, or made no error that the file shows (grid says that "
                    "they were)"
                    if value != "both"
                    else "what its cells stored is not known",
                )
        for value, sample in samples.items():
            gap = regimes(sample.totals)
            if gap:
                return PointCounts(
                    samples,
                    f"the passes of stored {PLURAL[value]} mix two regimes, with nothing between the rates "
                    f"{gap[0]:.3g} and {gap[1]:.3g}",
                )
        try:
            choice = fit_models(
                zero=samples["zero"].counts if "zero" in samples else None,
                one=samples["one"].counts if "one" in samples else None,
                both=samples["both"].counts if "both" in samples else None,
                failure=self.failure,
                only=only,
                replicates=0,
            )
        except ValueError as error:
            raise ValueError(f"{region.name} at {point}: {error}") from error
        shared = correlation(samples["zero"], samples["one"]) if len(samples) == 2 else 0.0
        return PointCounts(samples, None, choice, shared)

    def _choose(self, fits: Mapping[OperatingPoint, PointCounts]) -> tuple[FitRow, ...]:
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
                bic = information_criterion(log_likelihood, found.parameters, observations)
                row = found.parameters, observations, log_likelihood, bic
                for i, number in enumerate(row):
                    sums[name][i] += number
                rows.append(_row(name, point, row))
        rows += [_row(name, None, sums[name]) for name in names]
        total = {name: row[3] for name, row in sums.items()}
        others = [name for name in names if name not in (*_JOINT, "uniform")]
        if others:
            best = min(others, key=lambda name: total[name])
            gain = total["uniform"] - total[best]
            self.model = best if gain > DECISIVE else "uniform"
            self.notes.append(
                f"chose {MODEL_NAMES[self.model]}: over {len(told)} operating points the BIC of {MODEL_NAMES[best]} is "
                f"{abs(gain):.1f} {'below' if gain > 0 else 'above'} that of Model 0, which holds unless it is more "
                f"than {DECISIVE:g} below"
            )
        else:
            self.notes.append("chose Model 0 (uniform): the counts tell neither lines nor stored values apart")
        self._choose_joint(told, total)
        # Lines of each value tell clusters from what sets the values apart.
        suffix = "_by_value" if "data_dependent" in total else ""
        alike = total["data_dependent" if suffix else "uniform"]
        if all(f"{axis}{suffix}" in total and alike - total[f"{axis}{suffix}"] > DECISIVE for axis in LINE_AXES):
            self.notes.append("cells cluster along bitlines and along wordlines, but an error model has one of them")
        return tuple(rows)

    def _choose_joint(self, told: Mapping[OperatingPoint, PointCounts], total: Mapping[str, float]) -> None:
        """Lines with a rate for each stored value, where they describe the counts decisively better than the choice."""

        def gained(name: str) -> dict[Marks, float]:
            """What it adds to the log-likelihood how lines of both values go together; apart, nothing."""
            axis = KINDS[name].axis or "bitline"
            gains = [
                (marks_gains(lines), 1.0 + fit.correlation)
                for fit in told.values()
                if (lines := _paired(fit, name, axis)) is not None
            ]
            return {marks: math.fsum(gain[marks] / share for gain, share in gains) for marks in _MARKS}

        # Models 1 and 2 have the same lines for both values. Against models without lines this is not counted: cells
        # that fail for both make lines of both values alike, too.
        alike = gained(self.model)["alike"] if self.model in LINE_AXES else 0.0
        best, below = "", DECISIVE
        for name in (name for name in _JOINT if name in total):
            gains = gained(name)
            marks = max(gains, key=lambda marks: gains[marks])
            gain = total[self.model] - total[name]
            if self.model in LINE_AXES:
                gain += 2.0 * (gains[marks] - alike)
            if gain > below:
                best, below, self.marks = name, gain, marks
        if not best:
            return
        self.notes.append(
            f"chose {MODEL_NAMES[best]}: its BIC is {below:.1f} below that of {MODEL_NAMES[self.model]}; lines "
            f"{_MARKS[self.marks]}"
        )
        self.model = best  # type: ignore[assignment]  # of KINDS

    @property
    def _rates_of(self) -> Model:
        """The model whose fit the rates are of: those of a map are held against what each value's cells say."""
        return "data_dependent" if self.settings.cell_map else self.model

    def _choose_dispersion(self, fits: Mapping[OperatingPoint, PointCounts]) -> None:
        axis = KINDS[self.model].axis
        if axis is None:
            return

        def counts() -> Iterator[Counts]:
            for point, fit in fits.items():
                if fit.choice is not None:
                    yield from (
                        sample.counts for sample in self.sampler.samples(self.whole, point).values() if sample.lines
                    )

        found = fit_common(counts(), axis, self.failure).dispersion
        if found is None:
            return
        estimate = 0.0 if found.estimate < LOWEST_DISPERSION else min(found.estimate, HIGHEST_DISPERSION)
        self.dispersion = rounded_rate(estimate)
        self.notes.append(
            f"dispersion of the {axis}s {self.dispersion:g}, 95% interval [{found.low:.3g}, {found.high:.3g}]: one for "
            "all operating points, from their counts together"
        )

    def _partition(self, region: Region, fits: Mapping[OperatingPoint, PointCounts], nominal_only: bool) -> Partition:
        offered = offer(self._errorless_point(self.nominal, region.cells), self._candidates(region, fits))
        return partition_of(
            region, offered, self.nominal, self.settings, nominal_only, lambda: self._curves(offered, fits), self.notes
        )

    def _candidates(self, region: Region, fits: Mapping[OperatingPoint, PointCounts]) -> Iterator[Candidate]:
        """The measured points, fitted where they can be, from mild to harsh."""
        for point, fit in fits.items():
            if fit.reason is None:
                yield Candidate(point, self._point(region, point, fit))
            else:
                highest = _highest(fit.samples, "zero"), _highest(fit.samples, "one")
                yield Candidate(point, None, fit.reason, highest)

    def _curves(self, offered: Offer, fits: Mapping[OperatingPoint, PointCounts]) -> Iterator[FittedCurve]:
        """The curves along a parameter that was swept at three values or more, where the offered points tell one.

        The rates of a point are told as well as their intervals say, which lines on which cells cluster and passes that
        differ make wider than independent cells would: it counts as so many fewer cells.
        """
        if self.settings.cell_map:
            return
        for along in AXES:
            sweep = [
                point
                for point in (offered.nominal, *offered.points)
                if point.temperature == self.nominal.temperature
                and set(off_nominal(self.nominal, point)) <= {along.name}
                and point_of(point) in fits
            ]
            if len(sweep) < FEWEST_VALUES:
                continue
            conditions: dict[str, list[curves.Condition]] = {}
            for point in sweep:
                for value, sample in fits[point_of(point)].samples.items():
                    told, worst = point.one if value == "one" else point.zero, point.worst_pattern
                    if worst is not None:
                        alone = worst.one if value == "one" else worst.zero
                        told = alone.low, alone.high
                    reading = as_independent(sample.counts, told)
                    at = curves.Condition(along.need(getattr(point, along.name)), (reading,))
                    conditions.setdefault(value, []).append(at)
            fitted = curves.fit_conditions(conditions, unit=along.unit, lent=0.0)
            yield from device_curves(fitted, along, self.nominal.temperature)

    def _errors(self, zero: float, one: float) -> ErrorModel:
        zero, one = (min(rounded_rate(rate), self.failure) for rate in (zero, one))
        if self.model == "data_dependent":
            return DataDependent(zero, one, self.failure)
        if self.model == "uniform":
            return Uniform(max(zero, one), self.failure)
        return lines_of(self.model, zero, one, self.dispersion, self.failure, self.geometry, self.marks)

    def _errorless_point(self, point: OperatingPoint, cells: int) -> FittedPoint:
        return FittedPoint(
            **point.model_dump(),
            errors=self._empty_map(cells) if self.settings.cell_map else self._errors(0.0, 0.0),
            zero=(0.0, 0.0),
            one=(0.0, 0.0),
            readings=(0, 0),
            dispersion=0.0,
            dispersion_fitted=False,
        )

    def _empty_map(self, cells: int) -> CellMap:
        nothing = np.zeros(0, np.bool_)
        return CellMap(np.zeros(0, np.int64), nothing, nothing, cells, self.map_failure)

    def _point(self, region: Region, point: OperatingPoint, fit: PointCounts) -> FittedPoint:
        groups = [sample.totals for sample in fit.samples.values()]
        dispersion, told = self._between_passes(region, point)
        if not told:
            dispersion = self.lent
        freedom = sum(map(len, groups)) - len(groups)
        quantile = float(
            scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, freedom) if told else scipy.stats.norm.ppf(0.5 + CONFIDENCE / 2)
        )
        rates, intervals = self._rates(fit, dispersion, quantile)
        worst = None
        if not self.settings.cell_map:
            rates, intervals = self._not_below(region, point, fit, dispersion, rates, intervals)
            rates, intervals, worst = self._to_patterns(region, point, fit, dispersion, rates, intervals)
        errors: ErrorModel
        if self.settings.cell_map:
            errors = self._map(region, point)
            rows = region.rows or self.tested.rows
            share = len(region.banks) * len(rows) * self.tested.row_bits / region.cells
            if region is self.whole:
                self._check_map(point, fit, errors, share)
            intervals = [
                around((low * share, high * share), rate)
                for (low, high), rate in zip(intervals, (errors.ber_zero, errors.ber_one), strict=True)
            ]
        else:
            errors = self._errors(*rates)
            intervals = [
                around((rounded_rate(low), rounded_rate(high)), rate)
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
            worst_pattern=worst,
        )

    def _rates(
        self, fit: PointCounts, dispersion: float, quantile: float
    ) -> tuple[tuple[float, float], list[tuple[float, float]]]:
        """The rates of zeros and of ones with their intervals, in the order of the values."""
        assert fit.choice is not None
        # A bank can have too few lines for a model that the module has; its mean rates are told all the same.
        alike: Model = "data_dependent" if self._rates_of in _BY_VALUE else "uniform"
        models = [model for model in (self._rates_of, alike, "uniform") if model in fit.choice.fits]
        found = fit.choice.fit(models[0])
        passes = [sample.counts.reads for sample in fit.samples.values()]
        rates: list[float] = []
        intervals: list[tuple[float, float]] = []
        for i, ber in enumerate(found.ber):
            common = len(found.ber) == 1
            variance = dispersion / (sum(passes) if common else passes[i])
            widening = math.sqrt(1.0 + self._shared(fit, found)) if common else 1.0
            rates.append(min(ber.estimate, self.failure))
            intervals.append(widened(ber.estimate, ber.low, ber.high, widening, variance, quantile))
        if len(rates) == 1:
            rates, intervals = rates * 2, intervals * 2
        for i, value in enumerate(("zero", "one")):
            if value not in self.sampler.values and self.sampler.values != ("both",):
                # What was not measured can be anything.
                intervals[i] = (0.0, self.failure)
        return (rates[0], rates[1]), intervals

    def _not_below(
        self,
        region: Region,
        point: OperatingPoint,
        fit: PointCounts,
        dispersion: float,
        rates: tuple[float, float],
        intervals: list[tuple[float, float]],
    ) -> tuple[tuple[float, float], list[tuple[float, float]]]:
        """The rates and intervals, raised to what was counted of each value where the model's are below it."""
        found, widened_to = list(rates), list(intervals)
        for value, sample in fit.samples.items():
            mine = counted(sample, dispersion)
            for i in self._rates_for(value):
                if self.model in _JOINT and rates[i] > mine.high:
                    # A mean over lines that are not distributed as the model has it; the count's own says it better.
                    found[i], widened_to[i] = rounded_up(mine.rate), (mine.low, mine.high)
                    continue
                if rounded_rate(found[i]) >= mine.rate:
                    continue
                least = rounded_up(mine.rate)
                if least > self.failure:
                    raise ValueError(
                        f"failure is {self.failure:g}; allowed is {least:g} to 1, because reads of "
                        f"stored {PLURAL[value]} fail at that rate in {region.name} at {point}"
                    )
                self.raised.append(Raised(region.name, point, value, found[i], least))
                # A rate that chance explains keeps its interval, which is told by more than this value's cells.
                low, high = (mine.low, mine.high) if rates[i] < mine.low else intervals[i]
                found[i] = least
                widened_to[i] = (min(widened_to[i][0], low), max(widened_to[i][1], high, least))
        return (found[0], found[1]), widened_to

    def _rates_for(self, value: StoredValue) -> tuple[int, ...]:
        """Which of the rates of zeros and ones are those of a value: where the model has one, both are."""
        return {"zero": (0,), "one": (1,), "both": (0, 1)}[value] if self.model in _BY_VALUE else (0, 1)

    def _to_patterns(
        self,
        region: Region,
        point: OperatingPoint,
        fit: PointCounts,
        dispersion: float,
        rates: tuple[float, float],
        intervals: list[tuple[float, float]],
    ) -> tuple[tuple[float, float], list[tuple[float, float]], WorstPattern | None]:
        """The rates and intervals, raised to each value's count under the patterns that they were not fitted to."""
        found, ends = list(rates), list(intervals)
        worst: WorstPattern | None = None
        for measurement, samples in self.sampler.others(region, point, fit.samples):
            told = {value: counted(sample, dispersion) for value, sample in samples.items()}
            every = [sample.counts for sample in samples.values()]
            together = sum(counts.failures for counts in every) / sum(counts.cells * counts.reads for counts in every)
            raised = False
            for value, mine in told.items():
                for i in self._rates_for(value):
                    if rounded_rate(found[i]) >= mine.rate:
                        continue
                    found[i], raised = rounded_up(mine.rate), True
                    ends[i] = min(ends[i][0], mine.low), max(ends[i][1], mine.high, found[i])
            if raised:
                low, high = (sum(getattr(mine, end) for mine in told.values()) / len(told) for end in ("low", "high"))
                worst = WorstPattern(
                    pattern=measurement.pattern or "not known",
                    readings=measurement.passes,
                    rate=rounded_up(together),
                    low=rounded_rate(min(low, together)),
                    high=max(rounded_rate(high), rounded_up(together)),
                    zero=_alone(rates[0], intervals[0], self.failure),
                    one=_alone(rates[1], intervals[1], self.failure),
                )
        return (found[0], found[1]), ends, worst

    def _check_map(self, point: OperatingPoint, fit: PointCounts, errors: ErrorModel, share: float) -> None:
        """Refuse a map of the whole module that fails less often than was counted in the part that was tested."""
        for value, sample in fit.samples.items():
            mine = counted(sample)
            ber = errors.ber_zero if value == "zero" else errors.ber_one
            if ber < mine.rate * share * (1 - _SAME_RATE):
                raise ValueError(
                    f"cell_map gives stored {PLURAL[value]} the rate {ber / share:.3g} at {point}, "
                    f"where {mine.rate:.3g} was counted: cells that never stored the value, or "
                    f"F = {self.map_failure:g}, make it lower; allowed are conditions in which each cell stored it, "
                    "and a failure as high as the reads show"
                )

    def _shared(self, fit: PointCounts, found: FittedModel) -> float:
        """The correlation between what failed of zeros and of ones, for the interval of their common rate."""
        if len(fit.samples) < 2:
            return 0.0
        zero, one = fit.samples["zero"], fit.samples["one"]
        if found.model in LINE_AXES:
            axis: Axis = "bitline" if found.model == "bitline" else "wordline"
            return line_correlation(zero, one, axis, fit.correlation)
        return fit.correlation

    def _map(self, region: Region, point: OperatingPoint) -> CellMap:
        """The cells that failed in any condition of a point, by the values with which they did."""
        flips: dict[str, list[NDArray[np.int64]]] = {"zero": [], "one": []}
        for measurement in self.sampler.by_point[point]:
            if measurement.flips is None:
                raise FileError(
                    self.campaign.path,
                    f"does not tell (or too many to keep) which cells failed at {point}; allowed for cell_map are "
                    "formats that name cells, with fewer of them",
                )
            found = measurement.flips_in(region.banks, region.rows or self.tested.rows)
            places = self.sampler.addresses(found) - region.address
            for value, stored in (("zero", 0), ("one", 1)):
                # Of flips whose value is not known, either may be the one that fails.
                flips[value].append(places[(found.stored == stored) | (found.stored == -1)])
        # With counts, np.unique sorts; without, it hashes, which takes ten times as long.
        zero, one = (np.unique(np.concatenate(flips[value]), return_counts=True)[0] for value in ("zero", "one"))
        every = np.unique(np.concatenate([zero, one]), return_counts=True)[0]
        return CellMap(every, np.isin(every, zero), np.isin(every, one), region.cells, self.map_failure)

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
                if self.settings.cell_map
                else f"{what}: the others fail at the same rates"
            )
        for value in ("zero", "one"):
            if value in self.sampler.values or self.sampler.values == ("both",):
                continue
            self.assumptions.append(
                f"stored {PLURAL[value]} were not measured: they are taken to fail at the rate of stored "
                f"{PLURAL[self.sampler.values[0]]}, and their interval is everything up to F"
            )
        if self.sampler.values == ("both",):
            self.assumptions.append("stored zeros and ones fail at one rate: the measurements do not tell them apart")
        if self.settings.tested.grid:
            self.assumptions.append(
                "every pattern of the file was tested at every operating point in it: where it shows no flip, no cell "
                "failed"
            )
        if self.settings.cell_map:
            self.assumptions.append(
                "the weak cells are those that failed in some pass; of a weak cell's n passes all succeed with "
                "probability (1 - F)^n"
            )
            if any(
                not any(measurement.pure(value) for measurement in measurements)
                for measurements in self.sampler.by_point.values()
                for value in self.sampler.values
            ):
                self.assumptions.append(
                    "a cell that never stored a value in the measurements is taken to be sound when it does"
                )
        if not self.settings.cell_map and self.sampler.values != ("both",):
            read = {
                point
                for point, found in self.sampler.by_point.items()
                if any(one.holds("zero") and one.holds("one") for one in found)
            }
            measured = [point for point in self.sampler.by_point if point != self.nominal]
            self.assumptions.append(pattern_assumption(measured, read))
        self.assumptions.append("between two measured points the rates of the harsher one hold as an upper bound")
        if any(len(off_nominal(self.nominal, point)) > 1 for point in self.sampler.by_point):
            self.assumptions.append(JOINT_SURFACE)
        self.assumptions.append(
            "the largest dispersion between passes at other points holds where the passes tell none (a single one of "
            "each value, or no failures)"
            if self.passes_vary
            else "passes do not vary by more than chance: no point with errors was read twice, so nothing tells it, "
            "and the intervals are too narrow for passes that do"
        )


def _paired(fit: PointCounts, name: str, axis: Axis) -> PairedLines | None:
    """The lines of an axis that were read with zeros and with ones, and the laws of a fitted model of them."""
    if fit.choice is None or not {"zero", "one"} <= set(fit.samples):
        return None
    both, found = [fit.samples[value] for value in ("zero", "one")], fit.choice.fits[name]
    lines = [sample.lines[axis] for sample in both if axis in sample.lines]
    if len(lines) < 2 or lines[0][0].shape != lines[1][0].shape:
        return None
    weak = [min(max(rate.estimate, 1e-300), 1.0 - 1e-12) for rate in found.weak]
    failure = found.failure.estimate
    seen = [1.0 if failure >= 1.0 else -math.expm1(sample.counts.reads * math.log1p(-failure)) for sample in both]
    return PairedLines(
        failed=np.stack([failed for failed, _ in lines]),
        cells=np.stack([cells for _, cells in lines]),
        weak=(weak[0], weak[-1]),
        dispersion=found.dispersion.estimate if found.dispersion else 0.0,
        seen=(seen[0], seen[1]),
    )


def _alone(rate: float, interval: tuple[float, float], failure: float) -> Alone:
    rate = min(rounded_rate(rate), failure)
    low, high = around((rounded_rate(interval[0]), rounded_rate(interval[1])), rate)
    return Alone(rate=rate, low=low, high=high)


def _listed(names: Sequence[str]) -> str:
    """Names of banks, ranges of more than two of them shortened."""
    return f"{names[0]} to {names[-1]}" if len(names) > 4 else ", ".join(names)


def _row(name: str, point: OperatingPoint | None, numbers: Sequence[float]) -> FitRow:
    parameters, observations, log_likelihood, bic = numbers
    return FitRow(
        model=name,  # type: ignore[arg-type]  # of KINDS
        point=point,
        parameters=int(parameters),
        observations=int(observations),
        log_likelihood=round(log_likelihood, 3),
        bic=round(bic, 3),
    )


def _highest(samples: Samples, value: StoredValue) -> float:
    sample = samples.get(value) or samples.get("both") or next(iter(samples.values()), None)
    return 0.0 if sample is None else max((errors / cells for errors, cells in sample.totals), default=0.0)


def _numbers(banks: Sequence[int]) -> str:
    return f"{banks[0]} to {banks[-1]}" if len(banks) > 4 else ", ".join(map(str, banks))


def fit_cells(campaign: Campaign, settings: FitSettings) -> FitReport:
    """Fit a device to a campaign of single flips.

    Raises:
        FileError: for measurements that cannot be used.
        ValueError: for an argument outside what is allowed.

    """
    if settings.voltage is not None:
        raise ValueError(f"voltage is given; allowed with {campaign.format} is None: it joins counts of banks")
    tested = settings.tested.cells
    if tested is None:
        raise ValueError(
            f"banks, rows and row_bits are missing: {campaign.path.name} ({campaign.format}) does not tell which cells "
            "were tested, and without them there are no rates; allowed are all three"
            if campaign.format != "rowscout"
            else f"{campaign.path.name} is of the format rowscout, which does not tell which cells were tested, so "
            "that there are no rates; allowed are formats that do, or that take banks, rows and row_bits"
        )
    geometry, assumptions = _geometry(tested, settings)
    labels = [f"bank{bank}" for bank in range(geometry.banks * (geometry.ranks or 1))]
    if settings.reliable is not None and settings.reliable not in labels:
        raise ValueError(f"reliable is {settings.reliable!r}; allowed are {', '.join(labels)}")
    if campaign.statistics is None:
        raise FileError(campaign.path, f"{campaign.format} tells no bit errors; allowed are formats that do")
    conditions = [asdict(one.condition) for one in campaign.statistics.conditions]
    if not conditions:
        raise FileError(campaign.path, "found no condition that can be fitted; allowed is one or more")
    nominal = nominal_point(campaign.path, campaign.module, conditions, conditions, settings)
    return CellFitter(campaign, tested, nominal, geometry, settings, assumptions).run()


def _geometry(tested: TestedCells, settings: FitSettings) -> tuple[Geometry, list[str]]:
    """The geometry that is given, or one that holds the tested cells, and what is assumed of it."""
    geometry, subarray_rows = settings.geometry, settings.tested.subarray_rows
    assumptions: list[str] = []
    if geometry is None:
        # A sole bank has another beside it, which is kept at the nominal point; a map is of the tested cells alone.
        alone = settings.reliable is None and not settings.cell_map
        geometry = default_geometry(tested, subarray_rows, 2 if alone else 1)
        assumptions.append(
            f"a memory of {geometry.banks} banks of {geometry.bank_rows} rows of {geometry.row_bits} bits"
            + (f", in subarrays of {geometry.subarray_rows} rows" if subarray_rows is None else "")
            + ": what holds the tested cells"
        )
    elif subarray_rows not in (None, geometry.subarray_rows):
        raise ValueError(
            f"subarray_rows is {subarray_rows}; allowed beside geometry is its own, {geometry.subarray_rows}, or none"
        )
    ranks = geometry.ranks or 1
    if (
        geometry.row_bits < tested.row_bits
        or geometry.bank_rows < tested.rows.stop
        or geometry.banks * ranks <= tested.banks[-1]
    ):
        raise ValueError(
            f"geometry has {ranks} ranks of {geometry.banks} banks of {geometry.bank_rows} rows of "
            f"{geometry.row_bits} bits; allowed is one that holds the tested banks {_numbers(tested.banks)} and "
            f"rows {tested.rows.start} to {tested.rows.stop - 1}, of {tested.row_bits} bits"
        )
    return geometry, assumptions
