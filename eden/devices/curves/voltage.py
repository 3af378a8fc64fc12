"""Curves along the supply voltage, from shares of cache lines with errors, and their union with those of latencies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from eden import _core
from eden.common.files import FileError
from eden.devices.curves.curve import Curve, Curves
from eden.devices.curves.fit import fit_conditions
from eden.devices.curves.rates import Condition, Rate
from eden.devices.margin import Margin
from eden.measurements.campaign import Campaign

LINE_BITS = 512


@dataclass(frozen=True)
class LineErrors:
    """How many errors a cache line with errors has, which a percentage of such lines does not tell.

    Attributes:
        kind: ``"independent"``: bits fail independently, so that a share L of lines with errors means
            1 - (1 - L)^(1 / line_bits); ``"fixed"``: each such line has ``errors`` of them, so that it means
            errors L / line_bits.
        errors: errors of a line, for ``"fixed"``.
        line_bits: bits of a line.

    """

    kind: Literal["independent", "fixed"] = "independent"
    errors: float = 1.0
    line_bits: int = LINE_BITS

    def __post_init__(self) -> None:
        if self.kind not in ("independent", "fixed"):
            raise ValueError(f"line errors: kind is {self.kind!r}; allowed are 'independent' and 'fixed'")
        if self.line_bits < 1:
            raise ValueError(f"line errors: line_bits is {self.line_bits}; allowed is 1 or more")
        if not 1.0 <= self.errors <= self.line_bits:
            raise ValueError(f"line errors: errors is {self.errors}; allowed is 1 to {self.line_bits}")

    def ber(self, lines: float) -> float:
        """The bit error rate behind a share of lines with errors."""
        if self.kind == "fixed":
            return self.errors * lines / self.line_bits
        return 1.0 if lines >= 1.0 else -math.expm1(math.log1p(-lines) / self.line_bits)

    def __str__(self) -> str:
        if self.kind == "fixed":
            return f"each line of {self.line_bits} bits with errors has {self.errors:g}"
        return f"the bits of a line of {self.line_bits} fail independently"


@dataclass(frozen=True)
class VoltageModule:
    """Shares of cache lines with errors of one module.

    Attributes:
        name: the module's label.
        vendor: the vendor's label.
        points: supply voltage in V and the share of lines, 0 to 1, from mild to harsh.

    """

    name: str
    vendor: str
    points: tuple[tuple[float, float], ...]


def voltage_modules(campaign: Campaign) -> tuple[VoltageModule, ...]:
    """The modules of a file of the voltage study, as ``eden.measurements.readers.read`` gives it.

    Raises:
        FileError: for a file without such lines, or a module that has a voltage twice, naming the line.

    """
    points: dict[tuple[str, str], dict[float, float]] = {}
    for line in campaign.cache_lines:
        module = points.setdefault((line.module, line.vendor), {})
        if line.vdd in module:
            raise FileError(
                campaign.path, f"line {line.line}: module {line.module} has {line.vdd:g} V twice; allowed is once"
            )
        module[line.vdd] = line.percent / 100
    if not points:
        raise FileError(campaign.path, f"format {campaign.format} has no shares of cache lines; allowed is voltage")
    return tuple(
        VoltageModule(name, vendor, tuple(sorted(module.items(), reverse=True)))
        for (name, vendor), module in points.items()
    )


@dataclass(frozen=True, eq=False)
class VoltageCurve:
    """The bit error rate of one module as a function of the supply voltage, under an assumption on its lines.

    Attributes:
        lines: the curve of the share of lines with errors, which is what was measured.
        assumption: how it becomes a bit error rate.

    """

    lines: Curve
    assumption: LineErrors

    def rate(self, vdd: float, extrapolate: bool = False) -> Rate:
        """The bit error rate at a supply voltage in V, as ``Curve.rate``; the margin's factor acts on it."""
        bare = Curve.rate(self._without_factor(), vdd, extrapolate)
        factor = self.lines.margin.factor
        low, estimate, high = (
            min(self.assumption.ber(value) * factor, 1.0) for value in (bare.low, bare.estimate, bare.high)
        )
        return Rate(vdd, estimate, low, high, bare.confidence, bare.basis, bare.identified, self.lines.margin)

    def _without_factor(self) -> Curve:
        lines = self.lines
        return Curve(
            lines.group,
            lines.unit,
            lines.conditions,
            lines.fitted,
            lines.left_out,
            lines.notes,
            Margin(shift=lines.margin.shift),
            lines.outliers,
            lines._likelihoods,
            lines._told,
            lines._alternatives,
            lines._answers,
        )


@dataclass(frozen=True, eq=False)
class VoltageCurves:
    """Modules of one vendor along the supply voltage.

    Attributes:
        vendor: its label.
        curves: by module.
        assumption: how shares of lines become bit error rates.
        dispersion: variance of the log-odds about the curves, which stands for what no repeat tells.
        dispersion_fitted: whether it was fitted, or given.
        shared: the fit of all modules together, as ``fit_conditions`` makes it.

    """

    vendor: str
    curves: Mapping[str, VoltageCurve]
    assumption: LineErrors
    dispersion: float
    dispersion_fitted: bool
    shared: Curves


