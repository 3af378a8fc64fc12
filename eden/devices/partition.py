"""Partitions of a memory: the operating points that a part of it may be run at, each with its error model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self, TypedDict, Unpack

import pydantic

from eden.common.checks import around, at_most
from eden.common.files import FiniteRecord
from eden.devices.curves.rates import Formula
from eden.memory.errors import DataDependent, ErrorModel, Uniform

# Latencies and voltages are printed with a few digits; a billionth is no difference.
_SAME = 1e-9

# Rates that are held against each other have been scaled, joined or averaged by at most so many operations.
_OPERATIONS = 8


def _to_error_model(value: Any) -> ErrorModel:
    if isinstance(value, ErrorModel):
        return value
    if not isinstance(value, dict):
        raise ValueError("an error model is an object with the key 'model'")
    try:
        return ErrorModel.from_dict(value)
    except TypeError as error:
        raise ValueError(str(error)) from error


# A JSON true or "0.1" in place of a number is a damaged file.
Number = Annotated[float, pydantic.Strict()]
Whole = Annotated[int, pydantic.Strict()]
Flag = Annotated[bool, pydantic.Strict()]
Probability = Annotated[Number, pydantic.Field(ge=0.0, le=1.0)]
Interval = tuple[Probability, Probability]
Errors = Annotated[
    ErrorModel,
    pydantic.PlainValidator(_to_error_model, json_schema_input_type=dict[str, Any]),
    pydantic.PlainSerializer(lambda model: model.to_dict()),
    pydantic.WithJsonSchema(ErrorModel.json_schema()),
]


class Part(FiniteRecord):
    """Base of what a device file consists of: error models and a geometry among other things."""

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)


class OperatingPoint(Part):
    """How a memory is operated."""

    vdd: Annotated[Number, pydantic.Field(gt=0.0)]
    """Supply voltage in V."""
    trcd: Annotated[Number, pydantic.Field(gt=0.0)]
    """Row activation latency tRCD in ns."""
    trp: Annotated[Number, pydantic.Field(gt=0.0)]
    """Precharge latency tRP in ns."""
    temperature: Annotated[Number, pydantic.Field(ge=-273.15)]
    """In degrees Celsius."""
    refresh_interval: Annotated[Number, pydantic.Field(gt=0.0)]
    """In ms."""

    def __str__(self) -> str:
        return (
            f"tRCD {self.trcd:g} ns, tRP {self.trp:g} ns, {self.temperature:g} C, {self.vdd:g} V, "
            f"refresh {self.refresh_interval:g} ms"
        )


class PointArguments(TypedDict, total=False):
    """The arguments of ``Partition.point``."""

    vdd: float | None
    trcd: float | None
    trp: float | None
    temperature: float | None
    refresh_interval: float | None
    between: Literal["bound", "curve"]
    extrapolate: bool


class _Axis(NamedTuple):
    """A parameter that a memory is run harder by: its name, unit, and the sign in which it is harsher."""

    name: Literal["vdd", "trcd", "trp", "refresh_interval"]
    unit: str
    harsher: Literal[-1, 1]
    title: str

    def harshness(self, point: OperatingPoint) -> float:
        value: float = getattr(point, self.name)
        return self.harsher * value


# In the order in which points are listed: those off nominal in tRCD alone, in tRP alone, in both, and so on.
AXES = (
    _Axis(name="trcd", unit="ns", harsher=-1, title="row activation latency tRCD"),
    _Axis(name="trp", unit="ns", harsher=-1, title="precharge latency tRP"),
    _Axis(name="vdd", unit="V", harsher=-1, title="supply voltage VDD"),
    _Axis(name="refresh_interval", unit="ms", harsher=1, title="refresh interval"),
)


def axis(name: str) -> _Axis:
    """The parameter of a name. Raises ValueError for one that there is not."""
    for found in AXES:
        if found.name == name:
            return found
    raise ValueError(f"parameter is {name!r}; allowed are {', '.join(found.name for found in AXES)}")


def as_harsh(point: OperatingPoint, other: OperatingPoint) -> bool:
    """Whether a point is at least as harsh as another in every parameter, temperatures apart."""
    return all(axis.harshness(point) >= axis.harshness(other) - _SAME for axis in AXES)


def point_of(point: OperatingPoint) -> OperatingPoint:
    """The operating point alone, of a fit there or of a reading."""
    return OperatingPoint(**{name: getattr(point, name) for name in OperatingPoint.model_fields})


def off_nominal(nominal: OperatingPoint, point: OperatingPoint) -> tuple[str, ...]:
    """Names of the parameters in which a point is not nominal, the temperature apart."""
    return tuple(axis.name for axis in AXES if abs(getattr(point, axis.name) - getattr(nominal, axis.name)) > _SAME)


def _values(point: OperatingPoint, names: Iterable[str], verb: str = "") -> str:
    return " and ".join(
        f"{along.name}{verb} {getattr(point, along.name):g} {along.unit}" for along in AXES if along.name in names
    )


def sort_key(nominal: OperatingPoint, point: OperatingPoint) -> tuple[float, ...]:
    """By temperature; nominal first, then by the parameters that are off nominal, each from mild to harsh."""
    off = off_nominal(nominal, point)
    which = sum(1 << i for i, axis in enumerate(AXES) if axis.name in off)
    return (point.temperature, which, *(axis.harshness(point) for axis in AXES))


class FittedPoint(OperatingPoint):
    """An operating point with the error model that was fitted there."""

    errors: Errors
    """The error model."""
    zero: Interval
    """95% interval of the rate of stored zeros."""
    one: Interval
    """95% interval of the rate of stored ones."""
    readings: tuple[Annotated[Whole, pydantic.Field(ge=0)], Annotated[Whole, pydantic.Field(ge=0)]]
    """Numbers of readings of stored zeros and of stored ones; 0 at a nominal point that is taken from the
    specification."""
    dispersion: Annotated[Number, pydantic.Field(ge=0.0)]
    """Variance of the logarithm of the odds between readings."""
    dispersion_fitted: Flag
    """Whether these readings told the dispersion, or it was borrowed from other points."""

    @pydantic.model_validator(mode="after")
    def _intervals_hold_their_rates(self) -> Self:
        for name, rate, (low, high) in (
            ("zero", self.errors.ber_zero, self.zero),
            ("one", self.errors.ber_one, self.one),
        ):
            if not (at_most(low, rate, _OPERATIONS) and at_most(rate, high, _OPERATIONS)):
                raise ValueError(f"{name} is [{low:g}, {high:g}]; allowed is an interval that holds the rate {rate:g}")
        return self

    def with_margin(self, factor: float) -> FittedPoint:
        """The same with every rate multiplied, up to the failure probability; see ``Device.with_margin``."""
        highest = self.errors.highest_ber
        errors = self.errors.scaled(min(self.errors.ber * factor, highest)) if self.errors.ber > 0.0 else self.errors
        intervals = {
            name: around((min(low * factor, 1.0), min(high * factor, 1.0)), rate)
            for name, rate, (low, high) in (
                ("zero", errors.ber_zero, self.zero),
                ("one", errors.ber_one, self.one),
            )
        }
        return self.model_copy(update={"errors": errors, **intervals})


class Answer(FittedPoint):
    """What a partition answers at an operating point: the error model there, with intervals."""

    basis: str
    """``"measured"``: the fitted point itself; ``"bound"``: the least harsh measured point that is as harsh in every
    parameter; ``"curve"``: a fitted curve between two measured points; ``"extrapolated"``: a fitted curve beyond
    them; each with ``", joined"`` where a voltage curve was joined to it."""


CurveEnds = tuple[Number | None, Number | None]


class CurveIntervals(Part):
    """95% intervals of the parameters of a curve, of its own link and kind of asymptote; None: an end that is open."""

    location: CurveEnds
    """In ns."""
    scale: CurveEnds
    """In ns; open downwards where a step would describe the readings as well."""
    asymptote: CurveEnds
    """Share of the cells that can fail; (1, 1) where it was not fitted."""


class FittedCurve(Part):
    """The bit error rate of one stored value along one latency: asymptote G((location - latency) / scale)."""

    parameter: Literal["trcd", "trp"]
    """The latency, ``trcd`` or ``trp``."""
    stored: Literal["zero", "one"]
    """The stored value."""
    temperature: Number
    """In degrees Celsius."""
    mildest: Number
    """The longest latency in ns, of those with errors, that it was fitted to; between this and the next milder point
    monotony alone bounds the rate."""
    harshest: Number
    """The shortest one."""
    link: Literal["probit", "logit"]
    """G, ``probit`` (the normal distribution function) or ``logit`` (the logistic one)."""
    location: Number
    """Latency in ns at which half of the asymptote is reached."""
    scale: Annotated[Number, pydantic.Field(gt=0.0)]
    """Spread of the cells' needs in ns."""
    asymptote: Annotated[Number, pydantic.Field(gt=0.0, le=1.0)]
    """Share of the cells that can fail."""
    factor: Annotated[Number, pydantic.Field(ge=1.0)] = 1.0
    """The device's margin, which the rate is multiplied with."""
    intervals: CurveIntervals | None = None
    """Of location, scale and asymptote; None: not known."""

    @pydantic.model_validator(mode="after")
    def _intervals_hold_their_parameters(self) -> Self:
        for name in CurveIntervals.model_fields if self.intervals is not None else ():
            low, high = getattr(self.intervals, name)
            value = getattr(self, name)
            if (low is not None and low > value) or (high is not None and high < value):
                raise ValueError(f"intervals: {name} is {[low, high]}; allowed is an interval that holds {value:g}")
        return self

    @property
    def open(self) -> tuple[str, ...]:
        """The parameters that the measurements do not bound on both sides."""
        return tuple(name for name, ends in self.intervals or () if None in ends)

    def rate(self, latency: float) -> float:
        """The bit error rate at a latency in ns, inside what was measured or not."""
        formula = Formula(self.link, self.location, self.scale, self.asymptote)
        return min(formula.rate(latency) * self.factor, 1.0)


