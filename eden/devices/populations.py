"""A vendor's modules together: rates along the supply voltage, and devices that new modules are drawn from."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from eden.devices import curves
from eden.devices.curves.population import UNTOLD_DECADES
from eden.devices.device import Device, Population, PopulationKnot, Source
from eden.devices.fitting import fit
from eden.devices.fitting.patterns import PatternRead, raised_to_patterns
from eden.devices.fitting.rounding import rounded
from eden.devices.likelihoods import CONFIDENCE
from eden.devices.partition import FittedPoint, Partition, Voltage, VoltageRow, axis, point_of, with_rates
from eden.measurements.campaign import Campaign, Condition
from eden.measurements.readers import read
from eden.memory.errors import DataDependent

UNTOLD_DISPERSION = 1.0
"""Variance of the log-odds of a vendor's shares where no module has errors at three voltages, so that none is told."""
_WORST = "of zeros and ones, the worst of each module,"
_Latency = Literal["trcd", "trp"]
_LATENCIES: tuple[_Latency, ...] = ("trcd", "trp")


def _rounded(matrix: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    # Nine digits keep the least eigenvalue that the estimate leaves, a millionth.
    return tuple(tuple(round(value, 9) for value in row) for row in matrix)


def vendor_voltage(
    path: str | os.PathLike[str],
    vendor: str,
    nominal: float = 1.35,
    assumption: curves.LineErrors | None = None,
    source: str | None = None,
) -> Voltage:
    """Bit error rates of a vendor's modules along the supply voltage, from their shares of cache lines with errors.

    Each rate is that of the median module, its interval a 95% prediction interval for a module that was not measured:
    a normal distribution over modules of the log-odds of the share of lines (``eden.devices.curves.fit_population``).

    Args:
        path: a file of the voltage study's format (docs/reference/measurements.md).
        vendor: the vendor's label there.
        nominal: the nominal supply voltage in V, the first row, whose rate is 0.
        assumption: how many errors a line with errors has; independent bits if None.
        source: what was measured and how to cite it; the file's name if None.

    Raises:
        FileError: for a file that cannot be used.
        ValueError: for a vendor that the file does not have, or fewer than two modules of it.

    """
    measured = curves.voltage_modules(read(path, "voltage"))
    vendors = sorted({module.vendor for module in measured})
    if vendor not in vendors:
        raise ValueError(f"vendor is {vendor!r}; allowed for {os.fspath(path)} are {', '.join(vendors)}")
    modules = [module for module in measured if module.vendor == vendor]
    assumed = assumption or curves.LineErrors()
    told = any(sum(share > 0 for _, share in module.points) > 2 for module in modules)
    fitted = curves.fit_voltage(modules, assumed, dispersion=None if told else UNTOLD_DISPERSION, share=False)
    lines = {name: {"lines": found.lines} for name, found in fitted.curves.items()}
    # A share has the variance about curves in it, which is that of modules, too: nine of ten left out are inside.
    population = curves.fit_population(vendor, lines, outliers=False)
    rows = [VoltageRow(vdd=nominal, ber=0.0, low=0.0, high=0.0)]
    for knot in population.knots:
        if knot.at >= nominal:
            continue
        rate = population.rate("lines", knot.at)
        # A knot at which no module fails bounds the rate and gives none.
        ber = 0.0 if knot.mean is None else assumed.ber(rate.estimate)
        ends = [assumed.ber(rate.low), ber, assumed.ber(rate.high)]
        # A distribution of its own at each voltage can fall by chance; errors do not.
        low, ber, high = (max(rounded(value), before) for value, before in zip(ends, _ends(rows[-1]), strict=True))
        rows.append(VoltageRow(vdd=knot.at, ber=ber, low=min(low, ber), high=max(high, ber)))
    return Voltage(
        source=source or Path(path).name,
        vendor=vendor,
        modules=tuple(module.name for module in modules),
        assumptions=(
            f"errors along VDD are those of the median of {len(modules)} other modules of vendor {vendor}, of which "
            "the shares of cache lines with errors were measured, not bit error rates",
            f"in these shares {assumed}",
            "both studies mean the same vendor by this label, and the modules do not differ in what a lower VDD does",
            "a lower VDD and shorter latencies fail cells independently of each other: no public measurement joins "
            "them, and where both act on the same cells the true rates are higher",
            "zeros and ones fail alike at a lower VDD",
            *(
                ()
                if told
                else (
                    f"the log-odds of a module's share of lines vary by {UNTOLD_DISPERSION:g}: no module of vendor "
                    f"{vendor} tells it",
                )
            ),
        ),
        rows=tuple(rows),
    )


def _ends(row: VoltageRow) -> tuple[float, float, float]:
    return row.low, row.ber, row.high


def fit_vendor(
    path: str | os.PathLike[str],
    modules: Sequence[str],
    *,
    name: str,
    source: Source,
    vdd: float = 1.5,
    voltage: Voltage | None = None,
    format: str = "latency-variation",
) -> Device:
    """A device that stands for a vendor's modules, from which ``Device.draw`` draws new ones.

    Its rates are those of the median module, its intervals 95% prediction intervals for a module that was not
    measured; both are told by the distributions of the modules' log-odds at each latency
    (``eden.devices.curves.fit_population``). Only the modules' highest common temperature counts.

    Args:
        path: the measurements of all the modules.
        modules: their labels, two or more.
        name: the device's name.
        source: where the figures come from.
        vdd: the supply voltage of the measurements in V, recorded as an assumption.
        voltage: as in ``eden.fit``.
        format: of the file.

    Raises:
        FileError: for a file that cannot be used.
        ValueError: for fewer than two modules, or none measured at a temperature of all.

    """
    if len(modules) < 2:
        raise ValueError(f"modules are {', '.join(modules) or 'none'}; allowed are two or more")
    campaigns = {module: read(path, format, module) for module in modules}
    common = set.intersection(
        *({reading.temperature for reading in campaign.readings} for campaign in campaigns.values())
    )
    if not common:
        raise ValueError(f"modules {', '.join(modules)} have no temperature in common; allowed is one or more")
    temperature = max(common)
    # The form of a device, with what is assumed of it, is that of any of the modules.
    nominal = Condition(temperature=temperature, vdd=vdd)
    model = fit(path, format, modules[0], nominal=nominal, name=name, source=source, voltage=voltage)
    fitted = curves.fit_population(name, _curves(campaigns, temperature, curves.fit_latency))
    knots = tuple(
        PopulationKnot.model_validate(
            {
                "parameter": knot.group.split()[0],
                "stored": knot.group.split()[1],
                "latency": knot.at,
                "modules": knot.modules,
                "failing": knot.failing,
                "mean": None if knot.mean is None else rounded(knot.mean),
                "deviation": None if knot.deviation is None else rounded(knot.deviation),
                "dispersion": None if knot.dispersion is None else rounded(knot.dispersion),
                "bound": rounded(knot.bound),
            }
        )
        for knot in fitted.knots
    )
    population = Population(modules=tuple(modules), knots=knots, correlation=_rounded(fitted.correlation))
    points = _to_patterns(_points(model, fitted), campaigns, fitted)
    parts = [_with_points(part, points[:1] if part.nominal else points) for part in (model.whole, *model.partitions)]
    return model._changed(
        {
            "source": source,
            "model": "data_dependent",
            "notes": (
                f"read {sum(len(campaign.readings) for campaign in campaigns.values())} readings of the modules "
                f"{', '.join(modules)}",
                "the rates are those of the median module, the intervals hold 95% of modules that were not measured, "
                "if they lie from one another as these do",
                *_unknown(fitted, model),
            ),
            "choice": (),
            "measured": (),
            "population": population,
            "whole": parts[0],
            "partitions": tuple(parts[1:]),
        }
    )


def _curves(
    campaigns: Mapping[str, Campaign], temperature: float, fit_one: Callable[[Campaign, _Latency, float], curves.Curves]
) -> dict[str, dict[str, curves.Curve]]:
    """The curves of each module along both latencies, those that it was measured along, by parameter and group."""
    found: dict[str, dict[str, curves.Curve]] = {}
    for module, campaign in campaigns.items():
        for parameter in _LATENCIES:
            try:
                groups = fit_one(campaign, parameter, temperature).groups
            except ValueError:  # this module was not measured along this latency
                continue
            found.setdefault(module, {}).update({f"{parameter} {group}": curve for group, curve in groups.items()})
    return found


def _ends_of(rate: curves.Rate) -> tuple[float, float, float]:
    return rate.estimate, rate.low, rate.high


def _to_patterns(
    points: tuple[FittedPoint, ...], campaigns: Mapping[str, Campaign], fitted: curves.Population
) -> tuple[FittedPoint, ...]:
    """The points, raised to the worst patterns of zeros and ones: the median module's, and the upper ends to theirs.

    Few modules were read with such patterns; how far any may lie from the others is what zeros and ones tell.
    """
    nominal = points[0]
    of_module = _curves(campaigns, nominal.temperature, curves.fit_patterns)
    if len(of_module) < 2:
        return points
    population = replace(curves.fit_population(fitted.name, of_module, outliers=False), outliers=fitted.outliers)
    reads = []
    for knot in population.knots:
        if knot.mean is not None:
            rate = population.rate(knot.group, knot.at)
            point = point_of(nominal).model_copy(update={knot.group.split()[0]: knot.at})
            told = functools.partial(_ends_of, rate)
            reads.append(PatternRead(point, _WORST, 0.5, knot.modules, rate.estimate, told))
    return (nominal, *raised_to_patterns(points[1:], reads, nominal.errors.failure, fitted.name))


def _unknown(population: curves.Population, model: Device) -> Iterator[str]:
    """What the modules do not tell of one that was not measured, a sentence each."""
    for knot in population.knots:
        parameter, stored = knot.group.split()
        if knot.at >= getattr(model.nominal, parameter):
            continue
        where = f"stored {stored}s at {axis(parameter).title} {knot.at:g} {axis(parameter).unit}"
        rate = population.rate(knot.group, knot.at)
        if knot.mean is None:
            # None of n modules has errors where a share s of all has them with the probability (1 - s)^n.
            share = 1.0 - (1.0 - CONFIDENCE) ** (1.0 / knot.modules)
            yield (
                f"{where}: none of {knot.modules} modules has errors, which leaves up to {share:.0%} of a vendor's "
                "modules that have, at rates that nothing tells"
            )
        elif rate.low < rate.high * 10.0**-UNTOLD_DECADES:
            yield (
                f"{where}: nothing is known of a module that was not measured but that its rate is below "
                f"{rate.high:.2g}: the interval spans {math.log10(rate.high / rate.low):.1f} decades"
            )


def _points(model: Device, population: curves.Population) -> tuple[FittedPoint, ...]:
    """Nominal and the knots of zeros and ones, with the median module's rates; they never fall along a latency."""
    nominal = model.nominal
    reliable = DataDependent(0.0, 0.0, model.failure)
    points = [
        FittedPoint(
            **nominal.model_dump(),
            errors=reliable,
            zero=(0.0, 0.0),
            one=(0.0, 0.0),
            readings=(0, 0),
            dispersion=0.0,
            dispersion_fitted=False,
        )
    ]
    for parameter in _LATENCIES:
        by_value: Mapping[str, dict[float, curves.Knot]] = {
            stored: {knot.at: knot for knot in population.knots if knot.group == f"{parameter} {stored}"}
            for stored in ("zero", "one")
        }
        before = points[0]
        for at in sorted(by_value["zero"].keys() & by_value["one"].keys(), reverse=True):
            if at >= getattr(nominal, parameter):
                continue
            found = {}
            for stored in ("zero", "one"):
                rate = population.rate(f"{parameter} {stored}", at)
                estimate = 0.0 if by_value[stored][at].mean is None else rate.estimate
                estimate = max(rounded(estimate), getattr(before.errors, f"ber_{stored}"))
                found[stored] = estimate, (min(rounded(rate.low), estimate), max(rounded(rate.high), estimate))
            before = FittedPoint.model_validate(
                {
                    **nominal.model_dump(),
                    parameter: at,
                    "errors": with_rates(reliable, found["zero"][0], found["one"][0]),
                    "zero": found["zero"][1],
                    "one": found["one"][1],
                    "readings": (0, 0),
                    "dispersion": 0.0,
                    "dispersion_fitted": False,
                }
            )
            points.append(before)
    return tuple(points)


def _with_points(part: Partition, points: tuple[FittedPoint, ...]) -> Partition:
    return Partition.model_validate(
        {**dict(part), "points": points, "points_at_other_temperatures": (), "left_out": (), "curves": ()}
    )