def _voltage_conditions(module: VoltageModule, lines: float) -> tuple[Condition, ...]:
    return tuple(Condition(vdd, ((share * lines, lines),)) for vdd, share in module.points)


def fit_voltage(
    modules: Sequence[VoltageModule],
    assumption: LineErrors | None = None,
    *,
    lines: float = 2.0**25,
    dispersion: float | None = None,
    margin: Margin | None = None,
    share: bool = False,
) -> VoltageCurves:
    """Fit the share of lines with errors along the supply voltage, one curve per module of one vendor.

    A point has one number, no repeats, so the dispersion is that of the points about the curves: the value that
    maximizes the likelihood of all modules' own curves, made larger by points / (points - parameters).

    Args:
        modules: of one vendor.
        assumption: how lines become bit error rates; independent bits if None.
        lines: number of lines behind a share (2^25 lines of 64 bytes are 2 GiB).
        dispersion: variance of the log-odds about the curves; fitted if None.
        margin: as in ``fit_conditions``; its shift is in V.
        share: whether modules may share scale and asymptote; slow for many modules.

    Raises:
        ValueError: for no modules, several vendors, or a dispersion that is not told and not given.

    """
    vendors = sorted({module.vendor for module in modules})
    if len(vendors) != 1:
        raise ValueError(f"found modules of {len(vendors)} vendors ({', '.join(vendors)}); allowed is one")
    groups = {module.name: _voltage_conditions(module, lines) for module in modules}
    fitted = dispersion is None
    if dispersion is None:
        dispersion = _scatter(groups)
        if dispersion is None:
            raise ValueError(
                f"vendor {vendors[0]}: no module has errors at three voltages, so nothing tells how far points lie "
                "from a curve; give a dispersion"
            )
    curves = fit_conditions(groups, unit="V", margin=margin, lent=dispersion, share=share)
    used = assumption or LineErrors()
    return VoltageCurves(
        vendors[0],
        {name: VoltageCurve(curve, used) for name, curve in curves.groups.items()},
        used,
        dispersion,
        fitted,
        curves,
    )


def _scatter(groups: Mapping[str, Sequence[Condition]]) -> float | None:
    """Variance of log-odds about probit curves, from the modules with more points than parameters."""
    chosen = [
        [condition for condition in conditions if condition.rate > 0]
        for conditions in groups.values()
        if sum(condition.rate > 0 for condition in conditions) > 2
    ]
    if not chosen:
        return None
    rules = [
        _core.CurveRule(
            _core.CurveLink.probit, _core.Asymptote.own if len(conditions) > 3 else _core.Asymptote.one, False
        )
        for conditions in chosen
    ]

    def log_likelihood(logarithm: float) -> float:
        total = 0.0
        for conditions, rule in zip(chosen, rules, strict=True):
            places = [
                _core.CurveCondition(c.at, _core.ConditionLikelihood(c.readings, math.exp(logarithm)))
                for c in conditions
            ]
            total += _core.fit_curves([places], rule).log_likelihood
            total += math.fsum(place.likelihood.log_likelihood for place in places)
        return total

    grid = np.linspace(math.log(1e-4), math.log(30.0), 13)
    best = float(grid[int(np.argmax([log_likelihood(float(x)) for x in grid]))])
    step = float(grid[1] - grid[0])
    found = scipy.optimize.minimize_scalar(
        lambda x: -log_likelihood(x), bounds=(best - step, best + step), method="bounded", options={"xatol": 1e-4}
    )
    points = sum(map(len, chosen))
    parameters = sum(2 if rule.asymptote == _core.Asymptote.one else 3 for rule in rules)
    return math.exp(float(found.x)) * points / (points - parameters)


def combine(latency: Rate, voltage: Rate) -> Rate:
    """The rate at a reduced latency and a reduced voltage together, assuming that they fail cells independently.

    A cell then holds only if both leave it alone: 1 - (1 - p)(1 - q). Where one is nominal and its rate 0, it is the
    other's rate, and it grows with both. No public measurement tests it. Where the two act on the same cells, as a
    lower voltage makes cells slower, the true rate is higher; the margin is the place to allow for that. The
    interval joins both ends, so its confidence is that of both together (Bonferroni).
    """

    def join(p: float, q: float) -> float:
        return p + q - p * q

    return Rate(
        latency.at,
        join(latency.estimate, voltage.estimate),
        join(latency.low, voltage.low),
        join(latency.high, voltage.high),
        max(latency.confidence + voltage.confidence - 1.0, 0.0),
        "extrapolation" if "extrapolation" in (latency.basis, voltage.basis) else latency.basis,
        latency.identified and voltage.identified,
        Margin(latency.margin.shift, max(latency.margin.factor, voltage.margin.factor)),
    )
