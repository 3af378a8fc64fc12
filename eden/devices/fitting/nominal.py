"""The nominal operating point of a campaign, where it is stated, given or usual."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from eden.devices.fitting.settings import FitSettings
from eden.devices.partition import AXES, OperatingPoint

JOINT_SURFACE = (
    "between points that were measured together, estimates (between='curve') take log-odds for linear in each "
    "parameter, in the logarithm of the refresh interval, or in how far its curve has risen where one covers them; "
    "nothing is joined from sweeps of one parameter each"
)
"""What is assumed where points are off nominal in several parameters."""
# What a nominal parameter is where neither the measurements nor the user say: DDR3's.
USUAL = {"vdd": 1.5, "trcd": 12.5, "trp": 12.5, "refresh_interval": 64.0}
# Temperatures that a heater does not tell apart, in degrees.
CLOSE = 2.0
# Above these a number is in another unit: picoseconds, kelvin.
_LONGEST, _HOTTEST = 1000.0, 200.0
_WORDS = {"vdd": "supply voltage", "trcd": "tRCD", "trp": "tRP", "refresh_interval": "refresh interval", "tras": "tRAS"}
_UNITS: dict[str, str] = {along.name: along.unit for along in AXES}

Stated = Mapping[str, float | None]
"""The fields of an operating point that a condition states; None: it does not."""


class Nominal(NamedTuple):
    """The nominal operating point, and what it rests on, one sentence each."""

    point: OperatingPoint
    assumptions: list[str]


def listed_values(values: Mapping[str, float]) -> str:
    """Parameters with their values, such as "tRCD 12.5 and tRP 12.5 ns"."""
    groups = itertools.groupby(values.items(), key=lambda item: _UNITS[item[0]])
    return " and ".join(
        " and ".join(f"{_WORDS[name]} {value:g}" for name, value in group) + f" {unit}" for unit, group in groups
    )


def nominal_point(
    path: Path, module: str, conditions: Sequence[Stated], telling: Sequence[Stated], settings: FitSettings
) -> Nominal:
    """The nominal point: what is given, else the mildest measured value, else what is usual of DDR3.

    Args:
        path: of the measurements.
        module: its label.
        conditions: what the measurements state of each condition.
        telling: of those that rates are fitted to, one or more; the temperature is one of theirs.
        settings: what the user gives.

    Raises:
        ValueError: for a temperature that is not known, or was not measured.

    """
    chosen: dict[str, float] = {}
    unstated: dict[str, float] = {}
    mildest: dict[str, float] = {}
    partly: dict[str, float] = {}
    for name in ("vdd", "trcd", "trp", "refresh_interval", "tras"):
        along = next(along for along in AXES if along.name == name)
        stated = [value for one in conditions if (value := one[name]) is not None]
        value = getattr(settings.nominal, name)
        if name == "tras" and value is None and not stated:
            continue  # nothing is said of it, and nothing assumed: the specification holds
        if name == "refresh_interval" and value is None:
            value = USUAL[name]  # a retention test states how long it waits, which no memory is meant to
        if not stated:
            chosen[name] = unstated[name] = USUAL[name] if value is None else value
            continue
        if value is None:
            chosen[name] = mildest[name] = min(stated) if along.harsher > 0 else max(stated)
        else:
            chosen[name] = value
        if len(stated) < len(conditions):
            partly[name] = chosen[name]
    for name in ("trcd", "trp", "tras"):
        if chosen.get(name, 0.0) > _LONGEST:
            raise ValueError(
                f"{_WORDS[name]} is {chosen[name]:g} ns at the nominal point of {path.name}; allowed is up to "
                f"{_LONGEST:g} ns (12500 ps are 12.5 ns)"
            )
    assumptions = []
    if unstated:
        what = "them" if len(unstated) > 1 else "it"
        assumptions.append(f"{listed_values(unstated)}: the measurements do not state {what}")
    if mildest:
        verb = "were" if len(mildest) > 1 else "was"
        assumptions.append(f"nominal {listed_values(mildest)}: the mildest that {verb} measured")
    if partly:
        assumptions.append(f"{listed_values(partly)} where the measurements do not state it")
    temperatures = sorted({value for one in telling if (value := one["temperature"]) is not None})
    missing = any(one["temperature"] is None for one in telling)
    if temperatures and temperatures[-1] > _HOTTEST:
        raise ValueError(
            f"temperature is {temperatures[-1]:g} C in {path.name}; allowed is up to {_HOTTEST:g} C (323 K are 50 C)"
        )
    close = [pair for pair in itertools.pairwise(temperatures) if pair[1] - pair[0] <= CLOSE]
    if close:
        mild, warm = close[0]
        assumptions.append(
            f"temperatures differ where they are stated so: {mild:g} and {warm:g} C"
            + (f" and {len(close) - 1} further pairs" if len(close) > 1 else "")
            + " are conditions of their own and no repeats, so that no interval holds how readings vary between them; "
            "round them in the file if they are one"
        )
    temperature = settings.nominal.temperature
    if temperature is None:
        if missing:
            raise ValueError(
                f"temperature is missing: {path.name} does not state it; allowed is a number of degrees Celsius"
            )
        temperature = temperatures[-1]
    elif missing:
        assumptions.append(f"temperature {temperature:g} C where the measurements do not state it")
    elif temperature not in temperatures:
        listed = ", ".join(f"{value:g}" for value in temperatures)
        raise ValueError(f"temperature is {temperature}; allowed for {module} are the measured {listed} C")
    return Nominal(OperatingPoint(temperature=temperature, **chosen), assumptions)
