"""A device: fitted error models per operating point, with its geometry and its partitions, in one readable file."""

from __future__ import annotations

import importlib.resources
import itertools
import math
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from eden import _core, geometry
from eden.errors import ErrorModel, LineModel
from eden.files import VersionedFile

# Latencies are printed with a few digits; a nanosecond's billionth is no difference.
_SAME = 1e-9


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


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True)


class Source(_Part):
    """Where a device's figures come from.

    Attributes:
        text: what was measured and by whom.
        licence: the licence of the measurements.
        citation: how to cite them.
        file: the file that was fitted, and its format.
        module: the module's label there.
        vendor: the vendor's label there, or None.

    """

    text: str
    licence: str
    citation: str
    file: str
    module: str
    vendor: str | None


class Geometry(_Part):
    """Size and shape of the device.

    Attributes:
        banks: number of banks.
        cells_per_bank: number of cells, each of one bit, of a bank.
        row_bits: cells of a row (wordline) of a bank.
        subarray_rows: rows of a subarray.

    """

    banks: Annotated[Whole, pydantic.Field(ge=1)]
    cells_per_bank: Annotated[Whole, pydantic.Field(ge=8)]
    row_bits: Annotated[Whole, pydantic.Field(ge=1)]
    subarray_rows: Annotated[Whole, pydantic.Field(ge=1)]

    def agrees(self, other: geometry.Geometry) -> bool:
        """Whether an error model's geometry is that of this device; how many ranks there are is not compared."""
        return (other.banks, other.bank_rows * other.row_bits, other.row_bits, other.subarray_rows) == (
            self.banks,
            self.cells_per_bank,
            self.row_bits,
            self.subarray_rows,
        )


class OperatingPoint(_Part):
    """How a memory is operated.

    Attributes:
        vdd: supply voltage in V.
        trcd: row activation latency tRCD in ns.
        trp: precharge latency tRP in ns.
        temperature: in degrees Celsius.
        refresh_interval: in ms.

    """

    vdd: Annotated[Number, pydantic.Field(gt=0.0)]
    trcd: Annotated[Number, pydantic.Field(gt=0.0)]
    trp: Annotated[Number, pydantic.Field(gt=0.0)]
    temperature: Annotated[Number, pydantic.Field(ge=-273.15)]
    refresh_interval: Annotated[Number, pydantic.Field(gt=0.0)]

    def __str__(self) -> str:
        return f"tRCD {self.trcd:g} ns, tRP {self.trp:g} ns, {self.temperature:g} C, {self.vdd:g} V"


class FittedPoint(OperatingPoint):
    """An operating point with the error model that was fitted there.

    Attributes:
        errors: the error model.
        zero: 95% interval of the rate of stored zeros.
        one: 95% interval of the rate of stored ones.
        readings: numbers of readings of stored zeros and of stored ones; 0 at a nominal point that is taken from the
            specification.
        dispersion: variance of the logarithm of the odds between readings.
        dispersion_fitted: whether these readings told the dispersion, or it was borrowed from other points.

    """

    errors: Errors
    zero: Interval
    one: Interval
    readings: tuple[Annotated[Whole, pydantic.Field(ge=0)], Annotated[Whole, pydantic.Field(ge=0)]]
    dispersion: Annotated[Number, pydantic.Field(ge=0.0)]
    dispersion_fitted: Flag

    @pydantic.model_validator(mode="after")
    def _intervals_hold_their_rates(self) -> Self:
        for name, rate, (low, high) in (
            ("zero", self.errors.ber_zero, self.zero),
            ("one", self.errors.ber_one, self.one),
        ):
            if not low <= rate <= high:
                raise ValueError(f"{name} is [{low:g}, {high:g}]; allowed is an interval that holds the rate {rate:g}")
        return self


class LeftOut(_Part):
    """A measured operating point that is not offered, and why.

    Attributes:
        trcd: in ns.
        trp: in ns.
        temperature: in degrees Celsius.
        reason: why.

    """

    trcd: Number
    trp: Number
    temperature: Number
    reason: str


