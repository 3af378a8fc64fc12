"""Partitions of a memory: the operating points that a part of it may be run at, each with its error model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self, TypedDict, Unpack

import pydantic

from eden.common.checks import around, at_most
from eden.common.files import FiniteRecord
from eden.devices.between import log_odds, multilinear
from eden.devices.curves.rates import Formula
from eden.devices.likelihoods.odds import logistic
from eden.memory.errors import ErrorModel, RatesByValue, Uniform

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
    tras: Annotated[Number, pydantic.Field(gt=0.0)] | None = None
    """Row active time tRAS in ns, from opening a row to closing it; None: not stated, and kept as specified."""

    @pydantic.model_serializer(mode="wrap")
    def _without_what_is_not_stated(self, handler: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if self.tras is None:  # files of memories whose tRAS nobody stated are as they were
            del fields["tras"]
        return fields

    def __str__(self) -> str:
        return (
            f"tRCD {self.trcd:g} ns, tRP {self.trp:g} ns, "
            + ("" if self.tras is None else f"tRAS {self.tras:g} ns, ")
            + f"{self.temperature:g} C, {self.vdd:g} V, refresh {self.refresh_interval:g} ms"
        )


class PointArguments(TypedDict, total=False):
    """The arguments of ``Partition.point``."""

    vdd: float | None
    trcd: float | None
    trp: float | None
    temperature: float | None
    refresh_interval: float | None
    tras: float | None
    between: Literal["bound", "curve"]
    extrapolate: bool


class Axis(NamedTuple):
    """A parameter that a memory is run harder by: its name, unit, and the sign in which it is harsher."""

    name: Literal["vdd", "trcd", "trp", "refresh_interval", "tras"]
    unit: str
    harsher: Literal[-1, 1]
    title: str

    def harshness(self, point: OperatingPoint) -> float:
        """A point's value with the sign in which it is harsher; 0 where no point of its device states one."""
        value: float | None = getattr(point, self.name)
        return 0.0 if value is None else self.harsher * value

    def need(self, value: float) -> float:
        """The value on the scale on which the needs of cells are spread about their mean, the larger the milder.

        Latencies and voltages as they are; of a refresh interval, less its logarithm, since retention times are
        lognormal.
        """
        return value if self.harsher < 0 else -math.log(value)

    def value(self, need: float) -> float:
        """The value of a need."""
        if self.harsher < 0:
            return need
        return math.exp(-need) if need > -700.0 else math.inf


# In the order in which points are listed: those off nominal in tRCD alone, in tRP alone, in both, and so on.
AXES = (
    Axis(name="trcd", unit="ns", harsher=-1, title="row activation latency tRCD"),
    Axis(name="trp", unit="ns", harsher=-1, title="precharge latency tRP"),
    Axis(name="vdd", unit="V", harsher=-1, title="supply voltage VDD"),
    Axis(name="refresh_interval", unit="ms", harsher=1, title="refresh interval"),
    Axis(name="tras", unit="ns", harsher=-1, title="row active time tRAS"),
)


def shares_between(along: Axis, value: float, mild: float, harsh: float) -> float:
    """How far a value lies from a milder to a harsher one, 0 to 1, in the cells' needs."""
    first, last = along.need(mild), along.need(harsh)
    return min(max((along.need(value) - first) / (last - first), 0.0), 1.0) if last != first else 1.0


def axis(name: str) -> Axis:
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
    return tuple(axis.name for axis in AXES if abs(axis.harshness(point) - axis.harshness(nominal)) > _SAME)


def _values(point: OperatingPoint, names: Iterable[str], verb: str = "") -> str:
    return " and ".join(
        f"{along.name}{verb} {getattr(point, along.name):g} {along.unit}" for along in AXES if along.name in names
    )


def sort_key(nominal: OperatingPoint, point: OperatingPoint) -> tuple[float, ...]:
    """By temperature; nominal first, then by the parameters that are off nominal, each from mild to harsh."""
    off = off_nominal(nominal, point)
    which = sum(1 << i for i, axis in enumerate(AXES) if axis.name in off)
    return (point.temperature, which, *(axis.harshness(point) for axis in AXES))