class VoltageRow(Part):
    """A supply voltage with the bit error rate there."""

    vdd: Annotated[Number, pydantic.Field(gt=0.0)]
    """In V."""
    ber: Probability
    """Bit error rate of stored zeros and ones alike."""
    low: Probability
    """Lower end of its 95% interval."""
    high: Probability
    """Upper end."""

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        if not (at_most(self.low, self.ber, _OPERATIONS) and at_most(self.ber, self.high, _OPERATIONS)):
            raise ValueError(f"ber is {self.ber:g} in [{self.low:g}, {self.high:g}]; allowed is low <= ber <= high")
        return self


class Voltage(Part):
    """Bit error rates along the supply voltage, at nominal latencies, that were not measured on this device."""

    source: str
    """What was measured and by whom, and how to cite it."""
    vendor: str
    """The vendor's label there."""
    modules: tuple[str, ...]
    """Names of the modules behind the rates."""
    assumptions: tuple[str, ...]
    """What the rates and their use here rest on, one sentence each."""
    rows: Annotated[tuple[VoltageRow, ...], pydantic.Field(min_length=1)]
    """From the nominal voltage down; no rate is below that of a higher voltage."""

    @pydantic.model_validator(mode="after")
    def _falls(self) -> Self:
        for mild, harsh in itertools.pairwise(self.rows):
            if harsh.vdd >= mild.vdd or not at_most(mild.ber, harsh.ber, _OPERATIONS):
                raise ValueError(
                    f"rows: found {harsh.vdd:g} V with {harsh.ber:g} after {mild.vdd:g} V with {mild.ber:g}; allowed "
                    "are falling voltages whose rates do not fall"
                )
        return self

    def with_margin(self, factor: float) -> Voltage:
        """The same with every rate multiplied, up to 1."""
        rows = tuple(
            row.model_copy(update={name: min(getattr(row, name) * factor, 1.0) for name in ("ber", "low", "high")})
            for row in self.rows
        )
        return self.model_copy(update={"rows": rows})

    def row(self, vdd: float) -> VoltageRow:
        """The row of a voltage, or of the next lower one, whose rate bounds it from above.

        Raises:
            ValueError: outside of the rows.

        """
        if not self.rows[-1].vdd - _SAME <= vdd <= self.rows[0].vdd + _SAME:
            raise ValueError(
                f"vdd is {vdd:g} V; allowed for the voltage curve of vendor {self.vendor} is {self.rows[-1].vdd:g} to "
                f"{self.rows[0].vdd:g} V"
            )
        return next(row for row in self.rows if row.vdd <= vdd + _SAME)