class Measured(_Part):
    """All readings of one condition, over the tested banks of the whole module.

    Attributes:
        trcd: in ns.
        trp: in ns.
        temperature: in degrees Celsius.
        pattern: the byte that was stored, such as ``0xff``.
        readings: their number.
        rate: mean bit error rate, by maximum likelihood.
        low: lower end of its 95% interval.
        high: upper end of its 95% interval.
        least: rate of the best reading.
        most: rate of the worst reading.
        predicted: what the fitted rates of zeros and ones say of this pattern, None where there is no fit.

    """

    trcd: Number
    trp: Number
    temperature: Number
    pattern: Annotated[str, pydantic.Field(pattern=r"^0x[0-9a-f]{1,2}$")]
    readings: Annotated[Whole, pydantic.Field(ge=1)]
    rate: Probability
    low: Probability
    high: Probability
    least: Probability
    most: Probability
    predicted: Probability | None

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.rate <= self.high or not self.least <= self.most:
            raise ValueError(
                f"rate {self.rate:g} of interval [{self.low:g}, {self.high:g}] and readings from {self.least:g} to "
                f"{self.most:g}; allowed is low <= rate <= high and least <= most"
            )
        return self


class FitRow(_Part):
    """One model's fit at one operating point, or the sum over all points.

    Attributes:
        model: ``uniform`` (Model 0) or ``data_dependent`` (Model 3).
        trcd: in ns, None in the sum.
        trp: in ns, None in the sum.
        temperature: in degrees Celsius, None in the sum.
        parameters: number of fitted parameters.
        observations: number of readings.
        log_likelihood: natural logarithm of the likelihood at its maximum.
        bic: Bayesian information criterion, smaller is better.

    """

    model: Literal["uniform", "data_dependent"]
    trcd: Number | None
    trp: Number | None
    temperature: Number | None
    parameters: Annotated[Whole, pydantic.Field(ge=1)]
    observations: Annotated[Whole, pydantic.Field(ge=1)]
    log_likelihood: Number
    bic: Number


def _sort_key(nominal: OperatingPoint, point: OperatingPoint) -> tuple[float, bool, bool, float]:
    """Nominal first, then tRCD and then tRP from mild to harsh; by temperature before all."""
    off_trcd, off_trp = point.trcd != nominal.trcd, point.trp != nominal.trp
    return (point.temperature, off_trcd or off_trp, off_trp, -point.trp if off_trp else -point.trcd)