class Alone(Part):
    """The rate of a stored value with its 95% interval, from readings in which all cells stored it."""

    rate: Probability
    """The estimate."""
    low: Probability
    """Lower end."""
    high: Probability
    """Upper end."""

    def with_margin(self, factor: float) -> Alone:
        """The same with all multiplied, up to 1."""
        return Alone(**{name: min(getattr(self, name) * factor, 1.0) for name in ("rate", "low", "high")})


class WorstPattern(Part):
    """A pattern of zeros and ones that fails more often than the rates of each value alone say.

    A point's rates are raised to it: their odds are multiplied by one number, since what neighbours store moves the
    needs of cells of both values alike.
    """

    pattern: Annotated[str, pydantic.Field(min_length=1)]
    """The byte that was stored, such as ``0xaa``: of those that were read there or at a milder point, the worst."""
    readings: Annotated[Whole, pydantic.Field(ge=1)]
    """Its readings; of a vendor's device, modules that were read with such patterns."""
    rate: Probability
    """Its bit error rate; of a vendor's device, the median module's."""
    low: Probability
    """Lower end of the rate's 95% interval."""
    high: Probability
    """Upper end, which the upper ends of the point's rates hold."""
    zero: Alone
    """Zeros that were stored alone."""
    one: Alone
    """Ones that were stored alone."""

    def with_margin(self, factor: float) -> WorstPattern:
        """The same with every rate multiplied, up to 1."""
        rates = {name: min(getattr(self, name) * factor, 1.0) for name in ("rate", "low", "high")}
        both = {"zero": self.zero.with_margin(factor), "one": self.one.with_margin(factor)}
        return self.model_copy(update={**rates, **both})

    def __str__(self) -> str:
        return (
            f"pattern {self.pattern} fails at {self.rate:.3g} [{self.low:.3g}, {self.high:.3g}] (read "
            f"{self.readings} times); alone zeros fail at {self.zero.rate:.3g} and ones at {self.one.rate:.3g}"
        )


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
    worst_pattern: WorstPattern | None = None
    """What the rates were raised to: a pattern of both values that fails more often than zeros and ones alone say; None
    where none that was read does, or none was read."""

    @pydantic.model_validator(mode="after")
    def _intervals_hold_their_rates(self) -> Self:
        for name, rate, (low, high) in (
            ("zero", self.errors.ber_zero, self.zero),
            ("one", self.errors.ber_one, self.one),
        ):
            if not (at_most(low, rate, _OPERATIONS) and at_most(rate, high, _OPERATIONS)):
                raise ValueError(f"{name} is [{low:g}, {high:g}]; allowed is an interval that holds the rate {rate:g}")
        return self

    def raised_by_pattern(self, stored: Literal["zero", "one"], rate: float) -> float:
        """A rate of a stored value, alone, raised as this point's is to its worst pattern."""
        if self.worst_pattern is None:
            return rate
        alone, raised = getattr(self.worst_pattern, stored).rate, getattr(self.errors, f"ber_{stored}")
        if alone <= 0.0 or rate <= 0.0:
            return max(rate, raised if alone <= 0.0 else 0.0)
        return logistic(log_odds(rate) + log_odds(raised) - log_odds(alone))

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
        worst = None if self.worst_pattern is None else self.worst_pattern.with_margin(factor)
        return self.model_copy(update={"errors": errors, "worst_pattern": worst, **intervals})


class Answer(FittedPoint):
    """What a partition answers at an operating point: the error model there, with intervals."""

    basis: str
    """``"measured"``: the fitted point itself; ``"bound"``: the least harsh measured point that is as harsh in every
    parameter; ``"curve"``: a fitted curve between two measured points; ``"interpolated"``: log-odds that are linear
    between measured points; ``"extrapolated"``: a fitted curve beyond them. Where the values differ, such as ``"zeros:
    bound, ones: curve"``; with ``", joined"`` where a voltage curve was joined to it, and with ``", between 50 and 70
    C"`` where the temperature was not measured."""


