"""Bit error rates of a device, as measured and as fitted."""

from __future__ import annotations

from eden.devices.device import Device
from eden.reporting.plots.devices import device_figure
from eden.reporting.section import Section, Table
from eden.reporting.text import range_text, rate_text, size_text


def section(device: Device) -> Section:
    """The section."""
    fits = Table(
        "Fitted operating points of the whole module",
        ("tRCD (ns)", "tRP (ns)", "BER of zeros", "95% interval", "BER of ones", "95% interval", "readings"),
        [
            (
                f"{p.trcd:g}",
                f"{p.trp:g}",
                rate_text(p.errors.ber_zero),
                range_text(*p.zero, rate_text),
                rate_text(p.errors.ber_one),
                range_text(*p.one, rate_text),
                f"{p.readings[0]} and {p.readings[1]}" if any(p.readings) else "specification",
            )
            for p in device.whole.points
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
    left_out = [
        f"Left out: tRCD {gap.trcd:g} ns, tRP {gap.trp:g} ns, {gap.temperature:g} °C: {gap.reason}"
        for gap in device.whole.left_out
    ]
    return Section(
        f"Bit error rate of {device.name}",
        f"The whole module at {device.nominal.temperature:g} °C, {device.nominal.vdd:g} V, tRP {device.nominal.trp:g} "
        f"ns. Bars are 95% intervals over readings; mixed patterns store zeros and ones together. Between two "
        f"measured latencies the rate of the shorter one is used. "
        f"Model: {device.model.replace('_', '-')}, failure probability {device.failure:g}.",
        lambda: device_figure(device, "trcd"),
        "Fitted and measured bit error rates of stored zeros and ones against tRCD",
        [fits, partitions],
        [*left_out, *(f"Assumed: {text}." for text in device.assumptions), *device.notes],
    )
