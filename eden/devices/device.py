"""A device: fitted error models per operating point, with its geometry and its partitions, in one readable file."""

from __future__ import annotations

import dataclasses
import importlib.resources
import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, Unpack

import numpy as np
import pydantic

from eden import _core
from eden.common.checks import at_most, rounding
from eden.common.files import VersionedFile
from eden.common.tables import notebook
from eden.devices import curves
from eden.devices.margin import Margin
from eden.devices.partition import (
    AXES,
    Axis,
    FittedPoint,
    Number,
    OperatingPoint,
    Part,
    Partition,
    PointArguments,
    Probability,
    Voltage,
    Whole,
    as_harsh,
    axis,
    off_nominal,
    with_rates,
)
from eden.devices.upper_rates import Rates, upper
from eden.memory.errors import ErrorModel
from eden.memory.geometry import Geometry
from eden.memory.lines import LineModel
from eden.memory.lines_by_value import LinesByValue


def _to_geometry(value: Any) -> Geometry:
    if isinstance(value, Geometry):
        return value
    try:
        return Geometry.from_dict(value)
    except TypeError as error:
        raise ValueError(str(error)) from error


GeometryField = Annotated[
    Geometry,
    pydantic.PlainValidator(_to_geometry, json_schema_input_type=dict[str, Any]),
    pydantic.PlainSerializer(lambda geometry: geometry.to_dict()),
    pydantic.WithJsonSchema(Geometry.json_schema()),
]


TRAINED_BER = 1e-2
"""Mean bit error rate that trainings reach: the highest at which ``Device.default_point`` takes a point unasked."""

_MARGIN_IS_A_RECORD = (
    "a margin records what the rates were multiplied with, and changes none: allowed is what Device.with_margin makes"
)


def _margin_text(margin: Margin) -> str:
    return f"a margin set by the owner: {margin}"


class Source(Part):
    """Where a device's figures come from."""

    text: str
    """What was measured and by whom."""
    licence: str
    """The licence of the measurements."""
    citation: str
    """How to cite them."""
    file: str
    """The file that was fitted, and its format."""
    module: str
    """The module's label there."""
    vendor: str | None
    """The vendor's label there, or None."""


class Measured(OperatingPoint):
    """All readings of one condition, over the tested banks of the whole module."""

    pattern: Annotated[str, pydantic.Field(pattern=r"^0x[0-9a-f]{1,2}$")]
    """The byte that was stored, such as ``0xff``."""
    readings: Annotated[Whole, pydantic.Field(ge=1)]
    """Their number."""
    rate: Probability
    """Mean bit error rate, by maximum likelihood."""
    low: Probability
    """Lower end of its 95% interval."""
    high: Probability
    """Upper end of its 95% interval."""
    least: Probability
    """Rate of the best reading."""
    most: Probability
    """Rate of the worst reading."""
    predicted: Probability | None
    """What the fitted rates of zeros and ones say of this pattern, None where there is no fit."""

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        if not (at_most(self.low, self.rate) and at_most(self.rate, self.high) and at_most(self.least, self.most)):
            raise ValueError(
                f"rate {self.rate:g} of interval [{self.low:g}, {self.high:g}] and readings from {self.least:g} to "
                f"{self.most:g}; allowed is low <= rate <= high and least <= most"
            )
        return self


class FitRow(Part):
    """One model's fit at one operating point, or the sum over all points."""

    model: Literal["uniform", "bitline", "wordline", "data_dependent", "bitline_by_value", "wordline_by_value"]
    """``uniform`` (Model 0), ``bitline`` (1), ``wordline`` (2), ``data_dependent`` (3), or lines with a rate for each
    stored value, ``bitline_by_value`` and ``wordline_by_value``."""
    point: OperatingPoint | None
    """The operating point, None in the sum."""
    parameters: Annotated[Whole, pydantic.Field(ge=1)]
    """Number of fitted parameters."""
    observations: Annotated[Whole, pydantic.Field(ge=1)]
    """Number of readings."""
    log_likelihood: Number
    """Natural logarithm of the likelihood at its maximum."""
    bic: Number
    """Bayesian information criterion, smaller is better."""