CurveEnds = tuple[Number | None, Number | None]


class CurveIntervals(Part):
    """95% intervals of the parameters of a curve, of its own link and kind of asymptote; None: an end that is open."""

    location: CurveEnds
    """In ns, V or ms."""
    scale: CurveEnds
    """In ns or V, or of the natural logarithm of the refresh interval; open downwards where a step would describe the
    readings as well."""
    asymptote: CurveEnds
    """Share of the cells that can fail; (1, 1) where it was not fitted."""


class FittedCurve(Part):
    """The bit error rate of one stored value along one parameter: asymptote G((location - value) / scale).

    Of refresh intervals it is asymptote G((ln value - ln location) / scale).
    """

    parameter: Literal["trcd", "trp", "vdd", "refresh_interval", "tras"]
    """The parameter: ``trcd``, ``trp``, ``vdd``, ``refresh_interval`` or ``tras``."""
    stored: Literal["zero", "one"]
    """The stored value."""
    temperature: Number
    """In degrees Celsius."""
    mildest: Number
    """The mildest value in ns, V or ms, of those with errors, that it was fitted to; between this and the next milder
    point monotony alone bounds the rate."""
    harshest: Number
    """The harshest one."""
    link: Literal["probit", "logit"]
    """G, ``probit`` (the normal distribution function) or ``logit`` (the logistic one)."""
    location: Number
    """Value in ns, V or ms at which half of the asymptote is reached."""
    scale: Annotated[Number, pydantic.Field(gt=0.0)]
    """Spread of the cells' needs in ns or V, or of the natural logarithm of their retention times."""
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

    @pydantic.model_validator(mode="after")
    def _times_have_logarithms(self) -> Self:
        for name in ("location", "mildest", "harshest"):
            if axis(self.parameter).harsher > 0 and getattr(self, name) <= 0.0:
                raise ValueError(f"{name} is {getattr(self, name):g} ms; allowed is above 0")
        return self

    @property
    def open(self) -> tuple[str, ...]:
        """The parameters that the measurements do not bound on both sides."""
        return tuple(name for name, ends in self.intervals or () if None in ends)

    def covers(self, value: float) -> bool:
        """Whether a value in ns, V or ms lies between the mildest and the harshest one."""
        need = axis(self.parameter).need
        return need(self.harshest) - _SAME <= need(value) <= need(self.mildest) + _SAME

    def rate(self, value: float) -> float:
        """The bit error rate at a value in ns, V or ms, inside what was measured or not."""
        along = axis(self.parameter)
        formula = Formula(self.link, along.need(self.location), self.scale, self.asymptote)
        return min(formula.rate(along.need(value)) * self.factor, 1.0)

    def between(self, value: float, mild: tuple[float, float], harsh: tuple[float, float]) -> float:
        """The rate between two points (value, rate) that it covers, equal to theirs at both.

        Its log-odds run from the milder point's to the harsher one's as the curve's own do.
        """
        return multilinear([self.share(value, mild[0], harsh[0])], {(0,): mild[1], (1,): harsh[1]})

    def share(self, value: float, mild: float, harsh: float) -> float:
        """How far the curve's log-odds have risen at a value between two that it covers, 0 to 1."""
        first, last = (log_odds(self.rate(place)) for place in (mild, harsh))
        if last <= first:
            return shares_between(axis(self.parameter), value, mild, harsh)
        return min(max((log_odds(self.rate(value)) - first) / (last - first), 0.0), 1.0)


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

    def row(self, vdd: float, between: Literal["bound", "curve"] = "bound") -> VoltageRow:
        """The row of a voltage.

        Between two rows it is the lower one's, whose rate bounds it from above; with ``between="curve"`` its log-odds
        are linear in the voltage where both have errors.

        Raises:
            ValueError: outside of the rows.

        """
        if not self.rows[-1].vdd - _SAME <= vdd <= self.rows[0].vdd + _SAME:
            raise ValueError(
                f"vdd is {vdd:g} V; allowed for the voltage curve of vendor {self.vendor} is {self.rows[-1].vdd:g} to "
                f"{self.rows[0].vdd:g} V"
            )
        index = next(i for i, row in enumerate(self.rows) if row.vdd <= vdd + _SAME)
        harsh, mild = self.rows[index], self.rows[max(index - 1, 0)]
        if between == "bound" or mild.ber == 0.0 or abs(vdd - harsh.vdd) <= _SAME:
            return harsh
        share = shares_between(axis("vdd"), vdd, mild.vdd, harsh.vdd)
        ber = multilinear([share], {(0,): mild.ber, (1,): harsh.ber})
        return VoltageRow(vdd=vdd, ber=ber, low=min(mild.low, ber), high=max(harsh.high, ber))