class Partition(_Part):
    """A part of a device that has an operating point of its own.

    Attributes:
        name: its name, such as ``bank3``.
        capacity_bytes: its size in bytes.
        nominal: whether it is kept at its nominal operating point, where it makes no errors.
        points: the operating points it may be run at: nominal first, then shorter tRCD, then shorter tRP, from mild to
            harsh, all at the device's temperature.
        points_at_other_temperatures: the same at other measured temperatures, which are not for choosing.
        left_out: measured operating points that are not offered.

    """

    name: Annotated[str, pydantic.Field(min_length=1)]
    capacity_bytes: Annotated[Whole, pydantic.Field(gt=0)]
    nominal: Flag
    points: Annotated[tuple[FittedPoint, ...], pydantic.Field(min_length=1)]
    points_at_other_temperatures: tuple[FittedPoint, ...]
    left_out: tuple[LeftOut, ...]

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
            keys = [_sort_key(nominal, point) for point in points]
            if any(after <= before for before, after in itertools.pairwise(keys)):
                raise ValueError(
                    f"points of {self.name} are not sorted or repeat; allowed is by temperature, nominal first, then "
                    "tRCD and then tRP from mild to harsh, each once"
                )
            for point in points:
                self._check_point(nominal, point)
        for temperature in self.temperatures:
            for parameter in ("trcd", "trp"):
                self._check_monotone(self._sweep(parameter, temperature))
        if self.nominal and (len(self.points) > 1 or nominal.errors.ber_zero > 0 or nominal.errors.ber_one > 0):
            raise ValueError(f"partition {self.name} is nominal; allowed is its nominal point alone, with BER 0")
        return self

    def _check_point(self, nominal: FittedPoint, point: FittedPoint) -> None:
        if point.vdd != nominal.vdd or point.refresh_interval != nominal.refresh_interval:
            raise ValueError(
                f"points of {self.name}: found {point.vdd:g} V and {point.refresh_interval:g} ms; allowed are the "
                f"nominal {nominal.vdd:g} V and {nominal.refresh_interval:g} ms, the only ones measured"
            )
        if point.trcd > nominal.trcd or point.trp > nominal.trp:
            raise ValueError(f"points of {self.name}: found {point}; allowed is nominal ({nominal}) first, or harsher")
        if point.trcd != nominal.trcd and point.trp != nominal.trp:
            raise ValueError(f"points of {self.name}: found {point}; allowed is one latency below nominal, not both")

    def _check_monotone(self, points: list[FittedPoint]) -> None:
        for mild, harsh in itertools.pairwise(points):
            if harsh.errors.ber_zero < mild.errors.ber_zero or harsh.errors.ber_one < mild.errors.ber_one:
                raise ValueError(
                    f"points of {self.name}: the rates at {harsh} are below those at {mild}, a milder point"
                )

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Temperatures in degrees Celsius at which there are fitted points, in increasing order."""
        return tuple(sorted({point.temperature for point in (*self.points, *self.points_at_other_temperatures)}))

    def _sweep(self, parameter: str, temperature: float) -> list[FittedPoint]:
        """The points along one latency, from nominal or the mildest to the harshest."""
        nominal = self.points[0]
        other = "trp" if parameter == "trcd" else "trcd"
        return [
            point
            for point in (*self.points, *self.points_at_other_temperatures)
            if point.temperature == temperature and getattr(point, other) == getattr(nominal, other)
        ]

    def errors(
        self,
        *,
        vdd: float | None = None,
        trcd: float | None = None,
        trp: float | None = None,
        temperature: float | None = None,
        refresh_interval: float | None = None,
    ) -> ErrorModel:
        """The error model at an operating point; what is not given is nominal, or the device's temperature.

        At a measured point it is the fitted model. Between two measured points it is the model of the next harsher one:
        errors only grow as a latency shrinks, so its rates bound those in between from above.

        Args:
            vdd: supply voltage in V.
            trcd: row activation latency in ns.
            trp: precharge latency in ns.
            temperature: in degrees Celsius, one of the measured ones.
            refresh_interval: in ms.

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
        for name, value, unit in (("vdd", vdd, "V"), ("refresh_interval", refresh_interval, "ms")):
            allowed = getattr(nominal, name)
            if value is not None and value != allowed:
                raise ValueError(
                    f"{name} is {value} {unit}; allowed for {self.name} is {allowed:g} {unit} (nominal): no other was "
                    "measured"
                )
        if temperature is None:
            temperature = nominal.temperature
        elif temperature not in self.temperatures:
            raise ValueError(
                f"temperature is {temperature} C; allowed for {self.name} are the measured "
                f"{', '.join(f'{value:g}' for value in self.temperatures)} C"
            )
        trcd = nominal.trcd if trcd is None else trcd
        trp = nominal.trp if trp is None else trp
        off_nominal = [
            name for name, value in (("trcd", trcd), ("trp", trp)) if not abs(value - getattr(nominal, name)) <= _SAME
        ]
        if len(off_nominal) == 2:
            raise ValueError(
                f"trcd is {trcd} ns and trp is {trp} ns; allowed is one of them below nominal ({nominal.trcd:g} and "
                f"{nominal.trp:g} ns): the two were not measured together"
            )
        parameter = off_nominal[0] if off_nominal else "trcd"
        return self._at(parameter, trcd if parameter == "trcd" else trp, temperature)

    def _at(self, parameter: str, value: float, temperature: float) -> ErrorModel:
        sweep = self._sweep(parameter, temperature)
        left_out = [
            point
            for point in self.left_out
            if point.temperature == temperature
            and getattr(point, "trp" if parameter == "trcd" else "trcd")
            == getattr(self.points[0], "trp" if parameter == "trcd" else "trcd")
        ]
        grid = [getattr(point, parameter) for point in sweep]
        where = f"{self.name} at {temperature:g} C"
        reasons = "".join(f"; {getattr(gap, parameter):g} ns is left out: {gap.reason}" for gap in left_out)
        if not grid:
            raise ValueError(f"{parameter} is {value} ns; nothing is fitted for {where}{reasons}")
        if not (min(grid) - _SAME <= value <= max(grid) + _SAME):
            note = "; it is kept at its nominal operating point" if self.nominal else reasons
            raise ValueError(
                f"{parameter} is {value} ns; allowed for {where} is {min(grid):g} to {max(grid):g} ns{note}"
            )
        harsher = next(point for point in sweep if getattr(point, parameter) <= value + _SAME)
        bound = getattr(harsher, parameter)
        milder = min((at for at in grid if at > value + _SAME), default=value)
        if value - bound > _SAME:
            for gap in left_out:
                if bound < getattr(gap, parameter) < milder:
                    raise ValueError(
                        f"{parameter} is {value} ns; allowed for {where} is {min(grid):g} to {max(grid):g} ns without "
                        f"the region between {bound:g} and {milder:g} ns: {gap.reason}"
                    )
        return harsher.errors