def with_rates(model: ErrorModel, zero: float, one: float) -> ErrorModel:
    """An error model of the same kind with other rates; of kinds without a rate for each value, with the higher."""
    zero, one = min(zero, model.failure), min(one, model.failure)
    if isinstance(model, DataDependent):
        return DataDependent(zero, one, model.failure)
    if isinstance(model, Uniform):
        return Uniform(max(zero, one), model.failure)
    return model.scaled(min(max(zero, one), model.highest_ber))


def _union(p: float, q: float) -> float:
    return p + q - p * q


def _joined(point: FittedPoint, row: VoltageRow) -> FittedPoint:
    """The point with the errors of a lower voltage beside its own, cells failing of either independently."""
    model = point.errors
    errors = with_rates(model, _union(model.ber_zero, row.ber), _union(model.ber_one, row.ber))
    intervals = {
        name: around((_union(low, row.low), _union(high, row.high)), rate)
        for name, rate, (low, high) in (("zero", errors.ber_zero, point.zero), ("one", errors.ber_one, point.one))
    }
    return point.model_copy(update={"vdd": row.vdd, "errors": errors, **intervals})


class LeftOut(OperatingPoint):
    """A measured operating point that is not offered, and why."""

    reason: str
    """Why."""


class Partition(Part):
    """A part of a device that can be run at an operating point of its own."""

    name: Annotated[str, pydantic.Field(min_length=1)]
    """What it is called."""
    kind: Literal["module", "rank", "bank", "subarray"]
    """What it is: ``module`` (all of the device), ``rank``, ``bank`` or ``subarray``."""
    address: Annotated[Whole, pydantic.Field(ge=0)]
    """Its first bit in the device's geometry."""
    capacity_bytes: Annotated[Whole, pydantic.Field(gt=0)]
    """Its size in bytes."""
    nominal: Flag
    """Whether it is kept at its nominal operating point, where it makes no errors."""
    points: Annotated[tuple[FittedPoint, ...], pydantic.Field(min_length=1)]
    """The operating points it may be run at: nominal first, then those with a shorter tRCD, a shorter tRP, a lower VDD,
    a longer refresh interval, and several of these together; from mild to harsh, all at the device's temperature."""
    points_at_other_temperatures: tuple[FittedPoint, ...]
    """The same at other measured temperatures, which are not for choosing."""
    left_out: tuple[LeftOut, ...]
    """Measured operating points that are not offered."""
    curves: tuple[FittedCurve, ...] = ()
    """The rates along a latency as fitted curves, where the measurements tell one."""
    # The device's, which it hands to its partitions.
    _voltage: Voltage | None = pydantic.PrivateAttr(default=None)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        nominal = self.points[0]
        if any(point.temperature != nominal.temperature for point in self.points):
            raise ValueError(f"points of {self.name}: found several temperatures; allowed is one")
        if any(point.temperature == nominal.temperature for point in self.points_at_other_temperatures):
            raise ValueError(
                f"points_at_other_temperatures of {self.name}: found {nominal.temperature:g} C, the temperature of "
                "points; allowed are others"
            )
        for points in (self.points, self.points_at_other_temperatures):
            for point in points:
                if not as_harsh(point, nominal):
                    raise ValueError(
                        f"points of {self.name}: found {point}; allowed is nominal ({nominal}) first, or harsher"
                    )
            keys = [sort_key(nominal, point) for point in points]
            if any(after <= before for before, after in itertools.pairwise(keys)):
                raise ValueError(
                    f"points of {self.name} are not sorted or repeat; allowed is by temperature, nominal first, then "
                    "by the parameters that are off nominal, each from mild to harsh, each point once"
                )
        for temperature in self.temperatures:
            self._check_monotone(self._at(temperature))
        told = [(curve.parameter, curve.stored, curve.temperature) for curve in self.curves]
        if len(set(told)) < len(told):
            raise ValueError(f"curves of {self.name} repeat; allowed is one per latency, stored value and temperature")
        if self.nominal and (len(self.points) > 1 or nominal.errors.ber_zero > 0 or nominal.errors.ber_one > 0):
            raise ValueError(f"partition {self.name} is nominal; allowed is its nominal point alone, with BER 0")
        return self

    def _check_monotone(self, points: Sequence[FittedPoint]) -> None:
        for mild, harsh in itertools.permutations(points, 2):
            if as_harsh(harsh, mild) and not (
                at_most(mild.errors.ber_zero, harsh.errors.ber_zero, _OPERATIONS)
                and at_most(mild.errors.ber_one, harsh.errors.ber_one, _OPERATIONS)
            ):
                raise ValueError(
                    f"points of {self.name}: the rates at {harsh} are below those at {mild}, a milder point"
                )

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Temperatures in degrees Celsius at which there are fitted points, in increasing order."""
        return tuple(sorted({point.temperature for point in (*self.points, *self.points_at_other_temperatures)}))

    def _at(self, temperature: float) -> list[FittedPoint]:
        points = (*self.points, *self.points_at_other_temperatures)
        return [point for point in points if point.temperature == temperature]

    def sweep(self, parameter: str, temperature: float) -> list[FittedPoint]:
        """The points along one parameter, all others nominal, from nominal or the mildest to the harshest."""
        nominal = self.points[0]
        return [point for point in self._at(temperature) if set(off_nominal(nominal, point)) <= {parameter}]

    def with_margin(self, factor: float) -> Partition:
        """The same with every rate multiplied; see ``Device.with_margin``."""
        return self.model_copy(
            update={
                **{
                    name: tuple(point.with_margin(factor) for point in getattr(self, name))
                    for name in ("points", "points_at_other_temperatures")
                },
                "curves": tuple(curve.model_copy(update={"factor": factor}) for curve in self.curves),
            }
        )

    @property
    def choices(self) -> tuple[FittedPoint, ...]:
        """The operating points that a placement may choose: ``points``, and each joined with each lower voltage.

        Points that were measured at a voltage below nominal are joined with none. A nominal partition has one choice.
        """
        if self._voltage is None or self.nominal:
            return self.points
        nominal = self.points[0]
        known = {tuple(getattr(point, along.name) for along in AXES) for point in self.points}
        joined = [
            _joined(point, row)
            for point in self.points
            if point.vdd == nominal.vdd
            for row in self._voltage.rows
            if row.vdd < nominal.vdd
        ]
        return (
            *self.points,
            *(point for point in joined if tuple(getattr(point, along.name) for along in AXES) not in known),
        )

    def point(
        self,
        *,
        vdd: float | None = None,
        trcd: float | None = None,
        trp: float | None = None,
        temperature: float | None = None,
        refresh_interval: float | None = None,
        between: Literal["bound", "curve"] = "bound",
        extrapolate: bool = False,
    ) -> Answer:
        """What is known of an operating point; what is not given is nominal.

        At a measured point it is the fit. Elsewhere it is the least harsh measured point that is as harsh or harsher in
        every parameter: a cell that fails under some stress fails under a larger one, so its rates bound those asked
        for from above. ``between="curve"`` answers with the fitted curve instead, between two measured latencies whose
        rates it never leaves. A voltage below nominal that was not measured here is answered by the device's voltage
        curve, if it has one, joined to the latencies' answer.

        Args:
            vdd: supply voltage in V.
            trcd: row activation latency in ns.
            trp: precharge latency in ns.
            temperature: in degrees Celsius, one of the measured ones; nominal is the device's.
            refresh_interval: in ms.
            between: what answers between measured points.
            extrapolate: answer by the curve beyond the measured latencies and in regions that were left out, too. The
                answer's ``basis`` says so, and nothing vouches for it.

        Raises:
            ValueError: naming the parameter, what was found and what is allowed, outside the fitted range, inside a
                region that was left out, or for a parameter that was not measured.
            TypeError: for what is no number.

        """
        nominal = self.points[0]
        given = {"vdd": vdd, "trcd": trcd, "trp": trp, "temperature": temperature, "refresh_interval": refresh_interval}
        for name, value in given.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise TypeError(f"{name} is a {type(value).__name__}; allowed is a number")
        if between not in ("bound", "curve"):
            raise ValueError(f"between is {between!r}; allowed are 'bound' and 'curve'")
        if temperature is not None and temperature not in self.temperatures:
            raise ValueError(
                f"temperature is {temperature} C; allowed for {self.name} are the measured "
                f"{', '.join(f'{value:g}' for value in self.temperatures)} C"
            )
        wanted = OperatingPoint.model_construct(
            None, **{name: getattr(nominal, name) if value is None else float(value) for name, value in given.items()}
        )
        row = self._voltage_row(wanted)
        if row is None:
            return self._answer(wanted, between, extrapolate)
        at_nominal = wanted.model_copy(update={"vdd": nominal.vdd})
        answer = self._answer(at_nominal, between, extrapolate)
        joined = _joined(answer, row)
        return Answer.model_validate(
            {**dict(joined), "vdd": wanted.vdd, "basis": f"{answer.basis}, joined"},
        )

    def _voltage_row(self, wanted: OperatingPoint) -> VoltageRow | None:
        """The row that answers for a voltage which was not measured on this device, or None."""
        nominal = self.points[0]
        if self._voltage is None or self.nominal or "vdd" not in off_nominal(nominal, wanted):
            return None
        if any(point.vdd != nominal.vdd for point in self._at(wanted.temperature)):
            return None
        return self._voltage.row(wanted.vdd)

    def _answer(self, wanted: OperatingPoint, between: str, extrapolate: bool) -> Answer:
        nominal = self.points[0]
        points, off = self._at(wanted.temperature), off_nominal(nominal, wanted)
        for point in points:
            if as_harsh(point, wanted) and as_harsh(wanted, point):
                return Answer.model_validate({**dict(point), "basis": "measured"})
        if extrapolate and off in (("trcd",), ("trp",)) and not self._is_inside(wanted, points):
            return self._on_curve(wanted, off[0], "extrapolated")
        self._check_range(wanted, points)
        bounds = [point for point in points if as_harsh(point, wanted)]
        if not bounds:
            nominals = _values(nominal, off)
            raise ValueError(
                f"{_values(wanted, off, ' is')}; allowed for {self.name} is one of them off nominal ({nominals}), or "
                "what some measured point is as harsh as in every parameter: these were not measured together"
            )
        bound = min(bounds, key=lambda point: (point.errors.ber, sort_key(nominal, point)))
        self._check_gaps(wanted, bound, points)
        if between == "curve":
            if off not in (("trcd",), ("trp",)):
                raise ValueError(
                    f"{_values(wanted, off, ' is')}; allowed with between='curve' is trcd or trp alone off nominal"
                )
            return self._on_curve(wanted, off[0], "curve")
        return Answer.model_validate({**dict(bound), **dict(wanted), "basis": "bound"})

    def _is_inside(self, wanted: OperatingPoint, points: Sequence[FittedPoint]) -> bool:
        try:
            self._check_range(wanted, points)
            bounds = [point for point in points if as_harsh(point, wanted)]
            self._check_gaps(wanted, min(bounds, key=lambda point: point.errors.ber), points)
        except ValueError:
            return False
        return True

    def _on_curve(self, wanted: OperatingPoint, parameter: str, basis: str) -> Answer:
        """The curves' rates, kept between those of the nearest measured points; where there is none, the harsher's."""
        latency = getattr(wanted, parameter)
        sweep = self.sweep(parameter, wanted.temperature)
        milder = [point for point in sweep if as_harsh(wanted, point)]
        harsher = [point for point in sweep if as_harsh(point, wanted)]
        rates, intervals, used = {}, {}, False
        for stored in ("zero", "one"):
            low = max((getattr(point.errors, f"ber_{stored}") for point in milder), default=0.0)
            high = min((getattr(point.errors, f"ber_{stored}") for point in harsher), default=1.0)
            curve = self._curve(parameter, stored, wanted.temperature)
            if curve is not None and (basis == "extrapolated" or curve.harshest <= latency <= curve.mildest):
                rates[stored], used = min(max(curve.rate(latency), low), high), True
            elif harsher:
                rates[stored] = high
            else:
                raise ValueError(
                    f"{parameter} is {latency:g} ns; no curve of stored {stored}s is fitted for {self.name} at "
                    f"{wanted.temperature:g} C to extrapolate with"
                )
            ends = (
                max((getattr(point, stored)[0] for point in milder), default=0.0),
                min((getattr(point, stored)[1] for point in harsher), default=1.0),
            )
            intervals[stored] = (min(ends), max(ends))
        errors = with_rates((harsher or milder)[0].errors, rates["zero"], rates["one"])
        return Answer.model_validate(
            {
                **dict(wanted),
                "errors": errors,
                "zero": around(intervals["zero"], errors.ber_zero),
                "one": around(intervals["one"], errors.ber_one),
                "readings": (0, 0),
                "dispersion": 0.0,
                "dispersion_fitted": False,
                "basis": basis if used else "bound",
            }
        )

    def _curve(self, parameter: str, stored: str, temperature: float) -> FittedCurve | None:
        for curve in self.curves:
            if (curve.parameter, curve.stored, curve.temperature) == (parameter, stored, temperature):
                return curve
        return None

    def errors(self, **point: Unpack[PointArguments]) -> ErrorModel:
        """The error model at an operating point: that of ``point``, which takes the same arguments."""
        return self.point(**point).errors

    def _check_range(self, wanted: OperatingPoint, points: Sequence[FittedPoint]) -> None:
        nominal = self.points[0]
        off = off_nominal(nominal, wanted)
        where = f"{self.name} at {wanted.temperature:g} C"
        for along in AXES:
            value = getattr(wanted, along.name)
            # One parameter alone has the range of its own sweep.
            known = self.sweep(along.name, wanted.temperature) if off in ((), (along.name,)) else points
            grid = sorted({getattr(point, along.name) for point in known})
            if along.name not in off and not math.isnan(value) and off:
                continue
            if not grid:
                raise ValueError(
                    f"{along.name} is {value} {along.unit}; nothing is fitted for {where}{self._gaps(along, wanted)}"
                )
            if grid[0] - _SAME <= value <= grid[-1] + _SAME:
                continue
            if len(grid) == 1 and grid[0] == getattr(nominal, along.name) and not self._gaps(along, wanted):
                why = "it is kept at its nominal operating point" if self.nominal else "no other was measured"
                raise ValueError(
                    f"{along.name} is {value} {along.unit}; allowed for {where} is {grid[0]:g} {along.unit} (nominal): "
                    f"{why}"
                )
            raise ValueError(
                f"{along.name} is {value} {along.unit}; allowed for {where} is {grid[0]:g} to {grid[-1]:g} "
                f"{along.unit}{self._gaps(along, wanted)}"
            )

    def _gaps(self, along: _Axis, wanted: OperatingPoint) -> str:
        nominal = self.points[0]
        return "".join(
            f"; {getattr(gap, along.name):g} {along.unit} is left out: {gap.reason}"
            for gap in self.left_out
            if gap.temperature == wanted.temperature and set(off_nominal(nominal, gap)) <= {along.name}
        )

    def _check_gaps(self, wanted: OperatingPoint, bound: FittedPoint, points: Iterable[FittedPoint]) -> None:
        """Refuse what lies in a region whose measurements were left out: between them and the next measured points."""
        if as_harsh(wanted, bound):
            return
        milder = [point for point in points if as_harsh(wanted, point)]
        nearest = [
            point for point in milder if not any(as_harsh(other, point) for other in milder if other is not point)
        ]
        for gap in self.left_out:
            if gap.temperature != wanted.temperature or not as_harsh(bound, gap):
                continue
            for point in nearest:
                if as_harsh(gap, point):
                    off = off_nominal(self.points[0], wanted)
                    raise ValueError(
                        f"{_values(wanted, off, ' is')}; allowed for {self.name} at {wanted.temperature:g} C is what "
                        f"lies outside of the region from {_values(point, off)} to {_values(bound, off)}, because "
                        f"{_values(gap, off)} in it is left out: {gap.reason}"
                    )
