"""Fits a device to a measurement campaign: rates, their intervals, the choice of the model, and what is left out.

The likelihood and its maximum are C++ (``csrc/core/fit.h``); here it is decided what it is applied to. A further model
is a further entry of ``MODELS``; a further format is a reader of ``eden.measurements``.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from eden import _core, curves
from eden.device import Device, FitRow, Measured, Source
from eden.errors import DataDependent, ErrorModel, Uniform
from eden.files import FileError
from eden.fits import DECISIVE, fit_counts
from eden.geometry import Geometry
from eden.measurements import CELLS_PER_BANK, MAX_DAMAGED, Campaign, Reading, read
from eden.partition import FittedCurve, FittedPoint, LeftOut, OperatingPoint, Partition, Voltage

if TYPE_CHECKING:
    from eden.fitting_cells import PointFit

# Readings of one condition whose odds lie apart by more than this, with nothing in between, are two regimes and no
# repeats of one; a gap counts only above this number of errors, below which chance makes such gaps.
REGIME_GAP = 10.0
REGIME_ERRORS = 10.0
# The digits that a device file keeps: more than any interval supports, fewer than libraries of mathematics differ in.
DIGITS = 4
AXES_OF_CURVES: tuple[Literal["trcd", "trp"], ...] = ("trcd", "trp")

Model = Literal["uniform", "data_dependent"]
Counts = list[tuple[float, float]]


# Formats that tell counts of banks; all others tell single flips, or none.
COUNTS = ("counts", "latency-variation")


class Condition(NamedTuple):
    """Latencies in ns and temperature in degrees Celsius."""

    trcd: float
    trp: float
    temperature: float


class Values(NamedTuple):
    """Readings of stored zeros and of stored ones, each as (errors, cells)."""

    zero: Counts
    one: Counts


# How a model groups the readings: one rate per group. The order is that of growing complexity.
MODELS: dict[Model, Callable[[Values], list[Counts]]] = {
    "uniform": lambda values: [values.zero + values.one],
    "data_dependent": lambda values: [values.zero, values.one],
}


def _error_model(model: Model, zero: float, one: float, failure: float) -> ErrorModel:
    if model == "uniform":
        return Uniform(ber=zero, failure=failure)
    return DataDependent(ber_zero=zero, ber_one=one, failure=failure)


def _informative(groups: Sequence[Counts]) -> bool:
    """Whether the readings tell a dispersion: more of them than rates, and some but not all cells failed."""
    some = any(
        any(errors > 0 for errors, _ in group) and any(errors < cells for errors, cells in group) for group in groups
    )
    return some and sum(map(len, groups)) > len(groups)


def _round(rate: float) -> float:
    """The rate with the digits that are kept, of its distance from 1 where that is what is small."""
    if 0.5 < rate <= 1.0:
        return float(1 - Decimal(f"{1 - rate:.{DIGITS}g}"))
    return float(f"{rate:.{DIGITS}g}")


def _digits(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _regimes(counts: Counts) -> tuple[float, float] | None:
    """The rates on both sides of a gap that splits the readings in two regimes, if there is one."""
    ordered = sorted(counts, key=lambda count: count[0] / count[1])
    for (low, low_cells), (high, high_cells) in itertools.pairwise(ordered):
        below = max(low, REGIME_ERRORS) / max(low_cells - low, REGIME_ERRORS)
        above = max(high, REGIME_ERRORS) / max(high_cells - high, REGIME_ERRORS)
        if above > REGIME_GAP * below:
            return low / low_cells, high / high_cells
    return None


@dataclass(frozen=True)
class FitReport:
    """A fit with everything that was read, left out, assumed and chosen.

    Attributes:
        device: the fitted device.
        campaign: the readings behind it.
        fits: of flips, the fit of each operating point of the whole module, with its tests.

    """

    device: Device
    campaign: Campaign
    fits: tuple[PointFit, ...] = ()

    def text(self) -> str:
        """What was read, what was left out and why, what was chosen and why, as lines for a terminal."""
        device = self.device
        lines = [f"{self.campaign.path}: {device.name}", "", "read and left out"]
        lines += [f"  - {note}" for note in device.notes]
        for partition in (device.whole, *device.partitions):
            for gap in partition.left_out:
                lines.append(f"  - left out of {partition.name}: {gap}: {gap.reason}")
        lines += [
            "",
            "choice of the model",
            f"  {'point':52} {'model':15} parameters   readings   log-likelihood             BIC",
        ]
        for row in device.choice:
            at = row.point
            place = "all" if at is None else str(at)
            lines.append(
                f"  {place:52} {row.model:15} {row.parameters:10} {row.observations:10} {row.log_likelihood:16.2f} "
                f"{row.bic:15.2f}"
            )
        lines += ["", "assumed", *(f"  - {text}" for text in device.assumptions), "", device.describe()]
        return "\n".join(lines)


def fit(
    path: str | os.PathLike[str],
    format: str | None = None,
    module: str | None = None,
    *,
    name: str | None = None,
    source: Source | None = None,
    failure: float | None = None,
    temperature: float | None = None,
    vdd: float | None = None,
    trcd: float | None = None,
    trp: float | None = None,
    refresh_interval: float = 64.0,
    reliable: str | None = None,
    cells_per_bank: int = CELLS_PER_BANK,
    geometry: Geometry | None = None,
    voltage: Voltage | None = None,
    bank_curves: bool = False,
    at: Mapping[str, float] | None = None,
    pattern: str | None = None,
    banks: int | Sequence[int] | None = None,
    rows: int | range | None = None,
    row_bits: int | None = None,
    subarray_rows: int | None = None,
    column_bits: int | None = None,
    repeats: int | None = None,
    grid: bool = False,
    cell_map: bool = False,
    max_damaged: float = MAX_DAMAGED,
) -> Device:
    """Fit a device to a measurement campaign.

    Args:
        path: the measurements.
        format: one of ``eden.measurements.FORMATS``; recognized from the file's first bytes if None.
        module: which module of a file that holds several.
        name: the device's name; the module's label if None.
        source: where the figures come from; the file and module, with the licence not stated, if None.
        failure: the probability F that a read of a weak cell is inverted. If None: fitted where the cells that failed
            were read repeatedly, else 1. Totals of banks tell only the product of F and the share of weak cells, so
            there it is an assumption, and is recorded as one.
        temperature: the device's temperature in degrees Celsius, one of the measured ones; the highest if None. Of
            flips, also that of the conditions that do not state theirs.
        vdd: the nominal supply voltage in V, which conditions that do not state theirs were measured at. If None: the
            highest stated, else 1.5.
        trcd: the nominal tRCD in ns, likewise, for flips. If None: the longest stated, else 12.5.
        trp: the nominal tRP in ns, likewise.
        refresh_interval: the nominal refresh interval in ms, likewise.
        reliable: the bank that is kept at its nominal operating point. If None, ``bank0``, unless some bank was not
            tested and so is.
        cells_per_bank: number of cells behind a bank's rate in the latency-variation format.
        geometry: rows, subarrays and banks of the module. If None: of counts, rows and subarrays are those of
            ``Geometry()``; of flips, all is what holds the tested cells. Either is recorded as an assumption.
        voltage: bit error rates along the supply voltage, from ``eden.populations.vendor_voltage``, to be joined to
            those of the latencies; its first row is at ``vdd``. Not for flips.
        bank_curves: fit curves along the latencies for every bank too, not only for the module; it takes some seconds.
        at: what the file of flips does not state of its conditions; see ``eden.measurements.read``, as for all that
            follows but ``grid`` and ``cell_map``.
        pattern: the data that was stored, where the file does not state it.
        banks: the banks whose flips were looked for, or how many from 0 on. Flips need this and the next two.
        rows: the rows of each, or how many from 0 on.
        row_bits: the number of cells of a row.
        subarray_rows: rows of a subarray, for formats that take it; else give a geometry.
        column_bits: cells behind a column's address.
        repeats: passes of each condition.
        grid: whether every pattern of a file of flips was tested at every operating point in it, so that one without
            a flip there made no error. If False, such a point is left out, because it may not have been tested.
        cell_map: whether the error models are the measured chip's own weak cells, for flips.
        max_damaged: share of damaged lines above which the file is an error.

    Raises:
        FileError: for a file that cannot be used, naming the place, what was found and what is allowed.
        ValueError: for an argument outside what is allowed.

    """
    return analyse(
        path,
        format,
        module,
        name=name,
        source=source,
        failure=failure,
        temperature=temperature,
        vdd=vdd,
        trcd=trcd,
        trp=trp,
        refresh_interval=refresh_interval,
        reliable=reliable,
        cells_per_bank=cells_per_bank,
        geometry=geometry,
        voltage=voltage,
        bank_curves=bank_curves,
        at=at,
        pattern=pattern,
        banks=banks,
        rows=rows,
        row_bits=row_bits,
        subarray_rows=subarray_rows,
        column_bits=column_bits,
        repeats=repeats,
        grid=grid,
        cell_map=cell_map,
        max_damaged=max_damaged,
    ).device


def analyse(
    path: str | os.PathLike[str],
    format: str | None = None,
    module: str | None = None,
    *,
    name: str | None = None,
    source: Source | None = None,
    failure: float | None = None,
    temperature: float | None = None,
    vdd: float | None = None,
    trcd: float | None = None,
    trp: float | None = None,
    refresh_interval: float = 64.0,
    reliable: str | None = None,
    cells_per_bank: int = CELLS_PER_BANK,
    geometry: Geometry | None = None,
    voltage: Voltage | None = None,
    bank_curves: bool = False,
    at: Mapping[str, float] | None = None,
    pattern: str | None = None,
    banks: int | Sequence[int] | None = None,
    rows: int | range | None = None,
    row_bits: int | None = None,
    subarray_rows: int | None = None,
    column_bits: int | None = None,
    repeats: int | None = None,
    grid: bool = False,
    cell_map: bool = False,
    max_damaged: float = MAX_DAMAGED,
) -> FitReport:
    """The same as ``fit``, with the report of what was read, left out, assumed and chosen."""
    for label, value, high in (
        ("failure", failure, 1.0),
        ("vdd", vdd, 10.0),
        ("trcd", trcd, 1e6),
        ("trp", trp, 1e6),
        ("refresh_interval", refresh_interval, 1e6),
    ):
        if value is not None and not 0.0 < value <= high:
            raise ValueError(f"{label} is {value}; allowed is above 0, up to {high:g}")
    campaign = read(
        path,
        format,
        module,
        cells_per_bank,
        at=at,
        pattern=pattern,
        banks=banks,
        rows=rows,
        row_bits=row_bits,
        subarray_rows=subarray_rows,
        column_bits=column_bits,
        repeats=repeats,
        max_damaged=max_damaged,
    )
    if campaign.format not in COUNTS:
        # Not above: it builds on this module.
        from eden.fitting_cells import analyse_cells, check_tested

        if voltage is not None:
            raise ValueError(f"voltage is given; allowed with {campaign.format} is None: it joins counts of banks")
        return analyse_cells(
            campaign,
            check_tested(banks, rows, row_bits),
            name=name,
            source=source or _source(campaign),
            failure=failure,
            temperature=temperature,
            vdd=vdd,
            trcd=trcd,
            trp=trp,
            refresh_interval=refresh_interval,
            reliable=reliable,
            geometry=geometry,
            subarray_rows=subarray_rows,
            grid=grid,
            cell_map=cell_map,
            repeats=repeats,
        )
    for label, given in (("trcd", trcd is not None), ("trp", trp is not None), ("grid", grid), ("cell_map", cell_map)):
        if given:
            raise ValueError(f"{label} is given, but {campaign.format} counts banks; it is allowed with flips of cells")
    failure = 1.0 if failure is None else failure
    if vdd is None:
        vdd = max((reading.vdd for reading in campaign.readings if reading.vdd is not None), default=1.5)
    reliable = "bank0" if reliable is None else reliable
    _check_latencies_alone(campaign, vdd, refresh_interval)
    arrays = geometry or _default_geometry(campaign)
    if (arrays.banks, arrays.bank_rows * arrays.row_bits) != (campaign.banks, campaign.cells_per_bank):
        raise ValueError(
            f"geometry has {arrays.banks} banks of {arrays.bank_rows * arrays.row_bits} cells; allowed are the "
            f"measurements' {campaign.banks} banks of {campaign.cells_per_bank} cells"
        )
    labels = [f"bank{bank}" for bank in range(campaign.banks)]
    if reliable not in labels:
        raise ValueError(f"reliable is {reliable!r}; allowed are {', '.join(labels)}")
    temperatures = sorted({reading.temperature for reading in campaign.readings if reading.stored != "mixed"})
    if not temperatures:
        raise FileError(
            campaign.path,
            f"column Pattern: module {campaign.module} has no reading of the patterns 0x0 or 0xff; allowed is one or "
            "more of each: they tell the rates of stored zeros and ones",
        )
    if temperature is not None and temperature not in temperatures:
        allowed = ", ".join(f"{value:g}" for value in temperatures)
        raise ValueError(f"temperature is {temperature}; allowed for {campaign.module} are the measured {allowed} C")
    return _Fitter(
        campaign=campaign,
        name=name or campaign.module,
        source=source,
        failure=failure,
        nominal=OperatingPoint(
            vdd=vdd,
            trcd=max(reading.trcd for reading in campaign.readings),
            trp=max(reading.trp for reading in campaign.readings),
            temperature=temperatures[-1] if temperature is None else temperature,
            refresh_interval=refresh_interval,
        ),
        reliable=reliable,
        geometry=arrays,
        geometry_given=geometry is not None,
        voltage=voltage,
        bank_curves=bank_curves,
    ).run()


def _check_latencies_alone(campaign: Campaign, vdd: float, refresh_interval: float) -> None:
    """Refuse counts whose conditions differ in more than tRCD, tRP and temperature, or lack one of these."""
    for field in ("trcd", "trp", "temperature"):
        missing = [reading.line for reading in campaign.readings if math.isnan(getattr(reading, field))]
        if missing:
            raise FileError(
                campaign.path, f"line {missing[0]}: {field} is not stated; allowed is a number there, or in at"
            )
    for field, nominal in (("vdd", vdd), ("refresh_interval", refresh_interval)):
        off = [reading for reading in campaign.readings if getattr(reading, field) not in (None, nominal)]
        if off:
            raise FileError(
                campaign.path,
                f"line {off[0].line}: found {field} {getattr(off[0], field):g}; allowed for counts of banks is the "
                f"nominal {nominal:g} (the argument {field}), as devices of counts are fitted along the latencies",
            )


def _source(campaign: Campaign) -> Source:
    return Source(
        text=f"module {campaign.module} of {campaign.path.name}",
        licence="not stated",
        citation="",
        file=campaign.path.name,
        module=campaign.module,
        vendor=campaign.vendor,
    )


def _default_geometry(campaign: Campaign) -> Geometry:
    usual = Geometry()
    subarray = usual.row_bits * usual.subarray_rows
    if campaign.cells_per_bank % subarray:
        raise ValueError(
            f"cells_per_bank is {campaign.cells_per_bank}; allowed without a geometry is a multiple of {subarray}, the "
            f"cells of a subarray of {usual.subarray_rows} rows of {usual.row_bits} bits"
        )
    return Geometry(bank_rows=campaign.cells_per_bank // usual.row_bits, banks=campaign.banks)


@dataclass
class _Scope:
    """The whole module or one bank: its readings by condition, and the dispersion that it lends to itself."""

    name: str
    bank: int | None
    conditions: dict[Condition, Values]
    lent: float = 0.0


class _Fitter:
    def __init__(
        self,
        campaign: Campaign,
        name: str,
        source: Source | None,
        failure: float,
        nominal: OperatingPoint,
        reliable: str,
        geometry: Geometry,
        geometry_given: bool,
        voltage: Voltage | None,
        bank_curves: bool,
    ) -> None:
        self.voltage, self.bank_curves = voltage, bank_curves
        self.geometry, self.geometry_given = geometry, geometry_given
        self.campaign, self.name, self.failure, self.nominal, self.reliable = campaign, name, failure, nominal, reliable
        self.source = source or _source(campaign)
        self.notes = list(campaign.notes)
        self._check_nominal()
        self.readings = self._without_joint_reductions()
        self.model: Model = "uniform"
        self._fits: dict[tuple[tuple[tuple[tuple[float, float], ...], ...], float | None], _core.RateFit] = {}

    def run(self) -> FitReport:
        campaign = self.campaign
        whole = self._scope("whole", None)
        whole.lent = self._lent_dispersion(whole, self._between_banks())
        choice = self._choose(whole)
        parts = []
        for bank in range(campaign.banks):
            scope = self._scope(f"bank{bank}", bank)
            if scope.name == self.reliable:
                scope.conditions = {}
            scope.lent = self._lent_dispersion(scope, whole.lent)
            parts.append(self._partition(scope, campaign.cells_per_bank // 8, scope.name == self.reliable))
        whole_part = self._partition(whole, campaign.banks * campaign.cells_per_bank // 8, False)
        measured = self._measured(whole_part, whole.lent)
        device = Device(
            name=self.name,
            source=self.source,
            geometry=self.geometry,
            random_layout=_core.RANDOM_LAYOUT_VERSION,
            failure=self.failure,
            model=self.model,
            nominal=self.nominal,
            assumptions=self._assumptions(),
            notes=tuple(self.notes),
            choice=choice,
            voltage=self.voltage,
            whole=whole_part,
            partitions=tuple(parts),
            measured=measured,
        )
        return FitReport(device, campaign)

    def _operating_point(self, condition: Condition) -> OperatingPoint:
        return OperatingPoint(
            vdd=self.nominal.vdd, refresh_interval=self.nominal.refresh_interval, **condition._asdict()
        )

    def _check_nominal(self) -> None:
        for reading in self.campaign.readings:
            if _condition(reading) == _condition(self.nominal) and reading.total > 0:
                raise FileError(
                    self.campaign.path,
                    f"line {reading.line}: found {reading.total:g} errors of module {self.campaign.module} at its "
                    f"nominal operating point ({self.nominal}); allowed is none: a device needs a reliable home",
                )

    def _without_joint_reductions(self) -> list[Reading]:
        kept = []
        for reading in self.campaign.readings:
            if reading.trcd == self.nominal.trcd or reading.trp == self.nominal.trp:
                kept.append(reading)
        joint = len(self.campaign.readings) - len(kept)
        if joint:
            self.notes.append(
                f"left out {joint} readings with both tRCD and tRP below nominal: no model joins them yet"
            )
        return kept

    def _scope(self, name: str, bank: int | None) -> _Scope:
        cells = float(self.campaign.cells_per_bank)
        conditions: dict[Condition, Values] = {}
        for reading in self.readings:
            if reading.stored == "mixed":
                continue
            values = conditions.setdefault(_condition(reading), Values([], []))
            counts = values.zero if reading.stored == "zero" else values.one
            if bank is None:
                if reading.tested:
                    counts.append((reading.total, reading.tested * cells))
            else:
                count = reading.errors[bank]
                if count is not None:
                    counts.append((count, cells))
        return _Scope(name, bank, conditions)

    def _usable(self, values: Values) -> str | None:
        """Why a condition cannot be fitted, or None."""
        for stored, pattern, counts in (("zeros", "0x0", values.zero), ("ones", "0xff", values.one)):
            if not counts:
                return f"stored {stored} were not measured (pattern {pattern})"
        for stored, counts in (("zeros", values.zero), ("ones", values.one)):
            gap = _regimes(counts)
            if gap:
                return (
                    f"the readings of stored {stored} mix two regimes, with nothing between the rates {gap[0]:.3g} and "
                    f"{gap[1]:.3g} (odds more than {REGIME_GAP:g} apart)"
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
            if self._usable(values) is None and _informative(groups := MODELS["data_dependent"](values))
        ]
        return max(fitted, default=otherwise)

    def _between_banks(self) -> float:
        """The dispersion between banks within a reading, for a campaign that repeats nothing."""
        cells = float(self.campaign.cells_per_bank)
        largest = 0.0
        for reading in self.readings:
            counts = [(count, cells) for count in reading.errors if count is not None]
            if reading.stored != "mixed" and _informative([counts]):
                largest = max(largest, fit_counts([counts]).dispersion)
        return largest

    def _fit(self, model: Model, values: Values, lent: float) -> _core.RateFit:
        # Every model gets the dispersion in the same way, or the comparison would be one of dispersions.
        own = all(_informative(group(values)) for group in MODELS.values())
        return self._fit_once(MODELS[model](values), None if own else lent)

    def _choose(self, whole: _Scope) -> tuple[FitRow, ...]:
        rows: list[FitRow] = []
        sums: dict[Model, list[float]] = {model: [0, 0, 0.0, 0.0] for model in MODELS}
        for condition, values in sorted(whole.conditions.items(), key=lambda item: _order(item[0])):
            if self._usable(values) or not any(errors for errors, _ in (*values.zero, *values.one)):
                continue
            for model in MODELS:
                result = self._fit(model, values, whole.lent)
                bic = _core.bayesian_information_criterion(
                    result.log_likelihood, result.parameters, result.observations
                )
                rows.append(
                    FitRow(
                        model=model,
                        point=self._operating_point(condition),
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

    def _partition(self, scope: _Scope, capacity: int, nominal_only: bool) -> Partition:
        points: list[FittedPoint] = []
        left_out: list[LeftOut] = []
        nominal = self._nominal_point(scope)
        for temperature in sorted({condition.temperature for condition in scope.conditions}):
            for parameter in ("trcd", "trp"):
                self._sweep(scope, parameter, temperature, nominal, points, left_out)
        at_temperature = [point for point in points if point.temperature == self.nominal.temperature]
        return Partition(
            name=scope.name,
            kind="module" if scope.bank is None else "bank",
            address=0 if scope.bank is None else scope.bank * self.campaign.cells_per_bank,
            capacity_bytes=capacity,
            nominal=nominal_only,
            points=(nominal, *at_temperature),
            points_at_other_temperatures=tuple(
                point for point in points if point.temperature != self.nominal.temperature
            ),
            left_out=tuple(left_out),
            curves=tuple(self._curves(scope.bank)) if scope.bank is None or self.bank_curves else (),
        )

    def _curves(self, bank: int | None) -> Iterator[FittedCurve]:
        """The curves along both latencies at the device's temperature, where the readings tell one."""
        if bank is not None and f"bank{bank}" == self.reliable:
            return
        for parameter in AXES_OF_CURVES:
            try:
                fitted = curves.fit_latency(self.campaign, parameter, self.nominal.temperature, bank=bank)
            except ValueError:  # nothing was measured along this latency
                continue
            for stored, curve in fitted.groups.items():
                formula = curve.formula
                failing = [c.at for c in curve.conditions if c.at in curve.fitted and c.rate > 0]
                if formula is not None:
                    yield FittedCurve(
                        parameter=parameter,
                        stored="zero" if stored == "zero" else "one",
                        temperature=self.nominal.temperature,
                        mildest=max(failing),
                        harshest=min(failing),
                        link=formula.link,
                        location=_digits(formula.location),
                        scale=_digits(formula.scale),
                        asymptote=_digits(formula.asymptote),
                    )

    def _sweep(
        self,
        scope: _Scope,
        parameter: str,
        temperature: float,
        nominal: FittedPoint,
        points: list[FittedPoint],
        left_out: list[LeftOut],
    ) -> None:
        """Fit the points along one latency, from mild to harsh, and leave out what is no monotone curve."""
        other = "trp" if parameter == "trcd" else "trcd"
        at_nominal = Condition(self.nominal.trcd, self.nominal.trp, temperature)
        conditions = [
            condition
            for condition in sorted(scope.conditions, key=_order)
            if condition.temperature == temperature
            and getattr(condition, other) == getattr(self.nominal, other)
            and (condition != at_nominal or (parameter == "trcd" and temperature != self.nominal.temperature))
        ]
        start = next((point.errors for point in points if _condition(point) == at_nominal), nominal.errors)
        highest = [start.ber_zero, start.ber_one]
        highest_at = [getattr(self.nominal, parameter)] * 2
        ended: str | None = None

        def leave_out(condition: Condition, reason: str) -> None:
            left_out.append(LeftOut(**self._operating_point(condition).model_dump(), reason=reason))

        for condition in conditions:
            values = scope.conditions[condition]
            reason = ended or self._usable(values)
            if reason:
                leave_out(condition, reason)
                # A reading of the worse regime still says how high the curve has been.
                rates = [max((errors / cells for errors, cells in counts), default=0.0) for counts in values]
            else:
                point = self._point(condition, values, scope.lent)
                rates = [point.errors.ber_zero, point.errors.ber_one]
                falls = [
                    f"stored {stored} fail at {rate:.3g}, but at {before:.3g} at the milder {at:g} ns"
                    for stored, rate, before, at in zip(("zeros", "ones"), rates, highest, highest_at, strict=True)
                    if rate < before
                ]
                if falls:
                    leave_out(condition, f"the curve is not monotone: {' and '.join(falls)}; the range ends before it")
                    ended = f"harsher than {getattr(condition, parameter):g} ns, where the curve is not monotone"
                else:
                    points.append(point)
            for v in range(2):
                if rates[v] >= highest[v]:
                    highest[v], highest_at[v] = rates[v], getattr(condition, parameter)

    def _point(self, condition: Condition, values: Values, lent: float) -> FittedPoint:
        result = self._fit(self.model, values, lent)
        zero, one = result.rates[0], result.rates[-1]
        for stored, rate in (("zeros", zero), ("ones", one)):
            if rate.estimate > self.failure:
                raise ValueError(
                    f"failure is {self.failure}; allowed is {rate.estimate:.3g} to 1, because stored {stored} of "
                    f"{self.campaign.module} fail at that rate at tRCD {condition.trcd:g} and tRP {condition.trp:g} ns"
                )
        return FittedPoint(
            **self._operating_point(condition).model_dump(),
            errors=_error_model(
                self.model,
                min(_round(zero.estimate), self.failure),
                min(_round(one.estimate), self.failure),
                self.failure,
            ),
            zero=(_round(zero.low), _round(zero.high)),
            one=(_round(one.low), _round(one.high)),
            readings=(len(values.zero), len(values.one)),
            dispersion=_digits(result.dispersion),
            dispersion_fitted=result.dispersion_fitted,
        )

    def _nominal_point(self, scope: _Scope) -> FittedPoint:
        condition = _condition(self.nominal)
        values = scope.conditions.get(condition)
        if values is not None and values.zero and values.one:
            return self._point(condition, values, scope.lent)
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
        conditions: dict[tuple[Condition, int], Counts] = defaultdict(list)
        for reading in self.readings:
            if reading.tested:
                conditions[_condition(reading), reading.pattern].append((reading.total, reading.tested * cells))
        fitted: Mapping[Condition, ErrorModel] = {
            _condition(point): point.errors for point in (*whole.points, *whole.points_at_other_temperatures)
        }
        rows = []
        checked = off = 0
        for (condition, pattern), counts in sorted(
            conditions.items(), key=lambda item: (_order(item[0][0]), item[0][1])
        ):
            result = fit_counts([counts], None if _informative([counts]) else lent)
            rates = sorted(errors / total for errors, total in counts)
            errors = fitted.get(condition)
            ones = pattern.bit_count() / 8
            predicted = None if errors is None else (1 - ones) * errors.ber_zero + ones * errors.ber_one
            rate = result.rates[0]
            if predicted and 0 < ones < 1:
                checked += 1
                off += not 0.5 <= rate.estimate / predicted <= 2.0
            rows.append(
                Measured(
                    **self._operating_point(condition).model_dump(),
                    pattern=f"0x{pattern:x}",
                    readings=len(counts),
                    rate=_round(rate.estimate),
                    low=_round(rate.low),
                    high=_round(rate.high),
                    least=_round(rates[0]),
                    most=_round(rates[-1]),
                    predicted=None if predicted is None else _round(predicted),
                )
            )
        mixed = sum(reading.stored == "mixed" for reading in self.readings)
        if mixed:
            self.notes.append(
                f"left out of the fit {mixed} readings of patterns with zeros and ones, and predicted them instead: "
                f"{checked - off} of {checked} conditions within a factor of 2"
            )
        return tuple(rows)

    def _assumptions(self) -> tuple[str, ...]:
        lines = [
            f"failure F = {self.failure:g}: totals of banks tell only the product of F and the share of weak cells"
            + ("; with 1, a weak cell fails at every read" if self.failure == 1.0 else ""),
            f"supply voltage {self.nominal.vdd:g} V and refresh interval {self.nominal.refresh_interval:g} ms: the "
            "measurements do not state them",
            f"nominal tRCD {self.nominal.trcd:g} and tRP {self.nominal.trp:g} ns: the mildest that were measured",
            f"{self.reliable} is kept at the nominal operating point with BER 0, as the specification promises",
            "between two measured latencies the rates of the harsher one hold as an upper bound",
            "a bank that is 0 in a reading where no bank, or not every other bank, failed was tested",
            "the largest dispersion between readings at other conditions holds where the readings tell none (a single "
            "one of each value, or no failures)",
        ]
        if self.voltage is not None:
            lines += self.voltage.assumptions
        if not self.geometry_given:
            lines.append(
                f"rows of {self.geometry.row_bits} bits and subarrays of {self.geometry.subarray_rows} rows: the "
                "measurements do not state them, and Models 0 and 3 do not depend on them"
            )
        return tuple(lines)


def _condition(point: OperatingPoint | Reading) -> Condition:
    return Condition(point.trcd, point.trp, point.temperature)


def _order(condition: Condition) -> tuple[float, float, float]:
    """By temperature, then from mild to harsh: in a sweep, the latency that is not nominal decides."""
    return condition.temperature, -condition.trp, -condition.trcd