def with_rates(model: ErrorModel, zero: float, one: float) -> ErrorModel:
    """An error model of the same kind with other rates; of kinds without a rate for each value, with the higher."""
    zero, one = min(zero, model.failure), min(one, model.failure)
    if isinstance(model, RatesByValue):
        return model.with_rates(zero, one)
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
    return point.model_copy(update={"vdd": row.vdd, "errors": errors, "worst_pattern": None, **intervals})


def _answer_of(
    wanted: OperatingPoint, errors: ErrorModel, intervals: dict[str, tuple[float, float]], basis: str
) -> Answer:
    return Answer.model_validate(
        {
            **dict(wanted),
            "errors": errors,
            "zero": around(intervals["zero"], errors.ber_zero),
            "one": around(intervals["one"], errors.ber_one),
            "readings": (0, 0),
            "dispersion": 0.0,
            "dispersion_fitted": False,
            "basis": basis,
        }
    )


def _basis_text(basis: Sequence[str]) -> str:
    """What both values rest on, or each of them."""
    zero, one = basis
    return zero if zero == one else f"zeros: {zero}, ones: {one}"


def _box(
    wanted: OperatingPoint, along: Sequence[Axis], points: Sequence[FittedPoint]
) -> tuple[list[float], dict[tuple[int, ...], FittedPoint]] | None:
    """The measured points around one, by side of each parameter, and how far it lies from the milder sides.

    None where not all combinations of the nearest values around it were measured.
    """
    nominal = points[0]
    known = [point for point in points if set(off_nominal(nominal, point)) <= {one.name for one in along}]
    shares, values = [], []
    for one in along:
        value = getattr(wanted, one.name)
        grid = sorted({getattr(point, one.name) for point in known}, key=lambda at: one.harsher * at)
        milder = [at for at in grid if one.harsher * (value - at) >= -_SAME]
        harsher = [at for at in grid if one.harsher * (at - value) >= -_SAME]
        if not milder or not harsher:
            return None
        values.append((milder[-1], harsher[0]))
        shares.append(shares_between(one, value, milder[-1], harsher[0]))
    corners: dict[tuple[int, ...], FittedPoint] = {}
    for sides in itertools.product((0, 1), repeat=len(along)):
        place = {one.name: pair[side] for one, pair, side in zip(along, values, sides, strict=True)}
        found = [point for point in known if all(getattr(point, name) == value for name, value in place.items())]
        if not found:
            return None
        corners[sides] = found[0]
    return shares, corners


