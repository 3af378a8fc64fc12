"""Fits a device to counts of bit errors of banks: rates, their intervals, the choice between Models 0 and 3.

The likelihood and its maximum are C++ (``devices/fit.h``); here it is decided what it is applied to. A further model
is a further entry of ``MODELS``.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from eden import _core
from eden.common.checks import around
from eden.common.files import FileError
from eden.devices import curves
from eden.devices.curves.dispersion import LONE_REGIME_ODDS, REGIME_ERRORS
from eden.devices.device import Device, FitRow, Measured
from eden.devices.fitting.differences import compare_readings
from eden.devices.fitting.nominal import JOINT_SURFACE, Nominal, Stated, nominal_point
from eden.devices.fitting.operating_range import Candidate, offer, partition_of, refuse_nothing
from eden.devices.fitting.patterns import PatternRead, ValueRead, alone, pattern_assumption, raised_to_patterns
from eden.devices.fitting.regions import Region, Told, divide, whole_module
from eden.devices.fitting.report import FitReport
from eden.devices.fitting.rounding import outwards, rounded, rounded_rate, rounded_up
from eden.devices.fitting.settings import FitSettings
from eden.devices.likelihoods import DECISIVE, fit_counts, information_criterion
from eden.devices.partition import (
    AXES,
    Axis,
    CurveIntervals,
    FittedCurve,
    FittedPoint,
    OperatingPoint,
    Partition,
    as_harsh,
    off_nominal,
    point_of,
    sort_key,
)
from eden.measurements.campaign import Campaign, Reading
from eden.memory.errors import DataDependent, ErrorModel, Uniform
from eden.memory.geometry import Geometry

_SMALL_ROW_BITS, _SMALL_SUBARRAY_ROWS = 128, 32

Model = Literal["uniform", "data_dependent"]
Counts = list[tuple[float, float]]


class Values(NamedTuple):
    """Readings of stored zeros and of stored ones, each as (errors, cells)."""

    zero: Counts
    one: Counts


# How a model groups the readings: one rate per group, of which none is empty. The order is that of growing complexity.
MODELS: dict[Model, Callable[[Values], list[Counts]]] = {
    "uniform": lambda values: [values.zero + values.one],
    "data_dependent": lambda values: [counts for counts in values if counts],
}


def _error_model(model: Model, zero: float, one: float, failure: float) -> ErrorModel:
    if model == "uniform":
        return Uniform(ber=zero, failure=failure)
    return DataDependent(ber_zero=zero, ber_one=one, failure=failure)


def informative(groups: Sequence[Counts]) -> bool:
    """Whether the readings tell a dispersion: more of them than rates, and some but not all cells failed."""
    some = any(
        any(errors > 0 for errors, _ in group) and any(errors < cells for errors, cells in group) for group in groups
    )
    return some and sum(map(len, groups)) > len(groups)


def regimes(counts: Counts) -> tuple[float, float] | None:
    """The rates on both sides of a gap that splits the readings in two regimes, if there is one."""
    ordered = sorted(counts, key=lambda count: count[0] / count[1])
    for (low, low_cells), (high, high_cells) in itertools.pairwise(ordered):
        below = max(low, REGIME_ERRORS) / max(low_cells - low, REGIME_ERRORS)
        above = max(high, REGIME_ERRORS) / max(high_cells - high, REGIME_ERRORS)
        if above > LONE_REGIME_ODDS * below:
            return low / low_cells, high / high_cells
    return None


def counted(counts: Counts) -> float:
    """The rate of all readings together; of two regimes, that of the worst reading."""
    if regimes(counts):
        return max(errors / cells for errors, cells in counts)
    return math.fsum(errors for errors, _ in counts) / math.fsum(cells for _, cells in counts)


def fit_banks(campaign: Campaign, settings: FitSettings) -> FitReport:
    """Fit a device to a campaign that counts the errors of banks.

    Raises:
        FileError: for measurements that cannot be used.
        ValueError: for an argument outside what is allowed.

    """
    for label, given in (("grid", settings.tested.grid), ("cell_map", settings.cell_map)):
        if given:
            raise ValueError(f"{label} is given, but {campaign.format} counts banks; it is allowed with flips of cells")
    if settings.partitions == "subarray":
        raise ValueError(
            f"partitions is 'subarray', but {campaign.format} counts banks; allowed are module, rank, bank, or flips "
            "of cells"
        )
    if not campaign.readings:
        raise FileError(campaign.path, f"no readings to fit: {campaign.notes[-1]}; allowed are counts of whole banks")
    arrays = settings.geometry or _default_geometry(campaign, settings.reliable)
    banks = arrays.banks * (arrays.ranks or 1)
    if banks < campaign.banks or arrays.bank_rows * arrays.row_bits < campaign.cells_per_bank:
        raise ValueError(
            f"geometry has {banks} banks of {arrays.bank_rows * arrays.row_bits} cells; allowed is one that holds the "
            f"measurements' {campaign.banks} banks of {campaign.cells_per_bank} cells"
        )
    labels = [f"bank{bank}" for bank in range(banks)]
    if settings.reliable is not None and settings.reliable not in labels:
        raise ValueError(f"reliable is {settings.reliable!r}; allowed are {', '.join(labels)}")
    telling = [_stated(reading) for reading in campaign.readings if reading.stored != "mixed"]
    if not telling:
        raise FileError(
            campaign.path,
            f"column Pattern: module {campaign.module} has no reading of the patterns 0x0 or 0xff; allowed is one or "
            "more of each: they tell the rates of stored zeros and ones",
        )
    conditions = [_stated(reading) for reading in campaign.readings]
    nominal = nominal_point(campaign.path, campaign.module, conditions, telling, settings)
    return _Fitter(campaign, settings, nominal, arrays).run()


def _stated(reading: Reading) -> Stated:
    """What a reading states of its condition."""
    values = {name: getattr(reading, name) for name in OperatingPoint.model_fields}
    return {name: None if value is None or math.isnan(value) else value for name, value in values.items()}


def _default_geometry(campaign: Campaign, reliable: str | None) -> Geometry:
    """Rows and subarrays as usual, or smaller ones for cells that fill none, in as many as hold the measured cells.

    A sole bank has another beside it, which is kept at the nominal point.
    """
    banks = max(campaign.banks, 2 if reliable is None else 1)
    rows, subarray = Geometry().row_bits, Geometry().subarray_rows
    if campaign.cells_per_bank < rows * subarray:
        rows, subarray = _SMALL_ROW_BITS, _SMALL_SUBARRAY_ROWS
    cells = -(-campaign.cells_per_bank // (rows * subarray)) * rows * subarray
    return Geometry(row_bits=rows, subarray_rows=subarray, bank_rows=cells // rows, banks=banks)


@dataclass
class _Scope:
    """The whole module or a part of it: its readings by operating point, and the dispersion that it lends to itself."""

    region: Region
    conditions: dict[OperatingPoint, Values]
    patterns: dict[tuple[OperatingPoint, int], Counts]
    lent: float = 0.0


class _Fitter:
    def __init__(self, campaign: Campaign, settings: FitSettings, nominal: Nominal, geometry: Geometry) -> None:
        self.campaign, self.settings, self.geometry = campaign, settings, geometry
        self.nominal, self.nominal_assumptions = nominal
        self.failure = 1.0 if settings.failure is None else settings.failure
        told = {bank for r in campaign.readings for bank, errors in enumerate(r.errors) if errors is not None}
        banks = geometry.banks * (geometry.ranks or 1)
        self.untested = [bank for bank in range(banks) if bank not in told]
        # A bank that was not tested is kept at its nominal point anyway.
        self.reliable = settings.reliable or ("bank0" if not self.untested else None)
        self.notes = list(campaign.notes)
        self.readings = self._at_points()
        stored_values = {reading.stored for _, reading in self.readings}
        self.unmeasured = [i for i, stored in enumerate(("zero", "one")) if stored not in stored_values]
        self.apart = self._counted_apart()
        self._check_nominal()
        self._check_voltage()
        self.model: Model = "uniform"
        self.lent_assumption = ""
        self._fits: dict[tuple[tuple[tuple[tuple[float, float], ...], ...], float | None], _core.RateFit] = {}

    def run(self) -> FitReport:
        campaign = self.campaign
        whole = self._scope(whole_module(self.geometry, range(campaign.banks)))
        between = self._between_banks()
        whole.lent = self._lent_dispersion(whole, between)
        self.lent_assumption = self._lent_from(whole, between)
        choice = self._choose(whole)
        kept = [*self.untested, *([] if self.reliable is None else [int(self.reliable.removeprefix("bank"))])]
        division = divide(
            self.geometry, self.settings.partitions, kept, None, lambda parts: self._compare(parts, whole.lent)
        )
        self.notes += division.notes
        parts = []
        for region in division.regions:
            nominal_only = len(region.banks) == 1 and region.banks[0] in kept
            scope = self._scope(region)
            if nominal_only:
                scope.conditions = {}
            scope.lent = self._lent_dispersion(scope, whole.lent)
            parts.append(self._partition(scope, nominal_only))
        whole_part = self._partition(whole, False)
        refuse_nothing(campaign.path, whole_part)
        measured = self._measured(whole_part, whole.lent)
        device = Device(
            name=self.settings.name or campaign.module,
            source=self.settings.source_of(campaign),
            geometry=self.geometry,
            random_layout=_core.RANDOM_LAYOUT_VERSION,
            failure=self.failure,
            model=self.model,
            nominal=self.nominal,
            assumptions=self._assumptions(),
            notes=tuple(self.notes),
            choice=choice,
            voltage=self.settings.voltage,
            whole=whole_part,
            partitions=tuple(parts),
            measured=measured,
        )
        return FitReport(device, campaign)

    def _at_points(self) -> list[tuple[OperatingPoint, Reading]]:
        """The readings with their operating points; what they do not state is nominal."""
        points: dict[tuple[float | None, ...], OperatingPoint] = {}
        found = []
        for reading in self.campaign.readings:
            stated = _stated(reading)
            key = tuple(stated.values())
            if key not in points:
                given = {name: value for name, value in stated.items() if value is not None}
                points[key] = OperatingPoint(**{**self.nominal.model_dump(), **given})
            found.append((points[key], reading))
        return found

    def _counted_apart(
        self,
    ) -> dict[tuple[OperatingPoint, str, Literal[0, 1]], dict[int, dict[int, tuple[float, float]]]]:
        """By operating point, pattern of both values and stored value: by pass and bank, (errors, cells)."""
        found: dict[tuple[OperatingPoint, str, Literal[0, 1]], dict[int, dict[int, tuple[float, float]]]] = {}
        for entry in self.campaign.statistics.conditions if self.campaign.statistics else ():
            condition = entry.condition
            if condition.hammer_count or condition.pattern in (None, "0x00", "0xff"):
                continue
            given = {name: getattr(condition, name) for name in OperatingPoint.model_fields}
            given = {name: value for name, value in given.items() if value is not None}
            point = OperatingPoint(**{**self.nominal.model_dump(), **given})
            for stored in entry.stored_values:
                if stored is None:
                    continue
                passes = found.setdefault((point, condition.pattern or "", stored), {})
                for count in entry.counts(stored):
                    if count.cells:
                        passes.setdefault(count.repeat, {})[count.bank] = count.errors, count.cells
        return found

    def _check_nominal(self) -> None:
        for (point, pattern, stored), passes in self.apart.items():
            errors = math.fsum(errors for banks in passes.values() for errors, _ in banks.values())
            if point == self.nominal and errors > 0:
                raise FileError(
                    self.campaign.path,
                    f"found {errors:g} errors of stored {('zeros', 'ones')[stored]} of module {self.campaign.module} "
                    f"with the pattern {pattern} at its nominal operating point ({self.nominal}); allowed is none: a "
                    "device needs a reliable home",
                )
        for point, reading in self.readings:
            if point == self.nominal and reading.total > 0:
                raise FileError(
                    self.campaign.path,
                    f"line {reading.line}: found {reading.total:g} errors of module {self.campaign.module} at its "
                    f"nominal operating point ({self.nominal}); allowed is none: a device needs a reliable home",
                )

    def _check_voltage(self) -> None:
        measured = sorted({point.vdd for point, _ in self.readings})
        if self.settings.voltage is not None and len(measured) > 1:
            raise ValueError(
                f"voltage is given; allowed is None, because {self.campaign.path.name} has measurements at "
                f"{', '.join(f'{vdd:g}' for vdd in measured)} V of its own"
            )

    def _scope(self, region: Region) -> _Scope:
        cells = float(self.campaign.cells_per_bank)
        conditions: dict[OperatingPoint, Values] = {}
        patterns: dict[tuple[OperatingPoint, int], Counts] = {}
        for point, reading in self.readings:
            banks = (bank for bank in region.banks if bank < len(reading.errors))
            errors = [count for bank in banks if (count := reading.errors[bank]) is not None]
            read = [(math.fsum(errors), len(errors) * cells)] if errors else []
            # A point that was read with patterns of both alone has no rates of its own, and is left out by name.
            values = conditions.setdefault(point, Values([], []))
            if reading.stored == "mixed":
                patterns.setdefault((point, reading.pattern), []).extend(read)
                continue
            (values.zero if reading.stored == "zero" else values.one).extend(read)
        ordered = sorted(conditions, key=lambda point: sort_key(self.nominal, point))
        return _Scope(region, {point: conditions[point] for point in ordered}, patterns)

    def _compare(self, parts: Sequence[Region], lent: float) -> Iterator[Told]:
        """The tests of whether parts of the module have one rate, at each operating point and stored value."""
        scopes = [self._scope(part) for part in parts]
        for point in scopes[0].conditions:
            for stored in ("zero", "one"):
                read: list[Counts] = [getattr(scope.conditions[point], stored) for scope in scopes]
                if not all(read) or any(regimes(counts) for counts in read):
                    continue
                test = compare_readings(read, None if informative(read) else lent)
                if test is not None:
                    yield Told(f"{point}, stored {stored}s", test)

    def _usable(self, values: Values) -> str | None:
        """Why a condition cannot be fitted, or None."""
        for i, (stored, pattern) in enumerate((("zeros", "0x0"), ("ones", "0xff"))):
            if not values[i] and i not in self.unmeasured:
                return f"stored {stored} were not measured (pattern {pattern})"
        for stored, counts in (("zeros", values.zero), ("ones", values.one)):
            gap = regimes(counts)
            if gap:
                return (
                    f"the readings of stored {stored} mix two regimes, with nothing between the rates {gap[0]:.3g} and "
                    f"{gap[1]:.3g} (odds more than {LONE_REGIME_ODDS:g} apart)"
                )
        return None

    def _fit_once(self, groups: Sequence[Counts], dispersion: float | None = None) -> _core.RateFit:
        """``fit_counts``, whose result for the same readings is kept: dispersions are wanted before rates."""
        key = tuple(tuple(group) for group in groups), dispersion
        if key not in self._fits:
            self._fits[key] = fit_counts(groups, dispersion)
        return self._fits[key]

    def _lent_dispersion(self, scope: _Scope, otherwise: float) -> float:
        """The largest dispersion at the conditions that tell theirs, for those that do not."""
        fitted = [
            self._fit_once(groups).dispersion
            for values in scope.conditions.values()
            if self._usable(values) is None and informative(groups := MODELS["data_dependent"](values))
        ]
        return max(fitted, default=otherwise)

    def _lent_from(self, whole: _Scope, between_banks: float) -> str:
        """Where the dispersion of conditions whose readings tell none is from, as an assumption."""
        if any(
            self._usable(values) is None and informative(MODELS["data_dependent"](values))
            for values in whole.conditions.values()
        ):
            return (
                "the largest dispersion between readings at other conditions holds where the readings tell none (a "
                "single one of each value, or no failures)"
            )
        if between_banks > 0.0:
            return (
                "readings vary as the banks within a reading do: no condition with errors was read twice, so nothing "
                "tells how far a further reading would lie from the one there is"
            )
        return (
            "readings do not vary by more than chance: no condition with errors was read twice, and no banks of a "
            "reading vary, so nothing tells it; real readings vary far more, and the intervals are too narrow for them"
        )

    def _between_banks(self) -> float:
        """The dispersion between banks within a reading, for a campaign that repeats nothing."""
        cells = float(self.campaign.cells_per_bank)
        largest = 0.0
        for _, reading in self.readings:
            counts = [(count, cells) for count in reading.errors if count is not None]
            if reading.stored != "mixed" and informative([counts]):
                largest = max(largest, fit_counts([counts]).dispersion)
        return largest

    def _fit(self, model: Model, values: Values, lent: float) -> _core.RateFit:
        # Every model gets the dispersion in the same way, or the comparison would be one of dispersions.
        own = all(informative(group(values)) for group in MODELS.values())
        return self._fit_once(MODELS[model](values), None if own else lent)

    def _choose(self, whole: _Scope) -> tuple[FitRow, ...]:
        rows: list[FitRow] = []
        sums: dict[Model, list[float]] = {model: [0, 0, 0.0, 0.0] for model in MODELS}
        for point, values in whole.conditions.items():
            if self._usable(values) or not any(errors for errors, _ in (*values.zero, *values.one)):
                continue
            for model in MODELS:
                result = self._fit(model, values, whole.lent)
                bic = information_criterion(result.log_likelihood, result.parameters, result.observations)
                rows.append(
                    FitRow(
                        model=model,
                        point=point,
                        parameters=result.parameters,
                        observations=result.observations,
                        log_likelihood=round(result.log_likelihood, 3),
                        bic=round(bic, 3),
                    )
                )
                for i, value in enumerate((result.parameters, result.observations, result.log_likelihood, bic)):
                    sums[model][i] += value
        if not rows:
            self.notes.append("no cell failed at a condition that can be fitted: Model 0 (uniform), with BER 0")
            return ()
        for model, (parameters, observations, log_likelihood, bic) in sums.items():
            rows.append(
                FitRow(
                    model=model,
                    point=None,
                    parameters=int(parameters),
                    observations=int(observations),
                    log_likelihood=round(log_likelihood, 3),
                    bic=round(bic, 3),
                )
            )
        gain = sums["uniform"][3] - sums["data_dependent"][3]
        self.model = "data_dependent" if gain > DECISIVE else "uniform"
        number = {"uniform": "Model 0 (uniform)", "data_dependent": "Model 3 (data-dependent)"}[self.model]
        self.notes.append(
            f"chose {number}: the BIC of Model 3 is {abs(gain):.1f} {'below' if gain > 0 else 'above'} that of "
            f"Model 0, and Model 3 is chosen where it is more than {DECISIVE:g} below"
        )
        return tuple(rows)

    def _partition(self, scope: _Scope, nominal_only: bool) -> Partition:
        region = scope.region
        offered = offer(self._nominal_point(scope), self._candidates(scope))
        if not nominal_only:
            patterns, values = self._patterns(scope), self._values(scope)
            raised = raised_to_patterns(offered.points, patterns, self.failure, self.campaign.module, values)
            offered = offered._replace(points=tuple(raised))
        return partition_of(
            region, offered, self.nominal, self.settings, nominal_only, lambda: self._curves(region), self.notes
        )

    def _candidates(self, scope: _Scope) -> Iterator[Candidate]:
        """The measured points, fitted where they can be, from mild to harsh."""
        for point, values in scope.conditions.items():
            if point == self.nominal:
                continue
            reason = self._usable(values)
            if reason is None:
                yield Candidate(point, self._point(point, values, scope.lent))
            else:
                zero, one = (max((errors / cells for errors, cells in counts), default=0.0) for counts in values)
                yield Candidate(point, None, reason, (zero, one))

    def _patterns(self, scope: _Scope) -> list[PatternRead]:
        """The readings of patterns of both values, from mild to harsh."""
        found = []
        for (point, pattern), counts in scope.patterns.items():
            if counts:
                told = functools.partial(self._rate_of, counts, scope.lent)
                ones = pattern.bit_count() / 8
                found.append(PatternRead(point, f"0x{pattern:x}", ones, len(counts), counted(counts), told))
        return sorted(found, key=lambda one: (sort_key(self.nominal, one.point), one.pattern))

    def _values(self, scope: _Scope) -> list[ValueRead]:
        """The cells of one value under patterns of both, where they were counted apart, from mild to harsh."""
        found = []
        for (point, pattern, stored), by_pass in self.apart.items():
            counts = [
                (math.fsum(errors for errors, _ in read), math.fsum(cells for _, cells in read))
                for banks in by_pass.values()
                if (read := [banks[bank] for bank in scope.region.banks if bank in banks])
            ]
            if counts:
                told = functools.partial(self._rate_of, counts, scope.lent)
                found.append(ValueRead(point, pattern, stored, len(counts), counted(counts), told))
        return sorted(found, key=lambda one: (sort_key(self.nominal, one.point), one.pattern, one.stored))

    def _rate_of(self, counts: Counts, lent: float) -> tuple[float, float, float]:
        """The rate of readings of one condition with its 95% interval, no lower than what they counted."""
        rate = self._fit_once([counts], None if informative([counts]) else lent).rates[0]
        estimate = max(rate.estimate, counted(counts))
        return estimate, *around((rate.low, rate.high), estimate)

    def _curves(self, region: Region) -> Iterator[FittedCurve]:
        """The curves along each parameter at the device's temperature, where the readings tell one."""
        sweeps = self._sweeps(region)
        bank = region.banks[0] if len(region.banks) == 1 else None
        for along in AXES:
            try:
                fitted = (
                    curves.fit_latency(sweeps, along.name, self.nominal.temperature, bank=bank)
                    if along.name in ("trcd", "trp")
                    else self._along(along, region)
                )
            except ValueError:  # nothing was measured along this parameter
                continue
            yield from device_curves(fitted, along, self.nominal.temperature)

    def _along(self, along: Axis, region: Region) -> curves.Curves:
        """The curves along a parameter that is no latency. Raises ValueError where it was not swept."""
        scope = self._scope(region)
        groups: dict[str, list[curves.Condition]] = {}
        swept = set()
        for point, values in scope.conditions.items():
            off = set(off_nominal(self.nominal, point))
            if not off <= {along.name} or point.temperature != self.nominal.temperature:
                continue
            swept |= off if values.zero or values.one else set()
            for stored, counts in (("zero", values.zero), ("one", values.one)):
                if counts and as_harsh(point, self.nominal):
                    at = along.need(getattr(point, along.name))
                    groups.setdefault(stored, []).append(curves.Condition(at, tuple(counts)))
        if not swept:
            raise ValueError(f"nothing was measured along {along.name}")
        return curves.fit_conditions(groups, unit=along.unit, lent=self._lent_dispersion(scope, self._between_banks()))

    def _sweeps(self, region: Region) -> Campaign:
        """The readings along one latency or the other, all else nominal; of a region with several banks, theirs."""
        readings = []
        for point, reading in self.readings:
            off = off_nominal(self.nominal, point)
            if off not in ((), ("trcd",), ("trp",)) or not as_harsh(point, self.nominal):
                continue
            if 1 < len(region.banks) < self.campaign.banks:
                reading = reading._replace(errors=tuple(reading.errors[bank] for bank in region.banks))
            readings.append(reading._replace(**point.model_dump()))
        return replace(self.campaign, readings=tuple(readings))

    def _point(self, point: OperatingPoint, values: Values, lent: float) -> FittedPoint:
        result = self._fit(self.model, values, lent)
        zero, one = result.rates[0], result.rates[-1]
        least = [counted(counts) for counts in values if counts]
        if self.model == "uniform" and values.zero and values.one:
            # One rate of both may not be below the interval of either, nor below what was counted of either.
            own = self._fit("data_dependent", values, lent)
            zero = one = max(
                (zero, *(rate for rate in own.rates if zero.estimate < rate.low)), key=lambda r: r.estimate
            )
            least = [max(least)]
        # The mean of readings that vary may lie below what they counted; a device's rate may not.
        estimates = [
            told if (told := rounded_rate(rate.estimate)) >= read else rounded_up(read)
            for rate, read in ((zero, least[0]), (one, least[-1]))
        ]
        for stored, estimate in zip(("zeros", "ones"), estimates, strict=True):
            # A rate is told with a few digits, so that it may be above F in the others.
            if estimate > self.failure and estimate > rounded_up(self.failure):
                raise ValueError(
                    f"failure is {self.failure:g}; allowed is {estimate:g} to 1, because stored "
                    f"{stored} of {self.campaign.module} fail at that rate at {point}"
                )
        estimates = [min(estimate, self.failure) for estimate in estimates]
        intervals = [
            around((rounded_rate(rate.low), rounded_rate(rate.high)), estimate)
            for rate, estimate in zip((zero, one), estimates, strict=True)
        ]
        for i in self.unmeasured:
            intervals[i] = (0.0, self.failure)
        return FittedPoint(
            **point.model_dump(),
            errors=_error_model(self.model, estimates[0], estimates[1], self.failure),
            zero=intervals[0],
            one=intervals[1],
            readings=(len(values.zero), len(values.one)),
            dispersion=rounded(result.dispersion),
            dispersion_fitted=result.dispersion_fitted,
        )

    def _nominal_point(self, scope: _Scope) -> FittedPoint:
        values = scope.conditions.get(self.nominal)
        if values is not None and all(values[i] or i in self.unmeasured for i in range(2)):
            return self._point(self.nominal, values, scope.lent)
        return FittedPoint(
            **self.nominal.model_dump(),
            errors=_error_model(self.model, 0.0, 0.0, self.failure),
            zero=(0.0, 0.0),
            one=(0.0, 0.0),
            readings=(0, 0),
            dispersion=0.0,
            dispersion_fitted=False,
        )

    def _measured(self, whole: Partition, lent: float) -> tuple[Measured, ...]:
        cells = float(self.campaign.cells_per_bank)
        conditions: dict[tuple[OperatingPoint, int], Counts] = defaultdict(list)
        for point, reading in self.readings:
            if reading.tested:
                conditions[point, reading.pattern].append((reading.total, reading.tested * cells))
        fitted = {point_of(point): alone(point) for point in (*whole.points, *whole.points_at_other_temperatures)}
        rows = []
        checked = off = 0
        for (point, pattern), counts in sorted(
            conditions.items(), key=lambda item: (sort_key(self.nominal, item[0][0]), item[0][1])
        ):
            result = self._fit_once([counts], None if informative([counts]) else lent)
            rates = sorted(errors / total for errors, total in counts)
            told = fitted.get(point)
            ones = pattern.bit_count() / 8
            predicted = None if told is None else (1 - ones) * told[0] + ones * told[1]
            rate = result.rates[0]
            estimate = rounded_rate(rate.estimate)
            low, high = around((rounded_rate(rate.low), rounded_rate(rate.high)), estimate)
            if predicted and 0 < ones < 1:
                checked += 1
                off += not 0.5 <= rate.estimate / predicted <= 2.0
            rows.append(
                Measured(
                    **point.model_dump(),
                    pattern=f"0x{pattern:x}",
                    readings=len(counts),
                    rate=estimate,
                    low=low,
                    high=high,
                    least=rounded_rate(rates[0]),
                    most=rounded_rate(rates[-1]),
                    predicted=None if predicted is None else rounded_rate(predicted),
                )
            )
        mixed = sum(reading.stored == "mixed" for _, reading in self.readings)
        if mixed:
            raised = sum(point.worst_pattern is not None for point in whole.points)
            self.notes.append(
                f"fitted zeros and ones apart from {mixed} readings of patterns of both, and predicted these: "
                f"{checked - off} of {checked} conditions within a factor of 2; raised the rates of {raised} operating "
                "points of the whole module to their worst pattern"
            )
        return tuple(rows)

    def _assumptions(self) -> tuple[str, ...]:
        sweeps = all(set(off_nominal(self.nominal, point)) <= {"trcd", "trp"} for point, _ in self.readings)
        lines = [
            f"failure F = {self.failure:g}: totals of banks tell only the product of F and the share of weak cells"
            + ("; with 1, a weak cell fails at every read" if self.failure == 1.0 else ""),
            *self.nominal_assumptions,
            *(
                f"{bank} is kept at the nominal operating point with BER 0, as the specification promises"
                + ("" if bank == self.reliable else ": it was not tested")
                for bank in ([self.reliable] if self.reliable else [])
                + [f"bank{bank}" for bank in self.untested if f"bank{bank}" != self.reliable]
            ),
            f"between two measured {'latencies' if sweeps else 'points'} the rates of the harsher one hold as an upper "
            "bound",
        ]
        if self.campaign.format == "latency-variation":
            lines.append(
                "a bank that is 0 in a reading was tested, but for Bank0 where every other bank failed, and for others "
                "where all banks but half of them or fewer failed at a high rate"
            )
            lines.append(f"a bank has {self.campaign.cells_per_bank} cells: the measurements do not state it")
        if any(len(off_nominal(self.nominal, point)) > 1 for point, _ in self.readings):
            lines.append(JOINT_SURFACE)
        read = {point for point, reading in self.readings if reading.stored == "mixed"}
        lines.append(pattern_assumption([point for point, _ in self.readings if point != self.nominal], read))
        for i in self.unmeasured:
            this, other = ("zeros", "ones") if i == 0 else ("ones", "zeros")
            lines.append(
                f"stored {this} were not measured: they are taken to fail at the rate of stored {other}, and their "
                "interval is everything up to F"
            )
        lines.append(self.lent_assumption)
        if self.settings.voltage is not None:
            lines += self.settings.voltage.assumptions
        if self.settings.geometry is None:
            lines.append(
                f"rows of {self.geometry.row_bits} bits and subarrays of {self.geometry.subarray_rows} rows: the "
                "measurements do not state them, and Models 0 and 3 do not depend on them"
            )
        cells = self.geometry.bank_rows * self.geometry.row_bits
        if cells > self.campaign.cells_per_bank:
            lines.append(
                f"{self.campaign.cells_per_bank} cells of a bank were measured, which stand for all {cells} of it"
            )
        return tuple(lines)