class PopulationKnot(Part):
    """Rates of a vendor's modules at one latency: a normal distribution of their log-odds."""

    parameter: Literal["trcd", "trp"]
    """The latency that is off nominal, ``trcd`` or ``trp``."""
    stored: Literal["zero", "one"]
    """The stored value."""
    latency: Number
    """In ns."""
    modules: Annotated[Whole, pydantic.Field(ge=1)]
    """How many were measured there."""
    failing: Annotated[Whole, pydantic.Field(ge=0)]
    """How many of them have errors."""
    mean: Number | None
    """Of the natural logarithm of the odds; None where none fails."""
    deviation: Annotated[Number, pydantic.Field(ge=0.0)] | None
    """Their standard deviation; None where none fails."""
    dispersion: Annotated[Number, pydantic.Field(ge=0.0)] | None
    """Variance of the log-odds between readings of one module, its median; None where none fails."""
    bound: Probability
    """The largest upper end of a module's rate, for a knot at which none fails."""


class Population(Part):
    """What a vendor's modules have in common and how they differ, from which new modules are drawn."""

    modules: Annotated[tuple[str, ...], pydantic.Field(min_length=2)]
    """Those that were measured."""
    knots: Annotated[tuple[PopulationKnot, ...], pydantic.Field(min_length=1)]
    """By latency, stored value and operating point."""
    correlation: tuple[tuple[Annotated[Number, pydantic.Field(ge=-1.0, le=1.0)], ...], ...]
    """Between the log-odds of the knots that have a mean, in their order."""

    @pydantic.model_validator(mode="after")
    def _is_a_correlation(self) -> Self:
        telling = sum(knot.mean is not None and knot.deviation is not None for knot in self.knots)
        matrix = np.array(self.correlation)
        if matrix.shape != (telling, telling):
            raise ValueError(
                f"correlation has the shape {matrix.shape}; allowed is {(telling, telling)}, of knots with a mean"
            )
        if matrix.size and np.abs(matrix - matrix.T).max() > rounding(1.0, 4):
            raise ValueError("correlation is no symmetric matrix; allowed is one")
        try:
            np.linalg.cholesky(matrix)  # which modules are drawn with
        except np.linalg.LinAlgError as error:
            raise ValueError("correlation is no positive definite matrix; allowed is one") from error
        return self

    def draw(self, seed: int) -> dict[tuple[str, str, float], float]:
        """Rates of a new module by (parameter, stored value, latency); a function of the seed alone.

        Raises:
            ValueError: for a seed outside 0 to 2^64 - 1.

        """
        drawn = curves.Population(
            "population",
            self.modules,
            tuple(
                curves.Knot(
                    f"{knot.parameter} {knot.stored}",
                    knot.latency,
                    knot.modules,
                    knot.failing,
                    knot.mean,
                    knot.deviation,
                    knot.dispersion,
                    knot.bound,
                )
                for knot in self.knots
            ),
            self.correlation,
        ).draw(seed)
        return {
            (*group.split(), at): rate  # type: ignore[misc]
            for group, places in drawn.rates.items()
            for at, rate in places.items()
        }


def _same_arrays(geometry: Geometry, other: Geometry) -> bool:
    """Whether two geometries differ in nothing but how many ranks they count."""
    return dataclasses.replace(geometry, ranks=None) == dataclasses.replace(other, ranks=None)