def _between_temperatures(wanted: OperatingPoint, cold: Answer, warm: Answer, between: str) -> Answer:
    """The answer at a temperature between two: the worse rates, or log-odds linear in the temperature."""
    share = (wanted.temperature - cold.temperature) / (warm.temperature - cold.temperature)
    rates, intervals = {}, {}
    for stored in ("zero", "one"):
        ends = [getattr(answer.errors, f"ber_{stored}") for answer in (cold, warm)]
        rates[stored] = max(ends)
        if between == "curve" and min(ends) > 0.0:
            rates[stored] = multilinear([share], {(0,): ends[0], (1,): ends[1]})
        lows, highs = zip(getattr(cold, stored), getattr(warm, stored), strict=True)
        intervals[stored] = (min(lows), max(highs))
    worse = max((cold, warm), key=lambda answer: answer.errors.ber)
    basis = cold.basis if cold.basis == warm.basis else f"{cold.basis} and {warm.basis}"
    return _answer_of(
        wanted,
        with_rates(worse.errors, rates["zero"], rates["one"]),
        intervals,
        f"{basis}, between {cold.temperature:g} and {warm.temperature:g} C",
    )


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
    a longer refresh interval, a shorter tRAS, and several of these together; from mild to harsh, all at the device's
    temperature."""
    points_at_other_temperatures: tuple[FittedPoint, ...]
    """The same at other measured temperatures, which are not for choosing."""
    left_out: tuple[LeftOut, ...]
    """Measured operating points that are not offered."""
    curves: tuple[FittedCurve, ...] = ()
    """The rates along a parameter as fitted curves, where the measurements tell one."""
    # The device's, which it hands to its partitions.
    _voltage: Voltage | None = pydantic.PrivateAttr(default=None)
    # Upper ends are no estimates: between them only a curve that is raised as they are answers.
    _interpolates: bool = pydantic.PrivateAttr(default=True)

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
                if (point.tras is None) != (nominal.tras is None):
                    states = "none" if nominal.tras is None else f"one, as nominal ({nominal.tras:g} ns) has"
                    raise ValueError(f"points of {self.name}: tras is {point.tras} at {point}; allowed is {states}")
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
        tras: float | None = None,
        between: Literal["bound", "curve"] = "bound",
        extrapolate: bool = False,
    ) -> Answer:
        """What is known of an operating point; what is not given is nominal.

        At a measured point it is the fit. Elsewhere it is the least harsh measured point that is as harsh or harsher in
        every parameter: a cell that fails under some stress fails under a larger one, so its rates bound those asked
        for from above. ``between="curve"`` estimates the rates instead, for each stored value: from the measured rates
        on both sides along the fitted curve where it covers both, else with log-odds that are linear in each parameter
        (in the logarithm of the refresh interval); off nominal in several, in how far the curve of each has risen.
        These estimates are continuous and rise as the point gets harsher. Where the milder side has no errors, or was
        not measured in all combinations, the bound stays.

        A voltage below nominal that was not measured here is answered by the device's voltage curve, if it has one,
        joined to the latencies' answer. A temperature between two measured ones has the worse rates of both, or with
        ``between="curve"`` log-odds that are linear between them: what is taken for granted is that rates there lie
        between those at both.

        Args:
            vdd: supply voltage in V.
            trcd: row activation latency in ns.
            trp: precharge latency in ns.
            temperature: in degrees Celsius, from the lowest to the highest measured one; nominal is the device's.
            refresh_interval: in ms.
            tras: row active time in ns.
            between: what answers between measured points.
            extrapolate: answer by the curve beyond the measured latencies and in regions that were left out, too. The
                answer's ``basis`` says so, and nothing vouches for it.

        Raises:
            ValueError: naming the parameter, what was found and what is allowed, outside the fitted range, inside a
                region that was left out, or for a parameter that was not measured.
            TypeError: for what is no number.

        """
        nominal = self.points[0]
        given = {
            "vdd": vdd,
            "trcd": trcd,
            "trp": trp,
            "temperature": temperature,
            "refresh_interval": refresh_interval,
            "tras": tras,
        }
        for name, value in given.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise TypeError(f"{name} is a {type(value).__name__}; allowed is a number")
        if tras is not None and nominal.tras is None:
            raise ValueError(
                f"tras is {tras} ns; allowed for {self.name} is none, because nothing states its tRAS: leave it away "
                "where it is as specified"
            )
        if between not in ("bound", "curve"):
            raise ValueError(f"between is {between!r}; allowed are 'bound' and 'curve'")
        wanted = OperatingPoint.model_construct(
            None, **{name: getattr(nominal, name) if value is None else float(value) for name, value in given.items()}
        )
        known = self.temperatures
        if wanted.temperature in known:
            return self._point(wanted, between, extrapolate)
        if not known[0] < wanted.temperature < known[-1]:
            raise ValueError(
                f"temperature is {temperature} C; allowed for {self.name} are the measured "
                f"{', '.join(f'{value:g}' for value in known)} C"
                + (f" and what lies between {known[0]:g} and {known[-1]:g} C" if len(known) > 1 else "")
            )
        after = next(i for i, value in enumerate(known) if value > wanted.temperature)
        cold, warm = (
            self._point(wanted.model_copy(update={"temperature": value}), between, extrapolate)
            for value in (known[after - 1], known[after])
        )
        return _between_temperatures(wanted, cold, warm, between)

    def _point(self, wanted: OperatingPoint, between: Literal["bound", "curve"], extrapolate: bool) -> Answer:
        """What is known of an operating point at a measured temperature."""
        row = self._voltage_row(wanted, between)
        if row is None:
            return self._answer(wanted, between, extrapolate)
        at_nominal = wanted.model_copy(update={"vdd": self.points[0].vdd})
        answer = self._answer(at_nominal, between, extrapolate)
        joined = _joined(answer, row)
        return Answer.model_validate(
            {**dict(joined), "vdd": wanted.vdd, "basis": f"{answer.basis}, joined"},
        )

    def _voltage_row(self, wanted: OperatingPoint, between: Literal["bound", "curve"]) -> VoltageRow | None:
        """The row that answers for a voltage which was not measured on this device, or None."""
        nominal = self.points[0]
        if self._voltage is None or self.nominal or "vdd" not in off_nominal(nominal, wanted):
            return None
        if any(point.vdd != nominal.vdd for point in self._at(wanted.temperature)):
            return None
        return self._voltage.row(wanted.vdd, between)

    def _answer(self, wanted: OperatingPoint, between: str, extrapolate: bool) -> Answer:
        nominal = self.points[0]
        points, off = self._at(wanted.temperature), off_nominal(nominal, wanted)
        for point in points:
            if as_harsh(point, wanted) and as_harsh(wanted, point):
                return Answer.model_validate({**dict(point), "basis": "measured"})
        if extrapolate and len(off) == 1 and not self._is_inside(wanted, points):
            return self._extrapolated(wanted, axis(off[0]))
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
            return self._between(wanted, off, points, bound)
        return Answer.model_validate({**dict(bound), **dict(wanted), "basis": "bound"})

    def _is_inside(self, wanted: OperatingPoint, points: Sequence[FittedPoint]) -> bool:
        try:
            self._check_range(wanted, points)
            bounds = [point for point in points if as_harsh(point, wanted)]
            self._check_gaps(wanted, min(bounds, key=lambda point: point.errors.ber), points)
        except ValueError:
            return False
        return True

    def _between(
        self, wanted: OperatingPoint, off: Sequence[str], points: Sequence[FittedPoint], bound: FittedPoint
    ) -> Answer:
        """Rates between the measured points around one, along a curve or linear in the log-odds; else the bound's."""
        box = _box(wanted, [axis(name) for name in off], points)
        if box is None:
            return Answer.model_validate({**dict(bound), **dict(wanted), "basis": "bound"})
        shares, corners = box
        mildest, harshest = corners[(0,) * len(off)], corners[(1,) * len(off)]
        rates, basis = self._estimates(wanted, off, shares, corners, bound.errors)
        return _answer_of(
            wanted,
            with_rates(harshest.errors, *rates),
            {name: (getattr(mildest, name)[0], getattr(harshest, name)[1]) for name in ("zero", "one")},
            _basis_text(basis),
        )

    def _estimates(
        self,
        wanted: OperatingPoint,
        off: Sequence[str],
        shares: Sequence[float],
        corners: dict[tuple[int, ...], FittedPoint],
        bound: ErrorModel,
    ) -> tuple[list[float], list[str]]:
        """The rates of zeros and of ones inside a box of measured points, and what each rests on."""
        rates, basis = [bound.ber_zero, bound.ber_one], ["bound", "bound"]
        mildest, harshest = corners[(0,) * len(off)], corners[(1,) * len(off)]
        sides = [
            (name, share, (getattr(mildest, name), getattr(harshest, name)))
            for name, share in zip(off, shares, strict=True)
        ]
        for i, stored in enumerate(("zero", "one")):
            found = {sides: getattr(point.errors, f"ber_{stored}") for sides, point in corners.items()}
            least, most = min(found.values()), max(found.values())
            curve = self._curve(off[0], stored, wanted.temperature) if len(off) == 1 else None
            if least == most or least == 0.0:
                rates[i] = min(rates[i], most)
            elif curve is not None and all(curve.covers(getattr(point, off[0])) for point in corners.values()):
                mild, harsh = ((getattr(corners[side,], off[0]), found[side,]) for side in (0, 1))
                rates[i], basis[i] = curve.between(getattr(wanted, off[0]), mild, harsh), "curve"
            elif self._interpolates:
                # As far as the curve of each parameter alone, so that its edge of the box answers as the curve does.
                risen = [self._risen(name, stored, wanted, *ends) or share for name, share, ends in sides]
                rates[i], basis[i] = multilinear(risen, found), "interpolated"
        return rates, basis

    def _risen(self, parameter: str, stored: str, wanted: OperatingPoint, mild: float, harsh: float) -> float | None:
        """How far the curve along a parameter has risen between two values; None where none covers both."""
        curve = self._curve(parameter, stored, wanted.temperature)
        if curve is None or not (curve.covers(mild) and curve.covers(harsh)):
            return None
        return curve.share(getattr(wanted, parameter), mild, harsh)

    def rates_between(self, parameter: str, value: float, mild: FittedPoint, harsh: FittedPoint) -> tuple[float, float]:
        """The rates of zeros and ones that ``point`` estimates between two neighbours along one parameter.

        Args:
            parameter: the one that is off nominal.
            value: in ns, V or ms, between those of the points.
            mild: the milder measured point.
            harsh: the harsher one.

        """
        share = shares_between(axis(parameter), value, getattr(mild, parameter), getattr(harsh, parameter))
        wanted = point_of(harsh).model_copy(update={parameter: value})
        rates, _ = self._estimates(wanted, (parameter,), (share,), {(0,): mild, (1,): harsh}, harsh.errors)
        errors = with_rates(harsh.errors, *rates)
        return errors.ber_zero, errors.ber_one

    def _extrapolated(self, wanted: OperatingPoint, along: Axis) -> Answer:
        """The curves' rates beyond what was measured or in a region left out, not beyond the nearest points' rates."""
        value = getattr(wanted, along.name)
        sweep = self.sweep(along.name, wanted.temperature)
        milder = [point for point in sweep if as_harsh(wanted, point)]
        harsher = [point for point in sweep if as_harsh(point, wanted)]
        rates, basis, intervals = [], [], {}
        for stored in ("zero", "one"):
            low = max((getattr(point.errors, f"ber_{stored}") for point in milder), default=0.0)
            high = min((getattr(point.errors, f"ber_{stored}") for point in harsher), default=1.0)
            curve = self._curve(along.name, stored, wanted.temperature)
            if curve is not None:
                rates.append(min(max(curve.rate(value), low), high))
                basis.append("extrapolated")
            elif harsher:
                rates.append(high)
                basis.append("bound")
            else:
                raise ValueError(
                    f"{along.name} is {value:g} {along.unit}; no curve of stored {stored}s is fitted for {self.name} "
                    f"at {wanted.temperature:g} C to extrapolate with"
                )
            ends = (
                max((getattr(point, stored)[0] for point in milder), default=0.0),
                min((getattr(point, stored)[1] for point in harsher), default=1.0),
            )
            intervals[stored] = (min(ends), max(ends))
        errors = with_rates((harsher or milder)[0].errors, *rates)
        return _answer_of(wanted, errors, intervals, _basis_text(basis))

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
            if value is None:
                continue
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

    def _gaps(self, along: Axis, wanted: OperatingPoint) -> str:
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