class Device(VersionedFile):
    """Error models of a memory per operating point, with its geometry, its partitions and the measurements behind them.

    Attributes:
        name: what the device is called.
        source: where its figures come from.
        geometry: size and shape.
        random_layout: version of the layout of random numbers that its chips are drawn with.
        failure: probability F that a read of a weak cell is inverted.
        model: the kind of the error models: ``uniform`` (Model 0), ``bitline`` (1), ``wordline`` (2),
            ``data_dependent`` (3), or ``cell_map``.
        nominal: the operating point within the specification, at the device's temperature.
        assumptions: what the figures rest on that was not measured, one sentence each.
        notes: what was read, left out and chosen, and why, one sentence each.
        choice: the table behind the choice of the model.
        whole: the whole module as one partition.
        partitions: the parts that a placement may run at points of their own.
        measured: the readings behind the fit, by condition.

    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    FORMAT: ClassVar[str] = "eden-device"
    VERSION: ClassVar[int] = 1

    name: Annotated[str, pydantic.Field(min_length=1)]
    source: Source
    geometry: Geometry
    random_layout: Whole
    failure: Annotated[Number, pydantic.Field(gt=0.0, le=1.0)]
    model: Literal["uniform", "bitline", "wordline", "data_dependent", "cell_map"]
    nominal: OperatingPoint
    assumptions: tuple[str, ...]
    notes: tuple[str, ...]
    choice: tuple[FitRow, ...]
    whole: Partition
    partitions: Annotated[tuple[Partition, ...], pydantic.Field(min_length=1)]
    measured: tuple[Measured, ...]

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.random_layout != _core.RANDOM_LAYOUT_VERSION:
            raise ValueError(
                f"random_layout is {self.random_layout}; allowed is {_core.RANDOM_LAYOUT_VERSION} (this version of "
                "eden's), because chips drawn with another differ"
            )
        names = [partition.name for partition in self.partitions]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"partitions: the name {name!r} occurs twice; allowed is once")
        if not any(partition.nominal for partition in self.partitions):
            raise ValueError("partitions: none is nominal; allowed is one or more that makes no errors")
        capacity = sum(partition.capacity_bytes for partition in self.partitions)
        cells = self.geometry.banks * self.geometry.cells_per_bank
        if capacity * 8 > cells:
            raise ValueError(f"partitions: found {capacity} bytes in all; allowed is {cells // 8}, the geometry's")
        for partition in (self.whole, *self.partitions):
            first = partition.points[0]
            if any(getattr(first, field) != getattr(self.nominal, field) for field in OperatingPoint.model_fields):
                raise ValueError(
                    f"points of {partition.name}: the first is {first}; allowed is nominal ({self.nominal})"
                )
            for point in (*partition.points, *partition.points_at_other_temperatures):
                if self.model != point.errors.KIND or not math.isclose(point.errors.failure, self.failure):
                    raise ValueError(
                        f"points of {partition.name}: found model {point.errors.KIND} with failure "
                        f"{point.errors.failure:g}; allowed is the device's {self.model} with {self.failure:g}"
                    )
                if isinstance(point.errors, LineModel) and not self.geometry.agrees(point.errors.geometry):
                    raise ValueError(
                        f"points of {partition.name}: found an error model of {point.errors.geometry}; allowed is the "
                        f"device's geometry ({self.geometry})"
                    )
        return self

    @classmethod
    def builtin(cls, name: str) -> Device:
        """A device of the catalogue that ships with the package.

        Raises:
            ValueError: for an unknown name, listing those there are.

        """
        names = cls.builtin_names()
        if name not in names:
            raise ValueError(f"no built-in device {name!r}; there are: {', '.join(names)}")
        with importlib.resources.as_file(importlib.resources.files("eden.catalogue") / f"{name}.json") as path:
            return cls.load(path)

    @staticmethod
    def builtin_names() -> tuple[str, ...]:
        """Names of the devices that ship with the package."""
        files = importlib.resources.files("eden.catalogue").iterdir()
        return tuple(sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json")))

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Temperatures in degrees Celsius that ``errors`` knows, in increasing order."""
        return self.whole.temperatures

    def partition(self, name: str) -> Partition:
        """A partition by its name. Raises ValueError for an unknown one, listing those there are."""
        for partition in self.partitions:
            if partition.name == name:
                return partition
        raise ValueError(
            f"partition is {name!r}; allowed for {self.name} are {', '.join(part.name for part in self.partitions)}"
        )

    def errors(
        self,
        *,
        vdd: float | None = None,
        trcd: float | None = None,
        trp: float | None = None,
        temperature: float | None = None,
        refresh_interval: float | None = None,
        partition: str | None = None,
    ) -> ErrorModel:
        """The error model of the whole module, or of one partition, at an operating point.

        What is not given is nominal; the temperature is then the device's (``nominal.temperature``, the highest one
        measured unless the fit was told otherwise). At a measured point it is the fitted model, between two the one of
        the next harsher, which bounds the rates in between from above.

        Args:
            vdd: supply voltage in V.
            trcd: row activation latency in ns.
            trp: precharge latency in ns.
            temperature: in degrees Celsius, one of ``temperatures``.
            refresh_interval: in ms.
            partition: name of a partition; the whole module if None.

        Raises:
            ValueError: naming the parameter, what was found and what is allowed.

        """
        part = self.whole if partition is None else self.partition(partition)
        return part.errors(vdd=vdd, trcd=trcd, trp=trp, temperature=temperature, refresh_interval=refresh_interval)

    def curve(
        self, parameter: Literal["trcd", "trp"] = "trcd", temperature: float | None = None, partition: str | None = None
    ) -> list[FittedPoint]:
        """The fitted points along one latency, from mild to harsh, for plotting.

        Raises:
            ValueError: for another parameter, an unknown partition or temperature.

        """
        if parameter not in ("trcd", "trp"):
            raise ValueError(f"parameter is {parameter!r}; allowed are trcd and trp")
        part = self.whole if partition is None else self.partition(partition)
        temperature = self.nominal.temperature if temperature is None else temperature
        if temperature not in part.temperatures:
            raise ValueError(f"temperature is {temperature} C; allowed are {', '.join(map(str, part.temperatures))} C")
        return part._sweep(parameter, temperature)

    def measured_curve(
        self, parameter: Literal["trcd", "trp"] = "trcd", temperature: float | None = None
    ) -> list[Measured]:
        """The measured conditions along one latency, from mild to harsh and by pattern, those left out included.

        Raises:
            ValueError: for another parameter.

        """
        if parameter not in ("trcd", "trp"):
            raise ValueError(f"parameter is {parameter!r}; allowed are trcd and trp")
        other = "trp" if parameter == "trcd" else "trcd"
        temperature = self.nominal.temperature if temperature is None else temperature
        rows = [
            row
            for row in self.measured
            if row.temperature == temperature and getattr(row, other) == getattr(self.nominal, other)
        ]
        return sorted(rows, key=lambda row: (-getattr(row, parameter), int(row.pattern, 16)))

    def describe(self) -> str:
        """What the device is and what it rests on, for a terminal."""
        size = sum(partition.capacity_bytes for partition in self.partitions) / 2**20
        lines = [
            f"{self.name}: {self.source.text}",
            f"  source      {self.source.citation or self.source.file} (licence: {self.source.licence})",
            f"  size        {size:g} MiB in {len(self.partitions)} partitions, {self.geometry.banks} banks of "
            f"{self.geometry.cells_per_bank} cells",
            f"  model       {self.model}, failure F = {self.failure:g}",
            f"  nominal     {self.nominal}, refresh {self.nominal.refresh_interval:g} ms",
            "",
            "  whole module            BER zeros  [95% interval]            BER ones   [95% interval]       readings",
        ]
        for point in self.whole.points:
            lines.append(
                f"  tRCD {point.trcd:5g} tRP {point.trp:5g}   {point.errors.ber_zero:9.3g}  "
                f"{f'[{point.zero[0]:.3g}, {point.zero[1]:.3g}]':24}  {point.errors.ber_one:9.3g}  "
                f"{f'[{point.one[0]:.3g}, {point.one[1]:.3g}]':22} {point.readings[0]} and {point.readings[1]}"
            )
        lines += [
            f"  left out: tRCD {gap.trcd:g} tRP {gap.trp:g}, {gap.temperature:g} C: {gap.reason}"
            for gap in self.whole.left_out
        ]
        lines.append("")
        for partition in self.partitions:
            kind = "nominal only" if partition.nominal else f"{len(partition.points)} points"
            worst = max((point.errors.ber for point in partition.points), default=0.0)
            lines.append(
                f"  {partition.name:8} {partition.capacity_bytes / 2**20:g} MiB, {kind}, BER 0 to {worst:.3g}, "
                f"{len(partition.left_out)} left out"
            )
        lines += ["", "  assumptions:", *(f"  - {text}" for text in self.assumptions)]
        return "\n".join(lines)