def device_curves(fitted: curves.Curves, along: Axis, temperature: float) -> Iterator[FittedCurve]:
    """The curves of stored zeros and ones as a device file has them; of groups without a curve, none."""
    for stored, curve in fitted.groups.items():
        formula = curve.formula
        failing = [c.at for c in curve.conditions if c.at in curve.fitted and c.rate > 0]
        # Of a step, a place on the logarithm can lie where no number is.
        if formula is None or not 0.0 < abs(along.value(formula.location)) < math.inf:
            continue
        ends = {name: (found.low, found.high) for name, found in curve.parameters().items()}
        if along.harsher > 0:
            high, low = ends["location"]
            ends["location"] = along.value(low), along.value(high)
        values: tuple[Literal["zero", "one"], ...] = ("zero", "one")
        of = {"zero": values[:1], "one": values[1:]}.get(stored, values)
        yield from (
            FittedCurve(
                parameter=along.name,
                stored=value,
                temperature=temperature,
                mildest=_printed(along, max(failing)),
                harshest=_printed(along, min(failing)),
                link=formula.link,
                location=rounded(along.value(formula.location)),
                scale=rounded(formula.scale),
                asymptote=rounded(formula.asymptote),
                intervals=CurveIntervals(
                    **{name: (outwards(low, -1), outwards(high, 1)) for name, (low, high) in ends.items()}
                ),
            )
            for value in of
        )


def _printed(along: Axis, need: float) -> float:
    """The value of a need, without what its logarithm has rounded."""
    value = along.value(need)
    return value if along.harsher < 0 else float(f"{value:.12g}")