class Device(VersionedFile):
    """Error models of a memory per operating point, with its geometry, partitions and the measurements behind them."""

    model_config = pydantic.ConfigDict(allow_inf_nan=False)

    FORMAT: ClassVar[str] = "eden-device"
    VERSION: ClassVar[int] = 2

    name: Annotated[str, pydantic.Field(min_length=1)]
    """What the device is called."""
    source: Source
    """Where its figures come from."""
    geometry: GeometryField
    """Size and shape."""
    random_layout: Whole
    """Version of the layout of random numbers that its chips are drawn with."""
    failure: Annotated[Number, pydantic.Field(gt=0.0, le=1.0)]
    """Probability F that a read of a weak cell is inverted."""
    model: Literal[
        "uniform", "bitline", "wordline", "data_dependent", "bitline_by_value", "wordline_by_value", "cell_map"
    ]
    """The kind of the error models: ``uniform`` (Model 0), ``bitline`` (1), ``wordline`` (2), ``data_dependent`` (3),
    ``bitline_by_value`` (1 and 3 together), ``wordline_by_value`` (2 and 3), or ``cell_map``."""
    nominal: OperatingPoint
    """The operating point within the specification, at the device's temperature."""
    margin: Margin = Margin()
    """What its owner added to the rates, which all of them hold."""
    assumptions: tuple[str, ...]
    """What the figures rest on that was not measured, one sentence each."""
    notes: tuple[str, ...]
    """What was read, left out and chosen, and why, one sentence each."""
    choice: tuple[FitRow, ...]
    """The table behind the choice of the model."""
    voltage: Voltage | None = None
    """Rates along the supply voltage from elsewhere, which are joined to those of the latencies; or None."""
    population: Population | None = None
    """Where the device stands for a vendor's modules: the distributions that ``draw`` draws from; or None."""
    whole: Partition
    """The whole module as one partition."""
    partitions: Annotated[tuple[Partition, ...], pydantic.Field(min_length=1)]
    """The parts that a placement may run at points of their own."""
    measured: tuple[Measured, ...]
    """The readings behind the fit, by condition."""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.random_layout != _core.RANDOM_LAYOUT_VERSION:
            raise ValueError(
                f"random_layout is {self.random_layout}; allowed is {_core.RANDOM_LAYOUT_VERSION} (this version of "
                "eden's), because chips drawn with another differ"
            )
        if self.margin.shift:
            raise ValueError(
                f"margin: shift is {self.margin.shift}; allowed is 0, because points stand where they were measured"
            )
        for partition in (self.whole, *self.partitions):
            for curve in partition.curves:
                if curve.factor != self.margin.factor:
                    raise ValueError(
                        f"margin: factor is {self.margin.factor:g}, but a curve of {partition.name} has "
                        f"{curve.factor:g}; {_MARGIN_IS_A_RECORD}"
                    )
        if self.margin.factor != 1.0 and _margin_text(self.margin) not in self.assumptions:
            raise ValueError(
                f"margin: factor is {self.margin.factor:g}, but assumptions do not name it; {_MARGIN_IS_A_RECORD}"
            )
        names = [partition.name for partition in self.partitions]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"partitions: the name {name!r} occurs twice; allowed is once")
        if not any(partition.nominal for partition in self.partitions):
            raise ValueError("partitions: none is nominal; allowed is one or more that makes no errors")
        cells = self.geometry.capacity_bits * (self.geometry.ranks or 1)
        end, before = 0, "the device's beginning"
        for partition in sorted(self.partitions, key=lambda part: part.address):
            if partition.address < end:
                raise ValueError(f"partition {partition.name} begins at bit {partition.address}, inside {before}")
            end, before = partition.address + 8 * partition.capacity_bytes, partition.name
        if end > cells:
            raise ValueError(f"partition {before} ends at bit {end}; allowed is {cells}, where the geometry ends")
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
                lines = point.errors if isinstance(point.errors, (LineModel, LinesByValue)) else None
                if lines is not None and not _same_arrays(self.geometry, lines.geometry):
                    raise ValueError(
                        f"points of {partition.name}: found an error model of {lines.geometry}; allowed is the "
                        f"device's geometry ({self.geometry})"
                    )
        if self.voltage is not None and abs(self.voltage.rows[0].vdd - self.nominal.vdd) > 1e-9:
            raise ValueError(
                f"voltage: the first row is {self.voltage.rows[0].vdd:g} V; allowed is nominal ({self.nominal.vdd:g} V)"
            )
        for partition in (self.whole, *self.partitions):
            partition._voltage = self.voltage
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
        with importlib.resources.as_file(importlib.resources.files("eden.devices.catalogue") / f"{name}.json") as path:
            return cls.load(path)

    @staticmethod
    def builtin_names() -> tuple[str, ...]:
        """Names of the devices that ship with the package."""
        files = importlib.resources.files("eden.devices.catalogue").iterdir()
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

    def errors(self, *, partition: str | None = None, **point: Unpack[PointArguments]) -> ErrorModel:
        """The error model of the whole module, or of one partition, at an operating point.

        What is not given is nominal; the temperature is then the device's (``nominal.temperature``, the highest one
        measured unless the fit was told otherwise). At a measured point it is the fitted model; elsewhere that of the
        least harsh measured point that is as harsh or harsher in every parameter, which bounds the rates from above.
        ``Partition.point`` takes the same arguments and also tells the intervals and what the answer rests on.

        Args:
            partition: name of a partition; the whole module if None.
            point: ``vdd`` in V, ``trcd``, ``trp`` and ``tras`` in ns, ``temperature`` in degrees Celsius (one of
                ``temperatures``, or between two), ``refresh_interval`` in ms; ``between``: what answers between
                measured points, the harsher one's rates (``"bound"``, the default) or an estimate along curves
                (``"curve"``); ``extrapolate``: answer by the curve beyond what was measured, too.

        Raises:
            ValueError: naming the parameter, what was found and what is allowed.

        """
        return self._part(partition).errors(**point)

    def _part(self, name: str | None) -> Partition:
        return self.whole if name is None else self.partition(name)

    def walk(
        self,
        *,
        trcd: float | None = None,
        trp: float | None = None,
        vdd: float | None = None,
        refresh_interval: float | None = None,
        tras: float | None = None,
        steps: int | None = None,
        temperature: float | None = None,
        partition: str | None = None,
    ) -> list[ErrorModel]:
        """The error models along one parameter, from nominal down to a value, for a curriculum to walk.

        Without ``steps`` these are the points that the device was fitted at (of VDD, the rows of its voltage curve).
        With ``steps`` they are as many evenly spaced values after nominal, each answered by the fitted curve where the
        measurements tell one. Points without errors are left out.

        Args:
            trcd: row activation latency in ns to walk to; exactly one of the five parameters is given.
            trp: precharge latency in ns to walk to.
            vdd: supply voltage in V to walk to.
            refresh_interval: in ms, to walk to.
            tras: row active time in ns to walk to.
            steps: how many evenly spaced values, the last one included; None for the fitted points.
            temperature: in degrees Celsius; the device's if None.
            partition: name of a partition; the whole module if None.

        Returns:
            Error models from mild to harsh, the last one that of the value given.

        Raises:
            ValueError: for no parameter or several, a value outside of the device's range, or one that makes no errors.

        """
        every = {"trcd": trcd, "trp": trp, "vdd": vdd, "refresh_interval": refresh_interval, "tras": tras}
        given = {name: value for name, value in every.items() if value is not None}
        if len(given) != 1:
            found = ", ".join(given) or "none"
            raise ValueError(f"found {found}; allowed is exactly one of {', '.join(along.name for along in AXES)}")
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
            raise ValueError(f"steps is {steps!r}; allowed is a whole number from 1, or None")
        ((name, last),) = given.items()
        along, first = self._check_stated(name), float(getattr(self.nominal, name))
        if steps is None:
            fitted = {float(getattr(point, name)) for point in self.curve(name, temperature, partition)}
            if name == "vdd" and self.voltage is not None:
                fitted |= {row.vdd for row in self.voltage.rows}
            harsher = sorted(fitted, key=lambda value: along.harsher * value)
            values = [value for value in harsher if along.harsher * (last - value) > 1e-9]
        else:
            values = [first + (last - first) * step / steps for step in range(1, steps)]
        kept: dict[str, Any] = {"temperature": temperature, "partition": partition}
        at: list[dict[str, Any]] = [{name: value, **kept} for value in [*values, last]]
        models = [self.errors(**one, between="bound" if steps is None else "curve") for one in at]
        models = [model for model in models if model.ber > 0.0]
        if not models or self.errors(**at[-1]).ber == 0.0:
            raise ValueError(f"{name} is {last:g} {along.unit}, where {self.name} makes no errors to train with")
        return models

    def default_point(self, *, partition: str | None = None, temperature: float | None = None) -> dict[str, float]:
        """The operating point to train with where none is chosen: the parameters that are off nominal, for ``errors``.

        It lies along one parameter alone, the first of tRCD, tRP, VDD, the refresh interval and tRAS along which there
        are errors: the harshest point there whose mean bit error rate is at most ``TRAINED_BER``, or else the mildest
        one with errors. A training scales the rates to its own target, so what counts is the shape of the errors: which
        stored value fails and where, which far above that rate is another one than in the range that is placed in. A
        device with errors only where several parameters are off nominal gives such a point, by the same rule.

        Args:
            partition: name of a partition; the whole module if None.
            temperature: in degrees Celsius; the device's if None.

        Raises:
            ValueError: if there are errors nowhere, or as ``errors``.

        """
        part = self._part(partition)
        kept: dict[str, Any] = {"partition": partition, "temperature": temperature}
        self.errors(**kept)
        at = self.nominal.temperature if temperature is None else temperature
        fitted = [point for point in (*part.points, *part.points_at_other_temperatures) if point.temperature == at]
        off = [{name: getattr(point, name) for name in off_nominal(self.nominal, point)} for point in fitted]
        groups = [[point for point in off if list(point) == [along.name]] for along in AXES]
        if self.voltage is not None and not part.nominal:
            groups.append([{"vdd": row.vdd} for row in self.voltage.rows if row.vdd != self.nominal.vdd])
        groups.append([point for point in off if len(point) > 1])
        for group in groups:
            rates = [(self.errors(**kept, **point).ber, index) for index, point in enumerate(group)]
            rates = sorted(rate for rate in rates if rate[0] > 0.0)
            if rates:
                _, index = max([rate for rate in rates if rate[0] <= TRAINED_BER] or rates[:1])
                return group[index]
        where = self.name if partition is None else f"partition {partition} of {self.name}"
        raise ValueError(f"{where} has no errors at any of its operating points, so there is nothing to retrain for")

    def with_margin(self, factor: float, reason: str = "temperature and ageing") -> Device:
        """The same device with every bit error rate multiplied, for what the measurements do not cover.

        The rates stay at or below the failure probability, where a read tells nothing any more, and intervals are
        multiplied as rates are. Points without errors keep BER 0, which the device's assumptions then say. Files made
        from the device carry the margin: placement, savings and report.

        Args:
            factor: 1 or more.
            reason: what the margin is for.

        Raises:
            ValueError: for a factor below 1, for a device that has a margin already: take the one without, and for one
                of cell maps.

        """
        if self.margin.factor != 1.0:
            raise ValueError(f"{self.name} has a margin already, {self.margin}; allowed is a device without one")
        if not 1.0 <= factor < math.inf:
            raise ValueError(f"factor is {factor}; allowed is 1 or more")
        if self.model == "cell_map":
            raise ValueError(
                f"{self.name} holds a chip's own weak cells, and a margin names no further ones; allowed is a device "
                "that was fitted without cell_map"
            )
        margin = Margin(factor=factor, reason=reason)
        assumptions = [*self.assumptions, _margin_text(margin)]
        if any(point.errors.ber == 0.0 for part in (self.whole, *self.partitions) for point in part.points[1:]):
            assumptions.append(
                "points without errors keep BER 0, whatever the factor: only the upper ends of their intervals are "
                "multiplied"
            )
        return self._changed(
            {
                "margin": margin,
                "voltage": None if self.voltage is None else self.voltage.with_margin(factor),
                "whole": self.whole.with_margin(factor),
                "partitions": tuple(part.with_margin(factor) for part in self.partitions),
                "assumptions": tuple(assumptions),
            }
        )

    def upper_ends(
        self, partitions: Sequence[Partition], confidence: float, modules: float
    ) -> tuple[Sequence[Partition], Rates]:
        """Partitions with their rates as high as what was measured leaves them (``eden.devices.upper_rates.upper``)."""
        return upper(self, partitions, confidence, modules)

    def draw(self, seed: int) -> Device:
        """A new module of the population that this device stands for.

        Its rates are those of ``Population.draw``; all its banks but the reliable ones have them. The same seed draws
        the same module. It is a device like any other, for training and placing on modules that nobody measured.

        Args:
            seed: from 0 to 2^64 - 1.

        Raises:
            ValueError: for a device without a population, or a seed out of range.

        """
        if self.population is None:
            raise ValueError(
                f"{self.name} is one module; allowed is a device with a population, such as those of a vendor in the "
                "catalogue"
            )
        rates = self.population.draw(seed)

        def rate(point: OperatingPoint, stored: str) -> float:
            for parameter in off_nominal(self.nominal, point):
                fitted = rates[parameter, stored, getattr(point, parameter)]
                return min(fitted * self.margin.factor, self.failure)
            return 0.0

        def drawn(part: Partition) -> Partition:
            points: list[FittedPoint] = []
            for point in part.points:
                # As much worse with patterns of both values as the population's median module.
                found = [point.raised_by_pattern(stored, rate(point, stored)) for stored in ("zero", "one")]
                for milder in points:
                    if as_harsh(point, milder):
                        found = [max(found[0], milder.errors.ber_zero), max(found[1], milder.errors.ber_one)]
                errors = with_rates(point.errors, *found)
                own = {name: (value, value) for name, value in (("zero", errors.ber_zero), ("one", errors.ber_one))}
                points.append(point.model_copy(update={"errors": errors, "worst_pattern": None, **own}))
            return part.model_copy(update={"points": tuple(points)})

        return self._changed(
            {
                "name": f"{self.name}-{seed}",
                "population": None,
                "whole": drawn(self.whole),
                "partitions": tuple(part if part.nominal else drawn(part) for part in self.partitions),
                "notes": (
                    *self.notes,
                    f"drawn from the population of {self.name} with the seed {seed}; nothing was measured",
                ),
            }
        )

    def _changed(self, update: dict[str, Any]) -> Device:
        """The device with other fields, checked like one that is loaded."""
        return Device.model_validate({**dict(self), **update})

    def curve(
        self, parameter: str = "trcd", temperature: float | None = None, partition: str | None = None
    ) -> list[FittedPoint]:
        """The fitted points along one parameter, all others nominal, from mild to harsh, for plotting.

        Raises:
            ValueError: for another parameter or one that the device does not state, an unknown partition or
                temperature.

        """
        part = self._part(partition)
        temperature = self.nominal.temperature if temperature is None else temperature
        self._check_stated(parameter)
        if temperature not in part.temperatures:
            raise ValueError(f"temperature is {temperature} C; allowed are {', '.join(map(str, part.temperatures))} C")
        return part.sweep(parameter, temperature)

    def measured_curve(self, parameter: str = "trcd", temperature: float | None = None) -> list[Measured]:
        """The measured conditions along one parameter, from mild to harsh and by pattern, those left out included.

        Raises:
            ValueError: for another parameter, or one that the device does not state.

        """
        along = self._check_stated(parameter)
        temperature = self.nominal.temperature if temperature is None else temperature
        rows = [
            row
            for row in self.measured
            if row.temperature == temperature and set(off_nominal(self.nominal, row)) <= {parameter}
        ]
        return sorted(rows, key=lambda row: (along.harshness(row), int(row.pattern, 16)))

    def _check_stated(self, parameter: str) -> Axis:
        """The parameter of a name. Raises ValueError for one that there is not, or that the device does not state."""
        along = axis(parameter)
        if getattr(self.nominal, parameter) is None:
            raise ValueError(f"parameter is {parameter!r}, which nothing states of {self.name}; allowed are the others")
        return along

    def _repr_html_(self) -> str:
        header = (
            *("operating point", "BER of zeros", "95% interval", "BER of ones", "95% interval", "readings"),
            "raised to",
        )
        rows = [
            (
                str(point),
                f"{point.errors.ber_zero:.3g}",
                f"{point.zero[0]:.3g} to {point.zero[1]:.3g}",
                f"{point.errors.ber_one:.3g}",
                f"{point.one[0]:.3g} to {point.one[1]:.3g}",
                f"{point.readings[0]} and {point.readings[1]}",
                "" if point.worst_pattern is None else str(point.worst_pattern),
            )
            for point in self.whole.points
        ]
        size = sum(partition.capacity_bytes for partition in self.partitions) / 2**20
        about = (
            f"{self.source.text}; {size:g} MiB in {len(self.partitions)} partitions; model {self.model}; {self.margin}"
        )
        return notebook(self.name, (header, rows), notes=[about])

    def describe(self) -> str:
        """What the device is and what it rests on, for a terminal."""
        size = sum(partition.capacity_bytes for partition in self.partitions) / 2**20
        lines = [
            f"{self.name}: {self.source.text}",
            f"  source      {self.source.citation or self.source.file} (licence: {self.source.licence})",
            f"  size        {size:g} MiB in {len(self.partitions)} partitions, {self.geometry.banks} banks of "
            f"{self.geometry.bank_rows} rows of {self.geometry.row_bits} bits, subarrays of "
            f"{self.geometry.subarray_rows} rows",
            f"  model       {self.model}, failure F = {self.failure:g}",
            f"  nominal     {self.nominal}",
            f"  margin      {self.margin}",
            "",
            "  whole module            BER zeros  [95% interval]            BER ones   [95% interval]       readings",
        ]
        varied = {name for point in self.whole.points for name in off_nominal(self.nominal, point)}
        others = bool(varied - {"trcd", "trp"})

        def beside(point: OperatingPoint) -> str:
            """What the lines of latencies do not have."""
            active = "" if point.tras is None else f", tRAS {point.tras:g} ns"
            return f"{point.vdd:g} V, refresh {point.refresh_interval:g} ms{active}" if others else ""

        for point in self.whole.points:
            if others:
                lines.append(f"  {beside(point)}")
            lines.append(
                f"  tRCD {point.trcd:5g} tRP {point.trp:5g}   {point.errors.ber_zero:9.3g}  "
                f"{f'[{point.zero[0]:.3g}, {point.zero[1]:.3g}]':24}  {point.errors.ber_one:9.3g}  "
                f"{f'[{point.one[0]:.3g}, {point.one[1]:.3g}]':22} {point.readings[0]} and {point.readings[1]}"
            )
        lines += [
            f"  raised: tRCD {point.trcd:g} tRP {point.trp:g}"
            + (f", {beside(point)}" if others else "")
            + f": {point.worst_pattern}"
            for point in self.whole.points
            if point.worst_pattern is not None
        ]
        lines += [
            f"  left out: {str(gap) if others else f'tRCD {gap.trcd:g} tRP {gap.trp:g}, {gap.temperature:g} C'}: "
            f"{gap.reason}"
            for gap in self.whole.left_out
        ]
        lines += [
            f"  hardly told: the curve along {axis(curve.parameter).title} of stored {curve.stored}s leaves its "
            f"{' and '.join(curve.open)} open; between its points their rates alone bound what it answers"
            for curve in self.whole.curves
            if curve.open
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
