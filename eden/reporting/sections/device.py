"""Bit error rates of a device, as measured and as fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eden.devices.device import Device
from eden.devices.partition import AXES, LeftOut, WorstPattern, axis, off_nominal
from eden.reporting.plots.devices import device_figure, swept
from eden.reporting.section import Section, Table
from eden.reporting.text import SHORT, count_text, point_text, range_text, rate_text, size_text


def _pattern_text(worst: WorstPattern | None) -> str:
    """What a point's rates were raised to."""
    if worst is None:
        return "as each value alone"
    before = f"{rate_text(worst.zero.rate)} and {rate_text(worst.one.rate)}"
    return f"{worst.pattern}: {rate_text(worst.rate)}, alone {before}"


def section(device: Device, _: Mapping[str, Any]) -> Section:
    """The section."""
    every = [*device.whole.points, *device.whole.points_at_other_temperatures]
    # A column for each parameter that differs between points; of a device at its nominal point alone, of the latencies.
    varied = {name for point in every for name in off_nominal(device.nominal, point)} or {"trcd", "trp"}
    shown = [along for along in AXES if along.name in varied]
    fits = Table(
        "Fitted operating points of the whole module",
        (
            *(f"{SHORT[along.name]} ({along.unit})" for along in shown),
            *("°C", "BER of zeros", "95% interval", "BER of ones", "95% interval", "readings", "worst pattern"),
        ),
        [
            (
                *(f"{getattr(p, along.name):g}" for along in shown),
                f"{p.temperature:g}",
                rate_text(p.errors.ber_zero),
                range_text(*p.zero, rate_text),
                rate_text(p.errors.ber_one),
                range_text(*p.one, rate_text),
                f"{p.readings[0]} and {p.readings[1]}" if any(p.readings) else "none of its own",
                _pattern_text(p.worst_pattern),
            )
            for p in every
        ],
    )
    partitions = Table(
        "Partitions",
        ("partition", "capacity", "operating points", "highest BER"),
        [
            (
                part.name,
                size_text(part.capacity_bytes),
                "nominal only" if part.nominal else str(len(part.points)),
                rate_text(max(point.errors.ber for point in part.points)),
            )
            for part in device.partitions
        ],
    )
    parameters = swept(device)
    along = " and ".join(axis(name).title for name in parameters) or "every operating point"
    model = device.model.replace("_", "-")
    return Section(
        f"Bit error rate of {device.name}",
        f"The whole module at {device.nominal.temperature:g} °C, along {along}, all else nominal: {device.nominal}. "
        "Bars are 95% intervals over readings; mixed patterns store zeros and ones together, and where one fails more "
        "often than each value alone says, the rates are raised to it. Between two measured "
        f"values the rate of the harsher one is used. Model: {model}, failure probability {device.failure:g}.",
        lambda: device_figure(device),
        f"Fitted and measured bit error rates of stored zeros and ones along {along}",
        [fits, partitions],
        [
            *left_out(device, device.whole.left_out),
            *(f"Assumed: {text}." for text in device.assumptions),
            *device.notes,
        ],
    )


def left_out(device: Device, gaps: Sequence[LeftOut]) -> list[str]:
    """What is not offered, a sentence for each reason: of figures apart, alike reasons are one."""
    reasons: dict[str, list[LeftOut]] = {}
    for gap in gaps:
        reasons.setdefault(_kind(gap.reason), []).append(gap)
    found = []
    for mine in reasons.values():
        places = [f"{point_text(device.nominal, gap)}, {gap.temperature:g} °C" for gap in mine]
        if len(mine) == 1:
            found.append(f"Left out: {places[0]}: {mine[0].reason}")
        else:
            found.append(
                f"Left out {count_text(len(mine), 'point')} ({'; '.join(places)}), as the first: {mine[0].reason}"
            )
    return found


def _kind(reason: str) -> str:
    """A reason without its figures."""
    return "".join(letter for letter in reason if not letter.isdigit() and letter not in ".-+e[],x")
