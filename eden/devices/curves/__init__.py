"""Bit error rates as functions of latency and supply voltage, with intervals, and populations of modules.

A curve is BER(t) = A G((mu - t) / sigma): cells differ in the latency that they need, and a share A of them can fail.
Its likelihood is C++ (``csrc/devices/curve_fit.h``); here it is decided what it is applied to, what is left out and
by which name, and what an answer may rest on. ``docs/explanation/curves.md`` has the mathematics and its sources.
"""

from eden.devices.curves.curve import Curve, Curves
from eden.devices.curves.dispersion import Dispersion, Outliers, regimes
from eden.devices.curves.fit import fit_conditions
from eden.devices.curves.latency import campaign_conditions, fit_banks, fit_latency, fit_patterns
from eden.devices.curves.population import DrawnModule, Knot, Population, fit_population
from eden.devices.curves.rates import Axis, Basis, ChoiceRow, Condition, Formula, Parameter, Prediction, Rate, Region
from eden.devices.curves.voltage import (
    LineErrors,
    VoltageCurve,
    VoltageCurves,
    VoltageModule,
    combine,
    fit_voltage,
    voltage_modules,
)
from eden.devices.margin import Margin

__all__ = [
    "Axis",
    "Basis",
    "ChoiceRow",
    "Condition",
    "Curve",
    "Curves",
    "Dispersion",
    "DrawnModule",
    "Formula",
    "Knot",
    "LineErrors",
    "Margin",
    "Outliers",
    "Parameter",
    "Population",
    "Prediction",
    "Rate",
    "Region",
    "VoltageCurve",
    "VoltageCurves",
    "VoltageModule",
    "campaign_conditions",
    "combine",
    "fit_banks",
    "fit_conditions",
    "fit_latency",
    "fit_patterns",
    "fit_population",
    "fit_voltage",
    "regimes",
    "voltage_modules",
]
